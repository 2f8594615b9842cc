"""Occlusion sensitivity (Zeiler and Fergus, 2014, arXiv:1311.2901).

The fall of the class's probability when a part of the image is covered.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def corners(shape: tuple[int, int], *, size: int, stride: int) -> np.ndarray:
    """Upper left corners [N, 2] of the squares, (row, column).

    Args:
        shape: (height, width) of the image.
        size: side of the squares, pixels.
        stride: pixels between squares; the last row and column of squares end at the image's
            border.

    Raises:
        ValueError: the squares do not fit the image.
    """
    height, width = shape
    if not 0 < size <= min(height, width) or stride < 1:
        raise ValueError(
            f"squares of {size} pixels every {stride} do not fit an image of {height} x {width}"
        )
    return np.asarray(
        [(y, x) for y in _starts(height, size, stride) for x in _starts(width, size, stride)]
    )


def occlusion(
    predict: Callable[[np.ndarray], np.ndarray],
    image: np.ndarray,
    explained: int,
    *,
    size: int,
    stride: int,
    fill: int,
    batch_size: int,
) -> np.ndarray:
    """Mean fall of the class's probability over the squares that cover a pixel.

    Args:
        predict: images [N, *image.shape] uint8 -> probabilities [N, C]; compiled, called with
            `batch_size` at most.
        image: [H, W] or [H, W, C] uint8.
        explained: the class.
        size: side of the square, pixels.
        stride: pixels between squares, see `corners`.
        fill: grey value of the square, 0 to 255.
        batch_size: covered images at a time.

    Returns:
        [H, W] float32; negative where covering helps the class.

    Raises:
        ValueError: the squares do not fit the image.
    """
    positions = corners(image.shape[:2], size=size, stride=stride)
    whole = float(predict(image[None])[0, explained])
    sums, counts = np.zeros(image.shape[:2], np.float32), np.zeros(image.shape[:2], np.int32)
    for start in range(0, len(positions), batch_size):
        block = positions[start : start + batch_size]
        covered = np.repeat(image[None], len(block), axis=0)
        for number, (y, x) in enumerate(block):
            covered[number, y : y + size, x : x + size] = fill
        for (y, x), probability in zip(
            block, np.asarray(predict(covered))[:, explained], strict=True
        ):
            sums[y : y + size, x : x + size] += whole - probability
            counts[y : y + size, x : x + size] += 1
    return sums / np.maximum(counts, 1)  # a stride above the size leaves gaps


def _starts(length: int, size: int, stride: int) -> list[int]:
    starts = list(range(0, length - size + 1, stride))
    return starts if starts[-1] == length - size else [*starts, length - size]
