"""Two classifiers over several folds: the difference of their means, patient by patient."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score

from jaxcxr.metrics import over_folds
from jaxcxr.metrics.over_folds import Fold

CLASSES = 3


def fold(seed: int, patients: np.ndarray, *, skill=(2.0, 1.0)) -> Fold:
    rng = np.random.default_rng(seed)
    labels = np.arange(len(patients)) % CLASSES
    made = []
    for scale in skill:
        scores = rng.normal(size=(len(patients), CLASSES))
        scores[np.arange(len(patients)), labels] += scale
        made.append(np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True))
    return Fold(labels, patients, *made)


def macro(labels, probabilities) -> float:
    return f1_score(labels, probabilities.argmax(1), average="macro", zero_division=0)


SAME = [f"p{i // 2}" for i in range(60)]  # two images a patient


def test_it_is_the_difference_of_the_means_over_the_folds():
    folds = [fold(k, np.array(SAME)) for k in range(3)]
    expected = np.mean([macro(f.labels, f.first) - macro(f.labels, f.second) for f in folds])
    found = over_folds.difference(folds)
    assert found.mean == pytest.approx(expected)
    assert found.low < found.mean < found.high


def test_folds_may_have_other_images():
    folds = [fold(k, np.array([f"{k}-{i}" for i in range(30 + k)])) for k in range(3)]
    found = over_folds.difference(folds)
    expected = np.mean([macro(f.labels, f.first) - macro(f.labels, f.second) for f in folds])
    assert found.mean == pytest.approx(expected)
    assert found.errors.images == 93
    assert found.errors.patients == 93


def test_a_patient_is_drawn_and_exchanged_in_all_folds_together():
    """The same fold three times is no more evidence than once."""
    once = fold(0, np.array(SAME))
    one, three = over_folds.difference([once]), over_folds.difference([once] * 3)
    assert (three.mean, three.low, three.high) == pytest.approx((one.mean, one.low, one.high))
    assert three.errors.p_patients == one.errors.p_patients
    assert three.errors.p_images < one.errors.p_images  # which takes them for other images


def test_a_classifier_does_not_differ_from_itself():
    once = fold(0, np.array(SAME))
    found = over_folds.difference([once._replace(second=once.first)])
    assert (found.mean, found.low, found.high, found.errors.p_patients) == (0, 0, 0, 1)
