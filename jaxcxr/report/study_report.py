"""The report of a whole study: the paper's Table 3 for its learners and its ensemble."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxcxr.errors import InputError
from jaxcxr.papers import patched_flannel
from jaxcxr.report import (
    biomarkers_report,
    composition,
    confounding,
    data_checks,
    document,
    ensembles,
    excluded,
    first_weights,
    loss_level,
    plots,
    roc_pr,
    tables,
    whole_and_patched,
)
from jaxcxr.report.document import SPLIT_TITLES, Report
from jaxcxr.report.entries import ENSEMBLE, Entry, named, read_entries, told_apart
from jaxcxr.report.tables import VARIANT_TITLES
from jaxcxr.storage.predictions import check_same_split


def write_study_report(
    folder: Path | str,
    *,
    learners_of: Sequence[Path] = (),
    beside: Sequence[Path] = (),
    further_ensembles: Sequence[str] = (),
) -> str:
    """Writes report.md, report.json and plots/ of a finished study.

    Reads learners/<name>/fold<k>/ and ensemble/fold<k>/ (predictions.npz, config.json,
    timings.json), segment/ (segmentation.json, timings.json), biomarkers/ (where it has none, those
    of the first other study that has some), and of the study itself
    manifest.json and timings.json.

    Args:
        folder: the study.
        learners_of: studies of the same split whose learners its ensemble weighs, too; their rows
            join the tables.
        beside: further studies of the same split whose rows join the tables, as the whole-image
            study beside the patched one.
        further_ensembles: `study.ensembles`: those in ensembles/<text>/fold<k>/, beside its own.

    Returns:
        the table for the terminal: Table 3 on the test split.

    Raises:
        InputError: no learner has predictions, a fold is missing, or the predictions are of
            different splits.
    """
    folder = Path(folder)
    others = dict.fromkeys(path.resolve() for path in (*learners_of, *beside))
    entries = [entry for root in others if root != folder.resolve() for entry in read_entries(root)]
    entries = told_apart([*entries, *read_entries(folder, learners_of=learners_of)])
    everything = [p for entry in entries for p in entry.predictions]
    biomarkers = biomarkers_report.read([folder, *others])
    check_same_split([*everything, *(biomarkers.predictions if biomarkers else ())])
    classes = list(everything[0].classes)
    associations, warnings, left_out = confounding.confounding(everything)
    levels = loss_level.of_learners({named(e): e.folders for e in entries}, len(classes))
    # An ensemble's manifest has neither views nor checks; its learners', of the same split, do.
    learner = min(entries, key=lambda e: e.model == ENSEMBLE)
    looked_at = document.read_json(learner.folders[0] / "manifest.json")
    warnings = [*warnings, *loss_level.warnings(levels)]
    warnings += data_checks.warnings(data_checks.of_manifest(looked_at))
    splits = [s for s in ("test", "oof") if all(s in entry.scores for entry in entries)]
    if not splits:
        raise InputError(
            f"{folder}: the learners have neither test nor out-of-fold predictions in common"
        )
    report = Report(
        folder,
        {
            "kind": "study",
            "classes": classes,
            "folds": max(len(entry.folders) for entry in entries),
            "split_sha256": everything[0].split_sha256,
            "dataset_fingerprint": everything[0].dataset_fingerprint,
            "learners": [_facts(entry) for entry in entries],
        },
        left_out=left_out,
    )
    variants = {entry.variant for entry in entries if entry.model != ENSEMBLE}
    kinds = [title.lower() for variant, title in VARIANT_TITLES.items() if variant in variants]
    report.open(
        f"Study: {' and '.join(kinds) or folder.name} learners and their ensemble", warnings
    )

    main = splits[0]
    report.add("## Result", _headline(entries, main))
    header, rows = table_3(entries, main)
    rows += biomarkers_report.table_rows(biomarkers, main, classes)
    report.table(header, rows)
    report.add(
        "F1 of each class against the rest; mean over the folds' models, in brackets the sample "
        "standard deviation. As in the paper, it is the spread of the models, not the uncertainty "
        "of the mean."
    )
    whole_and_patched.add_differences(report, entries, splits)
    ensembles.add_combinations(report, entries, main, further_ensembles)
    _chart(report, entries, main)
    roc_pr.add_entries(report, entries, main)
    _comparison(report, entries, main)
    first = document.read_json(entries[0].folders[0] / "manifest.json") or {}
    learners = {named(e): e.folders for e in entries if e.model != ENSEMBLE}
    began_with = first_weights.of_learners(learners)
    report.facts["pretrained"] = began_with
    document.add_provenance(
        report,
        document.read_json(folder / "manifest.json"),
        predictions=everything[0],
        dataset=first.get("dataset"),
        config=entries[0].config,
        first_weights=first_weights.sentences(began_with) if began_with else "",
    )
    excluded.add_excluded(report, entries[0].folders[0])

    report.add("## Details")
    _settings(report, entries)
    loss_level.add_table(report, levels, over="folds")
    if "oof" in splits and main != "oof":
        report.add("### Out-of-fold images")
        _, of_oof = table_3(entries, "oof")
        report.table(header, of_oof + biomarkers_report.table_rows(biomarkers, "oof", classes))
        if any(entry.model == ENSEMBLE for entry in entries):
            report.add(
                "The ensemble's checkpoint was chosen on these images: its row here is optimistic."
            )
    report.add(f"### Confusion matrices, summed over the folds: {SPLIT_TITLES[main]}")
    if main == "test":
        report.add(
            "Every fold's model sees the same test images, so each image counts once a fold."
        )
    titles = [tables.class_title(c) for c in classes]
    for entry in sorted(entries, key=lambda e: e.model != ENSEMBLE):
        figure = plots.confusion_matrix(entry.confusion(main), titles, title=named(entry))
        report.figure(entry.file("confusion", main), figure, f"Confusion matrix of {named(entry)}")
    biomarkers_report.add_section(report, biomarkers, main)
    roc_pr.add_learners(report, entries, main)
    _data(report, entries[0])
    composition.add_study(report, learner.folders)
    data_checks.add_section(report, looked_at, pictures=None)
    document.add_confounding(report, associations)
    _segmentation(report, folder)
    _times(report, folder, entries)
    report.write()
    text = tables.text_table(header, [[c.replace("**", "") for c in row] for row in rows])
    title = f"F1 on the {SPLIT_TITLES[main]}, mean (std) over the folds"
    return "\n".join([title, text, *(f"Warning. {w}" for w in warnings)])


def table_3(entries: Sequence[Entry], split: str) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the paper's Table 3, each variant under its own title."""
    classes = entries[0].predictions[0].classes
    header = ["F1", *map(tables.class_title, classes), "Macro-F1"]
    rows = []
    for variant in dict.fromkeys(entry.variant for entry in entries):
        if variant is not None:
            rows.append([f"**{VARIANT_TITLES[variant]}**", *[""] * (len(classes) + 1)])
        for entry in (e for e in entries if e.variant == variant):
            means = entry.summary(split)
            rows.append([entry.title, *(str(means[key]) for key in (*classes, "macro_f1"))])
    return header, rows


def _facts(entry: Entry) -> dict[str, Any]:
    published = entry.published()
    splits = {}
    for split, folds in entry.scores.items():
        summary = entry.summary(split)
        splits[split] = {
            "f1": {name: value.to_json() for name, value in summary.items() if name != "accuracy"},
            "accuracy": summary["accuracy"].to_json(),
            "confusion_sum": entry.confusion(split).tolist(),
            "folds": list(folds),
        }
        if published is not None:
            splits[split]["minus_published"] = {
                name: round(summary[name].mean - value.mean, 4) for name, value in published.items()
            }
    return {
        "name": entry.name,
        "model": entry.model,
        "variant": entry.variant,
        "splits": splits,
        "published": None
        if published is None
        else {name: {"mean": v.mean, "std": v.std} for name, v in published.items()},
    }


def _headline(entries: Sequence[Entry], split: str) -> str:
    scores = entries[0].scores[split]
    lines = []
    for variant in dict.fromkeys(entry.variant for entry in entries):
        own = [e for e in entries if e.variant == variant]
        kind = f"{VARIANT_TITLES[variant].lower()} " if variant else ""
        singles = [e for e in own if e.model != ENSEMBLE]
        texts = [
            f"{kind}ensemble **{e.summary(split)['macro_f1']}**" for e in own if e.model == ENSEMBLE
        ]
        if singles:
            best = max(singles, key=lambda e: e.summary(split)["macro_f1"].mean)
            texts.append(f"best {kind}learner {best.title} **{best.summary(split)['macro_f1']}**")
        lines.append(", ".join(texts))
    folds = len(scores)
    return (
        f"Macro-F1 on the {SPLIT_TITLES[split]}, mean (std) over {folds} fold{'s'[: folds != 1]}: "
        f"{'; '.join(lines)}. A fold's model is scored on {scores[0]['images']:,} images of "
        f"{scores[0]['patients']:,} patients."
    )


def _chart(report: Report, entries: Sequence[Entry], split: str) -> None:
    chart: dict[str, dict[str, tuple[float, float | None]]] = {}
    marks: dict[str, dict[str, float]] = {}
    for entry in entries:
        variant = VARIANT_TITLES.get(entry.variant or "", "All").lower()
        macro = entry.summary(split)["macro_f1"]
        chart.setdefault(variant, {})[entry.title] = (macro.mean, macro.std)
        if published := entry.published():
            marks.setdefault(variant, {})[entry.title] = published["macro_f1"].mean
    title = f"Macro-F1 on the {SPLIT_TITLES[split]}"
    report.figure("learners", plots.learners(chart, published=marks, title=title), title)


def _comparison(report: Report, entries: Sequence[Entry], split: str) -> None:
    compared = [entry for entry in entries if entry.published()]
    report.facts["comparable"] = patched_flannel.COMPARABLE if compared else None
    if not compared:
        report.left_out.append(
            "Comparison with published results: the classes are not those of the paper"
            if any(e.variant for e in entries)
            else (
                "Comparison with published results: no config.json distinguishes patched from "
                "whole-image learners."
            )
        )
        return
    report.add(
        "## Comparison with published results",
        patched_flannel.COMPARABLE,
        *_other_learners(entries),
        _leakage(report, entries[0]),
    )
    keys = (*patched_flannel.CLASSES, "macro_f1")
    rows = []
    for entry in compared:
        ours, published = entry.summary(split), entry.published() or {}
        rows.append([f"**{named(entry)}**", *(str(ours[key]) for key in keys)])
        rows.append(["published", *(str(published[key]) for key in keys)])
        rows.append(["difference", *(f"{ours[k].mean - published[k].mean:+.4f}" for k in keys)])
    report.table(["F1", *map(tables.class_title, patched_flannel.CLASSES), "Macro-F1"], rows)


def _other_learners(entries: Sequence[Entry]) -> list[str]:
    """Sentence about ensembles of learners that the paper's has not, where there are such."""
    of_the_paper = {name for rows in patched_flannel.TABLE_3.values() for name in rows}
    members = [member for entry in entries for member in entry.members]
    others = dict.fromkeys(m.title for m in members if m.model not in of_the_paper)
    if not others:
        return []
    return [f"The ensemble here weighs other learners than the paper's: {', '.join(others)}."]


def _leakage(report: Report, entry: Entry) -> str:
    """Sentence on leakage: the number of test patients with images in other splits, counted."""
    test = {str(i) for p in entry.predictions for i in p.select("test").patient_ids}
    others = {str(i) for p in entry.predictions for i in p.patient_ids[p.split != "test"]}
    report.facts["test_patients"] = len(test)
    report.facts["test_patients_in_other_splits"] = len(test & others)
    return (
        f"Here {len(test & others):,} of the {len(test):,} test patients also have images outside "
        "the test split."
    )


def _data(report: Report, entry: Entry) -> None:
    """Class counts over all folds: every out-of-fold image once, every test image once."""
    counts: dict[str, dict[str, int]] = {}
    for split in ("oof", "test"):
        label_of: dict[str, int] = {}
        for p in entry.predictions:
            part = p.select(split)
            label_of.update(zip(map(str, part.ids), map(int, part.labels), strict=True))
        if label_of:
            values = list(label_of.values())
            name = "cross-validation" if split == "oof" else "test"
            classes = entry.predictions[0].classes
            counts[name] = {c: values.count(k) for k, c in enumerate(classes)}
    document.add_class_counts(report, counts)


def _segmentation(report: Report, folder: Path) -> None:
    overlap = document.read_segmentation(folder / "segment")
    report.facts["segmentation"] = overlap
    if overlap is None:
        report.left_out.append("Lung segmentation: the study has no segment/segmentation.json.")
        return
    where = document.split_title(overlap["split"])
    report.add("### Lung segmentation", f"On {overlap['images']:,} {where}.")
    report.table(*document.overlap_rows(overlap))
    report.add(document.OVERLAP_NOTE)


def _times(report: Report, folder: Path, entries: Sequence[Entry]) -> None:
    """Time of every stage, summed over the folds; patching's cost is what the paper left open."""
    runs = {"segment": [folder / "segment"]} if (folder / "segment").exists() else {}
    patched = set()
    for entry in entries:
        runs[named(entry)] = list(entry.folders)
        if entry.variant == "patched" and entry.model != ENSEMBLE:
            patched.add(named(entry))
    stages: dict[str, dict[str, Any]] = {}
    missing = []
    for name, folders in runs.items():
        for path in folders:
            timings = document.read_json(path / "timings.json")
            if timings is None:
                missing.append(f"{path.parent.name}/{path.name}")
                continue
            for stage, facts in timings["stages"].items():
                total = stages.setdefault(f"{name}: {stage}", {})
                for key in ("seconds", "images", *["patches"] * (name in patched)):
                    if facts.get(key) is not None:
                        total[key] = total.get(key, 0) + facts[key]
    for facts in stages.values():
        if facts.get("patches") and facts.get("seconds"):
            facts["patches_per_second"] = round(facts["patches"] / facts["seconds"], 3)
    report.facts["timings"] = {"stages": stages} if stages else None
    if missing:
        report.left_out.append(f"Time per stage: no timings.json in {', '.join(missing)}.")
    if stages:
        report.add("### Time", "Summed over the folds; `predict` includes every split of its file.")
        report.table(*document.timing_rows(stages, patched=bool(patched)))
        report.add(*_cost_of_patching(report, stages, entries))
    whole = document.read_json(folder / "stages.json")
    if whole:
        report.facts["stage_seconds"] = {name: row["seconds"] for name, row in whole.items()}
        total = document.duration(sum(report.facts["stage_seconds"].values()))
        report.add(
            f"All {len(whole)} stages together, with compiling, reading and writing: {total}."
        )


def _cost_of_patching(
    report: Report, stages: Mapping[str, Mapping[str, Any]], entries: Sequence[Entry]
) -> list[str]:
    """Ratio of prediction times per image, patched over whole image, of learners with both."""
    seconds: dict[str, dict[str, float]] = {}
    for entry in entries:
        stage = stages.get(f"{named(entry)}: predict", {})
        if entry.variant and entry.model != ENSEMBLE and stage.get("images"):
            seconds.setdefault(entry.title, {})[entry.variant] = stage["seconds"] / stage["images"]
    ratios = {
        title: round(both["patched"] / both["whole_image"], 2)
        for title, both in seconds.items()
        if len(both) == 2
    }
    report.facts["patched_over_whole_image_seconds"] = ratios or None
    if not ratios:
        return []
    listed = ", ".join(f"{title} {ratio:.2f}" for title, ratio in ratios.items())
    return [
        (
            f"Prediction time per image, patched over whole image: {listed} (at the sizes under "
            "Settings)."
        )
    ]


def _settings(report: Report, entries: Sequence[Entry]) -> None:
    """Section of the learners' settings that may differ from the published ones."""
    report.facts["settings"] = {
        named(e): {
            name: value for name in _SETTINGS if (value := _field(e.config, name)) is not None
        }
        for e in entries
    }
    rows = [
        [name, *("–" if (v := facts.get(s)) is None else f"{v:g}" for s in _SETTINGS)]
        for name, facts in report.facts["settings"].items()
        if facts
    ]
    if rows:
        report.add("### Settings", "Width and depth are factors: 1 is the published network.")
        report.table(["Learner", *_SETTINGS.values()], rows)
    else:
        report.left_out.append("Settings of the learners: there is no config.json.")


_SETTINGS = {
    "data.image_size": "Image, px",
    "patches.size": "Patch or crop, px",
    "patches.eval_count": "K",
    "model.width": "Width",
    "model.depth": "Depth",
    "train.epochs": "Epochs",
    "train.batch_size": "Batch",
    "optim.learning_rate": "Learning rate",
}


def _field(config: Mapping[str, Any], name: str) -> Any:
    section, field = name.split(".")
    return config.get(section, {}).get(field)
