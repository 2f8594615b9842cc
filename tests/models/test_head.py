"""COVID-CXNet's head, and that of the Qatar paper's VGG-16: average -> dense, ReLU -> dropout ->
logits.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcxr import models
from jaxcxr.models.initialise import initialise
from tests.models.variables import normal, quick_jit, random_variables, shapes

SMALL = dict(width=0.125, depth=0.01, in_channels=1)
LAST = {"covid_cxnet": "classifier", "covid_cxnet_resnet50": "fc", "qatar_vgg16": "classifier"}
UNITS = {"covid_cxnet": 10, "covid_cxnet_resnet50": 10, "qatar_vgg16": 128}


@pytest.mark.parametrize("name", LAST)
def test_logits_are_two_dense_layers_on_the_mean_of_the_feature_map(name):
    model = models.build(name, num_classes=3, **SMALL)
    x = normal(4, 32, 32, 1)
    variables = random_variables(model, *x.shape)
    logits, out = quick_jit(lambda variables, x: model.apply(variables, x, False))(variables, x)
    hidden, last = (
        jax.tree.map(np.asarray, variables["params"][part]) for part in ("hidden", LAST[name])
    )
    before = np.asarray(out["features"]).mean((1, 2)) @ hidden["kernel"] + hidden["bias"]
    assert (before < 0).any() and before.shape == (4, UNITS[name])
    expected = np.maximum(before, 0) @ last["kernel"] + last["bias"]
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", LAST)
def test_below_the_head_it_is_its_backbone(name):
    """The same parameters, and so the same first values and room for the same weights."""
    x = jax.ShapeDtypeStruct((1, 32, 32, 1), jnp.float32)
    first, plain = (
        initialise(models.build(n, num_classes=2, **SMALL), 0, x)
        for n in (name, models.backbone(name))
    )
    jax.tree.map(np.testing.assert_array_equal, first.get("batch_stats"), plain.get("batch_stats"))
    assert first["params"].keys() - plain["params"].keys() == {"hidden"}
    for part in plain["params"].keys() - {LAST[name]}:
        jax.tree.map(np.testing.assert_array_equal, first["params"][part], plain["params"][part])


@pytest.mark.parametrize("classes", [1, 3])
def test_both_dense_layers_start_as_in_keras(classes):
    model = models.build("covid_cxnet", num_classes=classes, depth=0.01)
    params = initialise(model, 0, jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32))["params"]
    for part, units in (("hidden", 10), ("classifier", classes)):
        kernel = params[part]["kernel"]
        bound = np.sqrt(6 / (len(kernel) + units))
        assert kernel.shape[1] == units and not params[part]["bias"].any()
        assert 0.5 * bound < np.abs(kernel).max() <= bound


@pytest.mark.parametrize("classes", [1, 3])
def test_one_logit_for_two_classes_or_three(classes):
    logits, _, _ = shapes(models.build("covid_cxnet", num_classes=classes), 2, 320, 320, 3)
    assert logits.shape == (2, classes)


def test_dropout_lies_between_the_dense_layers():
    """Without a second layer's bias, training gives sums over a part of the ten units, each by 1 /
    0.8.
    """
    model = models.build("covid_cxnet", num_classes=1, **SMALL)
    x = normal(2, 32, 32, 1)
    variables = random_variables(model, *x.shape)
    variables["params"]["classifier"] = {
        "kernel": 2.0 ** jnp.arange(10)[:, None],
        "bias": jnp.zeros(1),
    }
    variables["params"]["hidden"] = {
        "kernel": jnp.zeros((variables["params"]["hidden"]["kernel"]).shape),
        "bias": jnp.ones(10),
    }

    @quick_jit
    def run(variables, key):
        rngs = {"dropout": key}
        return model.apply(variables, x, True, rngs=rngs, mutable=["batch_stats"])[0][0]

    drawn = np.stack([run(variables, jax.random.key(i)) for i in range(40)]) * 0.8
    kept = np.unpackbits(np.rint(drawn).astype(">u2").view(np.uint8)).reshape(-1, 16)[:, 6:]
    np.testing.assert_allclose(drawn, np.rint(drawn), atol=1e-3)
    assert 0.75 < kept.mean() < 0.85
    evaluated = quick_jit(lambda v: model.apply(v, x, False)[0])(variables)
    np.testing.assert_allclose(evaluated, 2.0**10 - 1)
