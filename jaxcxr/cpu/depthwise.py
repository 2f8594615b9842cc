"""Depthwise convolutions for XLA:CPU, which has no fast path for them or their gradients."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxcxr.cpu.gradients import linear_once
from jaxcxr.cpu.reductions import channel_sums
from jaxcxr.cpu.windows import strips_of_rows, taps
from jaxcxr.ops.convolution import at_least_float32

_ROWS = 28  # of a map, at a time


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def depthwise(
    x: jax.Array, kernel: jax.Array, strides: tuple[int, int], padding: tuple[int, int]
) -> jax.Array:
    """`ops.convolution.native_convolve` of each channel by itself, `kernel` [kh, kw, 1, C].

    The sum over the taps of x, shifted, times the tap's weight of each channel.

    XLA fuses it into one loop, and so it does the gradient by x, a sum of the same kind. A training
    step has several users of either, the sums of the batch norms, and XLA would fuse the loop into
    each of them: `linear_once`. The gradient by the kernel is a sum over pixels, which XLA:CPU
    takes channel after channel: `_sums_of_products` adds whole rows first.

    The barriers keep XLA from simplifying across these loops: a training step with depthwise
    convolutions takes 5 to 20 % longer without them (docs/PERFORMANCE.md). They do not keep it from
    fusing, for XLA:CPU takes them out before it does.
    """
    x = jax.lax.optimization_barrier(x)
    out = _weighted(taps(x, kernel.shape, strides=strides, padding=padding), kernel)
    return jax.lax.optimization_barrier(out.astype(x.dtype))


def _weighted(parts: Sequence[jax.Array], kernel: jax.Array) -> jax.Array:
    """The sum of [B, H, W, C] parts, each times its weights [C] in `kernel` [kh, kw, 1, C]."""
    weights = at_least_float32(kernel).reshape(len(parts), 1, 1, 1, -1)
    return functools.reduce(jnp.add, (part * weights[i] for i, part in enumerate(parts)))


def _backward(
    strides: tuple[int, int], padding: tuple[int, int], residuals: Any, cotangent: jax.Array
) -> tuple[jax.Array, jax.Array]:
    x, kernel = residuals
    x, cotangent = jax.lax.optimization_barrier((x, cotangent))
    rows, columns, _, channels = kernel.shape

    # dx: the cotangent, spread out, with the turned kernel.
    sides = [
        (window - 1 - margin, size + margin - (made - 1) * stride - 1, stride - 1)
        for window, margin, size, made, stride in zip(
            (rows, columns), padding, x.shape[1:3], cotangent.shape[1:3], strides, strict=True
        )
    ]
    none = (0, 0, 0)

    def spread_and_weighted(cotangent: jax.Array, kernel: jax.Array) -> jax.Array:
        spread = jax.lax.pad(cotangent, jnp.zeros((), cotangent.dtype), [none, *sides, none])
        parts = taps(spread, kernel.shape, strides=(1, 1), padding=(0, 0))
        return _weighted(parts, kernel[::-1, ::-1]).astype(x.dtype)

    dx = linear_once(spread_and_weighted, cotangent, kernel)

    padded = jnp.pad(x, [(0, 0), *((p, p) for p in padding), (0, 0)])
    dkernel = _sums_of_products(padded, cotangent, (rows, columns), strides)
    return dx, dkernel.reshape(rows, columns, 1, channels).astype(kernel.dtype)


def _forward(
    x: jax.Array, kernel: jax.Array, strides: tuple[int, int], padding: tuple[int, int]
) -> tuple[jax.Array, Any]:
    def convolved(x: jax.Array, kernel: jax.Array) -> jax.Array:
        parts = taps(x, kernel.shape, strides=strides, padding=padding)
        return _weighted(parts, kernel).astype(x.dtype)

    return linear_once(convolved, x, kernel), (x, kernel)


depthwise.defvjp(_forward, _backward)


def _sums_of_products(
    x: jax.Array, y: jax.Array, window: tuple[int, int], strides: tuple[int, int]
) -> jax.Array:
    """Of each tap of a window, the sum over all pixels of `x`, shifted, times `y` [B, H, W, C].

    Image after image, which stays in the cache (of a large one, strip after strip of at most
    `_ROWS` rows), and rows first, as they lie in memory. The loop also keeps XLA from computing
    `x` and `y` again for each tap.

    Returns:
        [taps, C] float32.
    """
    if y.shape[1] > _ROWS:
        x, y = strips_of_rows(
            x, y, strips=-(-y.shape[1] // _ROWS), window=window[0], stride=strides[0]
        )

    def add_image(sums: list[jax.Array], image: tuple[jax.Array, jax.Array]) -> Any:
        x, y = image
        seen = taps(at_least_float32(x), window, strides=strides, padding=(0, 0))
        return [total + (part * y).sum(0) for total, part in zip(sums, seen, strict=True)], None

    none = at_least_float32(jnp.zeros_like(y, shape=y.shape[2:]))
    sums, _ = jax.lax.scan(add_image, [none] * math.prod(window), (x, y))
    sums = jax.lax.optimization_barrier(sums)
    return jnp.stack([channel_sums(one) for one in sums])
