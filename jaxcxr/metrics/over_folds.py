"""Paired difference of two classifiers that were trained in the same folds."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxcxr.metrics import intervals, paired
from jaxcxr.metrics.by_rows import BootstrapScores


class Fold(NamedTuple):
    """What two classifiers, each trained in this fold, say of the same N images.

    Attributes:
        labels: [N] integers in [0, C).
        patient_ids: [N].
        first, second: [N, C] probabilities.
    """

    labels: np.ndarray
    patient_ids: np.ndarray
    first: np.ndarray
    second: np.ndarray


@dataclasses.dataclass(frozen=True)
class Difference:
    """The first classifier's macro-F1 minus the second's, each the mean over the folds.

    Attributes:
        mean, low, high: the difference and its interval.
        errors: of all folds together, an image once for each fold that has it; `p_patients`
            exchanges all of a patient's images in all folds together, `p_images` takes them for
            independent, which an image in several folds is not.
    """

    mean: float
    low: float
    high: float
    errors: paired.Errors


def difference(folds: Sequence[Fold], *, draws: int = 2000, seed: int = 0) -> Difference:
    """Bootstrap and exact test over patients, who are drawn and exchanged in all folds together."""
    scored = [
        tuple(BootstrapScores(fold.labels, probabilities) for probabilities in fold[2:])
        for fold in folds
    ]
    ends = np.cumsum([len(fold.labels) for fold in folds])[:-1]
    patient_ids = np.concatenate([fold.patient_ids for fold in folds])

    def score(counts: np.ndarray) -> np.ndarray:
        parts = zip(scored, np.split(counts, ends), strict=True)
        found = [first.overall(c)[1] - second.overall(c)[1] for (first, second), c in parts]
        return np.mean(found, axis=0)[None]

    low, high = intervals.bootstrap(score, patient_ids, draws=draws, seed=seed)[:, 0].tolist()
    mean = float(score(np.ones((len(patient_ids), 1)))[0, 0])
    first, second = (np.concatenate([pair[n].wrong for pair in scored]) for n in (0, 1))
    return Difference(mean, low, high, paired.errors(first, second, patient_ids))
