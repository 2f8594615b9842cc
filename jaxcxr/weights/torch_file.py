"""PyTorch's .pth files into arrays, without PyTorch.

The zip archives of torch.save, and its files from before 1.6.

Both are a pickle that tells names, shapes and strides, and the numbers beside it. `torch_pickle`
interprets the pickle.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from jaxcxr.errors import InputError
from jaxcxr.weights import bounds, torch_pickle
from jaxcxr.weights.archive import Archive
from jaxcxr.weights.torch_pickle import Storage, Tensor

_ZIP_MAGIC = b"PK\x03\x04"
_PICKLE_BYTES = 16 << 20
_LEGACY_MAGIC, _LEGACY_PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
_COUNT_BYTES = 8
_STATE_DICTS = ("state_dict", "model_state_dict", "model")  # where checkpoints keep it


def read(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a state dict by name, floating-point ones as float32.

    What is damaged raises anything: read within `files.reading`.

    Raises:
        InputError: the file holds more than arrays, or none by name.
    """
    try:
        with path.open("rb") as file:
            is_zip = file.read(len(_ZIP_MAGIC)) == _ZIP_MAGIC
        return _zipped(path) if is_zip else _legacy(path)
    except torch_pickle.MoreThanArraysError as error:
        raise InputError(
            f"{path} was not opened: as a pickle it holds more than arrays, and reading that "
            f"may run code ({error}). Save its state_dict() as safetensors where you trust it, "
            "or take another file."
        ) from error


def _zipped(path: Path) -> dict[str, np.ndarray]:
    with Archive(path) as archive:
        roots = [
            name.removesuffix("data.pkl") for name in archive.names if name.endswith("/data.pkl")
        ]
        if len(roots) != 1:
            raise ValueError("not one data.pkl in the archive")
        (root,) = roots
        if f"{root}constants.pkl" in archive.names:
            raise InputError(
                f"{path} is a TorchScript program, not weights: save its state_dict() there"
            )
        pickled = archive.read(f"{root}data.pkl", _PICKLE_BYTES)
        file = io.BytesIO(pickled)
        tensors = _state_dict(path, torch_pickle.load(file))
        if file.tell() != len(pickled):
            raise ValueError("data.pkl goes on after its pickle")
        order = (
            archive.read(f"{root}byteorder", 16)
            if f"{root}byteorder" in archive.names
            else b"little"
        )
        if order not in (b"little", b"big"):
            raise ValueError(f"the byte order {order!r}")

        def numbers(storage: Storage) -> np.ndarray:
            name = f"{root}data/{storage.key}"
            found = np.empty(storage.count, storage.dtype)
            if archive.size(name) != found.nbytes:
                raise ValueError(f"{found.nbytes:,} bytes of numbers in {archive.size(name):,}")
            with archive.open(name) as member:
                member.fill(found)
            return found if order == b"little" else found.byteswap()

        return _arrays(path, tensors, numbers)


def _legacy(path: Path) -> dict[str, np.ndarray]:
    """Arrays of a file from before PyTorch 1.6.

    A number, a version, the machine, the pickle, the storages' names, and these in that order.
    """
    with path.open("rb") as file:
        pickles = io.BytesIO(file.read(_PICKLE_BYTES))
        if (
            torch_pickle.load(pickles) != _LEGACY_MAGIC
            or torch_pickle.load(pickles) != _LEGACY_PROTOCOL
        ):
            raise ValueError("no PyTorch file")
        if torch_pickle.load(pickles).get("little_endian") is not True:
            raise ValueError("numbers of another byte order")
        storages: dict[str, Storage] = {}
        tensors = _state_dict(path, torch_pickle.load(pickles, storages))
        listed, places = torch_pickle.load(pickles), {}
        if not isinstance(listed, list):
            raise ValueError("no list of storages")
        # Text alone: the text of lists that hold each other 60 deep would never end.
        keys = [torch_pickle.storage_key(key) for key in listed]
        at = pickles.tell()
        for key in keys:
            places[key] = at
            at += _COUNT_BYTES + storages[key].count * storages[key].dtype.itemsize
        if at != path.stat().st_size:
            raise ValueError(f"{at:,} bytes are told, {path.stat().st_size:,} are there")

        def numbers(storage: Storage) -> np.ndarray:
            file.seek(places[storage.key])
            if int.from_bytes(file.read(_COUNT_BYTES), "little") != storage.count:
                raise ValueError("a storage of another size than its tensors say")
            return np.fromfile(file, storage.dtype, storage.count)

        return _arrays(path, tensors, numbers)


def _state_dict(path: Path, content: Any) -> dict[str, Tensor]:
    """The tensors by name of a state dict, or of the one in a checkpoint."""
    for key in _STATE_DICTS:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
            break
    named = content.items() if isinstance(content, dict) else ()
    tensors = {str(name): value for name, value in named if isinstance(value, Tensor)}
    if not tensors:
        raise InputError(f"{path} contains no state_dict: no tensors by name")
    return tensors


def _arrays(
    path: Path, tensors: dict[str, Tensor], numbers: Callable[[Storage], np.ndarray]
) -> dict[str, np.ndarray]:
    """The tensors as arrays; each storage is read once, after everything fits."""
    if len(tensors) > bounds.ARRAYS:
        raise bounds.too_many(path, len(tensors))
    allowance = bounds.Allowance(path)
    names: dict[Storage, list[str]] = {}
    for name, tensor in tensors.items():
        allowance.claim(
            name, tensor.size * max(tensor.storage.dtype.itemsize, np.dtype(np.float32).itemsize)
        )
        names.setdefault(tensor.storage, []).append(name)
    arrays = {}
    for storage in names:
        allowance.claim(
            f"the numbers of {names[storage][0]}", storage.count * storage.dtype.itemsize
        )
    for storage, of_storage in names.items():
        found = numbers(storage)
        for name in of_storage:
            arrays[name] = _plain(tensors[name].of(found))
    return {name: arrays[name] for name in tensors}


def _plain(array: np.ndarray) -> np.ndarray:
    """Floating-point numbers as float32, others as they are."""
    if array.dtype.kind != "f" and array.dtype.kind != "V":
        return array
    with np.errstate(over="ignore"):  # infinite values are refused later, by name
        return array.astype(np.float32)
