"""Overlap of predicted with true structures, averaged over images."""

from __future__ import annotations

from typing import Self

import chex
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from jaxcxr.metrics.mergeable import MergeableMetric, example_weights

SCORES = ("jaccard", "jaccard_smoothed", "dice")


class SegmentationOverlap(MergeableMetric):
    """Sums over images of their overlap scores, per structure.

    With I the pixels in both, U those in either: `jaccard` is I / U, `dice` 2 I / (I + U), and
    `jaccard_smoothed` (I + 1) / (U + 1), as in Oh, Park and Ye's code.

    Attributes:
        scores: [S, 3] sums of weight times score, in the order of SCORES.
        weight: [S, 3] sums of the weights. An image where a structure is neither drawn nor
            predicted has no jaccard and no dice for it, but a smoothed index of 1.
        structures: S names; structure i has the id i + 1 in masks.
    """

    scores: jax.Array
    weight: jax.Array
    structures: tuple[str, ...] = flax.struct.field(pytree_node=False)

    @classmethod
    def empty(cls, *, structures: tuple[str, ...]) -> Self:
        """The overlap of no images."""
        zeros = jnp.zeros((len(structures), len(SCORES)))
        return cls(zeros, zeros, tuple(structures))

    @classmethod
    def from_batch(
        cls,
        predicted: jax.Array | np.ndarray,
        labels: jax.Array | np.ndarray,
        weight: jax.Array | np.ndarray | None = None,
        *,
        structures: tuple[str, ...],
        labelled: jax.Array | np.ndarray | None = None,
        ignore: int = 255,
    ) -> Self:
        """The overlap of a batch.

        Args:
            predicted: [B, H, W] integer structure ids, 0 background.
            labels: [B, H, W] integer structure ids, or `ignore` where a pixel counts for nothing.
            weight: [B], 0 for padding; None weighs all 1.
            structures: names of ids 1, 2, ...
            labelled: [B, S] bool, the structures that count in an image; None: all.
            ignore: label of pixels that do not count.
        """
        predicted, labels, weight = checked_masks(predicted, labels, weight)
        counted = labels != ignore
        sums, weights = [], []
        for number in range(1, len(structures) + 1):
            counts = weight if labelled is None else weight * jnp.asarray(labelled)[:, number - 1]
            target, positive = labels == number, (predicted == number) & counted
            i = (target & positive).sum(axis=(1, 2)).astype(jnp.float32)
            u = (target | positive).sum(axis=(1, 2)).astype(jnp.float32)
            some = jnp.maximum(u, 1.0)
            scores = jnp.stack([i / some, (i + 1) / (u + 1), 2 * i / (i + some)], axis=-1)
            present = jnp.where(u > 0, counts, 0.0)
            weights_of_scores = jnp.stack([present, counts, present], axis=-1)
            sums.append((scores * weights_of_scores).sum(axis=0))
            weights.append(weights_of_scores.sum(axis=0))
        return cls(jnp.stack(sums), jnp.stack(weights), tuple(structures))

    def compute(self) -> dict[str, dict[str, float]]:
        """{structure: {score: mean over images}}; NaN where no image has the score."""
        means = self._means()
        return {
            structure: dict(zip(SCORES, row.tolist(), strict=True))
            for structure, row in zip(self.structures, means, strict=True)
        }

    def scalars(self) -> dict[str, float]:
        """Each score averaged over the structures that have it, then `<score>_<structure>`."""
        means = self._means()
        defined = ~np.isnan(means)
        counts = defined.sum(axis=0)
        totals = np.where(defined, means, 0.0).sum(axis=0)
        average = np.divide(totals, counts, out=np.full(len(SCORES), np.nan), where=counts > 0)
        result: dict[str, float] = dict(zip(SCORES, average.tolist(), strict=True))
        for structure, row in self.compute().items():
            result |= {f"{score}_{structure}": value for score, value in row.items()}
        return result

    def _means(self) -> np.ndarray:
        scores, weight = np.asarray(self.scores, np.float64), np.asarray(self.weight, np.float64)
        return np.divide(scores, weight, out=np.full_like(scores, np.nan), where=weight > 0)


def checked_masks(
    predicted: jax.Array | np.ndarray,
    labels: jax.Array | np.ndarray,
    weight: jax.Array | np.ndarray | None,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Masks of ids [B, H, W] and weights [B] on the device.

    AssertionError for other shapes or types.
    """
    chex.assert_rank(labels, 3)
    chex.assert_equal_shape([predicted, labels])
    chex.assert_type([predicted, labels], int)
    return jnp.asarray(predicted), jnp.asarray(labels), example_weights(weight, labels.shape[0])
