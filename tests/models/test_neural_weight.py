from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcxr import models
from jaxcxr.errors import InputError


@pytest.fixture
def probabilities() -> jax.Array:
    draws = np.random.default_rng(0).dirichlet(np.ones(4), size=(3, 5))
    return jnp.asarray(draws, jnp.float32)


def test_five_learners_and_four_classes_have_2005_parameters(probabilities):
    model = models.build("neural_weight_module", num_classes=4)
    params = model.init(jax.random.key(0), probabilities, False)["params"]
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 2_005
    largest = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(params))
    assert 0.045 < largest <= 0.05  # PyTorch's Linear(400, 5): U(-1/sqrt(400), 1/sqrt(400))


@pytest.mark.parametrize("activation", ["tanh", "softmax"])
def test_weighted_sum_equals_the_formula(probabilities, activation):
    model = models.build("neural_weight_module", num_classes=4, activation=activation)
    (v, out), variables = model.init_with_output(jax.random.key(1), probabilities, True)
    kernel, bias = variables["params"]["fc"]["kernel"], variables["params"]["fc"]["bias"]
    for p, weights, value in zip(np.asarray(probabilities), out["weights"], v, strict=True):
        f = p.reshape(-1)
        scores = np.outer(f, f).reshape(-1) @ kernel + bias
        if activation == "tanh":
            expected = np.tanh(scores)
        else:
            expected = np.exp(scores) / np.exp(scores).sum()
        np.testing.assert_allclose(weights, expected, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(value, expected @ p, rtol=1e-4, atol=1e-6)


def test_zero_parameters_give_zero_logits_and_the_closed_form_focal_loss(probabilities):
    model = models.build("neural_weight_module", num_classes=4)
    variables = model.init(jax.random.key(0), probabilities, False)
    v, _ = model.apply(jax.tree.map(jnp.zeros_like, variables), probabilities, False)
    np.testing.assert_array_equal(v, 0.0)
    q = jax.nn.softmax(v)[0, 0]
    np.testing.assert_allclose(-((1 - q) ** 10) * jnp.log(q), 0.75**10 * np.log(4), rtol=1e-5)


def test_gradient_reaches_every_parameter(probabilities):
    model = models.build("neural_weight_module", num_classes=4)
    variables = model.init(jax.random.key(0), probabilities, False)
    gradients = jax.grad(lambda p: jnp.square(model.apply(p, probabilities, True)[0]).sum())(
        variables
    )
    assert all(float(jnp.abs(leaf).min()) > 0 for leaf in jax.tree.leaves(gradients))


def test_wrong_classes_and_unknown_activation_are_named(probabilities):
    with pytest.raises(InputError, match="num_classes=3, but the probabilities have 4"):
        models.build("neural_weight_module", num_classes=3).init(
            jax.random.key(0), probabilities, False
        )
    with pytest.raises(InputError, match="activation='relu'; known: tanh, softmax"):
        models.build("neural_weight_module", num_classes=4, activation="relu").init(
            jax.random.key(0), probabilities, False
        )
