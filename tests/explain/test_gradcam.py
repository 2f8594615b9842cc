"""Grad-CAM against closed forms: where only an average and a dense layer follow, it is Zhou's CAM."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcxr import models
from jaxcxr.explain import gradcam
from jaxcxr.models.resnet import BasicBlock, ResNet
from jaxcxr.types import InputError
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
    gradient = np.broadcast_to(kernel.T[CLASSES][:, None, None] / features[0, :, :, 0].size, features.shape)
    weight = np.where((features > 0) & (gradient > 0), gradient, 0).mean((1, 2), keepdims=True)
    np.testing.assert_allclose(heat, (features * weight).sum(-1), rtol=1e-4, atol=1e-6)


def test_an_earlier_map_needs_the_gradient_of_what_follows(resnet):
    """Against finite differences of the whole network behind the map."""
    module, variables, x, _ = resnet
    heat, _ = run(module, variables, x, layer="layer1")

    def logit(delta):
        logits = gradcam._apply(module, variables, x, lambda name, v: v + delta if name == "layer1" else v)
        return jnp.take_along_axis(logits, CLASSES[:, None], axis=1)[:, 0]

    shape = gradcam.feature_maps(module, variables, x)["layer1"]
    step, logit = 1e-2, quick_jit(logit)
    # Along each channel as a whole: the sum of its gradient, which is the mean times h w.
    weights = np.stack(
        [
            (logit(jnp.zeros(shape).at[..., c].set(step)) - logit(jnp.zeros(shape).at[..., c].set(-step))) / (2 * step)
            for c in range(shape[-1])
        ],
        axis=-1,
    ) / (shape[1] * shape[2])
    kept = []
    gradcam._apply(module, variables, x, lambda name, v: kept.append(v) or v if name == "layer1" else v)
    expected = np.maximum(np.einsum("bhwc,bc->bhw", np.asarray(kept[0]), weights), 0)
    np.testing.assert_allclose(heat, expected, rtol=0.05, atol=0.02 * expected.max())


@pytest.mark.parametrize(
    ("arch", "last", "side"),
    [
        ("densenet161", "features/norm5", 32),
        ("inception_v3", "Mixed_7c", 75),
        ("resnet152", "layer4", 32),
        ("resnext101_32x8d", "layer4", 32),
        ("vgg16", "features/28", 32),
        ("vgg19_bn", "features/50", 32),
        ("covid_cxnet_base", "conv_layer5", 96),
    ],
)
def test_the_last_map_of_each_network(arch, last, side):
    module = models.build(arch, num_classes=4)
    x = jax.ShapeDtypeStruct((2, side, side, 3), jnp.float32)
    variables = jax.eval_shape(lambda x: module.init(jax.random.key(0), x, False), x)
    assert gradcam.last_map(module, variables, x) == last
    assert gradcam.feature_maps(module, variables, x)[last][0] == 2


def test_a_single_logit_speaks_for_both_classes():
    module = ResNet(num_classes=1, block=BasicBlock, blocks=(1,), width=0.1)
    x = normal(2, 32, 32, 3)
    variables = random_variables(module, *x.shape)
    _, out = quick_jit(lambda v, x: module.apply(v, x, train=False))(variables, x)
    cam = (out["features"] @ variables["params"]["fc"]["kernel"])[..., 0] / out["features"][0, :, :, 0].size
    heat, _ = run(module, variables, x, jnp.asarray([1, 0]))
    np.testing.assert_allclose(heat, np.maximum(np.stack([cam[0], -cam[1]]), 0), rtol=1e-4, atol=1e-6)
    assert float(heat.max()) > 0


def test_mistakes_are_named(resnet):
    module, variables, x, _ = resnet
    with pytest.raises(InputError, match=r"explain\.layer='layer3' is no feature map of this network; near: layer"):
        gradcam.grad_cam(module, variables, x, CLASSES, layer="layer3")
    with pytest.raises(InputError, match=r"explain\.form='Guided' is unknown; known: plain, guided"):
        gradcam.grad_cam(module, variables, x, CLASSES, form="Guided")


def test_to_unit():
    heat = jnp.asarray([[[-1.0, 0], [1, 3]], [[2.0, 2], [2, 2]]])
    np.testing.assert_allclose(gradcam.to_unit(heat), [[[0, 0.25], [0.5, 1]], [[0, 0], [0, 0]]])
