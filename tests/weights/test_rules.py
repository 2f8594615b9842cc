"""Each framework's names and layouts become ours."""

import numpy as np
import pytest

from jaxcxr.errors import InputError
from jaxcxr.weights.rules import FAMILIES, keras_name, rename


def arrays(**shapes: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Arrays of 0, 1, 2, ... by name; `__` in a name stands for the dot."""
    return {
        name.replace("__", "."): np.arange(np.prod(shape, dtype=int), dtype=np.float32).reshape(
            shape
        )
        for name, shape in shapes.items()
    }


def named(family: str, *names: str, shape: tuple[int, ...] = (2,)) -> list[str]:
    return list(rename({name: np.zeros(shape) for name in names}, FAMILIES[family]).arrays)


def test_torch_convolutions_and_dense_layers_are_turned():
    given = arrays(conv1__weight=(5, 4, 3, 2), fc__weight=(7, 6), fc__bias=(7,))
    ours = rename(given, FAMILIES["torchvision"]).arrays
    assert {name: value.shape for name, value in ours.items()} == {
        "conv1/kernel": (3, 2, 4, 5),
        "fc/kernel": (6, 7),
        "fc/bias": (7,),
    }
    assert ours["conv1/kernel"][2, 1, 3, 4] == given["conv1.weight"][4, 3, 2, 1]
    assert ours["fc/kernel"][5, 6] == given["fc.weight"][6, 5]


def test_a_torch_norm_is_told_from_a_convolution_by_its_rank():
    found = named(
        "torchvision",
        "bn1.weight",
        "bn1.bias",
        "bn1.running_mean",
        "bn1.running_var",
        "bn1.num_batches_tracked",
    )
    assert found == ["bn1/scale", "bn1/bias", "bn1/mean", "bn1/var"]


@pytest.mark.parametrize(
    ("family", "theirs", "ours"),
    [
        ("torchvision", "features.denseblock2.denselayer11.norm.1.weight",
         "features/denseblock2/denselayer11/norm1/scale"),
        ("torchvision", "features.denseblock2.denselayer11.norm1.weight",
         "features/denseblock2/denselayer11/norm1/scale"),
        ("torchvision", "module.layer1.0.bn1.running_var", "layer1/0/bn1/var"),
        ("timm_vgg", "head.fc.bias", "classifier/6/bias"),
        ("timm_vgg", "pre_logits.fc2.bias", "classifier/3/bias"),
        ("chexnet_torch", "module.densenet121.classifier.0.bias", "classifier/bias"),
        ("chexnet_torch", "module.densenet121.features.denseblock1.denselayer1.norm.2.bias",
         "features/denseblock1/denselayer1/norm2/bias"),
        ("timm_vgg", "module.head.fc.bias", "classifier/6/bias"),
        ("timm_efficientnet", "model.bn1.running_var", "features/0/1/var"),
        ("efficientnet_lite0", "module._bn0.running_var", "features/0/1/var"),
        ("timm_efficientnet", "conv_stem.weight", "features/0/0/scale"),
        ("timm_efficientnet", "bn1.running_var", "features/0/1/var"),
        ("timm_efficientnet", "blocks.0.1.conv_dw.weight", "features/1/1/block/0/0/scale"),
        ("timm_efficientnet", "blocks.0.1.se.conv_expand.bias", "features/1/1/block/1/fc2/bias"),
        ("timm_efficientnet", "blocks.0.0.conv_pw.weight", "features/1/0/block/2/0/scale"),
        ("timm_efficientnet", "blocks.0.0.bn2.bias", "features/1/0/block/2/1/bias"),
        ("timm_efficientnet", "blocks.5.7.conv_pw.weight", "features/6/7/block/0/0/scale"),
        ("timm_efficientnet", "blocks.5.7.bn1.bias", "features/6/7/block/0/1/bias"),
        ("timm_efficientnet", "blocks.5.7.conv_dw.weight", "features/6/7/block/1/0/scale"),
        ("timm_efficientnet", "blocks.5.7.se.conv_reduce.bias", "features/6/7/block/2/fc1/bias"),
        ("timm_efficientnet", "blocks.6.1.conv_pwl.weight", "features/7/1/block/3/0/scale"),
        ("timm_efficientnet", "blocks.6.1.bn3.running_mean", "features/7/1/block/3/1/mean"),
        ("timm_efficientnet", "conv_head.weight", "features/8/0/scale"),
        ("timm_efficientnet", "bn2.bias", "features/8/1/bias"),
        ("timm_efficientnet", "classifier.bias", "classifier/1/bias"),
        ("keras_densenet", "conv1/bn/moving_variance", "features/norm0/var"),
        ("keras_densenet", "conv1_bn/gamma", "features/norm0/scale"),
        ("keras_densenet", "conv5_block16_0_bn/beta",
         "features/denseblock4/denselayer16/norm1/bias"),
        ("keras_densenet", "conv2_block3_1_bn/beta", "features/denseblock1/denselayer3/norm2/bias"),
        ("keras_densenet", "pool4_bn/moving_mean", "features/transition3/norm/mean"),
        ("keras_densenet", "bn/gamma", "features/norm5/scale"),
        ("keras_densenet", "predictions/bias", "classifier/bias"),
        ("keras_densenet", "output_layer/bias", "classifier/bias"),
        ("keras_densenet", "fc/kernel", "hidden/kernel"),
        ("keras_densenet", "pred/kernel", "classifier/kernel"),
        ("keras_vgg16", "block1_conv2/bias", "features/2/bias"),
        ("keras_vgg16", "block5_conv3/bias", "features/28/bias"),
        ("keras_vgg16", "predictions/bias", "classifier/6/bias"),
    ],
)  # fmt: skip
def test_names(family, theirs, ours):
    assert named(family, theirs) == [ours]


@pytest.mark.parametrize(
    ("layer", "weight", "name"),
    [
        ("block1_conv1", "block1_conv1_W_1:0", "block1_conv1/kernel"),
        ("block1_conv1", "block1_conv1_b_1:0", "block1_conv1/bias"),
        ("conv1/bn", "moving_variance:0", "conv1/bn/moving_variance"),
        ("conv_layer1", "kernel:0", "conv_layer1/kernel"),
        ("fc1", "kernel_2:0", "fc1/kernel"),
    ],
)
def test_keras_wrote_one_name_in_several_ways(layer, weight, name):
    assert keras_name(layer, weight) == name


def test_timm_writes_vggs_linear_layers_as_convolutions():
    given = {"pre_logits.fc1.weight": np.arange(2 * 3 * 7 * 7.0).reshape(2, 3, 7, 7)}
    kernel = rename(given, FAMILIES["timm_vgg"]).arrays["classifier/0/kernel"]
    assert kernel.shape == (3 * 7 * 7, 2)
    # Our VGG flattens [C, H, W].
    assert kernel[1 * 49 + 2 * 7 + 3, 1] == given["pre_logits.fc1.weight"][1, 1, 2, 3]


def test_keras_vgg_flattens_its_last_map_in_another_order():
    given = np.arange(7 * 7 * 3 * 2.0).reshape(7, 7, 3, 2)
    arrays = {"fc1/kernel": given.reshape(-1, 2), "fc2/kernel": given.reshape(-1, 2)}
    ours = rename(arrays, FAMILIES["keras_vgg16"]).arrays
    # Our VGG flattens [C, H, W].
    assert ours["classifier/0/kernel"][1 * 49 + 2 * 7 + 3, 1] == given[2, 3, 1, 1]
    np.testing.assert_array_equal(ours["classifier/3/kernel"], arrays["fc2/kernel"])


def test_keras_vgg_takes_blue_first_and_we_red_first():
    kernel = np.arange(3 * 3 * 3 * 2.0).reshape(3, 3, 3, 2)
    ours = rename(
        {"block1_conv1/kernel": kernel, "block1_conv2/kernel": kernel}, FAMILIES["keras_vgg16"]
    ).arrays
    np.testing.assert_array_equal(ours["features/0/kernel"], kernel[:, :, ::-1])
    np.testing.assert_array_equal(ours["features/2/kernel"], kernel)


def test_keras_densenet_has_another_epsilon():
    ours = rename({"bn/moving_variance": np.float64([1e-6])}, FAMILIES["keras_densenet"]).arrays
    np.testing.assert_allclose(ours["features/norm5/var"] + 1e-5, 1e-6 + 1.001e-5, rtol=1e-6)


def test_two_arrays_of_one_name_are_named():
    old, new = (f"features.denseblock1.denselayer1.{n}.weight" for n in ("norm.1", "norm1"))
    with pytest.raises(
        InputError, match=r"both .*norm\.1\.weight and .*norm1\.weight are .*norm1/scale"
    ):
        named("torchvision", old, new)


def test_what_is_left_out_is_said():
    renamed = rename({"bn1.num_batches_tracked": np.int64(3)}, FAMILIES["torchvision"])
    assert renamed.unused == {"bn1.num_batches_tracked": "has no meaning here"}
    assert not renamed.arrays
