"""XLA's own convolution, and the choice between it and what `jaxcxr.cpu` makes of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp

Lowering = Literal["native", "matmul"]


def platform_lowering() -> Lowering:
    """The lowering for the default backend: "matmul" on CPU, "native" on GPU and TPU."""
    return "matmul" if jax.default_backend() == "cpu" else "native"


def at_least_float32(x: jax.Array) -> jax.Array:
    """Half precision becomes float32; statistics, dense layers and logits are computed in that."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def native_convolve(
    x: jax.Array,
    kernel: jax.Array,
    *,
    strides: tuple[int, int],
    padding: tuple[int, int],
    groups: int,
) -> jax.Array:
    """`lax.conv_general_dilated` with zero padding, `x` [B, H, W, cin], `kernel` HWIO."""
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        window_strides=strides,
        padding=[(p, p) for p in padding],
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


def output_size(
    x: Sequence[int], kernel: Sequence[int], strides: tuple[int, int], padding: tuple[int, int]
) -> tuple[int, int]:
    """(H', W') of a convolution, from the shapes of its operands."""
    rows, columns = ((x[i + 1] + 2 * padding[i] - kernel[i]) // strides[i] + 1 for i in (0, 1))
    return rows, columns
