"""Grad-CAM against closed forms: where only an average and a dense layer follow, it is Zhou's
CAM.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcxr import models
from jaxcxr.errors import InputError
from jaxcxr.explain import gradcam
from jaxcxr.models.resnet import BasicBlock, ResNet
from tests.models.variables import normal, quick_jit, random_variables

CLASSES = jnp.asarray([2, 0, 1])


@pytest.fixture(scope="module")
def resnet():
    """(module, variables, x, maps of a plain call)."""
    module = ResNet(num_classes=4, block=BasicBlock, blocks=(1, 1), width=0.1)
    x = normal(3, 33, 40, 3)
    variables = random_variables(module, *x.shape)
    # Without this the blocks are their shortcuts, and every value of the last map is positive.
    variables["params"]["fc"]["bias"] = jnp.arange(4.0)
    logits, out = quick_jit(lambda v, x: module.apply(v, x, train=False))(variables, x)
    return module, variables, x, (logits, out)


def run(module, variables, x, classes=CLASSES, **options):
    return quick_jit(functools.partial(gradcam.grad_cam, module, **options))(variables, x, classes)


def test_on_the_last_map_it_is_the_class_activation_map(resnet):
    module, variables, x, (logits, out) = resnet
    heat, found = run(module, variables, x)
    features, kernel = np.asarray(out["features"]), np.asarray(variables["params"]["fc"]["kernel"])
    cam = np.einsum("bhwc,cb->bhw", features, kernel[:, CLASSES]) / features[0, :, :, 0].size
    assert (cam < 0).any()
    assert (cam > 0).any()
    np.testing.assert_allclose(heat, np.maximum(cam, 0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found, logits, rtol=1e-5)


def test_guided_means_over_positive_values_with_positive_gradients(resnet):
    module, variables, x, (_, out) = resnet
    heat, _ = run(module, variables, x, form="guided")
    features, kernel = np.asarray(out["features"]), np.asarray(variables["params"]["fc"]["kernel"])
    gradient = np.broadcast_to(
        kernel.T[CLASSES][:, None, None] / features[0, :, :, 0].size, features.shape
    )
    weight = np.where((features > 0) & (gradient > 0), gradient, 0).mean((1, 2), keepdims=True)
    np.testing.assert_allclose(heat, (features * weight).sum(-1), rtol=1e-4, atol=1e-6)


def test_an_earlier_map_needs_the_gradient_of_what_follows(resnet):
    """Against finite differences of the whole network behind the map."""
    module, variables, x, _ = resnet
    heat, _ = run(module, variables, x, layer="layer1")

    def logit(delta):
        logits = gradcam.apply_changed(
            module, variables, x, lambda name, v: v + delta if name == "layer1" else v
        )
        return jnp.take_along_axis(logits, CLASSES[:, None], axis=1)[:, 0]

    shape = gradcam.feature_maps(module, variables, x)["layer1"]
    step, logit = 1e-2, quick_jit(logit)
    # Along each channel as a whole: the sum of its gradient, which is the mean times h w.
    weights = np.stack(
        [
            (
                logit(jnp.zeros(shape).at[..., c].set(step))
                - logit(jnp.zeros(shape).at[..., c].set(-step))
            )
            / (2 * step)
            for c in range(shape[-1])
        ],
        axis=-1,
    ) / (shape[1] * shape[2])
    kept = []
    gradcam.apply_changed(
        module, variables, x, lambda name, v: kept.append(v) or v if name == "layer1" else v
    )
    expected = np.maximum(np.einsum("bhwc,bc->bhw", np.asarray(kept[0]), weights), 0)
    np.testing.assert_allclose(heat, expected, rtol=0.05, atol=0.02 * expected.max())


DEFAULTS = [
    ("densenet161", 224, "features/norm5", 7),
    ("densenet161", 32, "features/transition2/conv", 4),
    ("inception_v3", 299, "Mixed_7c", 8),
    ("inception_v3", 75, "Mixed_5d", 7),
    ("resnet18", 224, "layer4", 7),
    ("resnet152", 32, "layer2", 4),
    ("resnet50", 64, "layer3", 4),
    ("vgg16", 224, "features/28", 14),
    ("vgg19_bn", 32, "features/37", 4),
    ("covid_cxnet_base", 320, "conv_layer5", 8),
    ("covid_cxnet_base", 96, "conv_layer4", 4),
    ("efficientnet_b4", 224, "features/8", 7),
    ("covid_net", 64, "stage3", 4),
    ("qatar_cnn", 100, "dropout_2", 10),
]


@pytest.mark.parametrize(("arch", "side", "layer", "places"), DEFAULTS)
def test_the_default_layer_of_each_network(arch, side, layer, places):
    module = models.build(arch, num_classes=4)
    x = jax.ShapeDtypeStruct((2, side, side, 3), jnp.float32)
    variables = jax.eval_shape(lambda x: module.init(jax.random.key(0), x, False), x)
    name, shape = gradcam.find_layer(module, variables, x)
    assert (name, shape[:3]) == (layer, (2, places, places))


def test_everything_passes_the_default_layer(resnet):
    """Of the maps in a block only its end: the shortcut goes round the others.

    A map that is passed cuts off when 0.
    """
    module, variables, x, _ = resnet
    names = list(gradcam.feature_maps(module, variables, x))
    layer, shape = gradcam.find_layer(module, variables, x)
    assert (layer, shape) == ("layer2", (3, 5, 5, 13))

    def logits(x, layer):
        return gradcam.apply_changed(
            module, variables, x, lambda name, value: 0 * value if name == layer else value
        )

    def hang_on_the_image(layer):
        return bool(jnp.any(logits(x, layer) != logits(x[::-1], layer)))

    assert not hang_on_the_image("layer2")
    assert not hang_on_the_image("layer1")
    assert hang_on_the_image("layer2/0/bn1")
    assert hang_on_the_image("layer2/0/downsample")
    is_passed = gradcam.bottlenecks(module, variables, x)
    assert [is_passed(name) for name in names] == [not hang_on_the_image(name) for name in names]


def test_without_a_map_of_4_x_4_places_it_is_the_last_of_the_largest(resnet):
    module, variables, _, _ = resnet
    layer, shape = gradcam.find_layer(
        module, variables, jax.ShapeDtypeStruct((1, 6, 6, 3), jnp.float32)
    )
    assert (layer, shape[1:3]) == ("bn1", (3, 3))


def test_a_single_logit_speaks_for_both_classes():
    module = ResNet(num_classes=1, block=BasicBlock, blocks=(1,), width=0.1)
    x = normal(2, 32, 32, 3)
    variables = random_variables(module, *x.shape)
    _, out = quick_jit(lambda v, x: module.apply(v, x, train=False))(variables, x)
    cam = (out["features"] @ variables["params"]["fc"]["kernel"])[..., 0] / out["features"][
        0, :, :, 0
    ].size
    heat, _ = run(module, variables, x, jnp.asarray([1, 0]))
    np.testing.assert_allclose(
        heat, np.maximum(np.stack([cam[0], -cam[1]]), 0), rtol=1e-4, atol=1e-6
    )
    assert float(heat.max()) > 0


def test_mistakes_are_named(resnet):
    module, variables, x, _ = resnet
    with pytest.raises(
        InputError, match=r"explain\.layer='layer3' is no feature map of this network; near: layer"
    ):
        gradcam.grad_cam(module, variables, x, CLASSES, layer="layer3")
    with pytest.raises(
        InputError, match=r"explain\.form='Guided' is unknown; known: plain, guided"
    ):
        gradcam.grad_cam(module, variables, x, CLASSES, form="Guided")
