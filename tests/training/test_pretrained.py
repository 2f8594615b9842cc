"""A run starts from the weights that its config names, and reads its input as they want it."""

from __future__ import annotations

import hashlib
import os
import pickle
import re

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

from jaxcxr.commands import train
from jaxcxr.errors import InputError
from jaxcxr.inference.best import best_variables
from jaxcxr.storage.files import read_json
from jaxcxr.storage.run_folder import RunFolder
from jaxcxr.training.prepare import prepare
from tests import tiny
from tests.training import fitting
from tests.weights.forms import as_torch


@pytest.fixture
def weights(tmp_path):
    """(path, variables) of a network of 7 classes and all different numbers."""
    config = tiny.learner()
    variables = prepare(config).task.init(5)
    rng = np.random.default_rng(0)
    variables = jax.tree.map(
        lambda leaf: rng.uniform(0.5, 1.5, leaf.shape).astype(np.float32), variables
    )
    state = as_torch(variables)
    state["fc.weight"], state["fc.bias"] = (
        np.ones((7, state["fc.weight"].shape[1]), np.float32),
        np.ones(7, np.float32),
    )
    save_file(state, tmp_path / "weights.safetensors")
    return tmp_path / "weights.safetensors", variables


def started_from(config, folder):
    """The variables that a run of no steps ends with."""
    train.run(config, folder)
    with RunFolder.open(folder, config.to_dict(), active=True) as run:
        return best_variables(prepare(config).task, run)


def test_a_run_starts_from_them_with_a_new_head(weights, tmp_path, monkeypatch):
    path, variables = weights
    monkeypatch.setattr("jaxcxr.weights.catalog.HEADS", {"one_block": ("fc",)})
    config = tiny.learner(
        train__epochs=0.0, model__pretrained=str(path), model__mean=(0.5,), model__std=(0.5,)
    )
    found = started_from(config, tmp_path / "run")
    first = prepare(config).task.init(config.seed)
    for part in ("conv1", "bn1", "layer1"):
        jax.tree.map(
            np.testing.assert_array_equal, found["params"][part], variables["params"][part]
        )
    jax.tree.map(np.testing.assert_array_equal, found["batch_stats"], variables["batch_stats"])
    jax.tree.map(np.testing.assert_array_equal, found["params"]["fc"], first["params"]["fc"])
    said = read_json(tmp_path / "run" / "pretrained.json")
    assert said["file"] == {
        "path": str(path),
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
    assert said["not_in_the_file"] == ["fc/bias", "fc/kernel"]
    assert said["not_used"]["fc.weight"] == "new values take its place (model.head=new)"


def test_a_resumed_run_needs_the_file_no_more(weights, tmp_path, monkeypatch):
    path, _ = weights
    monkeypatch.setattr("jaxcxr.weights.catalog.HEADS", {"one_block": ("fc",)})
    config = fitting.config(model__pretrained=str(path), model__mean=(0.5,), model__std=(0.5,))
    fitting.fit(config, tmp_path / "whole")

    def stop(step):
        if step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fitting.fit(config, tmp_path / "stopped", before=stop)
    path.unlink()
    assert fitting.fit(config, tmp_path / "stopped")["began_at"] == 3
    found, expected = (
        fitting.leaves(fitting.newest(config, tmp_path / n).state) for n in ("stopped", "whole")
    )
    for name, leaf in expected.items():
        np.testing.assert_array_equal(found[name], leaf, err_msg=name)
    with pytest.raises(InputError, match="there is no such file"):
        fitting.fit(config, tmp_path / "anew")


def test_a_file_says_nothing_of_its_normalisation(weights, tmp_path):
    with pytest.raises(InputError, match=r"set model\.mean and model\.std") as refused:
        train.run(tiny.learner(model__pretrained=str(weights[0])), tmp_path / "run")
    assert str(refused.value).endswith(
        "Those of ImageNet are --config.model.mean='(0.485, 0.456, 0.406)' "
        "--config.model.std='(0.229, 0.224, 0.225)'"
    )


@pytest.mark.parametrize("fields", [{}, {"model__mean": (0.5,), "model__std": (0.5,)}])
@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("none.pth", None, r": there is no such file: name one that is there"),
        ("folder.pth", "folder", r" is a folder: name a file in it"),
        ("text.pth", b"hello", r" is text, not weights: take another copy of it"),
        ("cut.pth", b"PK\x03\x04\x00", r" is damaged .*: take another copy of the PyTorch file"),
        (
            "evil.pth",
            pickle.dumps(os.system, protocol=2),
            r" was not opened: as a pickle it holds more than arrays",
        ),
        ("evil.pkl", b"\x80\x02}.", r": weights are read from \.safetensors, .*\.hdf5: save"),
    ],
)
def test_what_is_wrong_with_a_file_is_told_first_and_names_its_field(
    name, content, problem, fields, tmp_path, monkeypatch
):
    """Before its normalisation is asked for, and before any data are opened."""
    monkeypatch.setattr(train, "prepare", None)
    path = tmp_path / name
    if content == "folder":
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)
    said = f"^model\\.pretrained={re.escape(str(path))}{problem}"
    with pytest.raises(InputError, match=said):
        train.run(tiny.learner(model__pretrained=str(path), **fields), tmp_path / "run")


def test_published_weights_of_another_network_are_told_before_they_are_fetched(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("jaxcxr.weights.fetch.fetch", None)
    said = (
        r"^model\.pretrained=densenet161\.tv_in1k are weights of densenet161, and the network is "
    )
    with pytest.raises(InputError, match=said):
        train.run(tiny.learner(model__pretrained="densenet161.tv_in1k"), tmp_path / "run")


def test_weights_of_another_network_name_the_field_too(tmp_path):
    path = tmp_path / "other.safetensors"
    save_file({"a.weight": np.ones((2, 2), np.float32)}, path)
    config = tiny.learner(model__pretrained=str(path), model__mean=(0.5,), model__std=(0.5,))
    said = rf"^model\.pretrained={re.escape(str(path))} does not fit one_block"
    with pytest.raises(InputError, match=said):
        train.run(config, tmp_path / "run")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model__pretrained": "resnet152.imagenet"}, r"did you mean resnet152\.tv_in1k"),
        ({"split__valid_fraction": 0.0}, "leaves no validation patients"),
    ],
)
def test_what_training_could_not_begin_with_ends_before_the_folder_is_claimed(
    fields, message, tmp_path
):
    with pytest.raises(InputError, match=message):
        train.run(tiny.learner(**fields), tmp_path / "run")
    assert not (tmp_path / "run" / "config.json").exists()
    assert not (tmp_path / "run" / "manifest.json").exists()
