"""Files are whole, or as they were before."""

from __future__ import annotations

import errno
import os
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxcxr.errors import InputError
from jaxcxr.storage import files


def test_files_are_written_with_their_content(tmp_path):
    files.write_text(tmp_path / "new" / "a.txt", "größer\n")
    files.write_json(tmp_path / "a.json", {"x": (1, np.float32(0.5)), "nan": float("nan")})
    files.write_png(tmp_path / "a.png", np.arange(12, dtype=np.uint8).reshape(3, 4, 1))
    files.write_npz(tmp_path / "a.npz", {"x": np.arange(3)})
    assert (tmp_path / "new" / "a.txt").read_bytes() == "größer\n".encode()
    assert files.read_json(tmp_path / "a.json") == {"x": [1, 0.5], "nan": None}
    with Image.open(tmp_path / "a.png") as opened:
        assert np.array_equal(opened, np.arange(12).reshape(3, 4))
    assert np.load(tmp_path / "a.npz")["x"].tolist() == [0, 1, 2]


def test_equal_arrays_give_equal_bytes(tmp_path):
    for name in ("a", "b"):
        files.write_npz(tmp_path / name, {"x": np.arange(3), "id": np.array(["u", "v"])})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
def test_a_full_disk_leaves_the_old_file_and_no_rest(tmp_path, monkeypatch, call):
    path = tmp_path / "report.md"
    files.write_text(path, "old")

    def fill(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch, pytest.raises(InputError, match="disk is full.*report.md"):
        if call == "write":
            with files.atomic_file(path) as file:
                file.write(b"ne")
                fill()
        else:
            patch.setattr(files.os, call, fill)
            files.write_text(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["report.md"]


def test_an_error_while_writing_leaves_the_old_file(tmp_path):
    files.write_text(tmp_path / "a", "old")
    with pytest.raises(KeyboardInterrupt), files.atomic_file(tmp_path / "a") as file:
        file.write(b"half")
        raise KeyboardInterrupt
    assert (tmp_path / "a").read_text() == "old"
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("content", [b"{", b'{"a": 1', b"\xff\xfe"])
def test_damaged_json_is_named(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.json is damaged"):
        files.read_json(tmp_path / "a.json")


def test_the_hash_of_a_file_is_sha256(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, B.1
    assert files.sha256_file(tmp_path / "a") == known


@pytest.mark.parametrize(
    ("image", "error"),
    [
        (np.zeros((2, 2)), TypeError),
        (np.zeros((2, 2, 4), np.uint8), ValueError),
        (np.zeros((2, 2, 3), np.uint16), TypeError),
    ],
)
def test_only_grey_and_colour_bytes_become_a_png(tmp_path, image, error):
    with pytest.raises(error):
        files.write_png(tmp_path / "a.png", image)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey_images_keep_all_their_bits(tmp_path, dtype):
    image = np.linspace(0, np.iinfo(dtype).max, 12).reshape(3, 4).astype(dtype)
    files.write_png(tmp_path / "a.png", image)
    with Image.open(tmp_path / "a.png") as read:
        np.testing.assert_array_equal(np.asarray(read), image)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RecursionError("too deep"),
        zlib.error("Error -3 while decompressing"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
        IndexError("list index out of range"),
        KeyError("step"),
        EOFError(),
        ValueError("two\n  lines"),
        OverflowError("int too big"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_whatever_a_reader_raises_is_one_error_of_one_line(tmp_path, error):
    with pytest.raises(InputError) as raised, files.reading(tmp_path / "a.bin", "copy it again."):
        raise error
    message = str(raised.value)
    assert message.startswith(f"{tmp_path / 'a.bin'} is damaged (")
    assert message.endswith("): copy it again.")
    assert "\n" not in message and "()" not in message
    assert raised.value.__cause__ is error


def test_reasons_are_short_and_hold_no_memory_addresses():
    assert files.reason(ValueError(f"cannot identify {object()!r}")) == "cannot identify <object>"
    assert len(files.reason(ValueError("x" * 1000))) == 200


def test_what_the_system_refuses_to_read_is_said_in_its_words(tmp_path):
    refused = pytest.raises(
        InputError, match=r"a cannot be read: Permission denied: copy it again\."
    )
    with refused, files.reading(tmp_path / "a", "copy it again."):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "a")
    with (
        pytest.raises(InputError, match="cannot be read: Is a directory"),
        files.reading(tmp_path, "no"),
    ):
        tmp_path.read_bytes()
    absent = pytest.raises(InputError, match="none does not exist: copy it again")
    with absent, files.reading(tmp_path / "none", "copy it again."):
        (tmp_path / "none").read_bytes()


def test_the_products_own_error_and_a_stop_pass_as_they_are(tmp_path):
    for error in (InputError("field: fix"), KeyboardInterrupt()):
        with pytest.raises(type(error)) as raised, files.reading(tmp_path, "no"):
            raise error
        assert raised.value is error


def test_a_user_without_a_home_folder_is_told_what_to_name(monkeypatch):
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 987654321)
    assert files.expanded("/data", "") == Path("/data")
    with pytest.raises(InputError, match=r"~/data: this user has no home folder .*: name another"):
        files.expanded("~/data", "name another")
