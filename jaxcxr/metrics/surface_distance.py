"""Distance between the outlines of two masks."""

from __future__ import annotations

import numpy as np
from scipy import ndimage


def hd95(predicted: np.ndarray, target: np.ndarray, *, ignored: np.ndarray | None = None) -> float:
    """95th percentile Hausdorff distance of two masks of one image, in pixels.

    Each outline has, for each of its pixels, the distance to the nearest pixel of the other one;
    the larger of the two 95th percentiles counts. An outline is the pixels of a mask with one of
    their four neighbours outside it; at the border of the image that neighbour is missing, and is
    outside.

    Args:
        predicted: [H, W] bool.
        target: [H, W] bool.
        ignored: [H, W] bool, pixels that count for nothing: a mask neither has them nor ends at
            them. None: there are none.

    Returns:
        pixels; NaN where a mask has no outline, as one without a pixel.
    """
    if ignored is None:
        ignored = np.zeros(target.shape, bool)
    outlines = [_outline(mask & ~ignored, ignored) for mask in (predicted, target)]
    if not all(outline.any() for outline in outlines):
        return float("nan")
    one, other = outlines
    return max(_directed(one, other), _directed(other, one))


def _outline(mask: np.ndarray, ignored: np.ndarray) -> np.ndarray:
    inside = np.asarray(ndimage.binary_erosion(mask | ignored), bool)
    return mask & ~inside


def _directed(one: np.ndarray, other: np.ndarray) -> float:
    """95th percentile over the pixels of `one` of their distance to `other`."""
    to_other = np.asarray(ndimage.distance_transform_edt(np.logical_not(other)))
    return float(np.percentile(to_other[one], 95))
