"""The curve of a learning-rate range test."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from jaxcxr.report import plots


def lr_curve(
    rates: Sequence[float] | np.ndarray,
    losses: Sequence[float] | np.ndarray,
    smoothed: Sequence[float] | np.ndarray,
    *,
    steepest: float | None,
    title: str,
) -> Figure:
    """Loss over the learning rate on a logarithmic axis; the steepest point is marked.

    Args:
        rates: [N] learning rates.
        losses: [N] loss of each batch.
        smoothed: [N] the losses' running mean.
        steepest: a learning rate, or None.
        title: of the figure.
    """
    figure = plots.canvas(6.4, 4.0)
    axes = figure.subplots()
    axes.plot(rates, losses, color=plots.RULE, linewidth=1.0, label="batch loss")
    axes.plot(rates, smoothed, color=plots.BLUE, linewidth=1.8, label="smoothed")
    axes.set_xscale("log")
    # The last batches of a diverging test would flatten all that matters.
    low, high = float(np.min(smoothed)), float(np.max(smoothed[: int(np.argmin(smoothed)) + 1]))
    margin = 0.25 * max(high - low, 1e-3)
    axes.set_ylim(low - margin, high + 2 * margin)
    if steepest is not None:
        axes.axvline(steepest, color=plots.VERMILION, linewidth=1.2, linestyle="--")
        axes.annotate(
            f"steepest: {steepest:.2g}", (steepest, high + margin), xytext=(6, 0),
            textcoords="offset points", color=plots.VERMILION, fontsize=9,
        )  # fmt: skip
    axes.set_xlabel("learning rate", color=plots.INK)
    axes.set_ylabel("training loss", color=plots.INK)
    axes.set_title(f"Learning-rate range test: {title}", loc="left", fontsize=11, color=plots.INK)
    axes.legend(frameon=False, fontsize=8, loc="lower left")
    plots.tidy(axes)
    return figure
