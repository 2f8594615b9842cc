"""Weighted mean of a value per example."""

from __future__ import annotations

from typing import Self

import chex
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from jaxcxr.metrics.mergeable import MergeableMetric, example_weights


class Mean(MergeableMetric):
    """Weighted mean.

    Attributes:
        total: sum of weight times value, scalar.
        weight: sum of the weights, scalar.
        name: what it is the mean of, the key in `scalars`.
    """

    total: jax.Array
    weight: jax.Array
    name: str = flax.struct.field(pytree_node=False, default="loss")

    @classmethod
    def empty(cls, *, name: str = "loss") -> Self:
        """The mean of no examples."""
        return cls(jnp.zeros(()), jnp.zeros(()), name)

    @classmethod
    def from_batch(
        cls,
        values: jax.Array | np.ndarray,
        weight: jax.Array | np.ndarray | None = None,
        *,
        name: str = "loss",
    ) -> Self:
        """Values [B] with weights [B]; a value of weight 0 does not count even if it is NaN."""
        chex.assert_rank(values, 1)
        weight = example_weights(weight, values.shape[0])
        counted = jnp.where(weight > 0, jnp.asarray(values, jnp.float32), 0.0)
        return cls((weight * counted).sum(), weight.sum(), name)

    def compute(self) -> float:
        """The mean; NaN if nothing was added."""
        weight = float(self.weight)
        return float(self.total) / weight if weight else float("nan")

    def scalars(self) -> dict[str, float]:
        """The mean under its name."""
        return {self.name: self.compute()}
