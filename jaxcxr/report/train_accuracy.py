"""Accuracy of the training batches beside that of the validation images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jaxcxr.report.document import Report

TRAIN, VALID = "train/accuracy", "valid/accuracy"
_WHAT = (
    "Training accuracy is that of the training batches since the previous evaluation, as the "
    "network learned from them: with the run's augmentation, dropout and batch statistics, each "
    "image as often as it was drawn, by weights that changed meanwhile. Validation accuracy is "
    "that of the weights at that step."
)


def add(report: Report, rows: Sequence[Mapping[str, Any]]) -> None:
    """Both accuracies at the checkpoint's evaluation, and what the former is of.

    Args:
        report: gets them; its "checkpoint" fact says which evaluation. The fact
            "training_accuracy" is {"step", "training", "validation"}, None where the log has none.
        rows: of metrics.jsonl.
    """
    report.facts["training_accuracy"] = None
    evaluations = {row["step"]: row for row in rows if VALID in row}
    both = {step: row for step, row in evaluations.items() if TRAIN in row}
    if not both:
        if evaluations:  # a classifier's
            report.left_out.append(
                "Training accuracy: metrics.jsonl has none, which every new training writes."
            )
        return
    report.add(_WHAT)
    step = (report.facts.get("checkpoint") or {}).get("step")
    if step in both:
        training, validation = both[step][TRAIN], both[step][VALID]
        report.facts["training_accuracy"] = {
            "step": step, "training": training, "validation": validation,
        }  # fmt: skip
        report.add(
            f"At the checkpoint's step ({step:,}): training accuracy {_text(training)}, validation "
            f"accuracy {_text(validation)}."
        )


def _text(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"  # null: was not finite
