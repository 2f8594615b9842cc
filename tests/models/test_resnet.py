from __future__ import annotations

import re

import jax
import jax.numpy as jnp
import numpy as np

from jaxcxr import models
from jaxcxr.models import layers, resnet
from tests.models.variables import shapes


def maps_and_params(name: str, **options):
    model = models.build(name, num_classes=4, **options)
    _, out, variables = shapes(model, 1, 224, 224, 3)
    return {name: leaf.shape[1:] for name, leaf in out.items()}, variables["params"]


def test_published_maps_at_224_pixels():
    maps, _ = maps_and_params("resnet50")
    assert maps == {
        "stage1": (56, 56, 256),
        "stage2": (28, 28, 512),
        "stage3": (14, 14, 1024),
        "stage4": (7, 7, 2048),
        "features": (7, 7, 2048),
        "pooled": (2048,),
    }


def test_shortcuts_are_projected_only_where_the_shape_changes():
    _, bottleneck = maps_and_params("resnet50", depth=0.5)
    assert "downsample" in bottleneck["layer1"]["0"]
    assert "downsample" not in bottleneck["layer1"]["1"]
    _, basic = maps_and_params("resnet18")
    assert "downsample" not in basic["layer1"]["0"]
    assert basic["layer2"]["0"]["downsample"]["0"]["kernel"].shape == (1, 1, 64, 128)


def test_resnext_groups_of_the_published_and_of_a_shrunk_network():
    _, params = maps_and_params("resnext101_32x8d", depth=0.01)
    assert params["layer1"]["0"]["conv2"]["kernel"].shape == (3, 3, 8, 256)
    assert params["layer4"]["0"]["conv2"]["kernel"].shape == (3, 3, 64, 2048)
    # Width scales the number of groups; a group keeps its channels.
    _, params = maps_and_params("resnext101_32x8d", depth=0.01, width=0.125)
    assert params["layer1"]["0"]["conv2"]["kernel"].shape == (3, 3, 8, 32)


def test_the_end_of_a_block_is_the_relu_of_the_sum():
    branch, shortcut = (
        jnp.array([1.0, -2.0, -1.0, jnp.nan, 0.0]),
        jnp.array([2.0, 1.0, 1.0, 1.0, 0.0]),
    )

    def end(branch, shortcut):
        out = layers.relu_of_sum(branch, shortcut)
        return out[:3].sum() + out[4], out

    gradients, out = jax.grad(end, argnums=(0, 1), has_aux=True)(branch, shortcut)
    np.testing.assert_array_equal(out, [3.0, 0.0, 0.0, np.nan, 0.0])
    for gradient in gradients:  # PyTorch's: 0 where the sum is 0
        np.testing.assert_array_equal(gradient, [1.0, 0.0, 0.0, 0.0, 0.0])


def test_a_later_block_does_not_add_up_the_earlier_ones_again():
    """XLA:CPU fused the sums of a stage's blocks into each later block: a third of ResNet-152's
    time.
    """

    def additions(blocks: int) -> int:
        stage = resnet.Stage(
            resnet.Bottleneck,
            blocks,
            8,
            32,
            1,
            1,
            layers.batch_norm(train=False, axis_name=None),
            layers.Conv,
        )
        x = jnp.ones((1, 8, 8, 32))
        variables = stage.init(jax.random.key(0), x)
        program = jax.jit(stage.apply).lower(variables, x).compile()
        return len(re.findall(r" = f32\[1,8,8,32\]\S* add\(", program.as_text()))

    few, many = additions(4), additions(12)
    assert few > 0
    assert many <= 3 * few + 3
