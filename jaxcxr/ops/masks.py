"""Masks of structure ids: 0 background, 1.. structures, 255 = neither (annotators' "ignore").

Every function also takes a boolean or 0/1 mask of one structure. A 0/255 picture of a mask is not
such an array: its 255 would be ignored everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence

import chex
import jax
import jax.numpy as jnp
import numpy as np

IGNORE = 255


def structure_union(mask: jax.Array | np.ndarray, *, ids: Sequence[int] | None = None) -> jax.Array:
    """Pixels of any of the structures.

    Args:
        mask: [...] bool or integer structure ids.
        ids: the structures wanted; None takes all of them.

    Returns:
        [...] bool.
    """
    mask = jnp.asarray(mask)
    if mask.dtype == jnp.bool_:
        mask = mask.astype(jnp.uint8)
    chex.assert_type(mask, int)
    if ids is None:
        return (mask > 0) & (mask != IGNORE)
    return jnp.isin(mask, jnp.asarray(ids, mask.dtype))


def is_empty(mask: jax.Array | np.ndarray) -> jax.Array:
    """Returns whether a mask [H, W] has no pixel of any structure: scalar bool."""
    chex.assert_rank(mask, 2)
    return ~structure_union(mask).any()


def apply_mask(image: jax.Array | np.ndarray, mask: jax.Array | np.ndarray) -> jax.Array:
    """Zero outside the structures (paper 2.1: the image is multiplied by its lung mask).

    Args:
        image: [H, W] of any type.
        mask: [H, W] structure ids.

    Returns:
        [H, W] in the type of the image.
    """
    chex.assert_rank(image, 2)
    chex.assert_equal_shape([image, mask])
    image = jnp.asarray(image)
    return jnp.where(structure_union(mask), image, jnp.zeros_like(image))
