"""Confusion matrix and the scores that follow from it, each class against the rest."""

from __future__ import annotations

from typing import Self

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxcxr.metrics.mergeable import MergeableMetric, example_weights


class ConfusionMatrix(MergeableMetric):
    """Weights of the examples by true and predicted class.

    Attributes:
        counts: [C, C] float32, rows true and columns predicted; exact up to 2^24 examples.
    """

    counts: jax.Array

    @classmethod
    def empty(cls, *, num_classes: int) -> Self:
        """The matrix of no examples."""
        return cls(jnp.zeros((num_classes, num_classes)))

    @classmethod
    def from_batch(
        cls,
        labels: jax.Array | np.ndarray,
        predicted: jax.Array | np.ndarray,
        weight: jax.Array | np.ndarray | None = None,
        *,
        num_classes: int,
    ) -> Self:
        """The matrix of a batch.

        Args:
            labels: [B] integers, the true classes; an example outside [0, C) is not counted.
            predicted: [B] integers in [0, C).
            weight: [B], 0 for padding; None weighs all 1.
            num_classes: C.
        """
        chex.assert_rank(labels, 1)
        chex.assert_equal_shape([labels, predicted])
        chex.assert_type([labels, predicted], int)
        weight = example_weights(weight, labels.shape[0])
        true = jax.nn.one_hot(labels, num_classes) * weight[:, None]
        # Full precision: accelerators otherwise round the factors of a product to fewer bits.
        counts = jnp.einsum(
            "bt,bp->tp", true, jax.nn.one_hot(predicted, num_classes), precision="highest"
        )
        return cls(counts)

    def compute(self) -> dict[str, np.ndarray]:
        """The scores; 0 / 0 is 0, as in scikit-learn with `zero_division=0`.

        Returns:
            accuracy and macro_f1, scalars; precision, recall, f1 and support, each [C]. macro_f1
            averages over all C classes, also those without an example, as scikit-learn does with
            `labels=range(C)`.
        """
        counts = np.asarray(self.counts, np.float64)
        true_positives, support, predicted_positives = (
            np.diag(counts),
            counts.sum(axis=1),
            counts.sum(axis=0),
        )
        f1 = _ratio(2 * true_positives, support + predicted_positives)
        return {
            "accuracy": _ratio(true_positives.sum(), counts.sum()),
            "precision": _ratio(true_positives, predicted_positives),
            "recall": _ratio(true_positives, support),
            "f1": f1,
            "support": support,
            "macro_f1": f1.mean(),
        }

    def scalars(self) -> dict[str, float]:
        """`accuracy` and `macro_f1`."""
        scores = self.compute()
        return {name: float(scores[name]) for name in ("accuracy", "macro_f1")}


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole != 0)
