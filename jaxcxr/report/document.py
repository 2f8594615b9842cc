"""Parts common to all reports.

Readers of a run's files, the sections that every report has, and the writing of report.md.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxcxr.errors import InputError
from jaxcxr.papers import patched_flannel
from jaxcxr.report import confounding, plots, tables
from jaxcxr.storage import files, run_files
from jaxcxr.storage.metric_writer import read_metrics
from jaxcxr.storage.predictions import Predictions

NOTICE = "Research use only. Not for diagnosis."
SPLIT_TITLES = {
    "train": "training images",
    "valid": "validation images",
    "oof": "out-of-fold images",
    "test": "test images",
}
_SHORT = {"train": "training", "valid": "validation", "oof": "out-of-fold"}


@dataclasses.dataclass
class Report:
    """A report being written.

    Markdown blocks, the same facts for machines, and the figures' folder.

    Attributes:
        folder: where report.md, report.json and plots/ go.
        facts: the content of report.json.
        blocks: Markdown paragraphs in their order.
        left_out: one line for each thing that the run's files do not hold; section "Not available".
    """

    folder: Path
    facts: dict[str, Any]
    blocks: list[str] = dataclasses.field(default_factory=list)
    left_out: list[str] = dataclasses.field(default_factory=list)

    def open(self, title: str, warnings: Sequence[str]) -> None:
        """Title, notice, and a banner for each warning: nobody reads a number before them."""
        self.add(f"# {title}", f"> **{NOTICE}**")
        self.add(*(f"> **Warning.** {warning}" for warning in warnings))
        self.facts |= {"notice": NOTICE, "warnings": list(warnings)}

    def add(self, *blocks: str) -> None:
        """Appends blocks of Markdown."""
        self.blocks.extend(blocks)

    def table(self, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Appends a table of texts."""
        self.blocks.append(tables.markdown_table(header, rows))

    def figure(self, name: str, figure: plots.Figure, caption: str) -> None:
        """Writes plots/<name>.png and shows it."""
        files.write_bytes(self.folder / "plots" / f"{name}.png", plots.to_png(figure))
        self.facts.setdefault("plots", []).append(f"plots/{name}.png")
        self.blocks.append(f"![{caption}](plots/{name}.png)")

    def write(self) -> None:
        """Writes report.json, then report.md, each whole or not at all."""
        if self.left_out:
            self.add("## Not available", "\n".join(f"- {line}" for line in self.left_out))
        self.facts["left_out"] = self.left_out
        files.write_json(self.folder / "report.json", self.facts)
        files.write_text(self.folder / "report.md", "\n\n".join(self.blocks) + "\n")


def read_json(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file of a run; None where there is no file.

    Raises:
        InputError: the file is damaged.
    """
    return run_files.read(path) if path.exists() else None


def read_predictions(folder: Path) -> Predictions:
    """predictions.npz of a run folder.

    Raises:
        InputError: the folder has none: the run has not finished.
    """
    path = folder / "predictions.npz"
    if not path.exists():
        raise InputError(
            f"{path} is missing: the run has not finished; run its config again to resume it"
        )
    return Predictions.load(path)


def split_title(split: str) -> str:
    """Name of a split in tables, such as 'test'."""
    return SPLIT_TITLES.get(split, f"{split} images")


def splits_of(predictions: Predictions) -> list[str]:
    """The splits that the predictions hold, in the order train, valid, oof, test."""
    present = set(map(str, predictions.split))
    return [name for name in SPLIT_TITLES if name in present]


def class_counts(predictions: Predictions) -> dict[str, dict[str, int]]:
    """Split -> class -> number of images, for the splits that the predictions hold."""
    counts = {}
    for split in splits_of(predictions):
        labels = predictions.select(split).labels
        counts[split] = {c: int((labels == k).sum()) for k, c in enumerate(predictions.classes)}
    return counts


def titled(counts: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, int]]:
    """The counts with the classes' names as they are shown."""
    return {g: {tables.class_title(c): n for c, n in row.items()} for g, row in counts.items()}


def counted(manifest: Mapping[str, Any] | None) -> dict[str, Any]:
    """Split, or "all" -> field -> group -> class -> images, as training counted; {}: it did not."""
    return (manifest or {}).get("split", {}).get("counts", {})


def all_class_counts(counts: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    """Split -> class -> number of images, of what `counted` returns; splits without images out."""
    found = {}
    for split in (s for s in SPLIT_TITLES if counts.get(s, {}).get("source")):
        rows = list(counts[split]["source"].values())
        found[split] = {c: sum(row[c] for row in rows) for c in rows[0]}
    return {split: row for split, row in found.items() if any(row.values())}


def _steps_per_epoch(report: Report) -> int:
    """Steps of an epoch, 0 where config or manifest do not say."""
    sizes = (report.facts.get("manifest") or {}).get("split", {}).get("sizes", {})
    batch = (report.facts.get("config") or {}).get("train", {}).get("batch_size")
    return math.ceil(sizes["train"] / batch) if batch and sizes.get("train") else 0


def add_curves(report: Report, folder: Path, *, title: str, classes: int = 0) -> None:
    """Loss, score and learning-rate curves from metrics.jsonl; `classes`: of a classifier."""
    rows = read_metrics(folder)
    report.facts["steps"] = max((row["step"] for row in rows), default=None)
    if rows:
        report.add("### Training")
        figure = plots.curves(
            rows, title=title, steps_per_epoch=_steps_per_epoch(report), classes=classes
        )
        report.figure("curves", figure, f"Training curves of {title}")
    else:
        report.left_out.append("Training curves: the run folder has no metrics.jsonl with rows.")


def add_class_counts(report: Report, counts: Mapping[str, Mapping[str, int]]) -> None:
    """Adds the class distribution of each split: a table and a figure.

    Args:
        report: gets them, and the numbers as facts.
        counts: split -> class -> number of images.
    """
    report.facts["class_counts"] = counts
    report.add("### Class distribution")
    shown = {_SHORT.get(split, split): row for split, row in titled(counts).items()}
    classes = list(next(iter(shown.values())))
    report.table(
        ["Split", *classes, "All"],
        [[s, *(f"{n:,}" for n in r.values()), f"{sum(r.values()):,}"] for s, r in shown.items()],
    )
    report.figure(
        "class_counts",
        plots.class_counts(shown, title="Class distribution by split"),
        "Class distribution by split",
    )


def add_confounding(report: Report, associations: Mapping[str, Any]) -> None:
    """Class against source and age group: the counts behind the banner."""
    report.facts["confounding"] = associations
    for field, what in (("source", "source"), ("age_group", "age group")):
        if field not in associations:
            continue
        few = "; ".join(
            f"{tables.class_title(name)} {known:,} of {images:,}"
            for name, (known, images) in confounding.too_few(associations[field]).items()
        )
        facts, shown = associations[field], titled(associations[field]["counts"])
        shared = facts["normalised_mutual_information"]
        report.add(
            f"### Class and {what}",
            f"Normalised mutual information of class and {what}: "
            + ("undefined, there is only one group or class." if shared is None else (
                f"{shared:.2f} (0 to "
                "1)."
            ))
            + (f" {facts['images_without']:,} images of unknown {what} are not counted."
               if facts["images_without"] else "")
            + (f" Too few images of a known {what} for a judgement: {few}." if few else ""),
        )  # fmt: skip
        classes = list(next(iter(shown.values())))
        report.table(
            [what.capitalize(), *classes],
            [[group, *(f"{n:,}" for n in row.values())] for group, row in shown.items()],
        )
        if field == "source":
            report.figure(
                "class_sources",
                plots.class_counts(shown, group="source", title="Class distribution by source"),
                "Class distribution by source",
            )


def add_overlays(report: Report, folder: Path, *, config: Mapping[str, Any] | None) -> None:
    """Section of the pictures in overlays/, which show what the config asks for."""
    if (config or {}).get("task") == "ensemble":
        return
    masked = (config or {}).get("masks", {}).get("source", "none") != "none"
    drawn = "lungs and patches" if uses_patches(config) else "lungs" if masked else ""
    names = [path.name for path in sorted((folder / "overlays").glob("*.png"))]
    report.facts["overlays"] = [f"overlays/{name}" for name in names]
    if names:
        report.add("### " + ", ".join(filter(None, ("Training images", drawn))))
        report.add(*(f"![{Path(name).stem}](overlays/{name})" for name in names))
    else:
        report.left_out.append("Training images: the run folder has no overlays/*.png.")


def uses_patches(config: Mapping[str, Any] | None) -> bool | None:
    """Returns whether a run's config.json turns patches on; None where it does not say."""
    return (config or {}).get("patches", {}).get("enabled")


def add_timings(report: Report, folder: Path, *, patched: bool) -> None:
    """Section of the time per stage, with images and patches per second, from timings.json."""
    timings = read_json(folder / "timings.json")
    report.facts["timings"] = timings
    if timings is None:
        report.left_out.append("Time per stage: the run folder has no timings.json.")
        return
    report.add("### Time")
    report.table(*timing_rows(timings["stages"], patched=patched))


def read_segmentation(folder: Path) -> dict[str, Any] | None:
    """segmentation.json of a segment run; None where there is none.

    Raises:
        InputError: it lacks a field.
    """
    overlap = read_json(folder / "segmentation.json")
    if overlap is not None:
        absent = {"structures", "split", "images"} - set(overlap)
        for name, row in overlap.get("structures", {}).items():
            absent |= {f"structures.{name}.{k}" for k in _OVERLAPS if k not in row}
        if absent:
            raise InputError(f"{folder / 'segmentation.json'} lacks {', '.join(sorted(absent))}")
    return overlap


def overlap_rows(overlap: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of Jaccard and Dice, one row per structure; – where no image shows it."""
    rows = [
        [name.replace("_", " ").capitalize(), *(score_text(row[key]) for key in _OVERLAPS)]
        for name, row in overlap["structures"].items()
    ]
    return ["Structure", "Jaccard", "Jaccard, smoothed", "Dice"], rows


def score_text(score: float | None) -> str:
    """Four digits; – for None, what no image has a score of."""
    return "–" if score is None else f"{score:.4f}"


_OVERLAPS = ("jaccard", "jaccard_smoothed", "dice")
OVERLAP_NOTE = (
    "Means over images. The smoothed index is (I + 1) / (U + 1), as in Patched FLANNEL's code, "
    f"whose paper reports a Jaccard index of {patched_flannel.LUNG_JACCARD:.4f} for the lungs on "
    "50 JSRT/SCR images, whose lung masks exclude the part behind the heart; other data sets "
    "annotate lungs differently."
)


def timing_rows(
    stages: Mapping[str, Mapping[str, Any]], *, patched: bool
) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the time table; with columns of patches where a learner takes patches."""
    header = ["Stage", "Time", "Images", "Images / s", *["Patches", "Patches / s"] * patched]
    rows = []
    for name, stage in stages.items():
        seconds, images, patches = (stage.get(k) for k in ("seconds", "images", "patches"))
        counts = [_whole(images), _decimal(_rate(images, seconds))]
        if patched:
            counts += [_whole(patches), _decimal(_rate(patches, seconds))]
        rows.append([name, duration(seconds), *counts])
    return header, rows


def duration(seconds: float | None) -> str:
    """Seconds as text: `48.2 s`, `12 min 05 s`, `3 h 20 min`."""
    if seconds is None:
        return "–"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = round(seconds) // 60
    if minutes < 60:
        return f"{minutes} min {round(seconds) % 60:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def _rate(count: float | None, seconds: float | None) -> float | None:
    return count / seconds if count and seconds else None


def _whole(value: float | None) -> str:
    return f"{int(value):,}" if value else "–"


def _decimal(value: float | None) -> str:
    return "–" if value is None else f"{value:,.1f}"


def add_provenance(
    report: Report,
    manifest: Mapping[str, Any] | None,
    *,
    predictions: Predictions | None = None,
    dataset: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | None = None,
    first_weights: str = "",
) -> None:
    """Section on provenance: the fields of manifest.json, and the hashes of the predictions.

    Args:
        report: gets it.
        manifest: of the run or study.
        predictions: their hashes stand for those of the manifest.
        dataset: that of a run, where the manifest is a study's, which has none.
        config: names the data sets where no manifest does.
        first_weights: what training began with, of `report.first_weights`.
    """
    report.add("## Provenance")
    report.facts["manifest"] = manifest
    fields = dict(manifest or {})
    if dataset and "dataset" not in fields:
        fields["dataset"] = dataset
    # What it lists has a section of its own, and hashes have lines of their own.
    parts = {
        "dataset": ("dropped", "notices", "fingerprint", "builders", "classes"),
        "split": ("sha256", "counts", "composition"),
    }
    fields["split_sha256"] = fields.get("split", {}).get("sha256")
    fields["dataset_fingerprint"] = fields.get("dataset", {}).get("fingerprint")
    if "dataset" in fields:
        fields["builders"] = _builders(fields["dataset"], config)
        classes = map(tables.class_title, fields["dataset"].get("classes", ()))
        fields["classes"] = ", ".join(classes)
    if isinstance(code := fields.get("jaxcxr"), Mapping) and "changed" in code:
        words = {True: "with uncommitted changes", False: "no uncommitted changes"}
        told = {k: v for k, v in code.items() if k != "changed"}
        fields["jaxcxr"] = ", ".join(filter(None, (_as_text(told), words.get(code["changed"]))))
    for name, left_out in parts.items():
        if name in fields:
            fields[name] = {k: v for k, v in fields[name].items() if k not in left_out}
    if predictions is not None:
        fields["split_sha256"] = predictions.split_sha256
        fields["dataset_fingerprint"] = predictions.dataset_fingerprint
    if (training := read_json(report.folder / "training.json")) is not None:
        # The only checkpoint that predictions are made with; another one is an error there.
        report.facts["checkpoint"] = {"step": training["best_step"], "steps": training["step"]}
        fields["checkpoint"] = f"step {training['best_step']} of {training['step']}"
    fields["first_weights"] = first_weights
    absent = [name for name in _REQUIRED if not fields.get(name) and fields.get(name) != 0]
    if absent:
        where = (
            "there is no manifest.json" if manifest is None else "manifest.json has no such field"
        )
        names = ", ".join(_PROVENANCE[name] for name in absent)
        report.left_out.append(f"Provenance: {names} ({where}).")
    if "started" in fields:  # the run's own, a moment before that of the file
        fields["time"] = fields.pop("started")
    order = [*_PROVENANCE, *(name for name in fields if name not in _PROVENANCE)]
    lines = [
        f"- {_PROVENANCE.get(name, name)}: {f'`{text}`' if name in _AS_CODE else text}"
        for name in order
        if name not in absent and (text := _as_text(fields.get(name)))
    ]
    text = "\n".join(lines).replace(": \n", ":\n")  # of a list within the list
    report.add(text or "Not available.")


# Field of the manifest -> its name for readers, in this order.
_PROVENANCE = {
    "command": "Command", "time": "Started", "jaxcxr": "jaxcxr", "versions": "Packages",
    "python": "Python", "platform": "Operating system", "cpus": "CPU cores", "devices": "Devices",
    "task": "Task", "seed": "Seed", "first_weights": "Weights that training began with",
    "checkpoint": "Checkpoint", "builders": "Data set",
    "classes": "Classes", "dataset": "Data set, size",
    "dataset_fingerprint": "Data set, hash", "masks": "Lung masks", "split": "Split",
    "split_sha256": "Split, hash (SHA-256)", "upstream": "Files of earlier runs",
    "earlier_starts": "Earlier starts",
}  # fmt: skip
_REQUIRED = ("command", "time", "versions", "python", "platform", "seed", "split_sha256")
_AS_CODE = ("command", "split_sha256", "dataset_fingerprint")


def _builders(dataset: Mapping[str, Any], config: Mapping[str, Any] | None) -> str:
    """Names of the data sets, with the versions of their builders where the manifest has them."""
    versions = dataset.get("builders")
    if not versions:  # of a run before these were recorded
        modules = (config or {}).get("data", {}).get("builders", ())
        versions = {str(module).rpartition(".")[2]: "" for module in modules}
    return ", ".join(f"{n} (version {v})" if v else n for n, v in versions.items())


def _as_text(value: Any) -> str:
    """A value for readers; "" where there is nothing to say."""
    if isinstance(value, list) and value and isinstance(value[0], Mapping):
        return f"{len(value)}, listed in manifest.json"
    if isinstance(value, Mapping):
        texts = {name.replace("_", " "): _as_text(part) for name, part in value.items()}
        return ", ".join(f"{name} {text}" for name, text in texts.items() if text)
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_as_text, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value)
