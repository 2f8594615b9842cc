"""Areas under curves: they rank the whole set, so they run on the host, by scikit-learn."""

from __future__ import annotations

from collections.abc import Callable

import chex
import jax
import numpy as np
from sklearn import metrics


def roc_auc(positive: jax.Array | np.ndarray, scores: jax.Array | np.ndarray) -> float:
    """Area under the ROC curve.

    Args:
        positive: [N] bool, whether an example is of the class.
        scores: [N], larger for the class.

    Returns:
        In [0, 1]; NaN where the class or its rest has no example.
    """
    positive = _check(positive, scores)
    if positive.all() or not positive.any():
        return float("nan")
    return float(metrics.roc_auc_score(positive, scores))


def pr_auc(positive: jax.Array | np.ndarray, scores: jax.Array | np.ndarray) -> float:
    """Average precision: the area under the precision-recall curve, by steps.

    The trapezoids of scikit-learn's `auc` would flatter.

    Args:
        positive: [N] bool, whether an example is of the class.
        scores: [N], larger for the class.

    Returns:
        In [0, 1]; NaN where the class has no example.
    """
    positive = _check(positive, scores)
    if not positive.any():
        return float("nan")
    return float(metrics.average_precision_score(positive, scores))


def one_vs_rest(
    area: Callable[[np.ndarray, np.ndarray], float],
    labels: jax.Array | np.ndarray,
    probabilities: jax.Array | np.ndarray,
) -> np.ndarray:
    """The area of every class against the others.

    Args:
        area: `roc_auc` or `pr_auc`.
        labels: [N] integers in [0, C).
        probabilities: [N, C].

    Returns:
        [C] float64, NaN where the area is not defined.
    """
    labels, probabilities = np.asarray(labels), np.asarray(probabilities)
    chex.assert_rank(probabilities, 2)
    chex.assert_shape(labels, probabilities.shape[:1])
    return np.array([area(labels == c, probabilities[:, c]) for c in range(probabilities.shape[1])])


def _check(positive: jax.Array | np.ndarray, scores: jax.Array | np.ndarray) -> np.ndarray:
    chex.assert_rank(positive, 1)
    chex.assert_equal_shape([positive, scores])
    return np.asarray(positive, bool)
