"""Views of maps: the taps of a window, and strips of rows."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxcxr.ops.convolution import output_size


def taps(
    x: jax.Array, kernel: Sequence[int], *, strides: tuple[int, int], padding: tuple[int, int]
) -> list[jax.Array]:
    """Shifted views of `x`, one for each tap of a kernel, row by row.

    `x` [..., H, W, C], padded and cut -> [..., H', W', C].
    """
    x = jnp.pad(x, [*[(0, 0)] * (x.ndim - 3), *((p, p) for p in padding), (0, 0)])
    height, width = output_size((0, *x.shape[-3:]), kernel, strides, (0, 0))
    return [
        x[
            ...,
            row : row + (height - 1) * strides[0] + 1 : strides[0],
            column : column + (width - 1) * strides[1] + 1 : strides[1],
            :,
        ]
        for row in range(kernel[0])
        for column in range(kernel[1])
    ]


def strips_of_rows(
    x: jax.Array,
    made: jax.Array,
    *,
    strips: int,
    window: int,
    stride: int,
    above: int = 0,
) -> tuple[jax.Array, jax.Array]:
    """Strips of rows, each an image of its own, of what a window made of `x`.

    Args:
        x: [B, H, W, C].
        made: [B, H', W', C'], a row from each `window` rows of x, `stride` apart.
        strips: how many of each image; the last ones end in zeros.
        window: rows of the window.
        stride: rows between two windows.
        above: rows of zeros above x that the first window sees.

    Returns:
        [B strips, rows seen, W, C] of x, [B strips, rows made, W', C'].
    """
    rows = -(-made.shape[1] // strips)
    seen = (rows - 1) * stride + window
    below = max(0, (strips * rows - 1) * stride + window - above - x.shape[1])
    index = np.arange(strips)[:, None] * stride * rows + np.arange(seen)
    x = jnp.pad(x, [(0, 0), (above, below), (0, 0), (0, 0)])
    x = x.at[:, index].get(mode="promise_in_bounds").reshape(-1, seen, *x.shape[2:])
    made = jnp.pad(made, [(0, 0), (0, strips * rows - made.shape[1]), (0, 0), (0, 0)])
    return x, made.reshape(-1, rows, *made.shape[2:])
