"""The neural weight module as it is trained and used (paper 2.3, facts 7.2)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcxr.tasks import ensemble
from tests import tiny
from tests.models.variables import quick_jit

COUNTS = np.array([100, 200, 400, 800])
KEY = jax.random.key(0)


def build(learners=5, counts=COUNTS, **changes):
    config = tiny.change(tiny.load("patched_flannel").ensemble, **changes)
    return ensemble.Ensemble(config, axis_name="data", learners=learners, class_counts=counts)


def batch(rows=8, learners=5, classes=4) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "inputs": rng.dirichlet(np.ones(classes), (rows, learners)).astype(np.float32),
        "label": (np.arange(rows) % classes).astype(np.int32),
        "weight": np.ones(rows, np.float32),
    }


def zeros(task):
    return jax.tree.map(np.zeros_like, task.init(0))


def test_with_zero_weights_the_loss_is_the_closed_form():
    """w = 0, hence v = 0, softmax 1/4 each: alpha * .75^10 * ln 4 = 0.0781 alpha."""
    task = build()
    rows = batch()
    found = quick_jit(task.predict)(zeros(task), rows, KEY)
    np.testing.assert_array_equal(found["weights"], np.zeros((8, 5)))
    np.testing.assert_allclose(found["probabilities"], 0.25)
    alpha = 1000 / COUNTS[rows["label"]]
    np.testing.assert_allclose(found["loss"], alpha * 0.75**10 * np.log(4), rtol=1e-5)
    np.testing.assert_allclose(found["loss"] / alpha, 0.0781, atol=5e-5)
    trained, state = task.loss(zeros(task)["params"], {}, rows, KEY, axis_name="data")
    np.testing.assert_allclose(trained, found["loss"], rtol=1e-6)
    assert state == {}


def test_alpha_may_be_the_same_for_all_classes():
    """As if each had the mean of 375 images: the loss keeps its size, and no class counts more."""
    task, rows = build(loss__alpha="equal"), batch()
    found = quick_jit(task.predict)(zeros(task), rows, KEY)["loss"]
    np.testing.assert_allclose(found, 1000 / 375 * 0.75**10 * np.log(4), rtol=1e-5)


def test_a_step_scores_the_outputs_that_it_learns_from():
    task, rows = build(), batch()
    variables = task.init(0)
    _, _, scores = task.loss_and_scores(variables["params"], {}, rows, KEY, axis_name="data")
    right = task.predict(variables, rows, KEY)["probabilities"].argmax(-1) == rows["label"]
    assert scores.keys() == set(task.train_scores) and 0 < np.mean(right) < 1
    np.testing.assert_array_equal(scores["accuracy"], right)


def test_sum_reduction_is_the_mean_times_the_batch():
    """The step averages over the batch; the published loss adds up."""
    mean, total = build(), build(loss__reduction="sum", train__batch_size=20)
    variables, rows = mean.init(0), batch()
    a, _ = mean.loss(variables["params"], {}, rows, KEY, axis_name="data")
    b, _ = total.loss(variables["params"], {}, rows, KEY, axis_name="data")
    np.testing.assert_allclose(b, 20 * np.asarray(a), rtol=1e-6)
    # What is reported stays per example.
    np.testing.assert_allclose(total.predict(variables, rows, KEY)["loss"], a, rtol=1e-6)


@pytest.mark.parametrize(("learners", "classes"), [(1, 4), (2, 3), (5, 4), (7, 2)])
def test_any_number_of_learners(learners, classes):
    task = build(learners=learners, counts=np.full(classes, 10))
    variables, rows = task.init(0), batch(learners=learners, classes=classes)
    assert sum(leaf.size for leaf in jax.tree.leaves(variables)) == learners * (
        (learners * classes) ** 2 + 1
    )
    found = quick_jit(task.predict)(variables, rows, KEY)
    assert found["probabilities"].shape == (8, classes) and found["weights"].shape == (8, learners)
    np.testing.assert_allclose(found["probabilities"].sum(axis=1), 1, atol=1e-6)
    v = jnp.einsum("bl,blc->bc", found["weights"], rows["inputs"])
    np.testing.assert_allclose(found["probabilities"], jax.nn.softmax(v), atol=1e-6)


def test_five_learners_of_four_classes_have_2005_parameters():
    assert sum(leaf.size for leaf in jax.tree.leaves(build().init(0))) == 2005


def test_tanh_weights_may_be_negative_and_softmax_weights_are_shares():
    rows = batch(rows=200)
    tanh, softmax = build(), build(model__activation="softmax")
    variables = jax.tree.map(lambda leaf: leaf * 10, tanh.init(0))
    free = np.asarray(quick_jit(tanh.predict)(variables, rows, KEY)["weights"])
    shares = np.asarray(quick_jit(softmax.predict)(variables, rows, KEY)["weights"])
    assert free.min() < 0 and np.abs(free).max() < 1
    assert shares.min() > 0
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-6)


def test_metrics_weigh_padding_nothing():
    task = build()
    rows = batch(rows=4) | {"weight": np.array([1, 1, 0, 0], np.float32)}
    probabilities = np.eye(4, dtype=np.float32)[[0, 0, 2, 3]]
    found = task.metrics(
        rows, {"probabilities": probabilities, "loss": np.array([1, 2, 50, 50], np.float32)}
    )
    assert found["confusion"].scalars()["accuracy"] == 0.5
    assert found["loss"].scalars()["loss"] == 1.5
