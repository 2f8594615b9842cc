"""The area that patches cover, counted."""

from __future__ import annotations

import numpy as np

from jaxcxr.ops.patches import box_origin


def coverage(centres: np.ndarray, *, size: int, shape: tuple[int, int]) -> np.ndarray:
    """[H, W] int, the number of patches of a side `size` at `centres` [K, 2] over each pixel."""
    counts = np.zeros(shape, int)
    for top, left in np.asarray(box_origin(centres, size=size, shape=shape)):
        counts[top : top + size, left : left + size] += 1
    return counts
