"""Published weights of DenseNet-121, ResNet-50 and VGG-16 fill COVID-CXNet and `qatar_vgg16` below
their own heads, in every form.
"""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

from jaxcxr import models, weights
from jaxcxr.errors import InputError
from jaxcxr.models.initialise import initialise
from jaxcxr.weights.__main__ import identify, main
from jaxcxr.weights.catalog import CATALOG
from tests.models.variables import quick_jit
from tests.weights.forms import (
    as_chexnet_torch,
    as_keras_densenet,
    as_keras_vgg16,
    as_timm_vgg16,
    as_torch,
    module,
    network,
)

# Every published file of these networks, in the form in which it comes.
FORMS = {
    "torchvision": as_torch,
    "chexnet_torch": as_chexnet_torch,
    "keras_densenet": as_keras_densenet,
    "timm_vgg": as_timm_vgg16,
    "keras_vgg16": as_keras_vgg16,
}
WHOLE = {"densenet121": "covid_cxnet", "resnet50": "covid_cxnet_resnet50", "vgg16": "qatar_vgg16"}
HEADS = {"densenet121": "classifier", "resnet50": "fc", "vgg16": "classifier"}
TOPS = ("predictions", "fc1", "fc2")  # Keras's names
ENTRIES = [entry for entry in CATALOG.values() if entry.arch in WHOLE]


def written(path: Path, variables, entry) -> Path:
    """What the entry's file would hold of the variables."""
    arrays = FORMS[entry.family](variables)
    if not entry.classes:
        arrays = {name: value for name, value in arrays.items() if not name.startswith(TOPS)}
    save_file({name: np.ascontiguousarray(value) for name, value in arrays.items()}, path)
    return path


@pytest.fixture
def path(tmp_path):
    return tmp_path / "weights.safetensors"


@pytest.mark.parametrize("as_entry", [True, False], ids=["entry", "file"])
@pytest.mark.parametrize("entry", ENTRIES, ids=[entry.name for entry in ENTRIES])
def test_features_are_the_files_and_both_dense_layers_new(path, entry, as_entry):
    given = network(entry.arch, classes=entry.classes or 3, channels=entry.in_channels)
    arch, head = WHOLE[entry.arch], HEADS[entry.arch]
    first = network(arch, classes=1, channels=entry.in_channels, seed=1)
    written(path, given, entry)
    source = weights.Source(entry.name, entry, path) if as_entry else weights.find(str(path))
    merged = weights.load(source, first, arch=arch, new_head=True)

    def same(found, expected):
        # Epsilon, added and taken off.
        tolerance = 1e-6 if entry.family == "keras_densenet" else 0.0
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=tolerance, atol=0), found, expected
        )

    for part in given["params"].keys() - {head}:
        same(merged.variables["params"][part], given["params"][part])
    same(merged.variables.get("batch_stats"), given.get("batch_stats"))
    for part in ("hidden", head):
        same(merged.variables["params"][part], first["params"][part])
    assert sorted(merged.newly_initialized) == sorted(
        f"{part}/{leaf}" for part in (head, "hidden") for leaf in ("bias", "kernel")
    )
    unused = [
        name
        for name, reason in merged.unused.items()
        if reason == "new values take its place (model.head=new)"
    ]
    assert len(unused) == ((6 if arch == "qatar_vgg16" else 2) if entry.classes else 0)


def test_three_input_channels_of_one_that_was_published(path):
    entry = CATALOG["densenet121.txrv_all"]
    given = network("densenet121", classes=18, channels=1)
    source = weights.Source(entry.name, entry, written(path, given, entry))
    merged = weights.load(
        source, network("covid_cxnet", classes=1), arch="covid_cxnet", new_head=True
    )
    kernel = merged.variables["params"]["features"]["conv0"]["kernel"]
    np.testing.assert_allclose(
        kernel.sum(2, keepdims=True), given["params"]["features"]["conv0"]["kernel"], rtol=1e-5
    )


def test_the_feature_map_is_that_of_the_network_in_the_file(path):
    given = network("densenet121", classes=14)
    source = weights.find(str(written(path, given, CATALOG["densenet121.chexnet"])))
    merged = weights.load(
        source, network("covid_cxnet", classes=1), arch="covid_cxnet", new_head=True
    )
    x = np.random.default_rng(0).normal(size=(2, 64, 64, 3)).astype(np.float32)

    def features(arch, classes, variables):
        run = quick_jit(lambda v, x: module(arch, classes).apply(v, x, train=False)[1]["features"])
        return np.asarray(run(variables, x))

    expected = features("densenet121", 14, given)
    assert expected.std() > 0
    np.testing.assert_allclose(
        features("covid_cxnet", 1, merged.variables), expected, rtol=1e-5, atol=1e-6
    )


def test_without_a_new_head_the_way_out_is_said(path):
    given = network("densenet121", classes=14)
    entry = CATALOG["densenet121.chexnet"]
    written(path, given, entry)
    first = network("covid_cxnet", classes=14)
    source = weights.Source(entry.name, entry, path)
    said = (
        r"densenet121\.chexnet are weights of densenet121, and covid_cxnet has .* another head: "
        r"add --config\.model\.head=new"
    )
    with pytest.raises(InputError, match=said):
        weights.load(source, first, arch="covid_cxnet", new_head=False)
    with pytest.raises(
        InputError, match=r"does not fit covid_cxnet\.\n2 arrays of the network(.|\n)*hidden/bias"
    ):
        weights.load(weights.find(str(path)), first, arch="covid_cxnet", new_head=False)


def test_another_networks_features_are_refused(path):
    entry = CATALOG["resnet50.tv_in1k"]
    source = weights.Source(entry.name, entry, written(path, network("resnet50"), entry))
    said = r"resnet50\.tv_in1k are weights of resnet50, and the network is covid_cxnet"
    with pytest.raises(InputError, match=said):
        weights.load(source, network("covid_cxnet"), arch="covid_cxnet", new_head=True)


def test_features_below_another_head_do_not_fill_the_plain_network(path):
    """A file is never taken apart: what has no place is named."""
    save_file(as_torch(network("covid_cxnet", classes=1)), path)
    with pytest.raises(InputError, match=r"2 arrays of the file have no place(.|\n)*hidden\.bias"):
        weights.load(
            weights.find(str(path)), network("densenet121"), arch="densenet121", new_head=True
        )


@pytest.mark.parametrize(
    ("arch", "form"),
    [
        ("covid_cxnet", as_keras_densenet),
        ("densenet121", as_keras_densenet),
        ("densenet121", as_torch),
        ("vgg16", as_timm_vgg16),
        ("qatar_vgg16", as_torch),
    ],
)
def test_a_file_is_known_by_its_head(arch, form):
    candidates = ["covid_cxnet", "densenet121", "qatar_vgg16", "vgg16"]
    found, _, renamed = identify(form(network(arch, classes=2)), candidates)
    assert found == arch
    assert ("hidden/kernel" in renamed.arrays) == (arch in ("covid_cxnet", "qatar_vgg16"))


def test_features_without_a_head_are_converted_as_the_plain_network(
    tmp_path, path, capsys, monkeypatch
):
    """Of vgg16 six arrays are missing then, and of qatar_vgg16 four."""
    # To save time.
    monkeypatch.setattr("jaxcxr.weights.__main__._archs", lambda: {"vgg16", "qatar_vgg16"})
    x = jax.ShapeDtypeStruct((1, 32, 32, 3), np.float32)
    shapes = initialise(models.build("vgg16", num_classes=10), None, x)["params"]["features"]
    rng = np.random.default_rng(0)
    numbers = jax.tree.map(lambda leaf: rng.random(leaf.shape, np.float32), shapes)
    save_file(as_torch({"params": {"features": numbers}}), path)
    out = tmp_path / "out.safetensors"
    assert main(["convert", str(path), str(out)]) == 0
    assert f"{out}: vgg16, 26 arrays" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("of", "classes", "new", "left_out"),
    [
        (
            "efficientnet_lite0",
            5,
            {"head", "decoder1", "decoder2"},
            {"features/6", "features/7", "features/8", "classifier"},
        ),
        ("lite_unet", 1, {"head", "decoder1", "decoder2"}, {"head", "decoder1"}),
        ("lite_unet", 2, {"head", "decoder1", "decoder2"}, {"head", "decoder1", "decoder2"}),
    ],
)
def test_a_segmenter_takes_an_encoder_and_leaves_the_decoders_of_other_structures(
    path, of, classes, new, left_out
):
    given = network(of, classes=classes)
    flat = jax.tree_util.tree_flatten_with_path(given)[0]
    names = [jax.tree_util.keystr(keys, simple=True, separator="/") for keys, _ in flat]
    arrays = {name.partition("/")[2]: v for name, (_, v) in zip(names, flat, strict=True)}
    save_file({name: np.ascontiguousarray(value) for name, value in arrays.items()}, path)
    first = network("lite_unet", classes=2, seed=1)
    merged = weights.load(weights.find(str(path)), first, arch="lite_unet", new_head=True)
    found, encoder = merged.variables, ("0", "1", "2", "3", "4", "5")
    for collection in ("params", "batch_stats"):
        for part in encoder:
            jax.tree.map(
                np.testing.assert_array_equal,
                found[collection]["features"][part],
                given[collection]["features"][part],
            )
    assert {name.partition("/")[0] for name in merged.newly_initialized} == new
    modules = {name: name.split("/") for name in merged.unused}
    unused = {"/".join(m[:2]) if m[0] == "features" else m[0] for m in modules.values()}
    assert unused == left_out
