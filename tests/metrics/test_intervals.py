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


def interval(values, patients, **options):
    """Of the mean of `values` [N], or [N, S]."""

    def means(counts):
        return np.atleast_2d(values.T @ counts) / counts.sum(axis=0)

    return intervals.bootstrap(means, patients, **options)


def test_of_independent_images_the_bootstrap_is_the_binomials():
    right = np.random.default_rng(0).random(400) < 0.8
    spread = 1.96 * np.sqrt(right.mean() * (1 - right.mean()) / 400)
    expected = (right.mean() - spread, right.mean() + spread)
    np.testing.assert_allclose(
        interval(right, np.arange(400).astype(str))[:, 0], expected, atol=0.006
    )


def test_images_of_one_patient_are_drawn_together():
    """Four equal images of each patient tell no more than one: the interval is twice that of 400
    patients.
    """
    right = np.repeat(np.random.default_rng(1).random(100) < 0.7, 4)
    patients = np.repeat(np.arange(100), 4).astype(str)
    together = np.ptp(interval(right, patients))
    apart = np.ptp(interval(right, np.arange(400).astype(str)))
    assert together / apart == pytest.approx(2, rel=0.1)


def test_the_same_seed_draws_the_same_interval():
    right = np.random.default_rng(2).random(50) < 0.6
    patients = np.arange(50).astype(str)
    one, two, other = (interval(right, patients, seed=seed).tolist() for seed in (3, 3, 4))
    assert one == two != other


def test_several_scores_of_the_same_draws_are_those_of_each_alone():
    rng = np.random.default_rng(4)
    values, patients = rng.normal(size=(90, 2)), rng.integers(0, 40, 90).astype(str)
    both = interval(values, patients, draws=300)
    assert both.shape == (2, 2)
    for n in range(2):
        np.testing.assert_allclose(both[:, n], interval(values[:, n], patients, draws=300)[:, 0])


def test_a_paired_difference_has_the_variance_of_the_differences():
    """Two scores that share nearly all of their noise: the interval of the difference is the narrow
    one.
    """
    rng = np.random.default_rng(5)
    shared = rng.normal(size=500)
    one, other = shared + 0.1 * rng.normal(size=500), shared + 0.1 * rng.normal(size=500)
    middle, reach = (one - other).mean(), 1.96 * (one - other).std() / np.sqrt(500)
    found = interval(one - other, np.arange(500).astype(str))[:, 0]
    np.testing.assert_allclose(found, (middle - reach, middle + reach), atol=0.05 * reach)


@pytest.mark.parametrize("draws", [50, 64, 65, 130])
def test_every_draw_is_made_whatever_the_blocks(draws):
    seen = []

    def mean(counts):
        seen.append(counts)
        return counts[:1]

    intervals.bootstrap(mean, ["a", "b", "b", "c"], draws=draws)
    counts = np.concatenate(seen, axis=1)
    assert counts.shape == (4, draws)
    np.testing.assert_array_equal(counts[1], counts[2])  # of one patient
    np.testing.assert_array_equal(counts[[0, 1, 3]].sum(axis=0), np.full(draws, 3))


def test_draws_that_do_not_define_a_score_do_not_count():
    def scores(counts):
        return np.stack([np.where(counts[0] > 0, 1, np.nan), np.full(counts.shape[1], np.nan)])

    low, high = intervals.bootstrap(scores, ["a", "b", "c"], draws=50)
    assert low[0] == high[0] == 1 and np.isnan([low[1], high[1]]).all()


@pytest.mark.parametrize("patients", [["a"], ["a", "a", "a"]])
def test_one_patient_has_no_interval(patients):
    ends = intervals.bootstrap(lambda counts: np.stack([counts[0], counts[0]]), patients)
    assert ends.shape == (2, 2) and np.isnan(ends).all()
