"""Pictures of saliency maps."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxcxr.report import plots

COLUMNS = 4
GAP = 4  # pixels between panels
SIDE = 400  # least height and width of a panel in a picture of its own, in pixels
_STRENGTH = 0.85  # opacity of the greatest saliency over the X-ray
_LIGHT = 0.5  # brightness of full saliency over black; the X-ray gives the rest of it
_NEARLY_UNIFORM = 0.1  # coefficient of variation
_KEY = 0.85  # inches of a sheet that the colour bar takes
_DPI = 120  # of `plots.canvas`
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
    grey = _stretch(np.asarray(image, float), float(np.min(image)))
    shown = _stretch(np.nan_to_num(np.asarray(heat, float)), min(0.0, float(np.nanmin(heat))))
    return np.rint(255 * _tinted(grey, shown)).astype(np.uint8)


def _tinted(grey: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """Grey values [...] with the colour of saliency [...], both 0 to 1: [..., 3].

    Opacity grows with the saliency, and the colour is as bright as the X-ray below it, so that the
    anatomy stays visible where all of the image is salient.
    """
    from matplotlib import colormaps

    alpha = (_STRENGTH * shown)[..., None]
    colours = colormaps["inferno"](0.3 + 0.6 * shown)[..., :3]
    lit = colours * (_LIGHT + (1 - _LIGHT) * grey)[..., None]
    return (1 - alpha) * grey[..., None] + alpha * lit


def nearly_uniform(heat: np.ndarray) -> bool:
    """Whether saliency hardly varies over the image, so that its picture says nothing of a place.

    Its standard deviation is then less than a tenth of its mean.
    """
    values = np.nan_to_num(np.asarray(heat, float))
    return bool(values.mean() > 0 and values.std() < _NEARLY_UNIFORM * values.mean())


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


def picture(
    panels: Sequence[np.ndarray],
    captions: Sequence[str],
    *,
    title: str,
    lungs: np.ndarray | None = None,
    superpixels: bool = False,
) -> Figure:
    """One X-ray in large: its panels side by side, each below its caption, and the colours' key.

    Args:
        panels: [H, W, 3] uint8 each, of one shape; enlarged by a whole factor to SIDE or more.
        captions: of the panels.
        title: stands above them.
        lungs: [H, W], above zero in the lungs, which every panel gets the outline of; None, or an
            empty mask, draws none.
        superpixels: whether the panels are of `for_and_against`.
    """
    height, width = panels[0].shape[:2]
    factor = max(1, math.ceil(SIDE / min(height, width)))
    height, width = factor * height, factor * width
    left, right, top, bottom, gap = 20, 110, 100, 20, 12
    whole = left + len(panels) * (width + gap) + right, top + height + bottom
    figure = plots.canvas(whole[0] / _DPI, whole[1] / _DPI)
    figure.set_layout_engine("none")  # a pixel of the panel is a square of pixels of the picture
    text = textwrap.fill(plots.drawable(title), int(whole[0] / 8.5))
    figure.suptitle(text, fontsize=9.5, color=plots.INK, parse_math=False, y=1 - 8 / whole[1])
    for number, (panel, caption) in enumerate(zip(panels, captions, strict=True)):
        x = left + number * (width + gap)
        axes = figure.add_axes(
            (x / whole[0], bottom / whole[1], width / whole[0], height / whole[1])
        )
        axes.imshow(panel, interpolation="nearest")
        if lungs is not None and _outline(axes, lungs) and not number:
            figure.text(
                left / whole[0], 4 / whole[1], "lung outline", fontsize=7.5, color=plots.SKY
            )
        plots.hide_ticks(axes)
        axes.set_title(plots.drawable(caption), fontsize=8.5, color=plots.INK, parse_math=False)
    x = left + len(panels) * (width + gap) + 4
    _key(
        figure.add_axes((x / whole[0], bottom / whole[1], 14 / whole[0], height / whole[1])),
        superpixels=superpixels,
    )
    return figure


def _outline(axes: Axes, lungs: np.ndarray) -> bool:
    """Draws the outline of lungs [H, W]; whether there is one."""
    inside = np.asarray(lungs) > 0
    if not inside.any() or inside.all():
        return False
    axes.contour(inside, levels=[0.5], colors=[plots.SKY], linewidths=1.0)
    return True


def _key(axes: Axes, *, superpixels: bool) -> None:
    """Draws the colour bar: what a colour stands for, on mid grey."""
    if superpixels:
        bar = np.array([[[0.0, 1.0, 0.0]], [[0.5, 0.5, 0.5]], [[1.0, 0.0, 0.0]]])
        ticks = {0: "for the\nclass", 1: "neither", 2: "against"}
    else:
        shown = np.linspace(1, 0, 256)
        bar = _tinted(np.full(256, 0.5), shown)[:, None]
        ticks = {0: "most in\nthe image", 127.5: "half", 255: "least or\nnone"}
    axes.imshow(bar, aspect="auto", interpolation="nearest")
    plots.hide_ticks(axes)
    axes.set_yticks(list(ticks), list(ticks.values()), fontsize=7.5, color=plots.INK)
    axes.yaxis.tick_right()
    axes.tick_params(length=0)


def contact_sheet(
    pictures: Sequence[np.ndarray],
    masks: Sequence[np.ndarray] | None,
    captions: Sequence[str],
    *,
    title: str,
    superpixels: bool = False,
) -> Figure:
    """Contact sheet of one class, four square pictures per row, lungs outlined.

    Args:
        pictures: [H, W, 3] uint8 each, of one shape.
        masks: [H, W] each, above zero in the lungs; None draws no outlines.
        captions: a few lines below each.
        title: stands above the sheet.
        superpixels: whether the pictures are of `for_and_against`.
    """
    if not len(pictures):
        raise ValueError("there is no image to show")
    ratio = pictures[0].shape[1] / pictures[0].shape[0]
    columns = min(max(1, round(COLUMNS / ratio)), len(pictures))
    rows = math.ceil(len(pictures) / columns)
    most = max(10, int(36 * ratio))  # letters of a line below a picture
    captions = [
        "\n".join(
            part for line in plots.drawable(c).splitlines() for part in textwrap.wrap(line, most)
        )
        for c in captions
    ]
    lines = max(caption.count("\n") + 1 for caption in captions)
    width = 2.3 * ratio * columns + _KEY
    figure = plots.canvas(width, (2.4 + 0.15 * lines) * rows + 0.5)
    title = textwrap.fill(plots.drawable(title), int(10 * width))
    figure.suptitle(title, fontsize=12, color=plots.INK, parse_math=False)
    places = figure.subplots(rows, columns, squeeze=False).ravel()
    key = figure.add_axes((1 - (_KEY - 0.05) / width, 0.3, 0.12 / width, 0.4), label="key")
    _key(key, superpixels=superpixels)
    key.set_in_layout(False)
    figure.get_layout_engine().set(rect=(0, 0, 1 - _KEY / width, 1))  # pyright: ignore[reportOptionalMemberAccess, reportCallIssue]
    for number, axes in enumerate(places):
        plots.hide_ticks(axes)
        if number >= len(pictures):
            continue
        axes.imshow(pictures[number], interpolation="nearest")
        if masks is not None:
            _outline(axes, masks[number])
        axes.set_title(
            captions[number], fontsize=7.5, color=plots.INK, y=-0.05, va="top", parse_math=False
        )
    return figure


def _stretch(values: np.ndarray, low: float) -> np.ndarray:
    span = float(values.max()) - low
    return np.clip((values - low) / span, 0, 1) if span > 0 else np.zeros(values.shape)
