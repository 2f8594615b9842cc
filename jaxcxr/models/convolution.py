"""Convolutions, lowered at trace time by the platform: XLA's own, or on CPUs `jaxcxr.cpu`'s."""

from __future__ import annotations

import functools
from typing import Any

import jax

from jaxcxr.cpu import convolution as cpu
from jaxcxr.cpu import gradients
from jaxcxr.ops.convolution import Lowering, native_convolve


def convolve(
    x: jax.Array,
    kernel: jax.Array,
    *,
    strides: tuple[int, int],
    padding: tuple[int, int],
    groups: int = 1,
    lowering: Lowering,
) -> jax.Array:
    """Cross-correlate `x` [B, H, W, cin] with `kernel` [kh, kw, cin / groups, cout].

    Equals `torch.nn.functional.conv2d` (zero padding, NHWC and HWIO layout).

    `lowering="matmul"` is for XLA:CPU, see `jaxcxr.cpu.convolution`.

    Returns:
        [B, H', W', cout].
    """
    by_platform = cpu.convolve if lowering == "matmul" else native_convolve
    return by_platform(x, kernel, strides=strides, padding=padding, groups=groups)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def convolve_transposed(
    x: jax.Array, kernel: jax.Array, strides: tuple[int, int], lowering: Lowering
) -> jax.Array:
    """The transpose of `convolve` without padding.

    `x` [B, H, W, cin] and `kernel` [kh, kw, cout, cin] -> [B, (H - 1) strides + kh, (W - 1)
    strides + kw, cout].

    Equals `torch.nn.functional.conv_transpose2d`. Its gradients are those of `convolve`: JAX
    would take the one by the kernel from a map with zeros between its pixels, which is slow.
    """
    del lowering
    return jax.lax.conv_transpose(x, kernel, strides, "VALID", transpose_kernel=True)


def _transposed_backward(
    strides: tuple[int, int], lowering: Lowering, residuals: Any, cotangent: jax.Array
) -> tuple[jax.Array, jax.Array]:
    x, kernel = residuals
    if lowering == "matmul":
        cotangent = gradients.computed_once(cotangent)
    back = functools.partial(
        convolve, cotangent, strides=strides, padding=(0, 0), lowering=lowering
    )
    dx, kernel_vjp = jax.vjp(back, kernel)
    return dx, *kernel_vjp(x)


convolve_transposed.defvjp(gradients.with_operands(convolve_transposed), _transposed_backward)
