"""COVID-CXNet's lung module after its U-Net: the grown lungs' box, or their pixels (paper 3.2).

On the host with SciPy, at each image's native size: JAX would compile again for every size. The
published code works at 320 x 320, on an image that it resized to that and resizes again afterwards:
there, its 6 pixels of growth and 10 of margin are 2 % and 3 % of the side.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from jaxcxr.data.mask_sources import IGNORE
from jaxcxr.errors import InputError

DILATION = 6  # pixels: a square of 5 x 5, three times

Box = tuple[int, int, int, int]


def dilate(mask: np.ndarray, *, radius: int) -> np.ndarray:
    """Grows the structures by a square of side 2 * radius + 1.

    Args:
        mask: [H, W] bool or structure ids.
        radius: pixels, 0 or more.

    Returns:
        [H, W] bool.
    """
    if radius < 0:
        raise InputError(f"lungs cannot grow by {radius} pixels: give 0 or more")
    lungs = _lungs(mask).astype(np.uint8)
    return ndimage.maximum_filter(lungs, size=2 * radius + 1, mode="constant") > 0


def lung_box(mask: np.ndarray, *, margin: int = 0) -> Box:
    """The box around the structures.

    Args:
        mask: [H, W] bool or structure ids; the box of an empty mask is the whole image.
        margin: pixels, 0 or more, cut at the image's border.

    Returns:
        (top, left, bottom, right); the last two are exclusive.
    """
    lungs = _lungs(mask)
    rows, columns = np.flatnonzero(lungs.any(axis=1)), np.flatnonzero(lungs.any(axis=0))
    if not rows.size:
        return 0, 0, *lungs.shape
    box = int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1
    return _grow(box, margin, lungs.shape)


def _grow(box: Box, margin: int, shape: tuple[int, ...]) -> Box:
    if margin < 0:
        raise InputError(f"the margin around the lungs is {margin} pixels: give 0 or more")
    top, left, bottom, right = box
    height, width = shape
    return (
        max(top - margin, 0),
        max(left - margin, 0),
        min(bottom + margin, height),
        min(right + margin, width),
    )


def _lungs(mask: np.ndarray) -> np.ndarray:
    mask = np.asarray(mask)
    if mask.ndim != 2 or not mask.size or mask.dtype.kind not in "bui":
        raise InputError(
            f"a lung mask is [H, W] of bool or structure ids, not {mask.dtype} {mask.shape}: "
            "compare probabilities with a threshold first"
        )
    return mask if mask.dtype == np.bool_ else (mask > 0) & (mask != IGNORE)
