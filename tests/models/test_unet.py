"""The U-Nets: published maps, and beside scipy's convolutions."""

from __future__ import annotations

import functools

import flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.signal import correlate2d

from jaxcxr import models
from jaxcxr.errors import InputError
from jaxcxr.models import unet
from jaxcxr.models.initialise import initialise
from tests.models.variables import filled, normal, quick_jit, random_variables, shapes

minute = functools.partial(unet.UNet, num_classes=2, channels=(3, 4, 5))
CLASSIC = dict(up="repeat", relu_init="he", deep_dropout=0.5, narrow=2)


def run(module, variables, x):
    return quick_jit(lambda variables, x: module.apply(variables, x, False))(variables, x)


@pytest.mark.parametrize(("name", "first"), [("unet_cxnet", 32), ("unet", 64)])
def test_published_channels(name, first):
    logits, out, variables = shapes(models.build(name, num_classes=1), 1, 320, 320, 1)
    assert logits.shape == (1, 320, 320, 1)
    assert {name: value.shape[1:] for name, value in out.items()} == {
        "stage1": (320, 320, first),
        "stage2": (160, 160, 2 * first),
        "stage3": (80, 80, 4 * first),
        "stage4": (40, 40, 8 * first),
        "bottleneck": (20, 20, 16 * first),
        "features": (320, 320, {"unet_cxnet": 32, "unet": 2}[name]),
    }
    # What comes up and the skip connection have as many channels each.
    assert variables["params"]["up4"]["conv1"]["kernel"].shape == (3, 3, 16 * first, 8 * first)


def convolved(x, layer, pad):
    """x [H, W, C] with a kernel [h, w, C, O] and a bias, by scipy, after padding (before,
    after).
    """
    x = np.pad(x, (pad, pad, (0, 0)))
    kernel, bias = np.asarray(layer["kernel"], np.float64), np.asarray(layer["bias"], np.float64)
    pairs = [
        [correlate2d(x[..., c], kernel[..., c, o], "valid") for c in range(x.shape[-1])]
        for o in range(len(bias))
    ]
    return np.stack([sum(maps) for maps in pairs], axis=-1) + bias


def block(x, layers):
    for name in sorted(layers):
        x = np.maximum(convolved(x, layers[name], (1, 1)), 0)
    return x


def pooled(x):
    height, width, channels = x.shape
    return x.reshape(height // 2, 2, width // 2, 2, channels).max((1, 3))


def upsampled(x, layer):
    if "conv" in layer:
        return np.maximum(convolved(x.repeat(2, 0).repeat(2, 1), layer["conv"], (0, 1)), 0)
    kernel, bias = (np.asarray(layer[name], np.float64) for name in ("kernel", "bias"))
    y = np.zeros((2 * x.shape[0], 2 * x.shape[1], len(bias)))
    for i in range(2):
        for j in range(2):
            y[i::2, j::2] = x @ kernel[i, j].T + bias
    return y


@pytest.mark.parametrize("options", [{}, CLASSIC], ids=["cxnet", "classic"])
def test_the_network_is_scipys_convolutions_put_together(options):
    module = minute(**options)
    x = normal(1, 8, 12, 1)
    variables = random_variables(module, *x.shape)
    logits, out = run(module, variables, x)
    p = variables["params"]

    one = block(np.asarray(x[0], np.float64), p["down1"])
    two = block(pooled(one), p["down2"])
    bottom = block(pooled(two), p["bottleneck"])
    up = block(np.concatenate([upsampled(bottom, p["upsample2"]), two], -1), p["up2"])
    up = block(np.concatenate([upsampled(up, p["upsample1"]), one], -1), p["up1"])
    if options:
        up = np.maximum(convolved(up, p["narrow"], (1, 1)), 0)
        assert up.any()  # the last ReLU lives
    for name, expected in {
        "stage1": one,
        "stage2": two,
        "bottleneck": bottom,
        "features": up,
    }.items():
        np.testing.assert_allclose(out[name][0], expected, rtol=1e-4, atol=1e-5, err_msg=name)
    np.testing.assert_allclose(logits[0], convolved(up, p["head"], (0, 0)), rtol=1e-4, atol=1e-5)


def test_transposed_convolution_is_flaxs():
    x = normal(2, 3, 4, 5)
    ours = unet.TransposedUp(6, jnp.float32)
    theirs = flax.linen.ConvTranspose(
        6, (2, 2), strides=(2, 2), padding="VALID", transpose_kernel=True
    )
    variables = filled(jax.eval_shape(ours.init, jax.random.key(0), x))
    np.testing.assert_allclose(
        ours.apply(variables, x), theirs.apply(variables, x), rtol=1e-5, atol=1e-6
    )


def test_sizes_that_four_does_not_divide_repeat_the_last_row_and_column():
    module = minute()
    x = normal(2, 9, 14, 1)
    variables = random_variables(module, *x.shape)
    whole = jnp.concatenate([x, *[x[:, -1:]] * 3], axis=1)
    whole = jnp.concatenate([whole, *[whole[:, :, -1:]] * 2], axis=2)
    logits, out = run(module, variables, x)
    expected, expected_out = run(module, variables, whole)
    assert logits.shape == (2, 9, 14, 2) and whole.shape == (2, 12, 16, 1)
    np.testing.assert_array_equal(logits, expected[:, :9, :14])
    np.testing.assert_array_equal(out["features"], expected_out["features"])


def test_dropout_of_the_classic_is_after_the_deepest_skip_and_the_bottleneck():
    """Where two calls with other keys begin to differ."""
    module = minute(**CLASSIC)
    x = normal(1, 8, 8, 1)
    variables = random_variables(module, *x.shape)

    @quick_jit
    def maps(variables, key):
        return module.apply(variables, x, True, rngs={"dropout": key})[1]

    plain, dropped = run(module, variables, x)[1], maps(variables, jax.random.key(0))
    np.testing.assert_allclose(dropped["stage1"], plain["stage1"], rtol=1e-5, atol=1e-6)
    kept = np.asarray(dropped["stage2"]) != 0
    np.testing.assert_allclose(
        np.asarray(dropped["stage2"])[kept],
        2 * np.asarray(plain["stage2"])[kept],
        rtol=1e-5,
        atol=1e-6,
    )
    assert 0.2 < (~kept)[np.asarray(plain["stage2"]) > 0].mean() < 0.8
    assert (np.asarray(dropped["bottleneck"]) == 0).mean() > (
        np.asarray(plain["bottleneck"]) == 0
    ).mean()


@pytest.mark.parametrize(
    ("init", "bound"), [("glorot", np.sqrt(6 / (9 * 64 + 9 * 96))), ("he", None)]
)
def test_first_values(init, bound):
    """Glorot: U(+-sqrt(6 / (fan in + fan out))). He: N(0, 2 / fan in)."""
    module = unet.UNet(num_classes=1, channels=(64, 96), relu_init=init)
    params = initialise(module, 0, jax.ShapeDtypeStruct((1, 8, 8, 1), jnp.float32))["params"]
    kernel = params["bottleneck"]["conv1"]["kernel"]
    assert kernel.shape == (3, 3, 64, 96)
    np.testing.assert_allclose(
        kernel.std(), bound / np.sqrt(3) if bound else np.sqrt(2 / (9 * 64)), rtol=0.02
    )
    if bound:
        assert 0.99 * bound < np.abs(kernel).max() <= bound
    up = params["upsample1"]["kernel"]  # no ReLU follows: Glorot in either
    assert up.shape == (2, 2, 64, 96) and np.abs(up).max() <= np.sqrt(6 / (4 * 64 + 4 * 96))


@pytest.mark.parametrize(
    ("field", "known"), [("up", "transpose, repeat"), ("relu_init", "glorot, he")]
)
def test_an_unknown_option_is_named(field, known):
    with pytest.raises(InputError, match=rf"U-Net: {field}='x'; known: {known}"):
        shapes(minute(**{field: "x"}), 1, 16, 16, 1)
