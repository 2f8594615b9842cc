"""A classifier's scores on any choice of its images, on the host.

A bootstrap draws such choices.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import NamedTuple, Self

import chex
import numpy as np

OF_A_CLASS = ("precision", "recall", "f1", "roc_auc")


@dataclasses.dataclass(frozen=True)
class BootstrapScores:
    """Scores by how often each draw has each row: counts [N, D] -> scores [S, D].

    The scores are in the order of `names`.

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
        values = self(np.ones((len(self.labels), 1)))[:, 0]
        return dict(zip(self.names, values.tolist(), strict=True))

    def __call__(self, counts: np.ndarray) -> np.ndarray:
        """[S, D] float64, of `counts` [N, D] float64.

        Precision and F1 are 0 where they are 0 / 0, as in scikit-learn with `zero_division=0`;
        macro-F1 is the mean over all C classes. The recall of a class without images is NaN, as is
        an area under the ROC curve (of a class against the rest) without images of the class or of
        the rest. Of a class that no row has, precision and F1 are NaN, too.
        """
        true_positives, support, predicted_positives = self._sums(counts)
        classes = len(support)
        f1 = 2 * true_positives / np.maximum(support + predicted_positives, 1)
        recall = np.where(support > 0, true_positives / np.maximum(support, 1), np.nan)
        has_rows = np.bincount(self.labels, minlength=classes)[:, None] > 0
        areas = [_area(order, counts) for order in self._orders]
        of_classes = np.stack(
            [
                np.where(has_rows, true_positives / np.maximum(predicted_positives, 1), np.nan),
                recall,
                np.where(has_rows, f1, np.nan),
                areas,
            ],
            axis=1,
        )
        accuracy = true_positives.sum(axis=0) / np.maximum(counts.sum(axis=0), 1)
        return np.concatenate(
            [[accuracy, f1.mean(axis=0)], of_classes.reshape(-1, counts.shape[1])]
        )

    def overall(self, counts: np.ndarray) -> np.ndarray:
        """[2, D]: 'accuracy' and 'macro_f1' alone, as `__call__` has them, without any area."""
        true_positives, support, predicted_positives = self._sums(counts)
        f1 = 2 * true_positives / np.maximum(support + predicted_positives, 1)
        accuracy = true_positives.sum(axis=0) / np.maximum(counts.sum(axis=0), 1)
        return np.stack([accuracy, f1.mean(axis=0)])

    def _sums(self, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """[C, D] true positives, images and predicted positives of each class."""
        classes = self.probabilities.shape[1]
        confusion = (self._cells @ counts).reshape(classes, classes, -1)
        return np.einsum("ccd->cd", confusion), confusion.sum(axis=1), confusion.sum(axis=0)

    @functools.cached_property
    def _cells(self) -> np.ndarray:
        """[C C, N]: 1 in the cell of the confusion matrix that an image belongs to.

        Cells are in the order of rows, true class first.
        """
        classes = self.probabilities.shape[1]
        cells = classes * self.labels + self.predicted
        return (np.arange(classes**2)[:, None] == cells).astype(np.float64)

    @functools.cached_property
    def _orders(self) -> list[_Order]:
        """Ranks of the scores of every class, sorted once for all draws."""
        return [
            _Order.of(self.labels == c, self.probabilities[:, c])
            for c in range(self.probabilities.shape[1])
        ]


class _Order(NamedTuple):
    """Ranks of the scores of P images of a class among those of the M others.

    Attributes:
        inside: [P] rows of the class.
        outside: [M] rows of the others, from the lowest score to the highest.
        below: [P] number of the others with a lower score.
        reached: [P] number of the others with a lower or the same score.
    """

    inside: np.ndarray
    outside: np.ndarray
    below: np.ndarray
    reached: np.ndarray

    @classmethod
    def of(cls, positive: np.ndarray, scores: np.ndarray) -> Self:
        inside, outside = np.flatnonzero(positive), np.flatnonzero(~positive)
        outside = outside[np.argsort(scores[outside], kind="stable")]
        ranks = [
            np.searchsorted(scores[outside], scores[inside], side) for side in ("left", "right")
        ]
        return cls(inside, outside, *ranks)


def _area(order: _Order, counts: np.ndarray) -> np.ndarray:
    """Area under the ROC curve [D].

    The fraction of pairs of an image of the class and another in which the class's scores higher,
    ties halved.
    """
    inside, outside = counts[order.inside], counts[order.outside]
    total = np.concatenate([np.zeros((1, counts.shape[1])), outside.cumsum(axis=0)])
    higher = np.einsum("pd,pd->d", inside, total[order.below] + total[order.reached]) / 2
    pairs = inside.sum(axis=0) * total[-1]
    return np.where(pairs > 0, higher / np.maximum(pairs, 1), np.nan)
