"""Report of an external test set: a run's scores on it beside those on its internal test set."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxcxr.metrics import intervals
from jaxcxr.metrics.by_rows import BootstrapScores
from jaxcxr.report import (
    confounding,
    document,
    excluded,
    first_weights,
    plots,
    ranges,
    score_rows,
    tables,
)
from jaxcxr.report.document import Report
from jaxcxr.storage.predictions import Predictions
from jaxcxr.storage.provenance import environment
from jaxcxr.storage.run_files import CONFIG, MANIFEST

SPLIT = "test"
_HOW = (
    "Intervals: bootstrap over patients, 95 %. They cover the sampling of patients; the two test "
    "sets also differ in scanners, hospitals, reference standard and class distribution. "
    "Accuracy, precision, F1 and macro-F1 depend on the class distribution; recall and ROC-AUC do "
    "not."
)

# Name of a score -> (value, low, high); NaN where it is not defined.
Scores = Mapping[str, tuple[float, float, float]]


def write_external_report(
    folder: Path | str,
    run: Path | str,
    *,
    name: str,
    settings: Mapping[str, Any],
    left_out: Mapping[str, int],
    warnings: Sequence[str],
    draws: int = 2000,
) -> str:
    """Writes report.md, report.json and plots/ of predictions for another data set.

    Args:
        folder: holds their predictions.npz.
        run: the run that made them; its own predictions.npz, config.json and manifest.json are
            read.
        name: of the data set.
        settings: the data section that it was opened with.
        left_out: reason -> number of images that were excluded.
        warnings: shown above the scores.
        draws: bootstrap samples.

    Returns:
        the table for the terminal, with the numbers of excluded images.

    Raises:
        InputError: a predictions.npz is missing or damaged.
    """
    folder, run = Path(folder), Path(run)
    external = document.read_predictions(folder)
    own = document.read_predictions(run).select(SPLIT)
    classes = external.classes
    scores, own_scores = (scores_of(p, draws=draws) for p in (external, own))
    associations, confounded, unknown = confounding.confounding([external])
    absent = [
        tables.class_title(c) for k, c in enumerate(classes) if not (external.labels == k).any()
    ]
    warnings = list(dict.fromkeys([*warnings, *confounded, *tables.constant(external)]))
    if absent:
        warnings.append(
            f"{name} has no image of {', '.join(absent)}: accuracy does not cover these, and "
            "macro-F1 is not available."
        )
    if few := _few_patients(external):
        warnings.append(
            f"No interval for fewer than two patients: {name} has one of {', '.join(few)}."
        )
    described = {
        "kind": "external",
        "name": name,
        "run": str(run),
        "learner": external.learner,
        "classes": list(classes),
        "settings": settings,
        "images": len(external),
        "patients": len(np.unique(external.patient_ids)),
        "scores": {"external": _facts(scores), "own_test": _facts(own_scores)},
        "confusion": tables.classification_scores(external)["confusion"],
        "images_left_out": dict(left_out),
    }
    report = Report(folder, described, left_out=unknown)
    title = (
        f"{tables.learner_title(external.learner)}, fold {external.fold}: external test set {name}"
    )
    where = f"{_count(external)} of {name}; internal test set: {_count(own)}"
    report.open(title, warnings)
    report.add("## Result", f"{where[:1].upper()}{where[1:]}.")
    header, rows = _rows(scores, own_scores, classes)
    report.table(header, rows)
    report.add(_HOW)
    shown = [tables.class_title(c) for c in classes]
    figure = plots.confusion_matrix(
        np.array(described["confusion"]), shown, title=f"{title}\n{document.NOTICE}"
    )
    report.figure("confusion", figure, f"Confusion matrix on {name}")
    if len(classes) == 2 and not absent:
        curves = {
            n: (p.labels == 1, p.probabilities[:, 1])
            for n, p in ((name, external), ("internal test set", own))
        }
        report.figure(
            "roc", ranges.roc(curves, title=f"ROC of {shown[1]}"), f"ROC curves of {shown[1]}"
        )
    excluded.add_counts(report, left_out)
    config = report.facts["config"] = document.read_json(run / CONFIG)
    manifest = document.read_json(run / MANIFEST)
    began_with = report.facts["pretrained"] = first_weights.of_run(run, config)
    document.add_provenance(
        report,
        manifest,
        predictions=external,
        config=config,
        first_weights=first_weights.sentence(began_with) if began_with else "",
    )
    measured = report.facts["measured"] = environment()
    report.add(f"These are the run's. External test: `{measured['command']}`, {measured['time']}.")
    report.add("## Details")
    document.add_confounding(report, associations)
    report.write()
    lines = [f"{title}", where, tables.text_table(header, rows), *excluded.counts(left_out)]
    return "\n".join([*lines, *(f"Warning. {w}" for w in warnings)])


def scores_of(predictions: Predictions, *, draws: int) -> Scores:
    """Every score with its interval over patients; macro-F1 only where every class has images."""
    scores = BootstrapScores(predictions.labels, predictions.probabilities)
    ends = intervals.bootstrap(scores, predictions.patient_ids, draws=draws).T.tolist()
    values = {n: (v, *pair) for (n, v), pair in zip(scores.of_all().items(), ends, strict=True)}
    if len(np.unique(predictions.labels)) < len(predictions.classes):
        values["macro_f1"] = (math.nan, math.nan, math.nan)
    for k in range(len(predictions.classes)):
        if _patients_of(predictions, k) < 2:  # each draw that has them gives the same recall
            values[f"recall/{k}"] = (values[f"recall/{k}"][0], math.nan, math.nan)
    return values


def _patients_of(predictions: Predictions, k: int) -> int:
    return len(np.unique(predictions.patient_ids[predictions.labels == k]))


def _few_patients(predictions: Predictions) -> list[str]:
    """Titles of what has one patient: all images, or classes."""
    if len(np.unique(predictions.patient_ids)) < 2:
        return ["all classes"]
    return [
        tables.class_title(name)
        for k, name in enumerate(predictions.classes)
        if _patients_of(predictions, k) == 1
    ]


def _rows(
    scores: Scores, own: Scores, classes: tuple[str, ...]
) -> tuple[list[str], list[list[str]]]:
    rows = []
    for name in score_rows.order(list(scores), classes):
        row = [score_rows.title(name, classes)]
        for value, *ends in (scores[name], own[name]):
            row += [score_rows.number(value), score_rows.interval(*ends)]
        rows.append(row)
    return ["Score", "External", "95 % interval", "Internal", "95 % interval"], rows


def _facts(scores: Scores) -> dict[str, dict[str, Any]]:
    return {
        name: {
            "value": score_rows.defined(value),
            "interval": [score_rows.defined(end) for end in ends],
        }
        for name, (value, *ends) in scores.items()
    }


def _count(predictions: Predictions) -> str:
    return f"{len(predictions):,} images of {len(np.unique(predictions.patient_ids)):,} patients"
