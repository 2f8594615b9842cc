"""The small U-Net: its maps, its encoder beside EfficientNet-Lite0's, odd sizes."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcxr import models
from jaxcxr.errors import InputError
from jaxcxr.models.lite_unet import LiteUNet
from tests.models.variables import filled, normal, quick_jit, shapes


def count(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def test_maps_and_parameters():
    logits, out, variables = shapes(models.build("lite_unet", num_classes=2), 1, 256, 256, 3)
    assert logits.shape == (1, 256, 256, 2)
    assert {name: value.shape[1:] for name, value in out.items()} == {
        "stage1": (128, 128, 16),
        "stage2": (64, 64, 24),
        "stage3": (32, 32, 40),
        "stage4": (16, 16, 80),
        "stage5": (16, 16, 112),
        "features": (128, 128, 2 * 16),
    }
    assert count(variables["params"]) == 869_250


def test_the_encoder_is_the_beginning_of_efficientnet_lite0():
    """So that its weights have their places."""
    mine = shapes(models.build("lite_unet", num_classes=1), 1, 64, 64, 3)[2]
    whole = shapes(models.build("efficientnet_lite0", num_classes=1000), 1, 64, 64, 3)[2]
    for collection in ("params", "batch_stats"):
        encoder = mine[collection]["features"]
        assert sorted(encoder) == ["0", "1", "2", "3", "4", "5"]
        there = {name: whole[collection]["features"][name] for name in encoder}
        assert jax.tree.all(jax.tree.map(lambda a, b: a.shape == b.shape, encoder, there))
    assert models.backbone("lite_unet") == "efficientnet_lite0"

    small = {"stem": 4, "channels": (4, 4, 4, 4, 4), "blocks": (1, 1, 1, 1, 1)}
    unet = LiteUNet(num_classes=1, decoder=(4, 4, 4, 4), **small)
    variables = filled(shapes(unet, 1, 32, 32, 3)[2])
    x = normal(1, 32, 32, 3)
    classifier = models.efficientnet.EfficientNet(
        num_classes=2, last=8, rate=0.0, lite=True, **small
    )
    others = filled(shapes(classifier, 1, 32, 32, 3)[2])
    for collection in ("params", "batch_stats"):
        others[collection]["features"] |= variables[collection]["features"]
    maps = quick_jit(lambda v, x: unet.apply(v, x, False)[1])(variables, x)
    reference = quick_jit(lambda v, x: classifier.apply(v, x, False)[1])(others, x)
    for stage in ("stage1", "stage2", "stage3", "stage4", "stage5"):
        np.testing.assert_allclose(maps[stage], reference[stage], rtol=1e-5, atol=1e-6)


@pytest.fixture(scope="module")
def tiny():
    model = LiteUNet(
        num_classes=2,
        stem=4,
        channels=(4,) * 5,
        blocks=(1,) * 5,
        decoder=(4,) * 4,
        in_channels=1,
    )
    return model, filled(shapes(model, 1, 32, 32, 1)[2])


def test_sides_that_16_does_not_divide_are_continued_and_cropped(tiny):
    model, variables = tiny
    x = normal(1, 40, 25, 1)
    run = quick_jit(lambda x: model.apply(variables, x, False)[0])
    continued = jnp.pad(x, ((0, 0), (0, 8), (0, 7), (0, 0)), mode="edge")
    np.testing.assert_array_equal(run(x), run(continued)[:, :40, :25])


def test_every_place_knows_of_the_whole_image(tiny):
    """A far corner changes the logits of the other one by way of the average alone."""
    model, variables = tiny
    x = normal(1, 512, 32, 1)
    other = x.at[:, -16:].add(3.0)
    run = quick_jit(lambda v, x: model.apply(v, x, False)[0][:, :16])
    assert np.abs(run(variables, x) - run(variables, other)).max() > 1e-6
    blind = jax.tree.map(lambda leaf: leaf, variables)
    for decoder in ("decoder1", "decoder2"):
        kernel = blind["params"][decoder]["average"]["kernel"]
        blind["params"][decoder]["average"]["kernel"] = 0 * kernel
    np.testing.assert_array_equal(run(blind, x), run(blind, other))


def test_each_structure_has_its_own_decoder(tiny):
    """So that what one convention teaches is no other's."""
    model, variables = tiny
    x = normal(2, 32, 32, 1)

    def sums(params):
        logits, _ = model.apply(variables | {"params": params}, x, False)
        return logits.sum((0, 1, 2))

    gradients = quick_jit(jax.jacrev(sums))(variables["params"])
    largest = jax.tree.map(lambda leaf: jnp.abs(leaf).reshape(2, -1).max(1), gradients)
    for number, name in enumerate(("decoder1", "decoder2")):
        for leaf in jax.tree.leaves(largest[name]):
            assert leaf[1 - number] == 0
        assert max(leaf[number] for leaf in jax.tree.leaves(largest[name])) > 0
    assert all(value > 0 for value in jax.tree.leaves(largest["features"]["5"])[0])


def test_images_that_are_too_small_are_refused(tiny):
    model, variables = tiny
    with pytest.raises(InputError, match="at least 16 x 16"):
        model.apply(variables, jnp.zeros((1, 15, 32, 1)), False)
