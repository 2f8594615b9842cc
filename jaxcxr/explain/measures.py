"""Fractions of a saliency map in the lungs and on what is written on the X-ray."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxcxr.ops.masks import structure_union


def share_inside(heat: jax.Array | np.ndarray, region: jax.Array | np.ndarray) -> jax.Array:
    """Fraction of each map's saliency inside a region, such as the lungs or a letter.

    Compare it with the region's fraction of the image, or see `concentration`: saliency spread
    evenly has that fraction inside.

    Args:
        heat: [B, H, W]; negative saliency counts as none.
        region: [B, H, W] bool, or structure ids.

    Returns:
        [B] float32 in [0, 1]; NaN for a map without saliency.
    """
    chex.assert_rank(heat, 3)
    chex.assert_equal_shape([heat, region])
    heat = jax.nn.relu(jnp.asarray(heat, jnp.float32))
    total = heat.sum((1, 2))
    inside = jnp.where(structure_union(region), heat, 0).sum((1, 2))
    return jnp.where(total > 0, inside / jnp.where(total > 0, total, 1), jnp.nan)


def concentration(heat: jax.Array | np.ndarray, region: jax.Array | np.ndarray) -> jax.Array:
    """Density of the saliency inside a region over its density in the whole image.

    Args:
        heat: [B, H, W]; negative saliency counts as none.
        region: [B, H, W] bool, or structure ids.

    Returns:
        [B] float32: 1 for saliency that is spread evenly, 0 where none is inside; NaN for a map
        without saliency or an empty region.
    """
    area = structure_union(region).mean((1, 2), dtype=jnp.float32)
    return jnp.where(area > 0, share_inside(heat, region) / jnp.where(area > 0, area, 1), jnp.nan)
