"""Biomarkers in a study's report: their values by class, and the logistic regression of them."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from jaxcxr.metrics.biomarkers import BIOMARKERS
from jaxcxr.report import document, plots, tables
from jaxcxr.report.document import SPLIT_TITLES, Report
from jaxcxr.storage import files
from jaxcxr.storage.predictions import Predictions

FOLDER, CSV = "biomarkers", "biomarkers.csv"  # in a study's folder
TEST = "test"  # in the column `fold`
TITLE = "Biomarkers, logistic regression"
_SUMMARY = "lungs_{}.json"
_MASKS = {
    "dataset": "masks of the data set",
    "ready": "masks of the ready-made segmenter",
    "segment": "masks of the study's own segmenter",
}
_COLUMNS = 4  # of the figure
_QUARTILES = (25, 50, 75)


@dataclasses.dataclass(frozen=True)
class Biomarkers:
    """What a study's `biomarkers/` holds.

    Attributes:
        summary: whose masks, numbers of images without a structure, the regression's settings.
        labels: [N] class names.
        values: [N, D] of `BIOMARKERS`, NaN where missing.
        predictions: the regression's, in the order of the folds; none where nothing was fitted.
    """

    summary: Mapping[str, Any]
    labels: np.ndarray
    values: np.ndarray
    predictions: tuple[Predictions, ...]

    def scores(self, split: str) -> list[Mapping[str, Any]]:
        """The regression's scores, of every fold that has images of the split."""
        parts = [p.select(split) for p in self.predictions]
        return [tables.classification_scores(part) for part in parts if len(part)]


def summary_name(source: str) -> str:
    """The file that says that biomarkers of these masks (`study.biomarkers`) are all there."""
    return _SUMMARY.format(source)


def read(roots: Sequence[Path]) -> Biomarkers | None:
    """The biomarkers of the first of several studies that has any.

    Raises:
        InputError: a file is missing or damaged.
    """
    for root in roots:
        for path in sorted((root / FOLDER).glob(_SUMMARY.format("*"))):
            summary, table = document.read_json(path) or {}, path.parent / CSV
            delete = f"delete {path.parent} and start the study again: it is then made again."
            with files.reading(table, delete):
                with open(table, newline="", encoding="utf-8") as lines:
                    rows = list(csv.DictReader(lines))
                values = [[float(row[name] or "nan") for name in BIOMARKERS] for row in rows]
                labels = [row["class"] for row in rows]
            folders = path.parent.glob("fold*")
            ordered = sorted(folders, key=lambda folder: int(folder.name.removeprefix("fold")))
            found = tuple(map(document.read_predictions, ordered))
            return Biomarkers(summary, np.array(labels), np.array(values), found)
    return None


def table_rows(found: Biomarkers | None, split: str, classes: Sequence[str]) -> list[list[str]]:
    """Rows below the learners' in Table 3: a title, and the regression; none without it."""
    if found is None or not (scores := found.scores(split)):
        return []
    means = tables.over_folds(scores)
    return [
        ["**Baseline without a network**", *[""] * (len(classes) + 1)],
        [TITLE, *(str(means[key]) for key in (*classes, "macro_f1"))],
    ]


def add_section(report: Report, found: Biomarkers | None, split: str) -> None:
    """Section of the biomarkers by class, and of what the regression was fitted to."""
    report.facts["biomarkers"] = None
    if found is None:
        report.left_out.append(
            "Biomarkers: the study has no biomarkers/. They are measured when it is started again, "
            "unless study.biomarkers is none."
        )
        return
    classes = found.predictions[0].classes if found.predictions else np.unique(found.labels)
    classes = [str(name) for name in classes]
    by_class = {name: found.labels == name for name in classes}
    summary = found.summary
    has = _present(found.values)
    lacking = [f"{text} in {count:,}" for text, count in summary["without"].items() if count]
    report.add(
        "### Biomarkers",
        f"Of {summary['images']:,} images, by the {_MASKS[summary['source']]}"
        + (f" ({summary['found_by']})" if summary["found_by"] else "")
        + f"; grey values after histogram equalisation, at {summary['side']} px. Median (quartiles)"
        " of each class. "
        + (f"Missing values: {'; '.join(lacking)}. " if lacking else "")
        + "They are as good as the masks, and for research use only.",
    )
    facts: dict[str, Any] = {}
    rows = []
    for number, (name, title) in enumerate(BIOMARKERS.items()):
        if name not in has:
            continue
        facts[name] = {c: _quartiles(found.values[m, number]) for c, m in by_class.items()}
        rows.append([title, *(_as_text(of_class) for of_class in facts[name].values())])
    if without := [text for name, text in BIOMARKERS.items() if name not in has]:
        report.left_out.append(f"Biomarkers that no image has: {'; '.join(without)}.")
    if rows:
        report.table(["Biomarker", *map(tables.class_title, classes)], rows)
        shown = {tables.class_title(c): found.values[m] for c, m in by_class.items()}
        title = "Biomarkers by class"
        report.figure("biomarkers", figure(shown, title=title), title)
        report.add("Boxes: median and quartiles; whiskers: 5th to 95th percentile.")
    report.facts["biomarkers"] = {**summary, "by_class": facts, "splits": None}
    _add_baseline(report, found, split, classes)


def _add_baseline(report: Report, found: Biomarkers, split: str, classes: Sequence[str]) -> None:
    if not found.predictions:
        report.left_out.append(f"{TITLE}: no training image has any biomarker.")
        return
    fitted = found.summary["baseline"]
    report.add(
        f"The logistic regression of {len(fitted['biomarkers'])} biomarkers is fitted to the "
        "learners' training images of each fold and tested on the same images as they are. "
        "Biomarkers are standardised, missing ones replaced by the median of the training images "
        f"({fitted['imputed']:,} of {fitted['values']:,} values), classes balanced; "
        f"C = {fitted['C']:g}, not tuned. A network that scores no better has not been shown to "
        "see more than the lungs' shape and brightness. Fractions of the image also tell how an "
        "X-ray was cropped, and so perhaps its source."
    )
    splits = {}
    for name in ("test", "oof"):
        if scores := found.scores(name):
            means = tables.over_folds(scores)
            splits[name] = {
                "f1": {key: value.to_json() for key, value in means.items() if key != "accuracy"},
                "accuracy": means["accuracy"].to_json(),
                "confusion_sum": np.sum([s["confusion"] for s in scores], axis=0).tolist(),
            }
    report.facts["biomarkers"]["splits"] = splits
    if split in splits:
        titles = [tables.class_title(c) for c in classes]
        counts = np.array(splits[split]["confusion_sum"])
        drawn = plots.confusion_matrix(counts, titles, title=f"{TITLE}: {SPLIT_TITLES[split]}")
        caption = f"Confusion matrix of {TITLE}"
        report.figure(f"confusion_{split}_biomarkers", drawn, caption)


def figure(values: Mapping[str, np.ndarray], *, title: str) -> Figure:
    """A panel for each biomarker that some image has, with a box for each class.

    Boxes reach from quartile to quartile, with a line at the median; whiskers from the 5th to the
    95th percentile.

    Args:
        values: class as it should be shown -> [n, D] of `BIOMARKERS`, NaN where missing.
        title: stands above the panels.
    """
    has = _present(np.concatenate(list(values.values())))
    shown = [(n, name) for n, name in enumerate(BIOMARKERS) if name in has]
    columns = min(_COLUMNS, len(shown))
    lines = -(-len(shown) // columns)
    names = 0.085 * max(map(len, values))  # inches that the longest label takes
    drawn = plots.canvas(names + 2.4 * columns, lines * (0.75 + 0.3 * len(values)) + 0.6)
    drawn.suptitle(title, fontsize=12, color=plots.INK)
    panels = drawn.subplots(lines, columns, sharey=True, squeeze=False).ravel()
    for axes in panels[len(shown) :]:
        axes.set_visible(False)
    for axes, (number, name) in zip(panels, shown, strict=False):
        plots.tidy(axes)
        boxes = axes.boxplot(
            [of_class[~np.isnan(of_class[:, number]), number] for of_class in values.values()],
            positions=range(len(values)),
            orientation="horizontal",
            manage_ticks=False,  # those of a shared axis would be there once for each panel
            whis=(5, 95),
            showfliers=False,
            widths=0.6,
            patch_artist=True,
            medianprops={"color": plots.INK, "linewidth": 1.4},
            whiskerprops={"color": plots.MUTED},
            capprops={"color": plots.MUTED},
        )
        for place, box in enumerate(boxes["boxes"]):
            box.set(facecolor=plots.COLOURS[place % len(plots.COLOURS)], edgecolor=plots.MUTED)
        axes.set_title(name.replace("_", " ").capitalize(), fontsize=9.5, color=plots.INK)
        axes.set_yticks(range(len(values)), list(values))
        axes.set_ylim(len(values) - 0.5, -0.5)  # the first class at the top
        axes.tick_params(axis="y", length=0)
        axes.tick_params(axis="x", labelsize=8)
        axes.locator_params(axis="x", nbins=4)
    return drawn


def _present(values: np.ndarray) -> list[str]:
    """The biomarkers that some image of [N, D] has."""
    there = np.flatnonzero((~np.isnan(values)).sum(axis=0)).tolist()
    return [name for number, name in enumerate(BIOMARKERS) if number in there]


def _quartiles(values: np.ndarray) -> dict[str, Any]:
    values = values[~np.isnan(values)]
    low, median, high = np.percentile(values, _QUARTILES) if len(values) else (None, None, None)
    rounded = (None if v is None else round(float(v), 4) for v in (low, median, high))
    return {"images": len(values), **dict(zip(("q1", "median", "q3"), rounded, strict=True))}


def _as_text(of_class: Mapping[str, Any]) -> str:
    if of_class["median"] is None:
        return "–"
    return f"{of_class['median']:.3f} ({of_class['q1']:.3f} to {of_class['q3']:.3f})"
