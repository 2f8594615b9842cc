"""Sums and maxima for XLA:CPU."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

_BLOCK = 16  # pixels, measured: 8 and 49 are slower


def channel_sums(x: jax.Array) -> jax.Array:
    """[..., C] -> [C].

    XLA:CPU sums channel after channel, a pixel in each line of the cache. Sums of `_BLOCK` pixels
    it takes as they lie in memory, together with what made them (a square, a product), which is
    then not written. A product with ones adds the rest faster than XLA's sum; with eight rows of
    them and not one it is blocked, and rounds less than either.
    """
    rows = x.reshape(-1, x.shape[-1])
    if len(rows) % _BLOCK == 0:
        rows = rows.reshape(-1, _BLOCK, x.shape[-1]).sum(1)
    return jnp.dot(jnp.ones((8, len(rows)), x.dtype), rows)[0]


def max_pool(x: jax.Array, window: int, *, stride: int, padding: int) -> jax.Array:
    """`models.layers.max_pool` of [B, H, W, C], of maxima of shifted views.

    XLA:CPU scatters the gradient of a pool one window at a time, which is slow
    (docs/PERFORMANCE.md). Two at a time and not `.max`, whose gradient asks where x equals the
    maximum: a fused program may compute x again, rounded otherwise, find it nowhere and divide by
    0. Equal maxima divide the gradient between them.
    """
    for axis in (1, 2):
        size = (x.shape[axis] + 2 * padding - window) // stride + 1
        sides = [(padding, padding) if i == axis else (0, 0) for i in range(4)]
        padded = jnp.pad(x, sides, constant_values=-jnp.inf)
        shifted = (
            jax.lax.slice_in_dim(padded, i, i + (size - 1) * stride + 1, stride, axis)
            for i in range(window)
        )
        x = functools.reduce(jnp.maximum, shifted)
    return x
