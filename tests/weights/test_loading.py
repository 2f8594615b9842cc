"""A name or a file becomes a network's variables."""

import dataclasses
import hashlib
import logging

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

from jaxcxr import weights
from jaxcxr.errors import InputError
from jaxcxr.weights import loading
from jaxcxr.weights.catalog import CATALOG, Entry
from tests.weights.forms import as_torch, network


@pytest.fixture
def resnet(tmp_path):
    variables = network("resnet18")
    path = tmp_path / "resnet.safetensors"
    save_file(as_torch(variables), path)
    return variables, path


@pytest.fixture
def entry(tmp_path, monkeypatch, resnet):
    """The same file as an entry of the catalogue, put into the cache by hand."""
    path = tmp_path / "cache" / "resnet18.test" / "model.npz"
    path.parent.mkdir(parents=True)
    np.savez(path, **as_torch(resnet[0]))
    monkeypatch.setenv("JAXCXR_WEIGHTS", str(tmp_path / "cache"))
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    entry = Entry(
        "resnet18.test",
        (),
        "model.npz",
        "torchvision",
        "none",
        "none",
        sha256=sha256,
        classes=10,
        note="by hand",
    )
    monkeypatch.setitem(CATALOG, entry.name, entry)
    return entry


def same(found, expected):
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_a_file_fills_the_network(resnet):
    variables, path = resnet
    merged = weights.load(
        weights.find(str(path)), network("resnet18"), arch="resnet18", new_head=False
    )
    same(merged.variables, variables)
    assert not merged.newly_initialized


def test_a_new_head_keeps_its_own_values(resnet):
    variables, path = resnet
    fresh = network("resnet18", classes=4)
    merged = weights.load(weights.find(str(path)), fresh, arch="resnet18", new_head=True)
    same(merged.variables["params"]["fc"], fresh["params"]["fc"])
    same(merged.variables["params"]["layer1"], variables["params"]["layer1"])
    same(merged.variables["batch_stats"], variables["batch_stats"])


def test_one_input_channel_gets_the_sum(resnet):
    variables, path = resnet
    grey = network("resnet18", channels=1)
    merged = weights.load(weights.find(str(path)), grey, arch="resnet18", new_head=False)
    kernel = variables["params"]["conv1"]["kernel"]
    np.testing.assert_allclose(
        merged.variables["params"]["conv1"]["kernel"], kernel.sum(2, keepdims=True), rtol=1e-6
    )


def test_another_head_without_new_head_is_named(resnet):
    _, path = resnet
    with pytest.raises(
        InputError,
        match=r"resnet\.safetensors does not fit resnet18\.\n2 arrays have another shape",
    ):
        weights.load(
            weights.find(str(path)), network("resnet18", classes=4), arch="resnet18", new_head=False
        )


def test_another_architecture_is_named(resnet, entry):
    with pytest.raises(
        InputError, match=r"does not fit vgg16(.|\n)*no place(.|\n)*not in the file"
    ):
        weights.load(weights.find(str(resnet[1])), network("vgg16"), arch="vgg16", new_head=False)
    with pytest.raises(
        InputError, match=r"resnet18\.test are weights of resnet18, and the network is vgg16"
    ):
        weights.load(weights.find("resnet18.test"), network("vgg16"), arch="vgg16", new_head=False)


def test_an_entry_is_kept_under_our_names_and_read_from_there(resnet, entry, monkeypatch):
    source = weights.find("resnet18.test")
    first = weights.load(source, network("resnet18"), arch="resnet18", new_head=False)
    same(first.variables, resnet[0])
    read = []
    for name in ("read", "contents"):
        plain = getattr(loading, name)
        monkeypatch.setattr(
            loading, name, lambda path, plain=plain: read.append(path.name) or plain(path)
        )
    again = weights.load(source, network("resnet18"), arch="resnet18", new_head=False)
    same(again.variables, resnet[0])
    assert len(read) == 1
    assert read[0].endswith(".jaxcxr.safetensors")


def kept_path(entry: Entry):
    return next((loading.fetch.cache_dir() / entry.name).glob("*.jaxcxr.safetensors"))


def loaded(name: str):
    return weights.load(
        weights.find(name), network("resnet18", seed=1), arch="resnet18", new_head=False
    )


@pytest.mark.parametrize("where", [0.1, 0.5, 0.999], ids=["header", "middle", "end"])
def test_a_damaged_conversion_is_made_again_from_its_source(resnet, entry, caplog, where):
    first = loaded(entry.name)
    path = kept_path(entry)
    sound = path.read_bytes()
    content = bytearray(sound)
    content[int(where * len(content))] ^= 1
    path.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        same(loaded(entry.name).variables, first.variables)
    assert "is damaged" in caplog.text and "It is converted again from" in caplog.text
    assert path.read_bytes() == sound


def test_a_conversion_without_a_hash_or_by_other_rules_is_made_again(
    resnet, entry, caplog, monkeypatch
):
    first = loaded(entry.name)
    path = kept_path(entry)
    sound = path.read_bytes()
    zeros = {name: np.zeros_like(array) for name, array in loading.read(path).items()}
    save_file(zeros, path, metadata={"format": "jaxcxr"})  # of an older version
    same(loaded(entry.name).variables, first.variables)
    assert path.read_bytes() == sound
    rules = dataclasses.replace(loading.FAMILIES["torchvision"], variance_offset=1.0)
    monkeypatch.setitem(loading.FAMILIES, "torchvision", rules)
    with caplog.at_level(logging.WARNING):
        again = loaded(entry.name).variables["batch_stats"]["bn1"]["var"]
    assert "is of an older conversion" in caplog.text
    np.testing.assert_allclose(again, first.variables["batch_stats"]["bn1"]["var"] + 1, rtol=1e-6)


@pytest.mark.parametrize(
    "problem", [PermissionError(13, "Permission denied"), InputError("The disk is full")]
)
def test_weights_are_used_where_their_conversion_cannot_be_kept(
    resnet, entry, caplog, monkeypatch, problem
):
    def refuse(*_):
        raise problem

    monkeypatch.setattr(loading.files, "write_bytes", refuse)
    with caplog.at_level(logging.WARNING):
        same(loaded(entry.name).variables, resnet[0])
    assert "was not saved (" in caplog.text


def test_what_a_file_was_checked_by_is_said(resnet, entry, tmp_path):
    assert loaded(entry.name).checked_by == "the published hash"
    assert loaded(str(resnet[1])).checked_by == weights.NO_HASH == "finite values and shapes alone"
    own = tmp_path / "own.safetensors"
    own.write_bytes(kept_path(entry).read_bytes())
    assert loaded(str(own)).checked_by == "the hash in its header"


@pytest.mark.parametrize(
    ("name", "value", "match"),
    [
        ("fc.bias", np.nan, r"fc\.bias has 1 values that are infinite or not numbers"),
        ("layer1.0.conv1.weight", np.inf, r"layer1\.0\.conv1\.weight has 1 values"),
        ("bn1.running_var", -1.0, r"bn1\.running_var has negative variances"),
    ],
)
def test_values_that_no_training_ends_with_are_refused(resnet, tmp_path, name, value, match):
    state = as_torch(resnet[0])
    state[name].flat[0] = value
    save_file(state, tmp_path / "bad.safetensors")
    with pytest.raises(InputError, match=match):
        loaded(str(tmp_path / "bad.safetensors"))


def test_numbers_beyond_float32_are_refused(resnet, tmp_path):
    state = {name: np.asarray(array, np.float64) for name, array in as_torch(resnet[0]).items()}
    state["fc.bias"][0] = 1e300
    save_file(state, tmp_path / "bad.safetensors")
    with pytest.raises(InputError, match="infinite"):
        loaded(str(tmp_path / "bad.safetensors"))


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int64, np.bool_])
def test_whole_numbers_are_no_weights(resnet, tmp_path, dtype):
    state = as_torch(resnet[0])
    state["layer1.0.conv1.weight"] = state["layer1.0.conv1.weight"].astype(dtype)
    save_file(state, tmp_path / "quantised.safetensors")
    with pytest.raises(InputError, match=r"layer1\.0\.conv1\.weight holds whole numbers \("):
        loaded(str(tmp_path / "quantised.safetensors"))


@pytest.mark.parametrize("value", [0.0, 0.1])
def test_kernels_of_one_value_are_no_training_s(resnet, tmp_path, value):
    state = as_torch(resnet[0])
    state["conv1.weight"][:] = value
    save_file(state, tmp_path / "one.safetensors")
    [doubt] = loaded(str(tmp_path / "one.safetensors")).doubts
    assert "1 of 21 kernels are one value throughout (conv1.weight)" in doubt
    state = {n: np.full_like(a, value) if a.ndim > 1 else a for n, a in state.items()}
    save_file(state, tmp_path / "all.safetensors")
    with pytest.raises(InputError, match=r"21 of 21 kernels .*these are no trained weights"):
        loaded(str(tmp_path / "all.safetensors"))


@pytest.mark.parametrize(
    ("leaf", "finding"),
    [
        ("running_var", "1 of 20 running variances are 0 throughout (bn1.running_var)"),
        ("weight", "1 of 20 scales of norms are 0 throughout (bn1.weight)"),
    ],
)
def test_norms_that_let_nothing_through_are_no_training_s(resnet, tmp_path, leaf, finding):
    state = as_torch(resnet[0])
    state[f"bn1.{leaf}"][:] = 0
    save_file(state, tmp_path / "one.safetensors")
    [doubt] = loaded(str(tmp_path / "one.safetensors")).doubts
    assert finding in doubt
    for name, value in state.items():
        if name.endswith(leaf) and value.ndim == 1:
            value[:] = 0
    save_file(state, tmp_path / "all.safetensors")
    with pytest.raises(InputError, match=r"20 of 20 .*these are no trained weights"):
        loaded(str(tmp_path / "all.safetensors"))


def test_a_value_beyond_all_trained_ones_is_told(resnet, tmp_path):
    state = as_torch(resnet[0])
    state["layer1.0.conv1.weight"][0, 0, 0, 0] = 1e37
    save_file(state, tmp_path / "huge.safetensors")
    [doubt] = loaded(str(tmp_path / "huge.safetensors")).doubts
    assert "arrays have values beyond 1e+08 (layer1.0.conv1.weight)" in doubt


@pytest.mark.parametrize("shape", [(), (3,), (0, 2), (1, 1, 1, 1, 1)])
@pytest.mark.parametrize("name", ["conv1.weight", "fc.weight", "block1_conv1/kernel", "fc1/kernel"])
def test_an_array_of_any_shape_is_one_error(tmp_path, name, shape):
    save_file({name: np.ones(shape, np.float32)}, tmp_path / "odd.safetensors")
    with pytest.raises(InputError, match="does not fit"):
        loaded(str(tmp_path / "odd.safetensors"))


def test_inceptions_auxiliary_head_may_be_missing(tmp_path):
    variables = network("inception_v3")
    state = {
        name: value
        for name, value in as_torch(variables).items()
        if not name.startswith("AuxLogits")
    }
    save_file(state, tmp_path / "inception.safetensors")
    fresh = network("inception_v3", classes=4)
    source = weights.find(str(tmp_path / "inception.safetensors"))
    merged = weights.load(source, fresh, arch="inception_v3", new_head=True)
    same(merged.variables["params"]["AuxLogits"], fresh["params"]["AuxLogits"])
    same(merged.variables["params"]["Mixed_7c"], variables["params"]["Mixed_7c"])


def test_a_published_file_is_known_by_its_hash(entry, tmp_path):
    path = tmp_path / "renamed.npz"
    path.write_bytes((loading.fetch.cache_dir() / entry.name / entry.file).read_bytes())
    assert weights.find(str(path)).entry == entry
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert weights.find(str(path)).entry is None


def test_a_vgg_without_top_fills_what_it_has(tmp_path):
    variables, fresh = network("vgg16"), network("vgg16", classes=4)
    state = {
        name: value for name, value in as_torch(variables).items() if name.startswith("features")
    }
    save_file(state, tmp_path / "notop.safetensors")
    source = weights.find(str(tmp_path / "notop.safetensors"))
    merged = weights.load(source, fresh, arch="vgg16", new_head=True)
    same(merged.variables["params"]["features"], variables["params"]["features"])
    same(merged.variables["params"]["classifier"], fresh["params"]["classifier"])
    assert merged.newly_initialized == [
        f"classifier/{n}/{leaf}" for n in (0, 3, 6) for leaf in ("bias", "kernel")
    ]
    with pytest.raises(InputError, match="6 arrays of the network are not in the file"):
        weights.load(source, fresh, arch="vgg16", new_head=False)
    state["classifier.0.bias"] = as_torch(variables)["classifier.0.bias"]
    save_file(state, tmp_path / "notop.safetensors")
    with pytest.raises(InputError, match="3 arrays of the network are not in the file"):
        weights.load(source, fresh, arch="vgg16", new_head=True)


def test_a_file_that_is_not_there():
    with pytest.raises(InputError, match=r"^\./none\.npz: there is no such file"):
        weights.find("./none.npz")


def test_the_entry_knows_its_input(entry):
    assert dataclasses.replace(entry).mean == weights.find("resnet18.test").entry.mean
