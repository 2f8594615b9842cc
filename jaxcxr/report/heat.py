"""Pictures of where a classifier looks."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from jaxcxr.report import plots

COLUMNS = 4
_STRENGTH = 0.55  # of the brightest heat over the X-ray


def overlay(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Heat over an X-ray: none leaves the grey value, the most is yellow.

    Args:
      image: [H, W] grey values.
      heat: [H, W], stretched here from 0, or its least value if that is negative, to its greatest.

    Returns:
      [H, W, 3] uint8.
    """
    from matplotlib import colormaps

    grey = _stretch(np.asarray(image, float), float(np.min(image)))
    shown = _stretch(np.nan_to_num(np.asarray(heat, float)), min(0.0, float(np.nanmin(heat))))
    alpha = (_STRENGTH * np.sqrt(shown))[..., None]
    colours = colormaps["inferno"](0.25 + 0.75 * shown)[..., :3]
    return np.rint(255 * ((1 - alpha) * grey[..., None] + alpha * colours)).astype(np.uint8)


def contact_sheet(
    images: Sequence[np.ndarray],
    heats: Sequence[np.ndarray],
    masks: Sequence[np.ndarray] | None,
    captions: Sequence[str],
    *,
    title: str,
) -> Figure:
    """Images of one class with their heat, four a row, lungs outlined.

    Args:
      images: [H, W] each.
      heats: [H, W] each.
      masks: [H, W] each, above zero in the lungs; None draws no outlines.
      captions: one line or two below each.
      title: stands above the sheet.
    """
    if not len(images):
        raise ValueError("there is no image to show")
    columns = min(COLUMNS, len(images))
    rows = math.ceil(len(images) / columns)
    figure = plots.canvas(2.3 * columns, 2.7 * rows + 0.5)
    figure.suptitle(title, fontsize=12, color=plots.INK)
    places = figure.subplots(rows, columns, squeeze=False).ravel()
    for number, axes in enumerate(places):
        plots.hide_ticks(axes)
        if number >= len(images):
            continue
        axes.imshow(overlay(images[number], heats[number]), interpolation="nearest")
        if masks is not None:
            lungs = np.asarray(masks[number]) > 0
            if lungs.any() and not lungs.all():
                axes.contour(lungs, levels=[0.5], colors=[plots.SKY], linewidths=1.0)
        axes.set_title(captions[number], fontsize=7.5, color=plots.INK, y=-0.05, va="top")
    return figure


def _stretch(values: np.ndarray, low: float) -> np.ndarray:
    span = float(values.max()) - low
    return np.clip((values - low) / span, 0, 1) if span > 0 else np.zeros(values.shape)
