"""`python -m jaxcxr.weights`, on the smallest network of the catalogue."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from jaxcxr import models, weights
from jaxcxr.models.initialise import initialise
from jaxcxr.weights.__main__ import main
from jaxcxr.weights.catalog import CATALOG
from jaxcxr.weights.read import read
from tests.weights import forms


@pytest.fixture
def keras_file(tmp_path):
    """COVID-CXNet's base model as Keras has it, 300 px and 3 channels, in an .npz."""
    module = models.build("covid_cxnet_base", num_classes=1)
    variables = initialise(module, 0, jax.ShapeDtypeStruct((1, 300, 300, 3), jnp.float32))
    flat = {
        jax.tree_util.keystr(keys, simple=True, separator="/").partition("/")[2]: value
        for keys, value in jax.tree_util.tree_flatten_with_path(variables)[0]
    }
    np.savez(tmp_path / "base.npz", **flat)
    return tmp_path / "base.npz", flat


def test_the_list_has_every_entry(capsys):
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == list(CATALOG)


def test_info_says_what_to_put_where(capsys):
    assert main(["info", "densenet121.chexnet"]) == 0
    out = capsys.readouterr().out
    for said in (
        "none stated",
        "14 classes",
        "Cardiomegaly",
        "features/conv0",
        "model.pth.tar",
        "0.485 0.456 0.406",
    ):
        assert said in out


def test_convert_finds_the_network_and_writes_our_names(keras_file, tmp_path, capsys):
    given, flat = keras_file
    out = tmp_path / "out.safetensors"
    assert main(["convert", str(given), str(out)]) == 0
    assert f"{out}: covid_cxnet_base, 16 arrays" in capsys.readouterr().out
    found = read(out)
    assert found.keys() == flat.keys()
    for name, value in flat.items():
        np.testing.assert_array_equal(found[name], value)
    assert weights.find(str(out)).path == out


def test_convert_names_the_head_that_a_file_lacks(keras_file, tmp_path, capsys):
    given, flat = keras_file
    np.savez(
        given,
        **{name: value for name, value in flat.items() if not name.startswith("output_layer")},
    )
    assert main(["convert", str(given), str(tmp_path / "out.safetensors")]) == 0
    assert "not in the file: output_layer/kernel\n" in capsys.readouterr().out
    assert read(tmp_path / "out.safetensors").keys() == {
        n for n in flat if not n.startswith("output_layer")
    }


def test_convert_counts_what_it_leaves_out(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("jaxcxr.weights.__main__._archs", lambda: {"resnet18"})
    module = models.build("resnet18", num_classes=1000)
    shape = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
    state = forms.as_torch(jax.device_get(initialise(module, 0, shape)))
    save_file(state, tmp_path / "given.safetensors")
    out = tmp_path / "out.safetensors"
    assert main(["convert", str(tmp_path / "given.safetensors"), str(out)]) == 0
    left_out = [line for line in capsys.readouterr().out.splitlines() if "not used" in line]
    assert left_out == [
        "not used, has no meaning here: bn1.num_batches_tracked and 19 more",
    ]


def test_convert_refuses_what_no_network_takes(tmp_path, capsys):
    np.savez(tmp_path / "odd.npz", something=np.zeros(3))
    assert main(["convert", str(tmp_path / "odd.npz"), str(tmp_path / "out.safetensors")]) == 1
    assert "error:" in capsys.readouterr().err
    assert not (tmp_path / "out.safetensors").exists()


@pytest.mark.parametrize("shape", [(), (0,), (3,), (1, 1, 1, 0), (2, 2, 2, 2, 2)])
def test_convert_refuses_arrays_of_odd_shapes_in_one_error(tmp_path, capsys, monkeypatch, shape):
    # To save time.
    monkeypatch.setattr("jaxcxr.weights.__main__._archs", lambda: {"covid_cxnet_base"})
    names = ("conv_layer1/kernel", "conv_layer5/kernel", "fc_layer1/kernel", "output_layer/kernel")
    np.savez(tmp_path / "odd.npz", **{name: np.zeros(shape, np.float32) for name in names})
    assert main(["convert", str(tmp_path / "odd.npz"), str(tmp_path / "out.safetensors")]) == 1
    assert capsys.readouterr().err.startswith(f"error: {tmp_path / 'odd.npz'} ")


def test_convert_into_a_folder_that_is_a_file(keras_file, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["convert", str(keras_file[0]), str(tmp_path / "file" / "out.safetensors")]) == 1
    said = capsys.readouterr().err
    assert (
        said.startswith("error: ")
        and "was not written (File exists)" in said
        and said.count("\n") == 1
    )


def test_verify_tells_the_published_file_from_another(keras_file, capsys):
    given, _ = keras_file
    assert main(["verify", "covid_cxnet_base.v_free", str(given)]) == 1
    assert "bytes, not 777,352" in capsys.readouterr().err


def test_mistakes_end_with_one_line(capsys):
    assert main(["info", "densenet161.imagenet"]) == 1
    assert capsys.readouterr().err.startswith("error: there are no weights")
