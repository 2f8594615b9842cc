"""Areas under curves."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.preprocessing import label_binarize

from jaxcxr.metrics import ranking


@pytest.fixture
def predictions() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    return random.integers(0, 4, 80), random.dirichlet(np.ones(4), 80)


def test_one_vs_rest_equals_scikit_learns_average_none(predictions):
    labels, probabilities = predictions
    binary = label_binarize(labels, classes=range(4))
    np.testing.assert_allclose(
        ranking.one_vs_rest(ranking.roc_auc, labels, probabilities),
        roc_auc_score(binary, probabilities, average=None),
    )
    np.testing.assert_allclose(
        ranking.one_vs_rest(ranking.pr_auc, labels, probabilities),
        average_precision_score(binary, probabilities, average=None),
    )


def test_a_known_ranking():
    positive, scores = np.array([True, False, True, False]), np.array([0.9, 0.8, 0.7, 0.1])
    assert ranking.roc_auc(positive, scores) == pytest.approx(3 / 4)
    assert ranking.pr_auc(positive, scores) == pytest.approx(1 / 2 * 1 + 1 / 2 * 2 / 3)


def test_an_absent_class_has_no_area():
    labels, probabilities = (
        np.array([0, 0, 1]),
        np.array([[0.8, 0.1, 0.1], [0.5, 0.4, 0.1], [0.2, 0.7, 0.1]]),
    )
    for area in (ranking.roc_auc, ranking.pr_auc):
        np.testing.assert_array_equal(
            ranking.one_vs_rest(area, labels, probabilities), [1.0, 1.0, np.nan]
        )


def test_a_class_without_a_rest_has_no_roc_but_full_precision():
    everyone, scores = np.ones(3, bool), np.array([0.1, 0.2, 0.3])
    assert np.isnan(ranking.roc_auc(everyone, scores))
    assert ranking.pr_auc(everyone, scores) == 1.0


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(AssertionError):
        ranking.roc_auc(np.ones(3, bool), np.ones(4))
