"""Base class of the metrics: pytrees of sums over examples, so they add."""

from __future__ import annotations

from typing import Self

import chex
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np


class MergeableMetric(flax.struct.PyTreeNode):
    """A pytree whose every array is a sum over examples."""

    def merge(self, other: Self) -> Self:
        """The metric of both sets of examples together."""
        chex.assert_trees_all_equal_shapes(self, other)
        return jax.tree.map(jnp.add, self, other)


def example_weights(weight: jax.Array | np.ndarray | None, size: int) -> jax.Array:
    """[B] float32; None weighs every example 1."""
    if weight is None:
        return jnp.ones(size)
    chex.assert_shape(weight, (size,))
    return jnp.asarray(weight, jnp.float32)
