"""Confusion matrix and mean: those of the whole set, however it is split and padded."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from jaxcxr.metrics import ConfusionMatrix, Mean


def padded_batches(size: int, *arrays: np.ndarray, last: int = 0):
    """Batches of equal size whose padding holds nonsense of weight 0."""
    total = len(arrays[0])
    for start in range(0, total + last, size):
        rows = slice(start, start + size)
        lacking = size - len(arrays[0][rows])
        weight = np.r_[np.ones(size - lacking), np.zeros(lacking)].astype(np.float32)
        yield *(np.r_[a[rows], np.full(lacking, a[0])] for a in arrays), weight


def whole(labels, predicted, size, *, classes):
    total = ConfusionMatrix.empty(num_classes=classes)
    for true, guess, weight in padded_batches(size, labels, predicted):
        total = total.merge(ConfusionMatrix.from_batch(true, guess, weight, num_classes=classes))
    return total


@pytest.mark.parametrize("size", [1, 7, 16, 200])
@pytest.mark.parametrize("classes, present", [(4, 4), (4, 2), (2, 2)])
def test_scores_equal_scikit_learn_for_any_batch_size(size, classes, present):
    random = np.random.default_rng(classes * 100 + present)
    labels, predicted = random.integers(0, present, 45), random.integers(0, present, 45)
    total = whole(labels, predicted, size, classes=classes)
    scores = total.compute()
    np.testing.assert_array_equal(
        total.counts, sklearn_metrics.confusion_matrix(labels, predicted, labels=range(classes))
    )
    options = {"labels": range(classes), "zero_division": 0}
    expected = sklearn_metrics.precision_recall_fscore_support(labels, predicted, **options)
    for name, value in zip(("precision", "recall", "f1", "support"), expected, strict=True):
        np.testing.assert_allclose(scores[name], value, rtol=1e-12, err_msg=name)
    assert total.scalars() == pytest.approx(
        {
            "accuracy": sklearn_metrics.accuracy_score(labels, predicted),
            "macro_f1": sklearn_metrics.f1_score(labels, predicted, average="macro", **options),
        }
    )


def test_weights_count_as_in_scikit_learn():
    random = np.random.default_rng(0)
    labels, predicted = random.integers(0, 3, 30), random.integers(0, 3, 30)
    weight = random.random(30).astype(np.float32)
    matrix = ConfusionMatrix.from_batch(labels, predicted, weight, num_classes=3)
    np.testing.assert_allclose(
        matrix.counts,
        sklearn_metrics.confusion_matrix(labels, predicted, sample_weight=weight),
        rtol=1e-5,
    )


def test_rows_are_true_and_columns_predicted():
    matrix = ConfusionMatrix.from_batch(np.array([0, 0, 1]), np.array([1, 1, 1]), num_classes=2)
    np.testing.assert_array_equal(matrix.counts, [[0, 2], [0, 1]])


def test_no_examples_score_zero():
    scores = ConfusionMatrix.empty(num_classes=3).compute()
    assert scores["accuracy"] == scores["macro_f1"] == 0.0
    np.testing.assert_array_equal(scores["f1"], np.zeros(3))


def test_an_example_without_a_class_is_not_counted():
    matrix = ConfusionMatrix.from_batch(np.array([-1, 1]), np.array([0, 1]), num_classes=2)
    np.testing.assert_array_equal(matrix.counts, [[0, 0], [0, 1]])


def test_matrices_of_different_classes_do_not_merge():
    with pytest.raises(AssertionError):
        ConfusionMatrix.empty(num_classes=3).merge(ConfusionMatrix.empty(num_classes=4))


@pytest.mark.parametrize("size", [1, 7, 200])
def test_the_mean_is_that_of_the_whole_set(size):
    values = np.random.default_rng(0).normal(size=45)
    total = Mean.empty()
    for value, weight in padded_batches(size, values):
        total = total.merge(Mean.from_batch(value, weight))
    assert total.scalars() == {"loss": pytest.approx(values.mean(), rel=1e-5)}


def test_the_mean_is_weighted_and_named():
    mean = Mean.from_batch(np.array([1.0, 5.0]), np.array([3.0, 1.0]), name="dice_loss")
    assert mean.scalars() == {"dice_loss": 2.0}


def test_padding_may_be_nan_and_the_mean_of_nothing_is_nan():
    assert Mean.from_batch(np.array([2.0, np.nan]), np.array([1.0, 0.0])).compute() == 2.0
    assert np.isnan(Mean.empty().compute())
    assert np.isnan(Mean.from_batch(np.array([2.0, np.nan]), np.ones(2)).compute())


def test_metrics_add_over_devices_by_psum():
    labels, predicted = jnp.array([[0, 1], [1, 1]]), jnp.array([[0, 0], [1, 0]])

    def step(true, guess):
        matrix = ConfusionMatrix.from_batch(true, guess, num_classes=2)
        return jax.lax.psum((matrix, Mean.from_batch(1.0 * true)), "devices")

    matrix, mean = jax.jit(jax.vmap(step, axis_name="devices", out_axes=None))(labels, predicted)
    np.testing.assert_array_equal(matrix.counts, [[1, 0], [2, 1]])
    assert mean.compute() == 0.75
