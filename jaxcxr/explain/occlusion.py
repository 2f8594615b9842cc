"""Occlusion (Zeiler and Fergus, 2014, arXiv:1311.2901): what the class loses when a part of the image is covered."""

from __future__ import annotations

from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp
import numpy as np


def occlusion(
    predict: Callable[[jax.Array], jax.Array],
    images: jax.Array | np.ndarray,
    classes: jax.Array | np.ndarray,
    *,
    size: int,
    stride: int,
    fill: float,
) -> jax.Array:
    """How far the class's probability falls when a square over a pixel is covered, mean over the squares.

    Args:
      predict: images [B, H, W] in their own type -> probabilities [B, C].
      images: [B, H, W] uint8.
      classes: [B] int, the class to explain of each image.
      size: side of the square, pixels.
      stride: pixels between squares; the last row and column of squares end at the image's border.
      fill: grey value of the square, in the images' units.

    Returns:
      [B, H, W] float32; negative where covering helps the class.
    """
    chex.assert_rank(images, 3)
    images, classes = jnp.asarray(images), jnp.asarray(classes)
    height, width = images.shape[1:]
    if not 0 < size <= min(height, width) or stride < 1:
        raise ValueError(f"squares of {size} pixels every {stride} do not fit an image of {height} x {width}")

    def of_class(probabilities: jax.Array) -> jax.Array:
        return jnp.take_along_axis(probabilities, classes[:, None], axis=1)[:, 0]

    whole = of_class(predict(images))
    corners = jnp.asarray([(y, x) for y in _starts(height, size, stride) for x in _starts(width, size, stride)])

    def covers(corner: jax.Array) -> jax.Array:
        rows = jnp.arange(height)[:, None] - corner[0]
        columns = jnp.arange(width)[None, :] - corner[1]
        return (rows >= 0) & (rows < size) & (columns >= 0) & (columns < size)

    def step(sums: tuple[jax.Array, jax.Array], corner: jax.Array) -> tuple[tuple[jax.Array, jax.Array], None]:
        square = covers(corner)
        covered = jnp.where(square[None], jnp.asarray(fill, images.dtype), images)
        loss = whole - of_class(predict(covered))
        return (sums[0] + loss[:, None, None] * square[None], sums[1] + square), None

    start = (jnp.zeros(images.shape, jnp.float32), jnp.zeros((height, width), jnp.float32))
    (losses, counts), _ = jax.lax.scan(step, start, corners)
    return losses / jnp.maximum(counts, 1)[None]  # a stride above the size leaves gaps


def _starts(length: int, size: int, stride: int) -> list[int]:
    starts = list(range(0, length - size + 1, stride))
    return starts if starts[-1] == length - size else [*starts, length - size]
