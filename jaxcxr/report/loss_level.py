"""Did a classifier learn? Its loss beside that of equal probabilities, ln C for C classes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxcxr.report import document
from jaxcxr.report.document import Report
from jaxcxr.storage.metric_writer import read_metrics

_PART = 0.1  # of the logged steps, the last ones, whose losses are averaged
_HARDLY = 0.9  # of ln C: above it a network has hardly begun to learn


@dataclasses.dataclass(frozen=True)
class LossLevel:
    """The cross-entropy of a training.

    Attributes:
        classes: C.
        training: mean over the last tenth of the logged steps, of the network's own head.
        validation: at the last evaluation; None: there was none, or it is no number.
        steps: of the training.
    """

    classes: int
    training: float
    validation: float | None
    steps: int

    @property
    def of_equal_probabilities(self) -> float:
        """Ln C; class weights, which have a mean of 1 over the training images, leave it so."""
        return math.log(self.classes)

    @property
    def sentence(self) -> str:
        """The losses, beside that of equal probabilities."""
        validation = "" if self.validation is None else f", validation {self.validation:.3f}"
        return (
            f"Cross-entropy: training {self.training:.3f} (mean over the last tenth of the logged "
            f"steps of {self.steps:,}){validation}; equal probabilities have ln {self.classes} = "
            f"{self.of_equal_probabilities:.3f}."
        )

    @property
    def is_hardly_trained(self) -> bool:
        """Whether it is not much below that of equal probabilities."""
        return self.training > _HARDLY * self.of_equal_probabilities

    def to_json(self) -> dict[str, Any]:
        """As report.json has it."""
        return {
            "training": round(self.training, 4),
            "validation": None if self.validation is None else round(self.validation, 4),
            "equal_probabilities": round(self.of_equal_probabilities, 4),
        }


def of_run(folder: Path, classes: int) -> LossLevel | None:
    """Of a finished run; None where nothing was trained, or with another loss."""
    config = document.read_json(folder / "config.json") or {}
    logged = read_metrics(folder)
    training = [row for row in logged if "train/loss" in row]
    if config.get("task") != "classify" or not training:
        return None
    last = training[-max(1, round(_PART * len(training))) :]
    heads = 1.0  # Inception's loss is that of its auxiliary head, too
    if config.get("model", {}).get("name") == "inception_v3":
        heads += config.get("loss", {}).get("aux_weight", 0.0)
    validation = [row["valid/loss"] for row in logged if "valid/loss" in row]
    return LossLevel(
        classes,
        float(np.mean([row["train/loss"] for row in last])) / heads,
        # JSON has null for an evaluation that is no number.
        float(validation[-1]) if validation and validation[-1] is not None else None,
        int(training[-1]["step"]),
    )


def of_learners(runs: Mapping[str, Sequence[Path]], classes: int) -> dict[str, list[LossLevel]]:
    """Of the run folders of each learner; learners without any are left out."""
    levels = {
        name: [level for folder in folders if (level := of_run(folder, classes))]
        for name, folders in runs.items()
    }
    return {name: of_one for name, of_one in levels.items() if of_one}


def warnings(levels: Mapping[str, Sequence[LossLevel]]) -> list[str]:
    """Of the learners that have hardly been trained, in one sentence; usually none."""
    worst = {name: max(of_one, key=lambda lv: lv.training) for name, of_one in levels.items()}
    hardly = [
        f"{name} {level.training:.3f} (ln {level.classes} = {level.of_equal_probabilities:.3f})"
        for name, level in worst.items()
        if level.is_hardly_trained
    ]
    if not hardly:
        return []
    return [
        "Hardly trained, by a training loss close to that of equal probabilities: "
        f"{', '.join(hardly)}. What such a network scores says nothing of its kind: train it "
        "longer (train.epochs) or with another learning rate (optim.learning_rate)."
    ]


def rows(levels: Mapping[str, Sequence[LossLevel]]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the learners' losses, means over their runs."""
    table = []
    for name, of_one in levels.items():
        validation = [level.validation for level in of_one if level.validation is not None]
        table.append(
            [
                name,
                f"{max(level.steps for level in of_one):,}",
                f"{np.mean([level.training for level in of_one]):.3f}",
                f"{np.mean(validation):.3f}" if validation else "–",
                f"ln {of_one[0].classes} = {of_one[0].of_equal_probabilities:.3f}",
            ]
        )
    return ["Cross-entropy", "Steps", "Training", "Validation", "Equal probabilities"], table


def add_table(report: Report, levels: Mapping[str, Sequence[LossLevel]], *, over: str) -> None:
    """Section of the learners' losses; `over`: what the means are over."""
    report.facts["loss"] = {n: [lv.to_json() for lv in of_one] for n, of_one in levels.items()}
    if levels:
        report.add(
            "### Loss",
            f"Mean over the {over}: training loss over the last tenth of the logged steps, of the "
            "network's own head, and the last validation loss.",
        )
        report.table(*rows(levels))
