from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jaxcxr import models
from jaxcxr.models import fc_densenet, layers
from tests.models.variables import filled, normal, quick_jit, random_variables, shapes


def test_published_channels():
    model = models.build("fc_densenet103", num_classes=4)
    logits, out, variables = shapes(model, 1, 256, 256, 1)
    assert logits.shape == (1, 256, 256, 4)
    assert {name: value.shape[1:] for name, value in out.items()} == {
        "stage1": (256, 256, 112),
        "stage2": (128, 128, 192),
        "stage3": (64, 64, 304),
        "stage4": (32, 32, 464),
        "stage5": (16, 16, 656),
        "bottleneck": (8, 8, 240),  # 15 x 16: new features only
        "features": (256, 256, 256),  # the last block keeps its input, too
    }
    assert variables["params"]["transition_up5"]["conv"]["kernel"].shape == (3, 3, 240, 240)
    assert variables["params"]["transition_up1"]["conv"]["kernel"].shape == (3, 3, 80, 80)


def test_transition_up_is_torch_transposed_convolution_cropped_to_the_skip():
    x, skip = normal(1, 2, 3, 2), normal(1, 4, 7, 1)  # crops rows 5 -> 4, keeps columns 7
    module = fc_densenet.TransitionUp(jnp.float32)
    variables = filled(jax.eval_shape(module.init, jax.random.key(0), x, skip))
    y = np.asarray(module.apply(variables, x, skip))
    kernel = np.asarray(variables["params"]["conv"]["kernel"])  # [3, 3, cout, cin]
    bias = np.asarray(variables["params"]["conv"]["bias"])
    expected = np.zeros((5, 7, 2), np.float32)
    for i in range(2):
        for j in range(3):
            expected[2 * i : 2 * i + 3, 2 * j : 2 * j + 3] += kernel @ np.asarray(x)[0, i, j]
    np.testing.assert_allclose(y[0, :, :, :2], expected[:4] + bias, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(y[..., 2:], skip)


def test_dropout_removes_whole_channels():
    norm = layers.batch_norm(train=True, axis_name=None)
    unit = fc_densenet.ConvUnit(64, 1, 0.25, norm, fc_densenet.Conv)
    x = normal(2, 5, 6, 8)
    init = functools.partial(unit.init, train=False)
    variables = filled(jax.eval_shape(init, jax.random.key(0), x))
    rngs = {"dropout": jax.random.key(2)}
    y, _ = unit.apply(variables, x, train=True, rngs=rngs, mutable=["batch_stats"])
    zeros = np.asarray(y == 0).mean((1, 2))
    assert set(np.unique(zeros)) == {0.0, 1.0}
    assert 0.1 < (zeros == 1).mean() < 0.4


def test_recomputation_changes_neither_parameters_nor_gradients():
    x = normal(1, 32, 32, 1)
    minute = functools.partial(
        fc_densenet.FCDenseNet, num_classes=2, stem=4, growth=3, down=(1,), bottleneck=1
    )
    variables = random_variables(minute(), *x.shape)

    def loss_and_gradients(remat):
        model = minute(remat=remat)

        def loss(params, x, key):
            (logits, _), _ = model.apply(
                {**variables, "params": params},
                x,
                True,
                rngs={"dropout": key},
                mutable=["batch_stats"],
            )
            return jnp.square(logits).mean()

        return quick_jit(jax.value_and_grad(loss))(variables["params"], x, jax.random.key(1))

    (plain_loss, plain), (loss, recomputed) = loss_and_gradients(False), loss_and_gradients(True)
    np.testing.assert_allclose(loss, plain_loss, rtol=1e-4)
    assert jax.tree.structure(plain) == jax.tree.structure(recomputed)
    for a, b in zip(jax.tree.leaves(plain), jax.tree.leaves(recomputed), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)
