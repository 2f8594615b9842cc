from __future__ import annotations

import flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcxr import models
from jaxcxr.models.efficientnet import MBConv, SqueezeExcitation
from jaxcxr.models.layers import Conv, pad_same
from tests.models.variables import (
    dropout_rates,
    filled,
    normal,
    quick_jit,
    random_variables,
    shapes,
)


def test_published_maps_and_names_at_380_pixels():
    model = models.build("efficientnet_b4", num_classes=4)
    _, out, variables = shapes(model, 1, 380, 380, 3)
    assert {name: feature_map.shape[1:] for name, feature_map in out.items()} == {
        "stage1": (190, 190, 24),
        "stage2": (95, 95, 32),
        "stage3": (48, 48, 56),
        "stage4": (24, 24, 112),
        "stage5": (24, 24, 160),
        "stage6": (12, 12, 272),
        "stage7": (12, 12, 448),
        "features": (12, 12, 1792),
        "pooled": (1792,),
    }
    leaves = flax.traverse_util.flatten_dict(variables["params"], sep="/")
    found = {name: leaf.shape for name, leaf in leaves.items()}
    expected = {  # torchvision's, with the axes in Flax's order
        "features/0/0/kernel": (3, 3, 3, 48),
        "features/1/0/block/0/0/kernel": (3, 3, 1, 48),
        "features/1/0/block/1/fc1/kernel": (1, 1, 48, 12),
        "features/1/0/block/2/0/kernel": (1, 1, 48, 24),
        "features/1/1/block/1/fc1/kernel": (1, 1, 24, 6),
        "features/6/7/block/0/0/kernel": (1, 1, 272, 1632),
        "features/6/7/block/1/0/kernel": (5, 5, 1, 1632),
        "features/6/7/block/2/fc1/bias": (68,),
        "features/6/7/block/2/fc2/bias": (1632,),
        "features/6/7/block/3/1/scale": (272,),
        "features/7/1/block/1/0/kernel": (3, 3, 1, 2688),
        "features/8/0/kernel": (1, 1, 448, 1792),
        "classifier/1/kernel": (1792, 4),
    }
    assert {name: found[name] for name in expected} == expected
    blocks = {name.split("/")[2] for name in found if name.startswith("features/6/")}
    assert len(blocks) == 8


def test_lites_published_maps_at_224_pixels():
    _, out, variables = shapes(models.build("efficientnet_lite0", num_classes=4), 1, 224, 224, 3)
    assert {name: feature_map.shape[1:] for name, feature_map in out.items()} == {
        "stage1": (112, 112, 16),
        "stage2": (56, 56, 24),
        "stage3": (28, 28, 40),
        "stage4": (14, 14, 80),
        "stage5": (14, 14, 112),
        "stage6": (7, 7, 192),
        "stage7": (7, 7, 320),
        "features": (7, 7, 1280),
        "pooled": (1280,),
    }
    names = flax.traverse_util.flatten_dict(variables["params"], sep="/")
    assert not [name for name in names if "/fc1/" in name]


@pytest.mark.parametrize(
    ("size", "window", "stride", "sides"),
    [(8, 3, 2, (0, 1)), (9, 3, 2, (1, 1)), (8, 5, 2, (1, 2)), (8, 3, 1, (1, 1)), (4, 1, 2, (0, 0))],
)
def test_same_padding_is_tensorflows(size, window, stride, sides):
    """ceil(size / stride) pixels come out, and an odd zero goes below and to the right."""
    padded = pad_same(jnp.ones((1, size, 1, 1)), (window, 1), (stride, 1))[0, :, 0, 0]
    np.testing.assert_array_equal(padded, [0] * sides[0] + [1] * size + [0] * sides[1])
    conv = Conv(1, (window, 1), strides=(stride, 1), padding="same")
    out, _ = conv.init_with_output(jax.random.key(0), jnp.ones((1, size, 1, 1)))
    assert out.shape == (1, -(-size // stride), 1, 1)


def test_squeeze_and_excitation_gates_each_channel_by_the_averages():
    module = SqueezeExcitation(2, Conv)
    x = normal(3, 4, 5, 6)
    variables = filled(jax.eval_shape(module.init, jax.random.key(0), x))
    first, second = (jax.tree.map(np.asarray, variables["params"][name]) for name in ("fc1", "fc2"))
    y = np.asarray(x).mean((1, 2)) @ first["kernel"][0, 0] + first["bias"][None]
    y = y / (1 + np.exp(-y)) @ second["kernel"][0, 0] + second["bias"][None]
    gate = 1 / (1 + np.exp(-y))
    np.testing.assert_allclose(
        module.apply(variables, x), x * gate[:, None, None], rtol=1e-5, atol=1e-6
    )


class Doubles(flax.linen.Module):
    """A branch that is known."""

    stride: int

    def __call__(self, x):
        return 2 * x


def test_stochastic_depth_drops_the_branch_of_whole_images_and_makes_up_for_it():
    """Of an image 1 stays 1, or becomes 1 + 2 / .75; drawn by image, and three quarters have the
    branch.
    """
    block = MBConv(0.25, Doubles, 1)
    x = jnp.ones((400, 2, 2, 3))
    y = np.asarray(block.apply({}, x, train=True, rngs={"dropout": jax.random.key(0)}))
    assert (y == y[:, :1, :1, :1]).all()
    with_branch = np.isclose(y[:, 0, 0, 0], 1 + 2 / 0.75)
    assert (with_branch | (y[:, 0, 0, 0] == 1)).all()
    assert 0.68 < with_branch.mean() < 0.82
    np.testing.assert_array_equal(block.apply({}, x, train=False), 3 * x)


def test_stochastic_depth_grows_from_block_to_block_and_dropout_is_before_the_logits():
    """As in torchvision: .2 i / 32 for block i, which matters where there is a shortcut, and .4."""
    firsts = np.cumsum([0, 2, 4, 4, 6, 6, 8])  # no shortcut: they stride, or change the channels
    expected = [0.2 * i / 32 for i in range(32) if i not in firsts] + [0.4]
    model = models.build("efficientnet_b4", num_classes=4)
    np.testing.assert_allclose(dropout_rates(model, 1, 32, 32, 3), expected)


@pytest.fixture(scope="module")
def narrow():
    """Two blocks in stage 6, so that there is a shortcut."""
    model = models.build("efficientnet_b4", num_classes=3, width=0.125, depth=0.2)
    return model, random_variables(model, 1, 33, 33, 3)


def test_training_draws_from_the_dropout_key_and_evaluation_from_none(narrow):
    model, variables = narrow
    x = normal(4, 33, 47, 3)

    @quick_jit
    def train_logits(variables, x, key):
        return model.apply(variables, x, True, rngs={"dropout": key}, mutable=["batch_stats"])[0][0]

    first, again, other = (
        np.asarray(train_logits(variables, x, jax.random.key(i))) for i in (2, 2, 3)
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-4
    evaluated = quick_jit(lambda v, x: model.apply(v, x, False)[0])(variables, x)  # needs no rng
    assert evaluated.shape == first.shape and evaluated.dtype == jnp.float32


def test_without_dropout_and_stochastic_depth_training_needs_no_key():
    model = models.build(
        "efficientnet_b4", num_classes=3, width=0.125, depth=0.2, dropout=0.0, stochastic_depth=0.0
    )
    logits = jax.eval_shape(
        lambda x: model.init_with_output(jax.random.key(0), x, True)[0][0], normal(2, 32, 32, 3)
    )
    assert logits.shape == (2, 3)


def test_logits_are_the_classifier_on_the_mean_of_the_feature_map(narrow):
    model, variables = narrow
    logits, out = quick_jit(lambda v, x: model.apply(v, x, False))(variables, normal(2, 33, 47, 3))
    head = jax.tree.map(np.asarray, variables["params"]["classifier"]["1"])
    pooled = np.asarray(out["features"]).mean((1, 2))
    np.testing.assert_allclose(
        logits, pooled @ head["kernel"] + head["bias"][None], rtol=1e-4, atol=1e-5
    )
