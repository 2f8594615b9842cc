"""Intervals of scores: over repeats by Student's t, over patients by the bootstrap."""

import numpy as np
import pytest
from scipy import stats

from jaxcxr.metrics import intervals


def test_students_interval_is_scipys():
    values = [0.91, 0.94, 0.92, 0.97, 0.9]
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    np.testing.assert_allclose(intervals.over_repeats(values), tuple(expected))
    assert intervals.over_repeats([0.9]) is None


def test_equal_repeats_leave_no_doubt():
    assert intervals.over_repeats([0.5, 0.5, 0.5]) == (0.5, 0.5)


def test_of_independent_images_the_bootstrap_is_the_binomials():
    right = np.random.default_rng(0).random(400) < 0.8
    low, high = intervals.over_patients(lambda rows: right[rows].mean(), np.arange(400).astype(str))
    spread = 1.96 * np.sqrt(right.mean() * (1 - right.mean()) / 400)
    np.testing.assert_allclose((low, high), (right.mean() - spread, right.mean() + spread), atol=0.006)


def test_images_of_one_patient_are_drawn_together():
    """Four equal images of each patient tell no more than one: the interval is twice that of 400 patients."""
    right = np.repeat(np.random.default_rng(1).random(100) < 0.7, 4)
    patients = np.repeat(np.arange(100), 4).astype(str)
    together = np.ptp(intervals.over_patients(lambda rows: right[rows].mean(), patients))
    apart = np.ptp(intervals.over_patients(lambda rows: right[rows].mean(), np.arange(400).astype(str)))
    assert together / apart == pytest.approx(2, rel=0.1)


def test_the_same_seed_draws_the_same_interval():
    right = np.random.default_rng(2).random(50) < 0.6
    patients = np.arange(50).astype(str)
    one, two = (intervals.over_patients(lambda rows: right[rows].mean(), patients, seed=3) for _ in range(2))
    assert one == two
