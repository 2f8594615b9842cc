"""Report of a segmenter on an external test set, beside its scores on its held-out patients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxcxr.errors import InputError
from jaxcxr.report import document, excluded, first_weights, segmentation_tables, tables
from jaxcxr.report.document import Report
from jaxcxr.storage.provenance import environment
from jaxcxr.storage.run_files import MANIFEST

_HOW = (
    "External and internal patients also differ in scanners, hospitals, and in what their "
    "reference masks count as lung; the intervals cover the sampling of patients alone."
)


def write_external_masks_report(
    folder: Path | str,
    run: Path | str,
    *,
    name: str,
    config: Mapping[str, Any],
    settings: Mapping[str, Any],
    fingerprint: str,
    weights: str,
    left_out: Mapping[str, int],
    warnings: Sequence[str],
) -> str:
    """Writes report.md and report.json of a segmenter's scores on another data set.

    Args:
        folder: holds their segmentation.json.
        run: the run that was measured; its own segmentation.json and manifest.json are read where
            they are.
        name: of the data set.
        config: of the run.
        settings: the data section that it was opened with.
        fingerprint: hash of the images.
        weights: name of the weights, where nothing was trained; '' else.
        left_out: reason -> number of images that were excluded.
        warnings: shown above the scores.

    Returns:
        the tables for the terminal, with the numbers of excluded images.

    Raises:
        InputError: segmentation.json is missing or lacks a field.
    """
    folder, run = Path(folder), Path(run)
    overlap = document.read_segmentation(folder)
    if overlap is None:
        raise InputError(f"{folder / 'segmentation.json'} is missing: measure the data set again")
    own = None if weights else document.read_segmentation(run)
    few = _few_patients(overlap)
    warnings = [*warnings, *([f"No interval for fewer than two patients: {few}."] if few else [])]
    report = Report(
        folder,
        {
            "kind": "external_segmentation",
            "name": name,
            "run": str(run),
            "weights": weights or None,
            "settings": settings,
            "dataset_fingerprint": fingerprint,
            "segmentation": overlap,
            "own_held_out": own,
            "images_left_out": dict(left_out),
            "config": config,
        },
    )
    title = f"{tables.learner_title(config['model']['name'])}: external test set {name}"
    report.open(title, warnings)
    where = f"{overlap['images']:,} images of {name}"
    report.add("## Result", f"{where}: {_sentence(overlap)}.")
    segmentation_tables.add_details(report, overlap)
    if own is not None and segmentation_tables.image_rows(own)[1]:
        report.add("### The run's own held-out patients")
        report.table(*segmentation_tables.image_rows(own))
        report.add(_HOW)
    excluded.add_counts(report, left_out)
    measured = report.facts["measured"] = environment()
    _add_provenance(report, run, measured, config)
    report.add(f"Hash of the external images: `{fingerprint}`.")
    report.write()
    lines = [title, where, *segmentation_tables.texts(overlap)]
    lines += [*segmentation_tables.undefined_distances(overlap), *excluded.counts(left_out)]
    return "\n".join([*lines, *(f"Warning. {w}" for w in warnings)])


def _add_provenance(
    report: Report, run: Path, measured: Mapping[str, Any], config: Mapping[str, Any]
) -> None:
    """That of the run, then of the measurement; of the latter alone where nothing was trained."""
    manifest = document.read_json(run / MANIFEST)
    began_with = report.facts["pretrained"] = first_weights.of_run(run, config)
    if manifest is not None:
        document.add_provenance(
            report,
            manifest,
            config=config,
            first_weights=first_weights.sentence(began_with) if began_with else "",
        )
        report.add(
            f"These are the run's. External test: `{measured['command']}`, {measured['time']}."
        )
        return
    of_measurement = {**measured, "task": config["task"], "seed": config["seed"]}
    document.add_provenance(report, of_measurement)


def _sentence(overlap: Mapping[str, Any]) -> str:
    """Mean Dice with its interval, of each structure that some image is labelled for."""
    parts = []
    for row in overlap["per_image"]["groups"]:
        if row["group"] != "all" or not row["images"]:
            continue
        dice = row["dice"]
        ends = (
            ""
            if dice["low"] is None
            else f" ({document.score_text(dice['low'])} to {document.score_text(dice['high'])})"
        )
        named = row["structure"].replace("_", " ")
        parts.append(f"Dice of {named} **{document.score_text(dice['mean'])}**{ends}")
    return ", ".join(parts) or "no image is labelled for a structure"


def _few_patients(overlap: Mapping[str, Any]) -> str:
    """Groups of one patient."""
    rows = overlap["per_image"]["groups"]
    return ", ".join(
        " ".join(filter(None, (row["group"], row["name"], row["structure"])))
        for row in rows
        if row["patients"] == 1
    )
