"""Keras's HDF5 files into arrays, by h5py.

Only what Keras writes is read: numbers of this file, contiguous or in chunks that are compressed by
deflate. Links into other files, virtual data sets and other filters are refused. Chunks are
decompressed here, since the HDF5 library decompresses one to whatever size it has.
"""

from __future__ import annotations

import importlib
import itertools
import math
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from jaxcxr.errors import InputError
from jaxcxr.storage import files
from jaxcxr.weights import bounds
from jaxcxr.weights.rules import keras_name

_DEPTH = 32  # of groups in groups
_OBJECTS = 20_000
_CHUNKS = 20_000
_DEFLATE, _SHUFFLE = 1, 2  # HDF5's numbers of its filters


def read(path: Path) -> dict[str, np.ndarray]:
    """The data sets as '<layer>/<weight>'.

    What is damaged raises anything: read within `files.reading`.

    Raises:
        InputError: h5py is not installed or does not start, or the file holds what is not read.
    """
    h5py = _h5py(path)
    allowance, arrays = bounds.Allowance(path), {}
    # Without a lock, which file systems that are read-only or far away refuse.
    with h5py.File(path, "r", locking=False) as file:
        root = _child(h5py, path, file, "model_weights") if "model_weights" in file else file
        if not isinstance(root, h5py.Group):
            raise InputError(f"{path} contains no layers: take another file")
        datasets = list(itertools.islice(_datasets(h5py, path, root, []), bounds.ARRAYS + 1))
        if len(datasets) > bounds.ARRAYS:
            raise bounds.too_many(path, len(datasets))
        for parts, dataset in datasets:
            name = keras_name(_layer(parts), parts[-1])
            if name in arrays:
                raise InputError(f"{path} holds {bounds.shown(name)} twice: take another file")
            arrays[name] = _array(h5py, path, "/".join(parts), dataset, allowance)
    return arrays


def _datasets(
    h5py: Any, path: Path, group: Any, above: list[str], count: list[int] | None = None
) -> Iterator[Any]:
    """(names from the root on, data set) of each below a group."""
    count = [0] if count is None else count
    if len(above) > _DEPTH:
        raise ValueError("groups in groups without an end")
    for name in group:
        count[0] += 1
        if count[0] > _OBJECTS:
            raise ValueError(f"more than {_OBJECTS:,} objects")
        node, parts = _child(h5py, path, group, name), [*above, name]
        if isinstance(node, h5py.Group):
            yield from _datasets(h5py, path, node, parts, count)
        elif isinstance(node, h5py.Dataset):
            yield parts, node


def _child(h5py: Any, path: Path, group: Any, name: str) -> Any:
    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        raise InputError(
            f"{path}: {bounds.shown(name)} is a link to elsewhere, which is not followed"
        )
    return group[name]


def _array(
    h5py: Any, path: Path, name: str, dataset: Any, allowance: bounds.Allowance
) -> np.ndarray:
    plist, shape, dtype = dataset.id.get_create_plist(), dataset.shape, dataset.dtype
    if shape is None or not bounds.is_real(dtype):
        raise InputError(
            f"{path}: {bounds.shown(name)} holds {dtype}, and weights are real numbers"
        )
    layout, filters = (
        plist.get_layout(),
        [plist.get_filter(i)[0] for i in range(plist.get_nfilters())],
    )
    if layout == h5py.h5d.VIRTUAL or plist.get_external_count():
        raise InputError(
            f"{path}: the numbers of {bounds.shown(name)} are in another file, which is not "
            "followed"
        )
    allowance.claim(name, bounds.array_bytes(shape, dtype))
    if layout != h5py.h5d.CHUNKED:
        if dataset.nbytes and not dataset.id.get_storage_size():
            raise _unwritten(path, name)
        return np.asarray(dataset)
    if not set(filters) <= {_DEFLATE, _SHUFFLE}:
        raise InputError(
            f"{path}: {bounds.shown(name)} is compressed in a way that is not read; save it "
            "without compression"
        )
    chunk = plist.get_chunk()
    expected = math.prod(-(-whole // n) for whole, n in zip(shape, chunk, strict=True))
    if dataset.id.get_num_chunks() < expected:
        raise _unwritten(path, name)
    return _chunked(dataset, chunk, filters, allowance)


def _unwritten(path: Path, name: str) -> InputError:
    return InputError(
        f"{path}: numbers of {bounds.shown(name)} were never written: take another copy of it"
    )


def _chunked(
    dataset: Any, chunk: tuple[int, ...], filters: list[int], allowance: bounds.Allowance
) -> np.ndarray:
    allowance.claim("a chunk", bounds.array_bytes(chunk, dataset.dtype))
    count = dataset.id.get_num_chunks()
    if count > _CHUNKS:
        raise ValueError(f"{count:,} chunks")
    array = np.empty(dataset.shape, dataset.dtype)
    for i in range(count):
        corner = dataset.id.get_chunk_info(i).chunk_offset
        skipped, content = dataset.id.read_direct_chunk(corner)
        for place, kind in reversed(list(enumerate(filters))):
            if not skipped >> place & 1:
                content = _undone(
                    kind, content, bounds.array_bytes(chunk, dataset.dtype), dataset.dtype.itemsize
                )
        numbers = np.frombuffer(content, dataset.dtype).reshape(chunk)
        inside = tuple(
            slice(at, min(at + n, whole))
            for at, n, whole in zip(corner, chunk, array.shape, strict=True)
        )
        array[inside] = numbers[tuple(slice(0, part.stop - part.start) for part in inside)]
    return array


def _undone(kind: int, content: bytes, size: int, width: int) -> bytes:
    """A chunk of `size` bytes before this filter."""
    if kind == _SHUFFLE:
        return np.frombuffer(content, np.uint8).reshape(width, -1).T.tobytes()
    stream = zlib.decompressobj()
    plain = stream.decompress(content, size)
    if not stream.eof and (len(plain) < size or stream.decompress(stream.unconsumed_tail, 1)):
        raise ValueError("a chunk of another size than it says")
    return plain


def _layer(parts: list[str]) -> str:
    """The layer's name, of which Keras writes up to two copies.

    layer/layer/kernel:0, and conv1/conv/conv1/conv/kernel:0 for a layer called conv1/conv.
    """
    layer = parts[:-1]
    half = len(layer) // 2
    same = len(layer) % 2 == 0 and [p.rstrip("_0123456789") for p in layer[:half]] == [
        p.rstrip("_0123456789") for p in layer[half:]
    ]
    return "/".join(layer[:half] if half and same else layer)


def _h5py(path: Path) -> Any:
    try:
        return importlib.import_module("h5py")
    except Exception as error:  # its library may lack another, or be of another version
        if isinstance(error, ModuleNotFoundError) and error.name == "h5py":
            raise InputError(
                f"{path}: files of this kind are read by h5py, which is not installed. pip "
                "install h5py"
            ) from error
        raise InputError(
            f"{path}: files of this kind are read by h5py, which is installed and does not start "
            f"({files.reason(error)}). pip install --force-reinstall h5py"
        ) from error
