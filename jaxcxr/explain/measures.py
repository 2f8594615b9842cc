"""How much of a heat map lies where it should."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxcxr.ops.masks import structure_union


def share_inside(heat: jax.Array | np.ndarray, mask: jax.Array | np.ndarray) -> jax.Array:
    """The share of each map's heat that falls inside the lung mask.

    Compare it with the mask's share of the image: heat spread evenly has that share inside.

    Args:
      heat: [B, H, W]; negative heat counts as none.
      mask: [B, H, W] structure ids.

    Returns:
      [B] float32 in [0, 1]; NaN for a map without heat.
    """
    chex.assert_rank(heat, 3)
    chex.assert_equal_shape([heat, mask])
    heat = jax.nn.relu(jnp.asarray(heat, jnp.float32))
    total = heat.sum((1, 2))
    inside = jnp.where(structure_union(mask), heat, 0).sum((1, 2))
    return jnp.where(total > 0, inside / jnp.where(total > 0, total, 1), jnp.nan)
