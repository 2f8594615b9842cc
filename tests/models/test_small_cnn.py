"""The Qatar paper's table layer by layer, and V7's classifier."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from jaxcxr import models
from jaxcxr.errors import InputError
from tests.models.variables import dropout_rates, normal, quick_jit, random_variables, shapes

# The table of Agarwal and Srivastava, section 3.3.1.
QATAR = {
    "conv2d": 896, "conv2d_1": 4_624, "conv2d_2": 2_320, "dense": 819_712, "dense_1": 131_328,
    "dense_2": 771,
}  # fmt: skip


def sizes(name: str, *shape: int, classes: int) -> dict[str, int]:
    params = shapes(models.build(name, num_classes=classes), *shape)[2]["params"]
    return {layer: sum(leaf.size for leaf in leaves.values()) for layer, leaves in params.items()}


def test_parameters_of_the_papers_table():
    found = sizes("qatar_cnn", 1, 100, 100, 3, classes=3)
    assert found == QATAR
    assert sum(found.values()) == 959_651


def test_maps_of_the_papers_table():
    model = models.build("qatar_cnn", num_classes=3)
    logits, out, _ = shapes(model, 2, 100, 100, 3)
    assert logits.shape == (2, 3)
    assert {name: value.shape[1:] for name, value in out.items()} == {
        "stage1": (98, 98, 32),
        "stage2": (47, 47, 16),
        "stage3": (21, 21, 16),
        "features": (10, 10, 16),
    }


@pytest.mark.parametrize("classes", [1, 3])
def test_v7_takes_the_papers_oblong_crop(classes):
    """246 -> 244 -> 122 -> 120 -> 60 and 236 -> 234 -> 117 -> 115 -> 57 places of 64 channels, and
    64 units.
    """
    found = sizes("v7_diagnosis", 1, 246, 236, 3, classes=classes)
    assert found == {
        "conv2d": 9 * 3 * 32 + 32,
        "conv2d_1": 9 * 32 * 64 + 64,
        "dense": 60 * 57 * 64 * 64 + 64,
        "dense_1": 65 * classes,
    }
    logits, out, _ = shapes(models.build("v7_diagnosis", num_classes=classes), 2, 246, 236, 3)
    assert logits.shape == (2, classes)
    assert out["features"].shape == (2, 60, 57, 64)


@pytest.mark.parametrize(("name", "smallest"), [("qatar_cnn", 22), ("v7_diagnosis", 10)])
def test_the_smallest_image_leaves_one_place(name, smallest):
    model = models.build(name, num_classes=3, width=0.1)
    _, out, _ = shapes(model, 1, smallest, smallest + 5, 3)
    assert out["features"].shape[1] == 1
    with pytest.raises(InputError, match=f"at least {smallest} x {smallest} pixels"):
        shapes(model, 1, smallest + 5, smallest - 1, 3)


def test_width_scales_convolutions_and_dense_layers_and_depth_drops_convolutions():
    params = shapes(models.build("qatar_cnn", num_classes=3, width=0.5, depth=0.7), 1, 40, 40, 3)[
        2
    ]["params"]
    assert {layer: leaves["bias"].shape for layer, leaves in params.items()} == {
        "conv2d": (16,), "conv2d_1": (8,), "dense": (256,), "dense_1": (128,), "dense_2": (3,),
    }  # fmt: skip


def test_logits_are_those_of_the_written_out_network():
    """v7_diagnosis by hand, on an odd oblong image: loops over windows, and the last map flattened
    as [H, W, C].
    """
    model = models.build("v7_diagnosis", num_classes=2, in_channels=1, width=1 / 16)
    x = normal(2, 11, 15, 1)
    variables = random_variables(model, *x.shape)
    logits, out = quick_jit(lambda variables, x: model.apply(variables, x, False))(variables, x)
    params = jax.tree.map(np.asarray, variables["params"])
    y = np.asarray(x)
    for i, layer in enumerate(("conv2d", "conv2d_1"), start=1):
        kernel, bias = params[layer]["kernel"], params[layer]["bias"]
        # [B, H, W, C, 3, 3]
        windows = np.lib.stride_tricks.sliding_window_view(y, (3, 3), axis=(1, 2))
        y = np.maximum(np.einsum("bhwcij,ijco->bhwo", windows, kernel) + bias[None, None, None], 0)
        np.testing.assert_allclose(out[f"stage{i}"], y, rtol=1e-4, atol=1e-5)
        b, h, w, c = y.shape
        y = y[:, : h // 2 * 2, : w // 2 * 2].reshape(b, h // 2, 2, w // 2, 2, c).max((2, 4))
    y = y.reshape(2, -1)
    y = np.maximum(y @ params["dense"]["kernel"] + params["dense"]["bias"][None], 0)
    expected = y @ params["dense_1"]["kernel"] + params["dense_1"]["bias"][None]
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)


def test_dropout_is_a_fifth_after_each_pool_of_qatar_cnn_and_none_of_v7s():
    def rates(name, **options):
        return dropout_rates(models.build(name, num_classes=3, width=0.25, **options), 2, 32, 32, 3)

    assert rates("qatar_cnn") == [0.2, 0.2, 0.2]
    assert rates("qatar_cnn", dropout=0.5) == [0.5, 0.5, 0.5]
    assert rates("v7_diagnosis") == [0.0, 0.0]


def test_training_draws_from_the_dropout_key_and_evaluation_from_none():
    model = models.build("qatar_cnn", num_classes=3, width=0.25)
    x = normal(2, 32, 32, 3)
    variables = random_variables(model, *x.shape)
    run = quick_jit(lambda v, key: model.apply(v, x, True, rngs={"dropout": key})[0])
    first, again, other = (np.asarray(run(variables, jax.random.key(i))) for i in (2, 2, 3))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-4
    assert np.isfinite(quick_jit(lambda v: model.apply(v, x, False)[0])(variables)).all()


@pytest.mark.parametrize(
    ("name", "options"), [("qatar_cnn", {"dropout": 0.0}), ("v7_diagnosis", {})]
)
def test_without_dropout_training_needs_no_key(name, options):
    model = models.build(name, num_classes=3, **options)
    logits = jax.eval_shape(
        lambda x: model.init_with_output(jax.random.key(0), x, True)[0][0], normal(2, 32, 32, 3)
    )
    assert logits.shape == (2, 3)


def test_gradient_reaches_every_parameter():
    for name in ("qatar_cnn", "v7_diagnosis"):
        model = models.build(name, num_classes=3, width=0.25)
        x = normal(2, 32, 28, 3)
        variables = random_variables(model, *x.shape)
        loss = lambda params: jax.numpy.square(model.apply({"params": params}, x, False)[0]).sum()  # noqa: B023, E731
        gradients = quick_jit(jax.grad(loss))(variables["params"])
        assert all(np.isfinite(g).all() and np.abs(g).max() > 0 for g in jax.tree.leaves(gradients))


def test_half_precision_keeps_float32_parameters_and_logits():
    model = models.build("qatar_cnn", num_classes=3, dtype=jax.numpy.bfloat16)
    logits, out, variables = shapes(model, 2, 32, 32, 3)
    assert logits.dtype == np.float32
    assert out["features"].dtype == jax.numpy.bfloat16
    assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves(variables))


def test_wrong_channels_are_an_input_error():
    with pytest.raises(InputError, match=r"in_channels=3, but the input has 1 channel"):
        shapes(models.build("qatar_cnn", num_classes=3), 1, 100, 100, 1)
