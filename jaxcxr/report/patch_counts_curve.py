"""The curve of macro-F1, and of the time, over the number of patches."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from jaxcxr.report import plots


def patch_counts_curve(rows: Sequence[tuple[float, ...]], *, title: str) -> Figure:
    """Macro-F1 with the range of the draws, and the seconds an image takes.

    Args:
        rows: of `jaxcxr.commands.patch_counts.COLUMNS`, by growing number of patches.
        title: of the figure.
    """
    counts = [row[0] for row in rows]
    figure = plots.canvas(7.6, 3.4)
    figure.suptitle(title, fontsize=11, color=plots.INK)
    score, cost = figure.subplots(1, 2)
    score.fill_between(
        counts, [r[3] for r in rows], [r[4] for r in rows], color=plots.BLUE, alpha=0.18,
        linewidth=0, label="least to greatest of the draws",
    )  # fmt: skip
    score.plot(
        counts, [r[2] for r in rows], color=plots.BLUE, marker="o", markersize=3.5, label="mean"
    )
    score.set_ylabel("Macro-F1")
    score.legend(frameon=False, fontsize=8, labelcolor=plots.INK, loc="lower right")
    cost.plot(counts, [r[6] for r in rows], color=plots.VERMILION, marker="o", markersize=3.5)
    cost.set_yscale("log")
    cost.set_ylabel("Seconds per image")
    for axes in (score, cost):
        plots.tidy(axes)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(FixedLocator(counts))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xticklabels([f"{count:g}" for count in counts])
        axes.set_xlabel("Patches per image")
    return figure
