"""Parts of gradients of our own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


def with_operands(convolution: Callable[..., Any]) -> Callable[..., tuple[Any, Any]]:
    """The forward pass of a custom gradient: (`convolution(x, kernel, *options)`, (x, kernel))."""

    def forward(x: jax.Array, kernel: jax.Array, *options: Any) -> tuple[Any, Any]:
        return convolution(x, kernel, *options), (x, kernel)

    return forward


def computed_once(x: jax.Array) -> jax.Array:
    """`x`, which XLA:CPU must not recompute for each of its users.

    It does so with operations of one large operand (see `relu_of_sum` in models/layers.py), and
    through them with all before them.
    """
    return jnp.where(jnp.isnan(x), jnp.nan, x)
