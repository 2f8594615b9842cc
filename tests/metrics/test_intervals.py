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


def test_several_scores_of_the_same_draws_are_those_of_each_alone():
    rng = np.random.default_rng(4)
    values, patients = rng.normal(size=(90, 2)), rng.integers(0, 40, 90).astype(str)
    both = intervals.bootstrap(lambda rows: values[rows].mean(axis=0), patients, draws=300)
    assert both.shape == (2, 2)
    for n in range(2):
        alone = intervals.over_patients(lambda rows, n=n: values[rows, n].mean(), patients, draws=300)
        np.testing.assert_allclose(both[:, n], alone)


def test_a_paired_difference_has_the_variance_of_the_differences():
    """Two scores that share nearly all of their noise: the interval of the difference is the narrow one."""
    rng = np.random.default_rng(5)
    shared = rng.normal(size=500)
    one, other = shared + 0.1 * rng.normal(size=500), shared + 0.1 * rng.normal(size=500)
    low, high = intervals.over_patients(lambda rows: (one - other)[rows].mean(), np.arange(500).astype(str))
    middle, reach = (one - other).mean(), 1.96 * (one - other).std() / np.sqrt(500)
    np.testing.assert_allclose((low, high), (middle - reach, middle + reach), atol=0.05 * reach)


def test_draws_that_do_not_define_a_score_do_not_count():
    def score(rows):
        return np.array([1.0 if 0 in rows else np.nan, np.nan])

    low, high = intervals.bootstrap(score, ["a", "b", "c"], draws=50)
    assert low[0] == high[0] == 1 and np.isnan([low[1], high[1]]).all()
