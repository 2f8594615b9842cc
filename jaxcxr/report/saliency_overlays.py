"""Pictures of saliency maps."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from jaxcxr.report import plots

COLUMNS = 4
GAP = 4  # pixels between panels
_STRENGTH = 0.55  # opacity of the greatest saliency over the X-ray
_TINT = 0.35  # of a superpixel's colour


def overlay(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Saliency over an X-ray: none leaves the grey value, the most is yellow.

    Args:
        image: [H, W] grey values.
        heat: [H, W] saliency, stretched from 0, or its least value if that is negative, to its
            greatest.

    Returns:
        [H, W, 3] uint8.
    """
    from matplotlib import colormaps

    grey = _stretch(np.asarray(image, float), float(np.min(image)))
    shown = _stretch(np.nan_to_num(np.asarray(heat, float)), min(0.0, float(np.nanmin(heat))))
    alpha = (_STRENGTH * np.sqrt(shown))[..., None]
    colours = colormaps["inferno"](0.25 + 0.75 * shown)[..., :3]
    return np.rint(255 * ((1 - alpha) * grey[..., None] + alpha * colours)).astype(np.uint8)


def for_and_against(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Superpixels over an X-ray, as COVID-CXNet's figure 12.

    Green speaks for the class, red against it.

    Args:
        image: [H, W] grey values.
        heat: [H, W] saliency, one value per superpixel; 0 leaves the grey value.

    Returns:
        [H, W, 3] uint8; where the value changes there is a line in full colour.
    """
    grey = np.repeat(
        _stretch(np.asarray(image, float), float(np.min(image)))[..., None], 3, axis=-1
    )
    colour = np.where(heat[..., None] > 0, (0.0, 1.0, 0.0), (1.0, 0.0, 0.0))
    border = np.zeros(heat.shape, bool)
    border[1:] |= heat[1:] != heat[:-1]
    border[:, 1:] |= heat[:, 1:] != heat[:, :-1]
    border[:-1] |= heat[1:] != heat[:-1]
    border[:, :-1] |= heat[:, 1:] != heat[:, :-1]
    alpha = np.where(heat != 0, np.where(border, 1.0, _TINT), 0.0)[..., None]
    return np.rint(255 * ((1 - alpha) * grey + alpha * colour)).astype(np.uint8)


def side_by_side(panels: Sequence[np.ndarray]) -> np.ndarray:
    """Pictures [H, W, 3], or masks [H, W], in a row, GAP pixels apart.

    The gap is white in pictures, empty in masks.
    """
    first = panels[0]
    gap = np.full((len(first), GAP, *first.shape[2:]), 255 if first.ndim == 3 else 0, first.dtype)
    parts = [part for panel in panels for part in (gap, panel)]
    return np.concatenate(parts[1:], axis=1)


def contact_sheet(
    pictures: Sequence[np.ndarray],
    masks: Sequence[np.ndarray] | None,
    captions: Sequence[str],
    *,
    title: str,
) -> Figure:
    """Contact sheet of one class, four square pictures per row, lungs outlined.

    Args:
        pictures: [H, W, 3] uint8 each, of one shape.
        masks: [H, W] each, above zero in the lungs; None draws no outlines.
        captions: a few lines below each.
        title: stands above the sheet.
    """
    if not len(pictures):
        raise ValueError("there is no image to show")
    ratio = pictures[0].shape[1] / pictures[0].shape[0]
    columns = min(max(1, round(COLUMNS / ratio)), len(pictures))
    rows = math.ceil(len(pictures) / columns)
    lines = max(caption.count("\n") + 1 for caption in captions)
    width = 2.3 * ratio * columns
    figure = plots.canvas(width, (2.4 + 0.15 * lines) * rows + 0.5)
    title = textwrap.fill(plots.drawable(title), int(10 * width))
    figure.suptitle(title, fontsize=12, color=plots.INK, parse_math=False)
    places = figure.subplots(rows, columns, squeeze=False).ravel()
    for number, axes in enumerate(places):
        plots.hide_ticks(axes)
        if number >= len(pictures):
            continue
        axes.imshow(pictures[number], interpolation="nearest")
        if masks is not None:
            lungs = np.asarray(masks[number]) > 0
            if lungs.any() and not lungs.all():
                axes.contour(lungs, levels=[0.5], colors=[plots.SKY], linewidths=1.0)
        caption = plots.drawable(captions[number])
        axes.set_title(caption, fontsize=7.5, color=plots.INK, y=-0.05, va="top", parse_math=False)
    return figure


def _stretch(values: np.ndarray, low: float) -> np.ndarray:
    span = float(values.max()) - low
    return np.clip((values - low) / span, 0, 1) if span > 0 else np.zeros(values.shape)
