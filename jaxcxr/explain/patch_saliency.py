"""Probabilistic Grad-CAM (Oh, Park and Ye, 2020, section II-D).

The saliency of patches, averaged at their positions in the image.
"""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxcxr.ops.geometry import box_origin


def paste(
    values: jax.Array | np.ndarray, centres: jax.Array | np.ndarray, *, shape: tuple[int, int]
) -> tuple[jax.Array, jax.Array]:
    """Adds square patches to an empty image.

    Args:
        values: [K, P, P].
        centres: [K, 2] integers, (row, column); the boxes are those of `ops.patches.crop`.
        shape: (height, width) of the image.

    Returns:
        (sums [H, W] float32, number of patches that cover each pixel [H, W] int32).
    """
    chex.assert_rank(values, 3)
    size = values.shape[1]
    origins = box_origin(centres, size=size, shape=shape)
    steps = jnp.arange(size)
    rows = origins[:, 0, None, None] + steps[None, :, None]
    columns = origins[:, 1, None, None] + steps[None, None, :]
    rows, columns = jnp.broadcast_arrays(rows, columns)
    sums = jnp.zeros(shape, jnp.float32).at[rows, columns].add(jnp.asarray(values, jnp.float32))
    counts = jnp.zeros(shape, jnp.int32).at[rows, columns].add(1)
    return sums, counts


def probabilistic(
    heat: jax.Array | np.ndarray,
    probabilities: jax.Array | np.ndarray,
    centres: jax.Array | np.ndarray,
    *,
    shape: tuple[int, int],
) -> jax.Array:
    """Mean of saliency times probability of the class over the patches that cover a pixel.

    Args:
        heat: [K, P, P] saliency of each patch.
        probabilities: [K] of the class that is explained.
        centres: [K, 2].
        shape: of the image.

    Returns:
        [H, W] float32, 0 where no patch is.
    """
    chex.assert_equal_shape_prefix([heat, probabilities, centres], 1)
    weighed = jnp.asarray(heat) * jnp.asarray(probabilities)[:, None, None]
    sums, counts = paste(weighed, centres, shape=shape)
    return sums / jnp.maximum(counts, 1)


def vote_map(
    votes: jax.Array | np.ndarray,
    centres: jax.Array | np.ndarray,
    *,
    size: int,
    shape: tuple[int, int],
) -> jax.Array:
    """Fraction of the patches over each pixel that voted for the class.

    Args:
        votes: [K] bool or 0/1.
        centres: [K, 2].
        size: P.
        shape: of the image.

    Returns:
        [H, W] float32 in [0, 1], NaN where no patch is.
    """
    ones = jnp.ones((1, size, size), jnp.float32)
    sums, counts = paste(
        jnp.asarray(votes, jnp.float32)[:, None, None] * ones, centres, shape=shape
    )
    return jnp.where(counts > 0, sums / jnp.maximum(counts, 1), jnp.nan)
