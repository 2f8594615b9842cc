"""Reports of single runs: one classifier or ensemble, one segmenter.

`write_study_report` joins them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jaxcxr.errors import InputError
from jaxcxr.report import confounding, document, excluded, plots, segmentation_tables, tables
from jaxcxr.report.document import SPLIT_TITLES, Report
from jaxcxr.report.study_report import write_study_report

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
    associations, warnings, left_out = confounding.confounding([predictions])
    config = document.read_json(folder / "config.json")
    name = f"{tables.learner_title(predictions.learner)}, fold {predictions.fold}"
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
    report.open(name, warnings)
    report.add("## Result", _sentence(scores[main], main))
    report.table(*tables.scores_rows(scores[main]))
    _confusion(report, predictions.classes, scores[main], main, name)

    manifest = document.read_json(folder / "manifest.json")
    document.add_provenance(report, manifest, predictions=predictions)
    excluded.add_excluded(report, folder)

    report.add("## Details")
    for split in reversed(splits[:-1]):
        report.add(f"### {SPLIT_TITLES[split].capitalize()}", _sentence(scores[split], split))
        report.table(*tables.scores_rows(scores[split]))
        if split == "oof":
            _confusion(report, predictions.classes, scores[split], split, name)
    for split in ("oof", "test"):
        if split not in splits:
            report.left_out.append(f"Scores on {SPLIT_TITLES[split]}: predictions.npz has none.")
    document.add_class_counts(report, document.class_counts(predictions))
    if "train" not in splits:
        report.left_out.append(
            "Class distribution of the training images: predict.splits has no train."
        )
    document.add_confounding(report, associations)
    document.add_curves(report, folder, title=name)
    document.add_timings(report, folder, patched=bool(document.uses_patches(config)))
    document.add_overlays(report, folder)
    report.write()

    table = tables.text_table(*tables.scores_rows(scores[main]))
    return "\n".join([f"{name}: {SPLIT_TITLES[main]}", table, *(f"Warning. {w}" for w in warnings)])


def write_segment_report(folder: Path | str) -> str:
    """Writes report.md, report.json and plots/ of a finished segment run.

    Reads segmentation_tables.json (needed): {"structures": {name: {"jaccard", "jaccard_smoothed",
    "dice"}}, "split", "images"}; then metrics.jsonl, manifest.json, timings.json, config.json,
    overlays/*.png.

    Returns:
        the table for the terminal: Jaccard and Dice of each structure.

    Raises:
        InputError: segmentation_tables.json is missing or lacks a field.
    """
    folder = Path(folder)
    overlap = document.read_segmentation(folder)
    if overlap is None:
        raise InputError(
            f"{folder / 'segmentation.json'} is missing: the run has not finished; run its config "
            "again"
        )
    report = Report(
        folder,
        {
            "kind": "segment",
            "segmentation": overlap,
            "config": document.read_json(folder / "config.json"),
        },
    )
    report.open("Lung segmentation", [])
    where = f"{overlap['images']:,} {document.split_title(overlap['split'])}"
    parts = [f"{n} {r['jaccard']:.4f}" for n, r in overlap["structures"].items()]
    report.add("## Result", f"Jaccard index on {where}: **{', '.join(parts)}**.")
    report.table(*document.overlap_rows(overlap))
    report.add(document.OVERLAP_NOTE)
    segmentation_tables.add_details(report, overlap)
    document.add_provenance(report, document.read_json(folder / "manifest.json"))
    excluded.add_excluded(report, folder)
    report.add("## Details")
    document.add_curves(report, folder, title="Lung segmentation")
    document.add_timings(report, folder, patched=False)
    document.add_overlays(report, folder)
    report.write()
    table = tables.text_table(*document.overlap_rows(overlap))
    return "\n".join([f"Lung segmentation: {where}", table])


def _sentence(scores: dict[str, Any], split: str) -> str:
    return (
        f"Macro-F1 **{scores['macro_f1']:.4f}**, accuracy {scores['accuracy']:.4f} on "
        f"{scores['images']:,} {SPLIT_TITLES[split]} of {scores['patients']:,} patients."
    )


def _confusion(
    report: Report, classes: tuple[str, ...], scores: dict[str, Any], split: str, name: str
) -> None:
    titles = [tables.class_title(c) for c in classes]
    title = f"{name}: {SPLIT_TITLES[split]}"
    figure = plots.confusion_matrix(scores["confusion"], titles, title=title)
    report.figure(f"confusion_{split}", figure, f"Confusion matrix, {SPLIT_TITLES[split]}")
