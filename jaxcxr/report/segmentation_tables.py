"""Scores of a segmenter beside the main ones.

At other thresholds, pooled over pixels, for each class of images.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jaxcxr.report import tables
from jaxcxr.report.document import Report

_CHOICES = {
    "configured": "predict.threshold",
    "half": "one half",
    "best on validation": "best on validation",
}
_COLUMNS = {
    "accuracy": "Accuracy",
    "jaccard": "Jaccard",
    "dice": "Dice",
    "pooled_jaccard": "Jaccard, pooled",
    "pooled_dice": "Dice, pooled",
}
NOTE = (
    "Jaccard and Dice are means over images; pooled, all images count as one, so that large lungs "
    "weigh more. Accuracy is the proportion of correctly classified pixels. The best threshold has "
    "the largest mean Dice on the validation patients; the held-out patients are not used for it."
)


def threshold_rows(overlap: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the scores at each threshold of segmentation.json.

    No rows where there is only one.
    """
    scores = overlap.get("scores", [])
    rows = [
        [_CHOICES.get(row["choice"], row["choice"]), _number(row["threshold"], 2), *_cells(row)]
        for row in scores
    ]
    return ["Choice", "Threshold", *_COLUMNS.values()], rows if len(rows) > 1 else []


def class_rows(overlap: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the scores of each class of images.

    No rows where the run has no classes.
    """
    rows = [
        [tables.class_title(name), f"{row['images']:,}", *_cells(row)]
        for name, row in overlap.get("classes", {}).items()
    ]
    return ["Class", "Images", *_COLUMNS.values()], rows


def add_details(report: Report, overlap: Mapping[str, Any]) -> None:
    """The tables as sections of a report, those that have rows, and a note on their columns."""
    shown = {"### Thresholds": threshold_rows(overlap), "### Scores by class": class_rows(overlap)}
    for title, (header, rows) in shown.items():
        if rows:
            report.add(title)
            report.table(header, rows)
    if any(rows for _, rows in shown.values()):
        report.add(NOTE)


def texts(overlap: Mapping[str, Any]) -> list[str]:
    """The same tables for the terminal."""
    return [
        tables.text_table(*table)
        for table in (threshold_rows(overlap), class_rows(overlap))
        if table[1]
    ]


def _cells(row: Mapping[str, Any]) -> list[str]:
    return [_number(row[name], 4) for name in _COLUMNS]


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"
