"""Weight files are read without running them, and a bad one is named."""

import os
import pickle

import numpy as np
import pytest
from safetensors.numpy import save_file

from jaxcxr.types import InputError
from jaxcxr.weights.read import read

ARRAYS = {"fc.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "fc.bias": np.ones(2, np.float32)}


@pytest.fixture
def safetensors(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file(ARRAYS, path)
    return path


def same(found):
    assert found.keys() == ARRAYS.keys()
    for name, value in ARRAYS.items():
        np.testing.assert_array_equal(found[name], value)


def test_safetensors(safetensors):
    same(read(safetensors))


def test_npz(tmp_path):
    np.savez(tmp_path / "weights.npz", **ARRAYS)
    same(read(tmp_path / "weights.npz"))


@pytest.mark.parametrize("kept", [4, 40, -1])
def test_a_truncated_file_is_named(safetensors, kept):
    safetensors.write_bytes(safetensors.read_bytes()[:kept])
    with pytest.raises(InputError, match=r"weights\.safetensors is damaged or is no safetensors file"):
        read(safetensors)


def test_a_truncated_npz_is_named(tmp_path):
    path = tmp_path / "weights.npz"
    np.savez(path, **ARRAYS)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(InputError, match=r"weights\.npz is damaged"):
        read(path)


def test_a_web_page_in_place_of_weights_is_named(tmp_path):
    path = tmp_path / "weights.safetensors"
    path.write_text("<!DOCTYPE html><html>404</html>")
    with pytest.raises(InputError, match="is damaged or is no safetensors file"):
        read(path)


def test_an_npz_with_objects_runs_nothing(tmp_path):
    marker = tmp_path / "ran"

    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(marker),)

    np.savez(tmp_path / "weights.npz", bomb=np.array([Bomb()], dtype=object))
    with pytest.raises(InputError, match=r"weights\.npz is damaged"):
        read(tmp_path / "weights.npz")
    assert not marker.exists()


@pytest.mark.parametrize(
    ("name", "match"),
    [("none.npz", "does not exist"), ("notes.txt", r"notes\.txt: weights are read from \.safetensors")],
)
def test_what_cannot_be_read_at_all(tmp_path, name, match):
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(InputError, match=match):
        read(tmp_path / name)


def test_an_empty_file_is_named(tmp_path):
    (tmp_path / "weights.pth").touch()
    with pytest.raises(InputError, match="is empty"):
        read(tmp_path / "weights.pth")


@pytest.mark.parametrize(("suffix", "module"), [(".pth", "torch"), (".h5", "h5py")])
def test_a_reader_that_is_not_installed_is_named(tmp_path, monkeypatch, suffix, module):
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(b"something")
    monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.raises(InputError, match=rf"needs {module}.*python -m jaxcxr\.weights convert IN OUT"):
        read(path)


class TestTorch:
    @pytest.fixture
    def torch(self):
        return pytest.importorskip("torch", reason="torch is not installed: requirements-parity.txt has it")

    @pytest.mark.parametrize("key", ["", "state_dict"])
    def test_a_state_dict_bare_or_within(self, torch, tmp_path, key):
        state = {name: torch.from_numpy(value) for name, value in ARRAYS.items()}
        torch.save({key: state, "epoch": 3} if key else state, tmp_path / "weights.pth")
        same(read(tmp_path / "weights.pth"))

    def test_half_precision_becomes_single(self, torch, tmp_path):
        state = {name: torch.from_numpy(value).bfloat16() for name, value in ARRAYS.items()}
        torch.save(state, tmp_path / "weights.pth")
        same(read(tmp_path / "weights.pth"))

    @pytest.mark.parametrize("plain", [True, False], ids=["pickle", "torch.save"])
    def test_a_malicious_pickle_is_refused_and_runs_nothing(self, torch, tmp_path, monkeypatch, plain):
        monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")  # of the user's shell: must change nothing
        marker, path = tmp_path / "ran", tmp_path / "weights.pth"

        class Bomb:
            def __reduce__(self):
                return os.mkdir, (str(marker),)

        if plain:
            path.write_bytes(pickle.dumps({"fc.weight": Bomb()}))
        else:
            torch.save({"fc.weight": Bomb()}, path)
        with pytest.raises(InputError, match=r"weights\.pth"):
            read(path)
        assert not marker.exists()

    def test_a_pickled_module_is_refused(self, torch, tmp_path):
        torch.save(torch.nn.Linear(2, 3), tmp_path / "weights.pt")
        with pytest.raises(InputError, match="was not opened: as a pickle it holds more than arrays"):
            read(tmp_path / "weights.pt")

    def test_a_truncated_file_is_named(self, torch, tmp_path):
        path = tmp_path / "weights.pth"
        torch.save({"fc.weight": torch.zeros(1000)}, path)
        path.write_bytes(path.read_bytes()[:2000])
        with pytest.raises(InputError, match=r"weights\.pth is damaged or is no PyTorch file"):
            read(path)

    def test_no_tensors(self, torch, tmp_path):
        torch.save({"epoch": 3}, tmp_path / "weights.pth")
        with pytest.raises(InputError, match="holds no state_dict"):
            read(tmp_path / "weights.pth")


class TestHdf5:
    @pytest.fixture
    def h5py(self):
        return pytest.importorskip("h5py", reason="h5py is not installed: requirements-parity.txt has it")

    @pytest.mark.parametrize("whole_model", [True, False])
    @pytest.mark.parametrize(
        ("dataset", "name"),
        [
            ("block1_conv1/block1_conv1_W_1:0", "block1_conv1/kernel"),
            ("conv1/bn/conv1/bn/gamma:0", "conv1/bn/gamma"),
            ("bn/bn_1/moving_mean:0", "bn/moving_mean"),
            ("fc_layer1/fc_layer1/bias:0", "fc_layer1/bias"),
        ],
    )
    def test_kerass_groups(self, h5py, tmp_path, whole_model, dataset, name):
        path = tmp_path / "weights.hdf5"
        with h5py.File(path, "w") as file:
            root = file.create_group("model_weights") if whole_model else file
            root[dataset] = np.arange(3.0)
            if whole_model:
                file["optimizer_weights/iterations:0"] = 7
        found = read(path)
        assert list(found) == [name]
        np.testing.assert_array_equal(found[name], np.arange(3.0))

    def test_a_truncated_file_is_named(self, h5py, tmp_path):
        path = tmp_path / "weights.h5"
        with h5py.File(path, "w") as file:
            file["a/a/kernel:0"] = np.zeros(1000)
        path.write_bytes(path.read_bytes()[:3000])
        with pytest.raises(InputError, match=r"weights\.h5 is damaged or is no HDF5 file"):
            read(path)
