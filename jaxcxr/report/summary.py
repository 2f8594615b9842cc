"""Reports of single runs: one classifier or ensemble, one segmenter.

`write_study_report` joins them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from jaxcxr.data import drawn
from jaxcxr.errors import InputError
from jaxcxr.metrics import intervals
from jaxcxr.metrics.by_rows import BootstrapScores
from jaxcxr.report import (
    composition,
    confounding,
    data_checks,
    document,
    excluded,
    first_weights,
    loss_level,
    plots,
    roc_pr,
    segmentation_tables,
    tables,
    train_accuracy,
)
from jaxcxr.report.document import SPLIT_TITLES, Report
from jaxcxr.report.study_report import write_study_report
from jaxcxr.storage.metric_writer import read_metrics
from jaxcxr.storage.predictions import Predictions

__all__ = ["write_run_report", "write_segment_report", "write_study_report"]


def write_run_report(folder: Path | str) -> str:
    """Writes report.md, report.json and plots/ of a finished classify or ensemble run.

    Reads predictions.npz (needed), metrics.jsonl, manifest.json, timings.json, config.json and
    overlays/*.png of the folder; what is missing is listed as not available.

    Returns:
        the table for the terminal: scores of the test split, or of the last split that is there.

    Raises:
        InputError: predictions.npz is missing, or a file cannot be read.
    """
    folder = Path(folder)
    predictions = document.read_predictions(folder)
    splits = document.splits_of(predictions)
    scores = {s: tables.classification_scores(predictions.select(s)) for s in splits}
    for split in set(_WITH_INTERVALS) & set(splits):
        if (found := _intervals(predictions.select(split))) is not None:
            scores[split]["intervals"] = found
    manifest = document.read_json(folder / "manifest.json")
    counts = document.counted(manifest)
    associations, warnings, left_out = confounding.confounding([predictions], counts.get("all"))
    config = document.read_json(folder / "config.json")
    name = tables.learner_title(predictions.learner)
    has_folds = (config or {}).get("split", {}).get("folds") != 1
    if has_folds:
        name += f", fold {predictions.fold}"
    report = Report(
        folder,
        {
            "kind": "classify",
            "learner": predictions.learner,
            "fold": predictions.fold,
            "classes": list(predictions.classes),
            "splits": scores,
            "split_sha256": predictions.split_sha256,
            "dataset_fingerprint": predictions.dataset_fingerprint,
            "config": config,
        },
        left_out=left_out,
    )

    main = splits[-1]
    warnings = [*warnings, *tables.constant(predictions.select(main))]
    level = loss_level.of_run(folder, len(predictions.classes))
    report.facts["loss"] = level and level.to_json()
    warnings += loss_level.warnings({name: [level]} if level else {})
    warnings += data_checks.warnings(data_checks.of_manifest(manifest))
    report.open(name, warnings)
    report.add("## Result", _sentence(scores[main], main), *([level.sentence] if level else []))
    report.table(*tables.scores_rows(scores[main]))
    _confusion(report, predictions.classes, scores[main], main, name)
    _areas(report, predictions, scores[main], main, name)

    began_with = report.facts["pretrained"] = first_weights.of_run(folder, config)
    document.add_provenance(
        report,
        manifest,
        predictions=predictions,
        config=config,
        first_weights=first_weights.sentence(began_with) if began_with else "",
    )
    excluded.add_excluded(report, folder)

    report.add("## Details")
    for split in reversed(splits[:-1]):
        report.add(f"### {SPLIT_TITLES[split].capitalize()}", _sentence(scores[split], split))
        report.table(*tables.scores_rows(scores[split]))
        if split == "oof":
            _confusion(report, predictions.classes, scores[split], split, name)
            _areas(report, predictions, scores[split], split, name)
    for split in ("oof", "test") if has_folds else ("test",):
        if split not in splits:
            report.left_out.append(f"Scores on {SPLIT_TITLES[split]}: predictions.npz has none.")
    document.add_class_counts(
        report, document.all_class_counts(counts) or document.class_counts(predictions)
    )
    if not counts and "train" not in splits:
        report.left_out.append(
            "Training images in class distribution and confounding: manifest.json has no "
            "counts of the splits, which every new training writes."
        )
    composition.add_run(report, manifest)
    if config is not None and config.get("task") == "classify":
        data_checks.add_section(report, manifest, pictures=folder)
    document.add_confounding(report, associations)
    document.add_curves(
        report, folder, title=name, classes=len(predictions.classes) if level else 0
    )
    train_accuracy.add(report, read_metrics(folder))
    document.add_timings(report, folder, patched=bool(document.uses_patches(config)))
    document.add_overlays(report, folder, config=config)
    report.write()

    table = tables.text_table(*tables.scores_rows(scores[main]))
    sentences = [_sentence(scores[main], main), *([level.sentence] if level else [])]
    lines = [table, *(text.replace("**", "") for text in sentences)]
    return "\n".join(
        [f"{name}: {SPLIT_TITLES[main]}", *lines, *(f"Warning. {w}" for w in warnings)]
    )


def write_segment_report(folder: Path | str) -> str:
    """Writes report.md, report.json and plots/ of a finished segment run.

    Reads segmentation.json (needed): {"structures": {name: {"jaccard", "jaccard_smoothed",
    "dice"}}, "split", "images"}; then metrics.jsonl, manifest.json, timings.json, config.json,
    overlays/*.png.

    Returns:
        the table for the terminal: Jaccard and Dice of each structure.

    Raises:
        InputError: segmentation.json is missing or lacks a field.
    """
    folder = Path(folder)
    overlap = document.read_segmentation(folder)
    if overlap is None:
        raise InputError(
            f"{folder / 'segmentation.json'} is missing: the run has not finished; run its config "
            "again"
        )
    config = document.read_json(folder / "config.json")
    report = Report(folder, {"kind": "segment", "segmentation": overlap, "config": config})
    manifest = document.read_json(folder / "manifest.json")
    warnings = drawn.of_builders((config or {}).get("data", {}).get("builders", ()))
    warnings += data_checks.warnings(data_checks.of_manifest(manifest))
    report.open("Lung segmentation", warnings)
    where = f"{overlap['images']:,} {document.split_title(overlap['split'])}"
    parts = [f"{n} {document.score_text(r['jaccard'])}" for n, r in overlap["structures"].items()]
    report.add("## Result", f"Jaccard index on {where}: **{', '.join(parts)}**.")
    report.table(*document.overlap_rows(overlap))
    report.add(document.OVERLAP_NOTE)
    segmentation_tables.add_details(report, overlap)
    began_with = report.facts["pretrained"] = first_weights.of_run(folder, config)
    document.add_provenance(
        report,
        manifest,
        config=config,
        first_weights=first_weights.sentence(began_with) if began_with else "",
    )
    excluded.add_excluded(report, folder)
    report.add("## Details")
    data_checks.add_section(report, manifest, pictures=folder)
    document.add_curves(report, folder, title="Lung segmentation")
    document.add_timings(report, folder, patched=False)
    document.add_overlays(report, folder, config=config)
    report.write()
    table = tables.text_table(*document.overlap_rows(overlap))
    lines = [f"Lung segmentation: {where}", table, *(f"Warning. {text}" for text in warnings)]
    return "\n".join(lines)


# Validation images chose the checkpoint: an interval would not be of new patients.
_WITH_INTERVALS = ("oof", "test")
_OVERALL = ("accuracy", "macro_f1")


def _intervals(predictions: Predictions) -> dict[str, Any] | None:
    """95 % intervals over patients of macro-F1 and accuracy; None for fewer than two patients."""
    scores = BootstrapScores(predictions.labels, predictions.probabilities)
    low, high = intervals.bootstrap(scores.overall, predictions.patient_ids).tolist()
    if np.isnan(low).any():
        return None
    ends = zip(_OVERALL, map(list, zip(low, high, strict=True)), strict=True)
    return {"level": 0.95, "method": "bootstrap over patients", **dict(ends)}


def _sentence(scores: dict[str, Any], split: str) -> str:
    ends = scores.get("intervals")
    shown = {n: f" ({ends[n][0]:.4f} to {ends[n][1]:.4f})" if ends else "" for n in _OVERALL}
    text = (
        f"Macro-F1 **{scores['macro_f1']:.4f}**{shown['macro_f1']}, accuracy "
        f"{scores['accuracy']:.4f}{shown['accuracy']} on {scores['images']:,} "
        f"{SPLIT_TITLES[split]} of {scores['patients']:,} patients."
    )
    return text + " In brackets: 95 % intervals, bootstrap over patients." * bool(ends)


def _areas(
    report: Report, predictions: Predictions, scores: dict[str, Any], split: str, name: str
) -> None:
    part, known = predictions.select(split), split in _WITH_INTERVALS
    roc_pr.add_run(report, part, scores, split, name=name, with_intervals=known)


def _confusion(
    report: Report, classes: tuple[str, ...], scores: dict[str, Any], split: str, name: str
) -> None:
    titles = [tables.class_title(c) for c in classes]
    title = f"{name}: {SPLIT_TITLES[split]}"
    figure = plots.confusion_matrix(scores["confusion"], titles, title=title)
    report.figure(f"confusion_{split}", figure, f"Confusion matrix, {SPLIT_TITLES[split]}")
