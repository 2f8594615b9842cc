"""Scores of a segmenter beside the main ones.

At other thresholds, pooled over pixels, for each class of images; of single images, with intervals
and the worst of them.
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
_IMAGE_COLUMNS = (
    "Images of", "Structure", "Images", "Patients", "Dice", "95 % interval", "Worst decile",
    "Jaccard", "95 % interval", "HD95, px", "median, px", "HD95, % of side", "undefined",
)  # fmt: skip
_TERMINAL_COLUMNS = (0, 1, 2, 4, 5, 6, 9, 11, 12)
_UNDEFINED = {
    "no_prediction": "without a prediction of it",
    "no_reference": "without it in the reference mask",
    "neither": "without it in either mask",
    "no_outline": "with all of it among ignored pixels",
}
NOTE = (
    "Jaccard and Dice are means over the images of each structure, then over the structures; "
    "pooled, all images count as one, so that large lungs weigh more. Accuracy is the proportion "
    "of correctly classified pixels. The best threshold has the largest mean Dice on the "
    "validation patients; the held-out patients are not used for it."
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


def image_rows(overlap: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of what single images come to, for each group of images and structure.

    No rows where segmentation.json is of a version without them.
    """
    groups = overlap.get("per_image", {}).get("groups", [])
    return list(_IMAGE_COLUMNS), [
        [
            _group_title(row),
            structure_title(row["structure"]),
            f"{row['images']:,}",
            f"{row['patients']:,}",
            _number(row["dice"]["mean"], 4),
            _interval(row["dice"]),
            _number(row["dice"]["worst_decile"], 4),
            _number(row["jaccard"]["mean"], 4),
            _interval(row["jaccard"]),
            _number(row["hd95"]["mean"], 2),
            _number(row["hd95"]["median"], 2),
            _number(row["hd95"]["mean_percent"], 2),
            f"{sum(row['hd95_undefined'].values()):,}",
        ]
        for row in groups
    ]


def worst_rows(overlap: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the images with the lowest Dice, the worst first."""
    worst = overlap.get("per_image", {}).get("worst", [])
    return ["Image", "Patient", "Source", "Class", "Structure", "Dice", "Jaccard", "HD95, px"], [
        [
            *(row[name] for name in ("id", "patient", "source")),
            tables.class_title(row["class"]) if row["class"] else "–",
            structure_title(row["structure"]),
            *(_number(row[name], 4) for name in ("dice", "jaccard")),
            _number(row["hd95"], 2),
        ]
        for row in worst
    ]


def undefined_distances(overlap: Mapping[str, Any]) -> list[str]:
    """A sentence on the images without HD95, for each structure: how many, and why."""
    sentences = []
    for row in overlap.get("per_image", {}).get("groups", []):
        missing = row["hd95_undefined"]
        if row["group"] != "all" or not (total := sum(missing.values())):
            continue
        reasons = [f"{missing[key]:,} {text}" for key, text in _UNDEFINED.items() if missing[key]]
        sentences.append(
            f"{structure_title(row['structure'])}: HD95 is undefined for {total:,} of "
            f"{row['images']:,} images ({'; '.join(reasons)}), which its mean leaves out."
        )
    return sentences


def add_details(report: Report, overlap: Mapping[str, Any]) -> None:
    """The tables as sections of a report, those that have rows, and notes on their columns."""
    add_images(report, overlap)
    shown = {"### Thresholds": threshold_rows(overlap), "### Scores by class": class_rows(overlap)}
    for title, (header, rows) in shown.items():
        if rows:
            report.add(title)
            report.table(header, rows)
    if any(rows for _, rows in shown.values()):
        report.add(NOTE)


def add_images(report: Report, overlap: Mapping[str, Any]) -> None:
    """The tables of single images as sections of a report, where segmentation.json has them."""
    header, rows = image_rows(overlap)
    if not rows:
        return
    report.add("### Scores per image")
    report.table(header, rows)
    report.add(images_note(overlap))
    header, rows = worst_rows(overlap)
    if rows:
        report.add("### Images with the lowest Dice")
        report.table(header, rows)
        report.add(f"All images: `{overlap['per_image']['file']}`.")


def images_note(overlap: Mapping[str, Any]) -> str:
    """The meaning of the columns of `image_rows`, and the images without HD95."""
    side = overlap["per_image"]["side"]
    return " ".join(
        [
            "Means over images at `predict.threshold`. Intervals, 95 %, are of the mean: bootstrap "
            "over patients. Worst decile: 10th percentile of Dice, which one image in ten does not "
            "reach. HD95: 95th percentile Hausdorff distance of the outlines, the larger of the "
            f"two directions, in pixels of the network's image ({side} x {side}, to which X-rays "
            "are resized without keeping their aspect) and per cent of its side.",
            *_pieces(overlap),
            *undefined_distances(overlap),
        ]
    )


def _pieces(overlap: Mapping[str, Any]) -> list[str]:
    """What was left out of the masks before they were scored."""
    if not (largest := overlap.get("largest_pieces", 0)):
        return []
    kept = "connected piece counts" if largest == 1 else f"{largest} connected pieces count"
    return [f"Of each structure the largest {kept} (`predict.largest_pieces`)."]


def texts(overlap: Mapping[str, Any]) -> list[str]:
    """The same tables for the terminal, that of single images with fewer columns."""
    header, rows = image_rows(overlap)
    narrow = [[row[k] for k in _TERMINAL_COLUMNS] for row in (header, *rows)]
    images = (narrow[0], narrow[1:])
    shown = (images, threshold_rows(overlap), class_rows(overlap))
    return [tables.text_table(*table) for table in shown if table[1]]


def structure_title(name: str) -> str:
    """'left_lung' -> 'Left lung'."""
    return name.replace("_", " ").capitalize()


def _group_title(row: Mapping[str, Any]) -> str:
    if row["group"] == "all":
        return "All images"
    name = tables.class_title(row["name"]) if row["group"] == "class" else row["name"]
    return f"{row['group'].capitalize()}: {name}"


def _interval(row: Mapping[str, Any]) -> str:
    ends = [row["low"], row["high"]]
    return "–" if None in ends else " to ".join(_number(end, 4) for end in ends)


def _cells(row: Mapping[str, Any]) -> list[str]:
    return [_number(row[name], 4) for name in _COLUMNS]


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"
