"""Tests of paired errors: against scipy's, by enumeration, by hand."""

import itertools

import numpy as np
import pytest
from scipy import stats

from jaxcxr.metrics import paired


@pytest.mark.parametrize(("one", "other"), [(0, 1), (5, 0), (6, 0), (3, 9), (40, 21), (7, 7)])
def test_mcnemar_is_the_binomial_test_of_a_fair_coin(one, other):
    assert paired.mcnemar(one, other) == pytest.approx(
        stats.binomtest(one, one + other, 0.5).pvalue
    )
    assert paired.mcnemar(one, other) == paired.mcnemar(other, one)


def test_mcnemar_by_hand():
    assert paired.mcnemar(0, 0) == 1
    assert paired.mcnemar(6, 0) == pytest.approx(2 / 2**6)
    assert paired.mcnemar(1, 4) == pytest.approx(2 * (1 + 5) / 2**5)


def test_with_one_image_a_patient_exchanging_patients_is_mcnemars_test():
    differences = np.array([1] * 11 + [-1] * 3 + [0] * 30)
    assert paired.sign_flips(differences) == pytest.approx(paired.mcnemar(11, 3))


@pytest.mark.parametrize("differences", [[3, -1, 2, 1], [2, 2, 2, -1, 0, 1], [5], [-4, 4], [0, 0]])
def test_exchanging_patients_counts_all_ways_to_choose_the_signs(differences):
    found = abs(sum(differences))
    ways = [
        abs(np.dot(signs, differences)) >= found
        for signs in itertools.product((-1, 1), repeat=len(differences))
    ]
    assert paired.sign_flips(differences) == pytest.approx(np.mean(ways))


def test_many_images_of_one_patient_decide_nothing():
    """Eight errors of one patient are one patient: McNemar on images would call them a finding."""
    first, second = np.ones(8, bool), np.zeros(8, bool)
    found = paired.errors(first, second, ["p"] * 8)
    assert found.p_images == pytest.approx(2 / 2**8) and found.p_patients == found.least_p == 1
    apart = paired.errors(first, second, [f"p{n}" for n in range(8)])
    assert apart.p_patients == pytest.approx(apart.p_images) and apart.least_p == pytest.approx(
        2 / 2**8
    )


def test_errors_are_counted():
    first = np.array([1, 1, 1, 0, 0, 0, 1], bool)
    second = np.array([1, 0, 0, 1, 0, 0, 0], bool)
    found = paired.errors(first, second, ["a", "a", "b", "b", "c", "c", "d"])
    assert (found.images, found.patients, found.first, found.second) == (7, 4, 4, 2)
    assert (found.only_first, found.only_second) == (3, 1)
    assert found.deciding == 2  # a and d; b's two differences cancel


def test_no_difference_has_a_false_finding_as_rarely_as_promised():
    """400 pairs of classifiers that are equally good: at most 5 % of them, and some, are told apart
    at 0.05.
    """
    rng = np.random.default_rng(0)
    patients = np.repeat(np.arange(60), 3)
    found = []
    for _ in range(400):
        hard = np.repeat(rng.random(60) < 0.3, 3)  # patients whose images are all hard
        wrong = [hard & np.repeat(rng.random(60) < 0.5, 3) for _ in range(2)]
        found.append(paired.errors(*wrong, patients.astype(str)))
    share = np.mean([f.p_patients < 0.05 for f in found])
    assert 0.005 < share <= 0.05
    # What taking images for independent costs.
    assert np.mean([f.p_images < 0.05 for f in found]) > 0.15


def test_holm_by_hand():
    np.testing.assert_allclose(paired.holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(paired.holm([0.5, 0.9]), [1, 1])
    assert paired.holm([0.2]) == [0.2]
