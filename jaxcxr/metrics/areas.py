"""ROC and precision-recall curves, the areas under them, and their averages over classes.

Each class against the rest. Micro average: all N C pairs of an image and a class as one ranking,
scikit-learn's `average="micro"` of a one-hot matrix. Macro average: the mean over the classes.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import NamedTuple, Self

import chex
import numpy as np

ROC, PR = AREAS = ("roc_auc", "pr_auc")
MICRO, MACRO = AVERAGES = ("micro", "macro")
# Examples times draws that are summed together: more do not fit a core's cache, and of a large data
# set not the memory.
_CELLS = 1 << 19


class Curve(NamedTuple):
    """Points of a curve, x from 0 to 1.

    Of a receiver operating characteristic: x [T] false positive rates, y [T] true positive rates,
    joined by lines. Of precision over recall: x [T] recalls, each once, y [T] precisions, in steps:
    y[t] holds from x[t - 1], which is without it, to x[t]. Lines would promise precisions that no
    threshold has (Davis and Goadrich, ICML 2006).
    """

    x: np.ndarray
    y: np.ndarray


@dataclasses.dataclass(frozen=True)
class BootstrapAreas:
    """Areas by how often each draw has each row: counts [N, D] -> areas [S, D].

    The areas are in the order of `names`. They equal scikit-learn's `roc_auc_score` and
    `average_precision_score` with the counts as `sample_weight`.

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
    def averages_and_classes(self) -> tuple[str, ...]:
        """'micro', 'macro', '0', '1', ..."""
        return (*AVERAGES, *map(str, range(self.probabilities.shape[1])))

    @property
    def names(self) -> tuple[str, ...]:
        """'roc_auc/micro', 'roc_auc/macro', 'roc_auc/0', ..., then the same of 'pr_auc'."""
        return tuple(f"{area}/{of}" for area in AREAS for of in self.averages_and_classes)

    def of_all(self) -> dict[str, float]:
        """The areas of all rows, by name; NaN where one is not defined."""
        values = self(np.ones((len(self.labels), 1)))[:, 0]
        return dict(zip(self.names, values.tolist(), strict=True))

    def __call__(self, counts: np.ndarray) -> np.ndarray:
        """[S, D] float64 in [0, 1], of `counts` [N, D] float64.

        Both areas of a class without images are NaN, and so is the ROC area of a class without
        others. A macro average is NaN where the area of any class is: over the classes that are
        left it would be the average of something else.
        """
        micro, *classes = (ranking.areas(counts) for ranking in self._rankings)
        macro = np.mean(classes, axis=0)
        return np.stack([micro, macro, *classes], axis=1).reshape(-1, counts.shape[1])

    def curves(self) -> dict[str, dict[str, Curve]]:
        """'roc_auc' and 'pr_auc' -> average or class as in `averages_and_classes` -> its curve.

        Without those whose area is not defined. The area under a macro average is the macro
        average of the areas.
        """
        micro, *classes = self._rankings
        found: dict[str, dict[str, Curve]] = {}
        for area, draw, average in ((ROC, _Ranking.roc, mean_roc), (PR, _Ranking.pr, mean_pr)):
            of_classes = {str(c): draw(ranking) for c, ranking in enumerate(classes)}
            defined = {c: curve for c, curve in of_classes.items() if curve is not None}
            found[area] = dict(defined)
            if (curve := draw(micro)) is not None:
                found[area][MICRO] = curve
            if len(defined) == len(classes):
                found[area][MACRO] = average(list(defined.values()))
        return found

    @functools.cached_property
    def _rankings(self) -> list[_Ranking]:
        """That of all pairs, then that of each class; sorted once for all draws."""
        n, classes = self.probabilities.shape
        positive = self.labels[:, None] == np.arange(classes)
        rows = np.repeat(np.arange(n), classes)
        return [
            _Ranking.of(positive.ravel(), self.probabilities.ravel(), rows),
            *(
                _Ranking.of(positive[:, c], self.probabilities[:, c], np.arange(n))
                for c in range(classes)
            ),
        ]


def mean_roc(curves: Sequence[Curve]) -> Curve:
    """Mean true positive rate at each false positive rate.

    The area under it is the mean of the areas: where a curve goes straight up, both ends count.
    """
    grid = np.unique(np.concatenate([curve.x for curve in curves]))
    ends = [
        np.mean([_at(curve, grid, side) for curve in curves], axis=0) for side in ("left", "right")
    ]
    return Curve(np.repeat(grid, 2), np.stack(ends, axis=1).ravel())


def mean_pr(curves: Sequence[Curve]) -> Curve:
    """Mean precision at each recall; its area, in steps, is the mean of the areas."""
    grid = np.unique(np.concatenate([curve.x for curve in curves]))
    return Curve(grid, np.mean([c.y[np.searchsorted(c.x, grid)] for c in curves], axis=0))


def _at(curve: Curve, grid: np.ndarray, side: str) -> np.ndarray:
    """The curve's lowest ("left") or highest ("right") y at each x of the grid."""
    if side == "left":
        at = np.searchsorted(curve.x, grid, "left")
    else:
        at = np.searchsorted(curve.x, grid, "right") - 1
    return np.where(curve.x[at] == grid, curve.y[at], np.interp(grid, curve.x, curve.y))


class _Ranking(NamedTuple):
    """M examples from the highest score to the lowest, which thresholds cut.

    Attributes:
        rows: [M] the row of `counts` that each is of.
        positive: [M] float64, 1 where it is of the class.
        ends: [T] the last example that each of T thresholds lets in: equal scores come together.
    """

    rows: np.ndarray
    positive: np.ndarray
    ends: np.ndarray

    @classmethod
    def of(cls, positive: np.ndarray, scores: np.ndarray, rows: np.ndarray) -> Self:
        order = np.argsort(-scores, kind="stable")
        ends = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)
        return cls(rows[order], positive[order].astype(np.float64), ends)

    def _sums(self, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """[1 + T, D] true and false positives at each threshold, from none."""
        counts = counts[self.rows]
        of_class = counts * self.positive[:, None]
        true, both = (sums.cumsum(axis=0)[self.ends] for sums in (of_class, counts))
        none = np.zeros((1, counts.shape[1]))
        return np.concatenate([none, true]), np.concatenate([none, both - true])

    def areas(self, counts: np.ndarray) -> np.ndarray:
        """[2, D] ROC area by trapezoids and average precision, NaN where not defined."""
        draws = max(1, _CELLS // len(self.rows))
        blocks = [counts[:, n : n + draws] for n in range(0, counts.shape[1], draws)]
        return np.concatenate([self._areas(block) for block in blocks], axis=1)

    def _areas(self, counts: np.ndarray) -> np.ndarray:
        true, false = self._sums(counts)
        positives, negatives = true[-1], false[-1]
        pairs = (np.diff(false, axis=0) * (true[1:] + true[:-1])).sum(axis=0) / 2
        precision = true[1:] / np.maximum(true[1:] + false[1:], 1)
        steps = (np.diff(true, axis=0) * precision).sum(axis=0)
        return np.stack(
            [
                np.where(
                    positives * negatives > 0, pairs / np.maximum(positives * negatives, 1), np.nan
                ),
                np.where(positives > 0, steps / np.maximum(positives, 1), np.nan),
            ]
        )

    def _all(self) -> tuple[np.ndarray, np.ndarray]:
        """[1 + T] true and false positives of every row once."""
        true, false = self._sums(np.ones((self.rows.max() + 1, 1)))
        return true[:, 0], false[:, 0]

    def roc(self) -> Curve | None:
        true, false = self._all()
        return Curve(false / false[-1], true / true[-1]) if true[-1] and false[-1] else None

    def pr(self) -> Curve | None:
        true, false = self._all()
        if not true[-1]:
            return None
        # Of thresholds with the same recall the highest: average precision counts no other.
        first = 1 + np.flatnonzero(np.diff(true) > 0)
        precision = true[first] / (true[first] + false[first])
        return Curve(np.append(0.0, true[first] / true[-1]), np.append(precision[0], precision))
