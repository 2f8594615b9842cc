"""COVID-CXNet's figures 2 and 3 of any image: contrast enhancement (paper 3.2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from jaxcxr.data import contrast
from jaxcxr.report import plots

GAMMAS = (0.5, 1.5, 3.0)  # the paper's own are not given, but for 1.5, with which it trains


def figure2(image: np.ndarray) -> Figure:
    """The image, HE, AHE and CLAHE side by side, each above its histogram.

    Args:
        image: [H, W] uint8.
    """
    return _side_by_side(
        {
            "Original": contrast.original(image),
            "HE": contrast.equalise(image),
            "AHE": contrast.adaptive_equalization(image),
            "CLAHE": contrast.clahe(image),
        },
        title="Histogram equalisation: global (HE), adaptive (AHE), contrast limited (CLAHE)",
    )


def figure3(image: np.ndarray, *, gammas: Sequence[float] = GAMMAS) -> Figure:
    """The image, BEASF with each slope and CLAHE side by side, each above its histogram.

    Args:
        image: [H, W] uint8.
        gammas: slopes of BEASF's sigmoids.
    """
    sigmoids = {f"BEASF, γ = {gamma:g}": contrast.beasf(image, gamma=gamma) for gamma in gammas}
    return _side_by_side(
        {"Original": contrast.original(image), **sigmoids, "CLAHE": contrast.clahe(image)},
        title="Bi-histogram equalisation with adaptive sigmoids (BEASF)",
    )


def _side_by_side(pictures: Mapping[str, np.ndarray], *, title: str) -> Figure:
    height, width = next(iter(pictures.values())).shape
    tall = 2.6 * min(max(height / width, 0.4), 2.0)
    figure = plots.canvas(2.6 * len(pictures) + 0.4, tall + 2.1)
    figure.suptitle(title, fontsize=12, color=plots.INK)
    above, below = figure.subplots(
        2, len(pictures), squeeze=False, sharey="row", gridspec_kw={"height_ratios": (tall, 1.0)}
    )
    percentages = {
        name: 100 * np.bincount(picture.ravel(), minlength=256) / picture.size
        for name, picture in pictures.items()
    }
    # The black border of an X-ray may hold half its pixels: the scale is that of what lies inside.
    top = max(1.1 * max(np.sort(percentage)[-4] for percentage in percentages.values()), 0.4)
    cut = max(percentage.max() for percentage in percentages.values()) > top
    for number, (name, picture) in enumerate(pictures.items()):
        # A fixed scale: Matplotlib's own would enhance the contrast once more.
        above[number].imshow(picture, cmap="gray", vmin=0, vmax=255)
        above[number].set_title(name, fontsize=11, color=plots.INK)
        plots.hide_ticks(above[number])
        axes = below[number]
        axes.fill_between(
            np.arange(256), percentages[name], step="mid", color=plots.BLUE, linewidth=0
        )
        axes.set_xlim(-0.5, 255.5)
        axes.set_ylim(0, top)
        axes.set_xticks([0, 128, 255])
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(plots.RULE)
        axes.tick_params(colors=plots.MUTED, labelsize=8, color=plots.RULE)
    label = "% of pixels\n(taller bars are cut)" if cut else "% of pixels"
    below[0].set_ylabel(label, color=plots.MUTED, fontsize=9)
    figure.supxlabel("Grey level", color=plots.MUTED, fontsize=9)
    return figure
