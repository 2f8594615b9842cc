"""Scores of chosen rows are scikit-learn's."""

import numpy as np
import pytest
from sklearn import metrics

from jaxcxr.metrics.by_rows import BootstrapScores


def made_up(rows=60, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, rows)
    scores = rng.normal(size=(rows, classes)).round(1)  # with ties
    scores[np.arange(rows), labels] += 1
    return BootstrapScores(labels, np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True))


@pytest.mark.parametrize("classes", [2, 3])
def test_every_score_is_scikit_learns(classes):
    scores = made_up(classes=classes)
    counts = np.random.default_rng(1).integers(0, 3, (60, 2))  # some twice, some not at all
    rows = np.repeat(np.arange(60), counts[:, 1])
    found = dict(zip(scores.names, scores(counts.astype(float))[:, 1], strict=True))
    labels, predicted = scores.labels[rows], scores.predicted[rows]
    chosen = {"labels": range(classes), "zero_division": 0}
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(labels, predicted))
    assert found["macro_f1"] == pytest.approx(
        metrics.f1_score(labels, predicted, average="macro", **chosen)
    )
    parts = metrics.precision_recall_fscore_support(labels, predicted, **chosen)
    for name, expected in zip(("precision", "recall", "f1"), parts, strict=False):
        np.testing.assert_allclose([found[f"{name}/{c}"] for c in range(classes)], expected)
    for c in range(classes):
        area = metrics.roc_auc_score(labels == c, scores.probabilities[rows, c])
        assert found[f"roc_auc/{c}"] == pytest.approx(area)


def test_what_has_no_images_is_not_a_number():
    scores = BootstrapScores(
        np.array([0, 0, 1]), np.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0], [0.1, 0.9, 0.0]])
    )
    found = scores.of_all()
    assert np.isnan(found["recall/2"]) and np.isnan(found["roc_auc/2"])
    assert np.isnan(found["f1/2"]) and np.isnan(found["precision/2"])
    assert found["macro_f1"] == pytest.approx((2 / 3 + 2 / 3 + 0) / 3)
    assert scores.wrong.tolist() == [False, True, False]
