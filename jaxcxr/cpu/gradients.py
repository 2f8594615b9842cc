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


def linear_once(
    compute: Callable[[jax.Array, jax.Array], jax.Array], x: jax.Array, kernel: jax.Array
) -> jax.Array:
    """`compute(x, kernel)`, linear in `kernel`, which XLA:CPU must not recompute for each user.

    XLA fuses cheap operations into all of their users and would repeat a sum of 25 products in
    each; it takes optimisation barriers out before. A conditional it leaves alone, and what one
    returns lies in memory. What this one asks, whether a weight is 0 or not, is always so, and XLA
    does not see that.
    """
    if not x.size:  # there is no sum to repeat
        return compute(x, kernel)
    out = jax.eval_shape(compute, x, kernel)
    weight = kernel.reshape(-1)[0]

    def never(x: jax.Array, kernel: jax.Array) -> jax.Array:
        # Of the operands, so that on several devices both branches vary as these do.
        return jnp.broadcast_to(0 * (x.reshape(-1)[0] + kernel.reshape(-1)[0]), out.shape).astype(
            out.dtype
        )

    return jax.lax.cond((weight == 0) | (weight != 0), compute, never, x, kernel)
