"""Named findings of a network, such as CheXNet's, of single X-rays.

COVID-CXNet, figure 14.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from jaxcxr.report import plots


def findings(
    probabilities: Mapping[str, Sequence[float] | np.ndarray],
    labels: Sequence[str],
    *,
    highlight: Sequence[str] = ("Pneumonia",),
    title: str = "Findings",
) -> Figure:
    """A horizontal bar for each finding, a panel for each image.

    In the order of the labels from the top.

    Args:
        probabilities: image as it should be named -> [C] in [0, 1].
        labels: the C findings; `_` is shown as a space.
        highlight: findings whose bars have the stronger colour.
        title: stands above the panels.

    Raises:
        ValueError: no image, another number of probabilities than labels, one outside [0, 1], or an
            unknown highlight.
    """
    if not probabilities:
        raise ValueError("there is no image to show")
    if unknown := set(highlight) - set(labels):
        raise ValueError(f"highlight: {sorted(unknown)} is none of the findings {list(labels)}")
    rows = {name: np.asarray(values, float) for name, values in probabilities.items()}
    for name, values in rows.items():
        if values.shape != (len(labels),):
            raise ValueError(
                f"{name} has {values.shape} probabilities, but there are {len(labels)} findings"
            )
        if not ((values >= 0) & (values <= 1)).all():
            raise ValueError(
                f"{name}: {values.tolist()} are not all in [0, 1]: probabilities, not logits, are "
                "shown"
            )
    words = 0.085 * max(map(len, labels))  # inches that the longest label takes
    figure = plots.canvas(words + 3.0 * len(rows) + 0.4, 0.26 * len(labels) + 1.2)
    figure.suptitle(title, fontsize=12, color=plots.INK)
    colours = [plots.VERMILION if label in highlight else plots.SKY for label in labels]
    positions = range(len(labels))
    panels = figure.subplots(1, len(rows), sharey=True, squeeze=False)[0]
    for axes, (name, values) in zip(panels, rows.items(), strict=True):
        plots.tidy(axes)
        bars = axes.barh(positions, values, 0.76, color=colours)
        axes.bar_label(
            bars, [f"{v:.3f}" for v in values], fontsize=7.5, color=plots.MUTED, padding=2
        )
        axes.set_title(name, fontsize=10, color=plots.INK)
        axes.set_xlim(0.0, 1.15)  # room for the number beside a full bar
        axes.set_xticks(np.linspace(0.0, 1.0, 6))
        axes.set_xlabel("Probability")
        axes.set_yticks(positions, [label.replace("_", " ") for label in labels])
        axes.tick_params(axis="y", length=0)
    panels[0].invert_yaxis()  # shared: the first finding stands at the top of every panel
    return figure
