from __future__ import annotations

from jaxcxr import models
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
