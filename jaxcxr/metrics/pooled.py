"""Overlap of predicted with true structures over the pixels of all images together."""

from __future__ import annotations

from typing import Self

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from jaxcxr.metrics.mergeable import MergeableMetric
from jaxcxr.metrics.segmentation_overlap import checked_masks


class PooledOverlap(MergeableMetric):
    """Accuracy, Jaccard and Dice as if all images were one.

    A large lung counts more than a small one.

    `SegmentationOverlap` has the means over images, which reports give first.

    Attributes:
        fractions: [S, 3] sums of weight times the fraction of an image's pixels that are of the
            structure: in both masks, in the true one, in the predicted one. Fractions, as counts of
            pixels would outgrow float32.
        correct: sum of weight times the fraction of pixels whose id is predicted, scalar.
        counted: the same of all pixels that count, scalar.
        structures: S names; structure i has the id i + 1 in masks.
    """

    fractions: jax.Array
    correct: jax.Array
    counted: jax.Array
    structures: tuple[str, ...] = flax.struct.field(pytree_node=False)

    @classmethod
    def empty(cls, *, structures: tuple[str, ...]) -> Self:
        """The overlap of no images."""
        zero = jnp.zeros(())
        return cls(jnp.zeros((len(structures), 3)), zero, zero, tuple(structures))

    @classmethod
    def from_batch(
        cls,
        predicted: jax.Array | np.ndarray,
        labels: jax.Array | np.ndarray,
        weight: jax.Array | np.ndarray | None = None,
        *,
        structures: tuple[str, ...],
        ignore: int = 255,
    ) -> Self:
        """The overlap of a batch; arguments as for `SegmentationOverlap.from_batch`."""
        predicted, labels, weight = checked_masks(predicted, labels, weight)
        counted = labels != ignore
        ids = jnp.arange(1, len(structures) + 1).reshape(-1, 1, 1, 1)
        target = labels[None] == ids.astype(labels.dtype)
        positive = (predicted[None] == ids.astype(predicted.dtype)) & counted[None]

        def total(pixels: jax.Array) -> jax.Array:
            """[..., B, H, W] bool -> [...]."""
            return (
                pixels.mean(axis=(-2, -1), dtype=jnp.float32)
                * jnp.broadcast_to(weight, pixels.shape[:-2])
            ).sum(-1)

        fractions = jnp.stack([total(target & positive), total(target), total(positive)], axis=-1)
        return cls(
            fractions, total((predicted == labels) & counted), total(counted), tuple(structures)
        )

    def compute(self) -> dict[str, dict[str, float]]:
        """{structure: {"jaccard", "dice"}}; NaN for one neither drawn nor predicted anywhere."""
        both, target, positive = np.asarray(self.fractions, np.float64).T
        either = target + positive - both
        jaccard, dice = _ratio(both, either), _ratio(2 * both, target + positive)
        return {
            name: {"jaccard": float(jaccard[i]), "dice": float(dice[i])}
            for i, name in enumerate(self.structures)
        }

    def scalars(self) -> dict[str, float]:
        """Scalars for the log: `accuracy`, `pooled_jaccard`, `pooled_dice`.

        `accuracy` is the fraction of pixels with the right id; Jaccard and Dice are means over
        structures.
        """
        rows = self.compute().values()
        accuracy = _ratio(
            np.asarray(self.correct, np.float64), np.asarray(self.counted, np.float64)
        )
        result = {"accuracy": float(accuracy)}
        for score in ("jaccard", "dice"):
            defined = [row[score] for row in rows if not np.isnan(row[score])]
            result[f"pooled_{score}"] = float(np.mean(defined)) if defined else float("nan")
        return result


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full_like(part, np.nan), where=whole > 0)
