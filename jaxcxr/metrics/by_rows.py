"""A classifier's scores on any choice of its images, as a bootstrap draws them: on the host, by numpy."""

from __future__ import annotations

import dataclasses
import functools

import chex
import numpy as np
from scipy import stats

OF_A_CLASS = ("precision", "recall", "f1", "roc_auc")


@dataclasses.dataclass(frozen=True)
class ScoresOfRows:
    """Calling it with row numbers [n], repeated as often as drawn, gives their scores [S] in the order of `names`.

    Attributes:
      labels: [N] integers in [0, C).
      probabilities: [N, C].
    """

    labels: np.ndarray
    probabilities: np.ndarray

    def __post_init__(self) -> None:
        chex.assert_rank(self.probabilities, 2)
        chex.assert_shape(self.labels, self.probabilities.shape[:1])

    @property
    def names(self) -> tuple[str, ...]:
        """'accuracy', 'macro_f1', then each of OF_A_CLASS of class 0, 1, ...: 'recall/0'."""
        of_classes = (
            f"{score}/{c}" for c in range(self.probabilities.shape[1]) for score in OF_A_CLASS
        )
        return ("accuracy", "macro_f1", *of_classes)

    @functools.cached_property
    def predicted(self) -> np.ndarray:
        """[N] the classes with the largest probabilities."""
        return self.probabilities.argmax(axis=1)

    @functools.cached_property
    def wrong(self) -> np.ndarray:
        """[N] bool."""
        return self.predicted != self.labels

    def of_all(self) -> dict[str, float]:
        """The scores of all rows, by name."""
        values = self(np.arange(len(self.labels)))
        return dict(zip(self.names, values.tolist(), strict=True))

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """[S] float64.

        Precision and F1 are 0 where they are 0 / 0, as in scikit-learn with `zero_division=0`; macro-F1 is the mean
        over all C classes. The recall of a class without images is NaN, as is an area under the ROC curve (of a
        class against the rest) without images of the class or of the rest.
        """
        labels, count = self.labels[rows], self.probabilities.shape[1]
        confusion = np.bincount(count * labels + self.predicted[rows], minlength=count**2).reshape(
            count, count
        )
        hits, support, claimed = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
        f1 = 2 * hits / np.maximum(support + claimed, 1)
        recall = np.where(support > 0, hits / np.maximum(support, 1), np.nan)
        areas = [_roc_auc(labels == c, self.probabilities[rows, c]) for c in range(count)]
        of_classes = np.stack([hits / np.maximum(claimed, 1), recall, f1, areas], axis=1)
        return np.concatenate([[hits.sum() / max(len(labels), 1), f1.mean()], of_classes.ravel()])


def _roc_auc(positive: np.ndarray, scores: np.ndarray) -> float:
    """By ranks, since a bootstrap needs thousands: `ranking.roc_auc` takes ten times as long."""
    inside = int(positive.sum())
    outside = len(positive) - inside
    if not inside or not outside:
        return float("nan")
    ranks = stats.rankdata(scores)
    return float((ranks[positive].sum() - inside * (inside + 1) / 2) / (inside * outside))
