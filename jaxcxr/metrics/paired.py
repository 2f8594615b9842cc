"""Paired tests of two classifiers on the same images.

The errors that both make, and the significance of a difference between their numbers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import chex
import numpy as np
from scipy import stats


@dataclasses.dataclass(frozen=True)
class Errors:
    """Errors of two classifiers on the same images, with tests of their difference.

    Attributes:
        images, patients: their numbers.
        first, second: errors of each.
        only_first, only_second: images on which one errs and the other does not.
        deciding: patients on whose images one errs more often than the other.
        p_images: exact McNemar test, two-sided; it takes images for independent.
        p_patients: the same test with patients for images, see `sign_flips`; equal where each
            patient has one image.
    """

    images: int
    patients: int
    first: int
    second: int
    only_first: int
    only_second: int
    deciding: int
    p_images: float
    p_patients: float

    @property
    def least_p(self) -> float:
        """The p that could at best have been found with so few patients that tell the two apart."""
        return min(1.0, 2.0 ** (1 - self.deciding))


def errors(
    first: Sequence[bool] | np.ndarray,
    second: Sequence[bool] | np.ndarray,
    patient_ids: Sequence[str] | np.ndarray,
) -> Errors:
    """Counts and tests.

    Args:
        first: [N] whether the first classifier errs.
        second: [N] whether the second classifier errs.
        patient_ids: [N].
    """
    first, second = np.asarray(first, bool), np.asarray(second, bool)
    chex.assert_rank(first, 1)
    chex.assert_equal_shape([first, second, np.asarray(patient_ids)])
    patients, patient_of_row = np.unique(np.asarray(patient_ids), return_inverse=True)
    differences = np.zeros(len(patients), np.int64)
    np.add.at(differences, patient_of_row, first.astype(np.int64) - second.astype(np.int64))
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    return Errors(
        images=len(first),
        patients=len(patients),
        first=int(first.sum()),
        second=int(second.sum()),
        only_first=only_first,
        only_second=only_second,
        deciding=int((differences != 0).sum()),
        p_images=mcnemar(only_first, only_second),
        p_patients=sign_flips(differences),
    )


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact two-sided McNemar test.

    Were the images on which just one errs split between the two by a fair coin?

    Args:
        only_first: images on which only the first errs.
        only_second: images on which only the second errs.

    Returns:
        p; 1 where there are no such images.
    """
    count = only_first + only_second
    return float(stats.binomtest(only_first, count).pvalue) if count else 1.0


def sign_flips(differences: Sequence[int] | np.ndarray) -> float:
    """Exact two-sided test of exchanging the two classifiers, patient by patient.

    The images of a patient are alike, so they are exchanged together. Of all 2^G ways to choose the
    signs of the patients' differences it takes the fraction whose sum is at least as far from 0 as
    the observed one; with differences of -1, 0 and 1 alone that is McNemar's test.

    Args:
        differences: [G] whole numbers, errors of the first minus errors of the second on each
            patient's images.

    Returns:
        p; 1 where all differences are 0.
    """
    sizes = np.abs(np.asarray(differences, np.int64))
    reach = int(sizes.sum())
    # fraction[k]: of the ways to choose the signs so far, those with the sum k - reach.
    fraction = np.zeros(2 * reach + 1)
    fraction[reach] = 1.0
    for size in sizes[sizes > 0].tolist():
        fraction = (np.roll(fraction, size) + np.roll(fraction, -size)) / 2
    observed = abs(int(np.sum(differences)))
    sums = np.arange(-reach, reach + 1)
    return min(1.0, float(fraction[np.abs(sums) >= observed].sum()))


def holm(p_values: Sequence[float] | np.ndarray) -> np.ndarray:
    """Corrected p of several tests (Holm, 1979).

    Below 0.05, at least one false finding is 5 % likely at most.

    Args:
        p_values: [M].

    Returns:
        [M], in their order.
    """
    p_values = np.asarray(p_values, np.float64)
    order = np.argsort(p_values, kind="stable")
    factors = len(p_values) - np.arange(len(p_values))
    corrected = np.empty_like(p_values)
    corrected[order] = np.minimum(np.maximum.accumulate(factors * p_values[order]), 1.0)
    return corrected
