"""Detection and concealment of burned-in text (COVID-CXNet, section 5.3).

Text is letters, dates, arrows and labels. It is found on the host, by scipy: connected components
are no work for an accelerator.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.ndimage

CONTRAST = 0.25  # grey values in [0, 1] that a mark stands out from what is around it
# Fractions of the image's side.
STROKE = 0.08  # what is broader in both directions is no mark
LONGEST = 0.25  # of a word
TALLEST = 0.12
SHORTEST = 0.012
EDGE = (
    0.004  # within so much a mark's edge falls by its contrast; ribs and vessels fade more slowly
)
LUNG_MARGIN = 0.02
_SHARP = 0.7  # of a mark's edge

ndimage: Any = scipy.ndimage  # it is annotated as if its functions returned nothing


def find_text(image: np.ndarray, lungs: np.ndarray | None = None) -> np.ndarray:
    """Bright, compact marks with sharp edges: burned-in text, side markers, white labels, arrows.

    It looks at contrast, size and edges and reads nothing, so clips and electrodes count as marks,
    and text that stands out by less than CONTRAST, is dark, or has strokes thinner than a pixel is
    missed. Below 100 pixels a side most letters of an X-ray are.

    Args:
        image: [H, W] uint8.
        lungs: [H, W] bool; a mark that touches them or a margin of LUNG_MARGIN is left alone. None:
            unknown.

    Returns:
        [H, W] bool, the marks with their edges and what they enclose.
    """
    if image.ndim != 2:
        raise ValueError(f"an image is [H, W], not {list(image.shape)}")
    if lungs is not None and lungs.shape != image.shape:
        raise ValueError(f"lungs {list(lungs.shape)} are not of the image {list(image.shape)}")
    grey = image.astype(np.float32) / 255
    side = min(grey.shape)
    bright = ndimage.white_tophat(grey, size=2 * max(2, round(side * STROKE / 2)) + 1) >= CONTRAST
    labels, count = ndimage.label(bright, np.ones((3, 3)))
    if not count:
        return bright
    numbers = np.arange(1, count + 1)
    radius = max(1, round(side * EDGE))
    falls = grey - ndimage.minimum_filter(grey, 2 * radius + 1) >= 0.8 * CONTRAST
    edge = bright & ~ndimage.binary_erosion(bright, border_value=1)
    is_mark = ndimage.mean(falls, np.where(edge, labels, 0), numbers) >= _SHARP
    is_mark &= np.bincount(labels.ravel())[1:] >= 4
    for number, (rows, columns) in enumerate(ndimage.find_objects(labels)):
        low, high = sorted((rows.stop - rows.start, columns.stop - columns.start))
        is_mark[number] &= (
            max(3, SHORTEST * side) <= high <= LONGEST * side and low <= TALLEST * side
        )
    if lungs is not None:
        near = ndimage.binary_dilation(lungs, iterations=radius + max(1, round(side * LUNG_MARGIN)))
        is_mark &= ndimage.maximum(near, labels, numbers) == 0
    marks = np.concatenate([[False], is_mark])[labels]
    marks = ndimage.binary_dilation(marks, np.ones((3, 3)), iterations=radius)
    marks = ndimage.binary_fill_holes(marks)
    return marks if lungs is None else marks & ~lungs


def conceal(image: np.ndarray, region: np.ndarray) -> np.ndarray:
    """Fills a region with the grey around it.

    A Gaussian mean of the other pixels, as near as there are any.

    Args:
        image: [H, W] or [H, W, C] uint8.
        region: [H, W] bool, not the whole image.

    Returns:
        Like the image; equal to it outside the region.
    """
    if region.all():
        raise ValueError("the region is the whole image: there is nothing to fill it with")
    if not region.any():
        return image
    outside = (~region).astype(np.float32)
    context = image * outside.reshape(*outside.shape, *(1 for _ in image.shape[2:]))
    filled, missing = image.copy(), region.copy()
    sigma, least = max(1.0, 0.01 * min(region.shape)), min(0.05, outside.mean() / 2)
    while missing.any():
        width = (sigma, sigma, *(0.0 for _ in image.shape[2:]))
        weight = ndimage.gaussian_filter(outside, sigma)
        enough = missing & (weight > least)
        mean = ndimage.gaussian_filter(context.astype(np.float32), width)[enough]
        around = weight[enough].reshape(-1, *(1 for _ in image.shape[2:]))
        filled[enough] = np.clip(np.rint(mean / around), 0, 255).astype(image.dtype)
        missing &= ~enough
        sigma *= 2
    return filled
