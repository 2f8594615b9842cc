"""Weight files are read without running them, and a bad one is named."""

import os
import pickle
import sys
import warnings

import numpy as np
import pytest
from safetensors.numpy import load, save_file

from jaxcxr.errors import InputError
from jaxcxr.schema.shared import WEIGHTS_KINDS
from jaxcxr.weights import bounds, safetensors_file
from jaxcxr.weights.read import _READERS, read
from tests.weights import samples

ARRAYS = {
    "fc.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "fc.bias": np.ones(2, np.float32),
}


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
    with pytest.raises(InputError, match=r"weights\.safetensors is (damaged|text)"):
        read(safetensors)


def test_a_truncated_npz_is_named(tmp_path):
    path = tmp_path / "weights.npz"
    np.savez(path, **ARRAYS)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(
        InputError, match=r"weights\.npz is damaged .*take another copy of the npz file"
    ):
        read(path)


def test_each_kind_of_file_has_a_reader():
    assert {*WEIGHTS_KINDS.values()} == {*_READERS}


def test_another_suffix_is_refused_with_all_that_are_read(tmp_path):
    (tmp_path / "weights.pkl").write_bytes(b"numbers")
    with pytest.raises(InputError, match=r"weights\.pkl: weights are read from ") as refused:
        read(tmp_path / "weights.pkl")
    assert all(suffix in str(refused.value) for suffix in WEIGHTS_KINDS)


@pytest.mark.parametrize("suffix", WEIGHTS_KINDS)
@pytest.mark.parametrize(
    ("content", "match"),
    [
        (
            b"\n <!DOCTYPE html><html>404</html>",
            "is a web page, not weights: take the file that the page",
        ),
        (b"\xef\xbb\xbf<html><title>Caf\xe9</title>", "is a web page"),
        ("<html>".encode("utf-16"), "is a web page"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n",
            "is a Git LFS pointer, .*git lfs pull",
        ),
        (b'{"message": "Not Found"}', "is text, not weights: take another copy of it"),
        ("größer".encode(), "is text, not weights"),
        (b"\x1f\x8b\x08\x00" + bytes(30), "is a gzip archive: unpack it"),
        (b"archive/" + bytes(249) + b"ustar\x0000", "is a tar archive: unpack it"),
        (b"", "is empty"),
    ],
    ids=["page", "latin-1 page", "utf-16 page", "pointer", "json", "text", "gzip", "tar", "empty"],
)
def test_what_is_no_weights_is_named_before_a_reader_is_needed(
    tmp_path, monkeypatch, suffix, content, match
):
    monkeypatch.setitem(sys.modules, "h5py", None)
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(content)
    with pytest.raises(InputError, match=match):
        read(path)


def test_weights_under_the_name_of_another_kind_are_told(tmp_path):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(samples.npz())
    with pytest.raises(
        InputError, match=r"is a zip archive by its first bytes: rename it so that it ends in \.npz"
    ):
        read(path)


def test_a_folder_is_no_file(tmp_path):
    (tmp_path / "weights.npz").mkdir()
    with pytest.raises(InputError, match="is a folder: name a file in it"):
        read(tmp_path / "weights.npz")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "weights.npz")
    with pytest.raises(InputError, match="is no file: name one"):
        read(tmp_path / "weights.npz")


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
    [
        ("none.npz", "does not exist"),
        ("notes.txt", r"notes\.txt: weights are read from \.safetensors"),
    ],
)
def test_what_cannot_be_read_at_all(tmp_path, name, match):
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(InputError, match=match):
        read(tmp_path / name)


def test_an_empty_file_is_named(tmp_path):
    (tmp_path / "weights.pth").touch()
    with pytest.raises(InputError, match="is empty"):
        read(tmp_path / "weights.pth")


def test_pytorchs_files_are_read_without_pytorch(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    for content in (
        samples.pth(ARRAYS),
        samples.pth(ARRAYS, within="state_dict"),
        samples.old_pth(ARRAYS),
    ):
        (tmp_path / "weights.pth").write_bytes(content)
        same(read(tmp_path / "weights.pth"))


def test_a_reader_that_is_not_installed_is_named(tmp_path, monkeypatch):
    path = tmp_path / "weights.h5"
    path.write_bytes(b"\x89HDF\r\n\x1a\n")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(InputError, match=r"h5py, which is not installed\. pip install h5py$"):
        read(path)


@pytest.mark.parametrize("error", ["ValueError", "OSError", "ImportError", "RuntimeError"])
def test_a_reader_that_does_not_start_is_named(tmp_path, monkeypatch, error):
    (tmp_path / "h5py.py").write_text(
        f"raise {error}('libcudart.so.12 not found in the system path')"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "h5py", raising=False)
    (tmp_path / "weights.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    with pytest.raises(
        InputError, match=r"h5py, which .*does not start \(libcudart\.so\.12 not found"
    ):
        read(tmp_path / "weights.h5")


@pytest.mark.parametrize(
    ("arrays", "match"),
    [
        ({"a": np.ones(2, np.complex64)}, "real numbers"),
        ({"a": np.array(["text"])}, "real numbers"),
        ({"a\x1b[2J": np.ones(2, np.float32)}, r"names an array 'a\\x1b\[2J'"),
        ({"a" * 1001: np.ones(2, np.float32)}, r"names an array 'a+\.\.\.'"),
        (
            {f"a{i}": np.ones(1, np.int8) for i in range(bounds.ARRAYS + 1)},
            "contains 2,001 arrays, and no network",
        ),
    ],
    ids=["complex", "text", "control characters", "long name", "many"],
)
def test_arrays_that_no_network_has_are_refused(tmp_path, arrays, match):
    (tmp_path / "weights.npz").write_bytes(samples.npz(arrays))
    with pytest.raises(InputError, match=match):
        read(tmp_path / "weights.npz")


class TestTorch:
    @pytest.fixture
    def torch(self):
        return pytest.importorskip(
            "torch", reason="torch is not installed: requirements-parity.txt has it"
        )

    @pytest.mark.parametrize("old", [False, True], ids=["zip", "before 1.6"])
    @pytest.mark.parametrize("within", ["", "model"])
    def test_every_view_of_a_storage_equals_pytorchs(self, torch, tmp_path, old, within):
        base = torch.randn(6, 7, 5, generator=torch.Generator().manual_seed(0))
        state = {
            "whole": base, "permuted": base.permute(2, 0, 1), "part": base[1:5:2, ::3],
            "transposed": base[0].T, "repeated": torch.ones(1).expand(4, 5),
            "scalar": base[0, 0, 0], "none": torch.zeros(0, 3), "half": base.half(),
            "bfloat16": base.bfloat16(), "double": base.double(), "int8": base.to(torch.int8),
            "counter": torch.tensor(7), "bool": base > 0, "parameter": torch.nn.Parameter(base[1]),
        }  # fmt: skip
        adam = {
            "state": {0: {"step": torch.tensor(1.0), "exp_avg": base * 2}},
            "groups": [{"betas": (0.9, None)}],
        }
        content = (
            {within: state, "optimizer": adam, "epoch": 3, "size": base.shape} if within else state
        )
        path = tmp_path / "weights.pth"
        torch.save(content, path, _use_new_zipfile_serialization=not old)
        expected = torch.load(path, weights_only=True)
        expected = expected[within] if within else expected
        found = read(path)
        assert list(found) == list(expected)
        for name, tensor in expected.items():
            tensor = tensor.detach().float() if tensor.is_floating_point() else tensor
            assert found[name].dtype == tensor.numpy().dtype
            np.testing.assert_array_equal(found[name], tensor.numpy(), err_msg=name)

    def test_a_file_without_checksums(self, torch, tmp_path):
        plain = torch.serialization.get_crc32_options()
        torch.serialization.set_crc32_options(False)
        torch.save({"w": torch.arange(5.0)}, tmp_path / "weights.pth")
        torch.serialization.set_crc32_options(plain)
        np.testing.assert_array_equal(read(tmp_path / "weights.pth")["w"], np.arange(5.0))

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
    def test_a_malicious_pickle_is_refused_and_runs_nothing(
        self, torch, tmp_path, monkeypatch, plain
    ):
        # Of the user's shell: must change nothing.
        monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
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

    @pytest.mark.parametrize("new", [True, False])
    def test_a_pickled_module_is_refused(self, torch, tmp_path, new):
        with warnings.catch_warnings():  # of the module's source, which old files hold
            warnings.simplefilter("ignore")
            torch.save(
                torch.nn.Linear(2, 3), tmp_path / "weights.pt", _use_new_zipfile_serialization=new
            )
        with pytest.raises(
            InputError, match="was not opened: as a pickle it holds more than arrays"
        ):
            read(tmp_path / "weights.pt")

    def test_a_truncated_file_is_named(self, torch, tmp_path):
        path = tmp_path / "weights.pth"
        torch.save({"fc.weight": torch.zeros(1000)}, path)
        path.write_bytes(path.read_bytes()[:2000])
        with pytest.raises(
            InputError, match=r"weights\.pth is damaged .*: take another copy of the PyTorch file"
        ):
            read(path)

    def test_no_tensors(self, torch, tmp_path):
        torch.save({"epoch": 3}, tmp_path / "weights.pth")
        with pytest.raises(InputError, match="contains no state_dict"):
            read(tmp_path / "weights.pth")


class TestHdf5:
    @pytest.fixture
    def h5py(self):
        return pytest.importorskip(
            "h5py", reason="h5py is not installed: requirements-parity.txt has it"
        )

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
        with pytest.raises(
            InputError, match=r"weights\.h5 is damaged .*: take another copy of the HDF5 file"
        ):
            read(path)

    def test_compressed_chunks_equal_h5pys(self, h5py, tmp_path):
        path, rng = tmp_path / "weights.h5", np.random.default_rng(0)
        values = {
            "a": rng.normal(size=(17, 5, 3)).astype(np.float32),
            "b": rng.normal(size=300),
            "c": np.float32(3),
            "d": rng.normal(size=(4, 4)).astype(">f4"),
        }
        with h5py.File(path, "w") as file:
            file.create_dataset(
                "a/kernel", data=values["a"], chunks=(4, 5, 2), compression="gzip", shuffle=True
            )
            file.create_dataset(
                "b/kernel", data=values["b"], chunks=(64,), maxshape=(None,), compression="gzip"
            )
            file.create_dataset("c/kernel", data=values["c"])
            file.create_dataset("d/kernel", data=values["d"], chunks=(3, 3), shuffle=True)
        found = read(path)
        for name, value in values.items():
            np.testing.assert_array_equal(found[f"{name}/kernel"], value)

    @pytest.mark.parametrize("chunks", [None, (2, 2)])
    def test_numbers_that_were_never_written_are_not_taken_for_zeros(self, h5py, tmp_path, chunks):
        with h5py.File(tmp_path / "weights.h5", "w") as file:
            dataset = file.create_dataset("a/kernel", (3, 3), np.float32, chunks=chunks)
            if chunks:
                dataset[:2] = 1
        with pytest.raises(InputError, match="numbers of 'a/kernel' were never written"):
            read(tmp_path / "weights.h5")


def test_equal_weights_are_equal_bytes():
    """safetensors writes what a file says of itself in another order each time."""
    arrays = {"a/é": np.arange(5, dtype=np.float32), "b": np.ones((2, 3), np.int64)}
    said = {name: name.upper() for name in "abcdefg"}
    assert len({safetensors_file.to_bytes(arrays, said) for _ in range(9)}) == 1
    whole = safetensors_file.to_bytes(arrays, said)
    np.testing.assert_array_equal(load(whole)["a/é"], arrays["a/é"])
