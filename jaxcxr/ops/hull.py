"""What lies beyond the convex hull of a mask."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

_DIRECTIONS = 32


def beyond_hull(masks: jax.Array | np.ndarray, margin: float) -> jax.Array:
    """Pixels of which a line in one of 32 directions keeps the whole mask away.

    With as many sides a polygon that holds the hull of a disc is wider by at most 0.5 % of its
    radius, so that no pixel of the hull is ever beyond it.

    Args:
        masks: [B, H, W] bool.
        margin: how far beyond the hull a pixel must be, in pixels.

    Returns:
        [B, H, W] bool; everything of an empty mask.
    """
    masks = jnp.asarray(masks)
    rows, columns = jnp.indices(masks.shape[1:], jnp.float32)
    angles = jnp.linspace(0, 2 * np.pi, _DIRECTIONS, endpoint=False)

    def add(beyond: jax.Array, angle: jax.Array) -> tuple[jax.Array, None]:
        along = (columns * jnp.cos(angle) + rows * jnp.sin(angle))[None]
        reach = jnp.where(masks, along, -jnp.inf).max((1, 2), keepdims=True)
        # A thousandth of a pixel: what rounding may move the mask's own pixels.
        return beyond | (along > reach + margin + 1e-3), None

    return jax.lax.scan(add, jnp.zeros(masks.shape, bool), angles)[0]
