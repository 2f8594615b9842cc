from __future__ import annotations

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcxr import models
from jaxcxr.errors import InputError
from jaxcxr.models import layers
from jaxcxr.models.initialise import initialise
from tests.models.variables import filled, normal


def test_cpu_lowers_pointwise_grouped_and_small_convolutions_to_products(monkeypatch):
    def primitives(**options):
        conv = layers.Conv(4, **options)
        x = jnp.ones((1, 4, 4, 4))
        params = jax.eval_shape(conv.init, jax.random.key(0), x)
        return str(jax.make_jaxpr(conv.apply)(params, x))

    grouped, depthwise = ({"kernel_size": 3, "groups": groups} for groups in (2, 4))
    for options in ({"kernel_size": 1}, grouped, depthwise, {"kernel_size": 3}):
        monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
        assert "conv_general_dilated" not in primitives(**options)
        monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
        assert "conv_general_dilated" in primitives(**options)


@pytest.mark.parametrize("lowering", ["native", "matmul"])
@pytest.mark.parametrize(
    "options", [{"kernel_size": 1}, {"kernel_size": 3, "strides": 2, "padding": 1, "groups": 2}]
)
def test_conv_has_the_parameters_and_values_of_flax(options, lowering):
    x = normal(2, 6, 7, 4)
    ours = layers.Conv(6, **options, use_bias=True, lowering=lowering)
    flax = nn.Conv(
        6,
        (options["kernel_size"],) * 2,
        strides=options.get("strides", 1),
        padding=options.get("padding", 0),
        feature_group_count=options.get("groups", 1),
    )
    key = jax.random.key(0)
    parameters = jax.eval_shape(flax.init, key, x)
    assert jax.eval_shape(ours.init, key, x) == parameters
    params = filled(parameters)
    np.testing.assert_allclose(ours.apply(params, x), flax.apply(params, x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (7, 7), (14, 14), (10, 9), (16, 5)])
def test_adaptive_average_pooling_has_torch_bins(shape):
    x = np.random.default_rng(0).normal(size=(2, *shape, 3)).astype(np.float32)
    height, width = shape
    expected = np.zeros((2, 7, 7, 3), np.float32)
    for i in range(7):
        for j in range(7):
            rows = slice(int(np.floor(i * height / 7)), int(np.ceil((i + 1) * height / 7)))
            columns = slice(int(np.floor(j * width / 7)), int(np.ceil((j + 1) * width / 7)))
            expected[:, i, j] = x[:, rows, columns].mean((1, 2))
    pooled = layers.adaptive_avg_pool(jnp.asarray(x), 7)
    np.testing.assert_allclose(pooled, expected, rtol=1e-5, atol=1e-6)


def test_pools_treat_the_border_as_torch_does():
    x = -jnp.ones((1, 3, 3, 1))
    maximum = layers.max_pool(x, 3, stride=2, padding=1)
    assert maximum.shape == (1, 2, 2, 1)
    np.testing.assert_array_equal(maximum, -1.0)  # not 0: the border is minus infinity
    average = layers.avg_pool(x, 3, stride=1, padding=1)[0, :, :, 0]
    np.testing.assert_allclose(average[0, 0], -4 / 9, rtol=1e-6)  # the zeros count
    np.testing.assert_allclose(average[1, 1], -1.0, rtol=1e-6)


@pytest.mark.parametrize(
    ("window", "stride", "padding"), [(2, 2, 0), (3, 2, 1), (3, 2, 0), (2, 1, 0)]
)
def test_the_lowerings_of_max_pools_have_equal_values_and_gradients(
    window, stride, padding, monkeypatch
):
    x = normal(2, 7, 6, 3)

    def value_and_gradient(lowering):
        monkeypatch.setattr(layers, "platform_lowering", lambda: lowering)

        def loss(x):
            y = layers.max_pool(x, window, stride=stride, padding=padding)
            return jnp.sin(y).sum(), y

        return jax.value_and_grad(loss, has_aux=True)(x)

    (_, native), native_gradient = value_and_gradient("native")
    (_, separate), gradient = value_and_gradient("matmul")
    np.testing.assert_array_equal(separate, native)
    np.testing.assert_allclose(gradient, native_gradient, rtol=1e-6)


def test_padding_grows_small_maps_only():
    x = jnp.ones((1, 2, 5, 1))
    assert layers.pad_to_at_least(x, 2) is x
    padded = layers.pad_to_at_least(x, 5)
    assert padded.shape == (1, 5, 5, 1)
    np.testing.assert_array_equal(padded[0, :, 0, 0], [0, 1, 1, 0, 0])


def test_batch_norm_has_torch_momentum_and_epsilon():
    x = jnp.asarray([[1.0], [3.0]])  # mean 2, biased variance 1
    norm = layers.batch_norm(train=True, axis_name=None, epsilon=0.5)()
    variables = norm.init(jax.random.key(0), x)
    y, state = norm.apply(variables, x, mutable=["batch_stats"])
    np.testing.assert_allclose(y[:, 0], np.array([-1.0, 1.0]) / np.sqrt(1.5), rtol=1e-5)
    np.testing.assert_allclose(state["batch_stats"]["mean"], [0.2], rtol=1e-5)
    # torch keeps the unbiased variance, 2 here.
    np.testing.assert_allclose(state["batch_stats"]["var"], [0.9 + 0.1 * 2], rtol=1e-5)


def test_batch_norms_can_forget_faster_than_their_network_has_them():
    tuning = layers.NormTuning(momentum=0.5)
    x = jnp.asarray([[1.0], [3.0]])
    norm = layers.batch_norm(train=True, axis_name=None, tuning=tuning, momentum=0.99)()
    _, state = norm.apply(norm.init(jax.random.key(0), x), x, mutable=["batch_stats"])
    np.testing.assert_allclose(state["batch_stats"]["mean"], [1.0], rtol=1e-5)


def test_frozen_batch_norms_train_with_statistics_that_stay():
    x = jnp.asarray([[1.0], [3.0]])
    norm = layers.batch_norm(train=True, axis_name=None, tuning=layers.NormTuning(frozen=True))()
    variables = norm.init(jax.random.key(0), x)
    y, state = norm.apply(variables, x, mutable=["batch_stats"])
    np.testing.assert_allclose(y, x / np.sqrt(1 + 1e-5), rtol=1e-5)
    chex.assert_trees_all_equal(state["batch_stats"], variables["batch_stats"])


@pytest.mark.parametrize("name", [n for n in models.MODELS if n != "neural_weight_module"])
def test_every_network_hands_its_tuning_to_all_its_batch_norms(name):
    def norms(**options):
        """Shapes of the running statistics."""
        network = models.build(name, num_classes=2, in_channels=3, **options)
        x = jax.ShapeDtypeStruct((2, 96, 96, 3), jnp.float32)
        return initialise(network, None, x).get("batch_stats", {})

    if not norms():
        with pytest.raises(InputError, match=f"{name} has no batch norms"):
            norms(norm_tuning=layers.NormTuning(frozen=True))
        return
    seen = []

    def note(next_call, args, kwargs, context):
        if isinstance(context.module, layers.BatchNorm):
            seen.append((context.module.momentum, context.module.use_running_average))
        return next_call(*args, **kwargs)

    with nn.intercept_methods(note):
        norms(norm_tuning=layers.NormTuning(momentum=0.5, frozen=True))
    assert set(seen) == {(0.5, True)}


@pytest.mark.parametrize("lowering", ["native", "matmul"])
def test_batch_norm_has_the_gradients_of_its_formula(lowering, monkeypatch):
    monkeypatch.setattr(layers, "platform_lowering", lambda: lowering)
    x, weight = 3 + normal(4, 5, 3, 6), normal(4, 5, 3, 6, seed=2)
    norm = layers.batch_norm(train=True, axis_name=None)()
    variables = norm.init(jax.random.key(0), x)
    params = {"scale": normal(6, seed=3), "bias": normal(6, seed=4)}

    def ours(params, x):
        y, _ = norm.apply({**variables, "params": params}, x, mutable=["batch_stats"])
        return (y * weight).sum()

    def formula(params, x):
        mean, variance = x.mean((0, 1, 2), keepdims=True), x.var((0, 1, 2), keepdims=True)
        y = (x - mean) / jnp.sqrt(variance + 1e-5) * params["scale"].reshape(1, 1, 1, -1)
        return ((y + params["bias"].reshape(1, 1, 1, -1)) * weight).sum()

    for gradient, expected in zip(
        jax.tree.leaves(jax.grad(ours, (0, 1))(params, x)),
        jax.tree.leaves(jax.grad(formula, (0, 1))(params, x)),
        strict=True,
    ):
        np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-4)


def test_appended_channels_bring_their_moments():
    """What a dense block hands from layer to layer is what BatchNorm would find in all the channels
    so far.
    """
    x, new = normal(2, 4, 3, 5), 2 * normal(2, 4, 3, 2, seed=2)
    joined, known = layers.append(x, layers.moments(x), new)
    np.testing.assert_array_equal(joined, np.concatenate([x, new], -1))
    for ours, expected in zip(known, layers.moments(joined), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-6)
    np.testing.assert_allclose(known[0], np.mean(joined, (0, 1, 2)), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(known[1], np.mean(np.square(joined), (0, 1, 2)), rtol=1e-5)
    assert layers.append(x, None, new)[1] is None  # evaluation has no use for them


def test_initialisations_have_the_stated_spread():
    key = jax.random.key(0)
    kernel = (3, 3, 32, 64)
    fan_in = np.asarray(layers.kaiming_normal_fan_in(key, kernel))
    fan_out = np.asarray(layers.kaiming_normal_fan_out(key, kernel))
    assert fan_in.std() == pytest.approx((2 / (9 * 32)) ** 0.5, rel=0.02)
    assert fan_out.std() == pytest.approx((2 / (9 * 64)) ** 0.5, rel=0.02)
    uniform = np.asarray(layers.torch_uniform(400)(key, (400, 50)))
    assert 0.0499 < np.abs(uniform).max() <= 0.05


def test_scaling_keeps_at_least_one():
    assert [layers.scaled(48, 1.0), layers.scaled(48, 0.125), layers.scaled(4, 0.01)] == [48, 6, 1]
