"""Figures of several models or trainings in one: ROC curves, losses of growing training sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from sklearn.metrics import roc_curve

from jaxcxr.metrics.ranking import roc_auc
from jaxcxr.report import plots

_WITHIN = 6  # curves whose names fit into the axes, below the curves


def roc(curves: Mapping[str, tuple[np.ndarray, np.ndarray]], *, title: str = "ROC") -> Figure:
    """Receiver operating characteristics.

    Args:
        curves: name -> (positive [N] bool, score [N], larger for the positive class).
        title: of the figure.
    """
    beside = len(curves) > _WITHIN
    figure = plots.canvas(5.4 + 3.4 * beside, 4.6)
    axes = figure.add_subplot()
    plots.tidy(axes)
    axes.plot([0, 1], [0, 1], color=plots.RULE, linewidth=1.0)
    for number, (name, (positive, score)) in enumerate(curves.items()):
        area = roc_auc(positive, score)
        if np.isnan(area):
            continue
        false, true, _ = roc_curve(positive, score)
        axes.plot(
            false, true, color=plots.COLOURS[number % len(plots.COLOURS)], linewidth=1.6,
            linestyle=("-", "--", ":", "-.")[number % 4], label=f"{name}: AUC {area:.4f}",
        )  # fmt: skip
    axes.set_xlabel("False positive rate")
    axes.set_ylabel("True positive rate")
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(-0.01, 1.01)
    axes.set_title(title, fontsize=11.5, color=plots.INK, pad=8)
    legend = {"frameon": False, "fontsize": 8, "labelcolor": plots.INK}
    if beside:
        axes.legend(**legend, loc="center left", bbox_to_anchor=(1.02, 0.5))
    else:
        axes.legend(**legend, loc="lower right")
    return figure


def training_sizes(logs: Mapping[str, Sequence[Mapping[str, Any]]], *, title: str) -> Figure:
    """Training and validation loss over the steps, a panel for each training-set size.

    As in the paper's figures 9 and 11.

    Args:
        logs: name of the training set -> rows of its metrics.jsonl.
        title: of the figure.
    """
    figure = plots.canvas(3.4 * max(len(logs), 1) + 0.4, 3.2)
    figure.suptitle(title, fontsize=12, color=plots.INK)
    panels = figure.subplots(1, max(len(logs), 1), squeeze=False, sharey=True)[0]
    for axes, (name, rows) in zip(panels, logs.items(), strict=True):
        plots.tidy(axes)
        for key, colour in (("train/loss", plots.ORANGE), ("valid/loss", plots.BLUE)):
            points = [(row["step"], row[key]) for row in rows if row.get(key) is not None]
            if points:
                axes.plot(*zip(*points, strict=True), color=colour, linewidth=1.6,
                          label=key.replace("/", " "),
                          marker="o" if len(points) < 25 else None, markersize=3)  # fmt: skip
        axes.set_title(name, fontsize=10, color=plots.INK)
        axes.set_xlabel("Step")
    panels[0].set_ylabel("Loss")
    panels[0].set_ylim(bottom=0.0)
    panels[0].legend(frameon=False, fontsize=8, labelcolor=plots.INK)
    return figure
