"""Small sound weight files of every format, as their own programs write them."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections.abc import Mapping

import numpy as np
from safetensors.numpy import save

from jaxcxr.weights import safetensors_file

ARRAYS = {
    "conv.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2),
    "fc.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "fc.bias": np.ones(2, np.float32),
    "bn.num_batches_tracked": np.int64(7),
}
_STORAGES = {
    "float32": "FloatStorage",
    "float16": "HalfStorage",
    "int64": "LongStorage",
    "float64": "DoubleStorage",
}


def safetensors(arrays: Mapping[str, np.ndarray] = ARRAYS) -> bytes:
    return save({name: np.ascontiguousarray(array) for name, array in arrays.items()})


def npz(arrays: Mapping[str, np.ndarray] = ARRAYS, *, compressed: bool = False) -> bytes:
    buffer = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(buffer, **arrays)  # pyright: ignore[reportArgumentType]
    return buffer.getvalue()


def pth(arrays: Mapping[str, np.ndarray] = ARRAYS, *, within: str = "") -> bytes:
    """What torch.save writes of a state dict, or of {within: state dict, "epoch": 3}."""
    pickled = state_dict_pickle(arrays)
    if within:
        pickled = checkpoint_pickle(arrays, within)
    members = {"data.pkl": pickled, "byteorder": b"little", "version": b"3\n"}
    members |= {f"data/{i}": array.tobytes() for i, array in enumerate(arrays.values())}
    return torch_zip(members)


def torch_zip(members: Mapping[str, bytes], *, method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as file:
        for name, content in members.items():
            file.writestr(f"archive/{name}", content)
    return buffer.getvalue()


def old_pth(arrays: Mapping[str, np.ndarray] = ARRAYS) -> bytes:
    """What torch.save wrote before 1.6."""
    start = [
        0x1950A86A20F9469CFC6C,
        1001,
        {"protocol_version": 1001, "little_endian": True, "type_sizes": {"int": 4}},
    ]
    keys = [str(i) for i in range(len(arrays))]
    content = b"".join(pickle.dumps(value, 2) for value in start)
    content += state_dict_pickle(arrays, old=True) + pickle.dumps(keys, 2)
    for array in arrays.values():
        content += struct.pack("<q", array.size) + array.tobytes()
    return content


def state_dict_pickle(arrays: Mapping[str, np.ndarray], *, old: bool = False) -> bytes:
    return b"\x80\x02" + _state_dict(arrays, old) + b"."


def checkpoint_pickle(arrays: Mapping[str, np.ndarray], key: str) -> bytes:
    return b"\x80\x02}(" + _text(key) + _state_dict(arrays, False) + _text("epoch") + b"K\x03u."


def tensor_pickle(
    storage: str, count: int, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]
) -> bytes:
    """A state dict of one tensor, "w", whatever its numbers are worth."""
    return (
        b"\x80\x02}"
        + _text("w")
        + _tensor(storage, "0", count, offset, shape, strides, False)
        + b"s."
    )


def _state_dict(arrays: Mapping[str, np.ndarray], old: bool) -> bytes:
    content = b"ccollections\nOrderedDict\n)R("
    for i, (name, array) in enumerate(arrays.items()):
        array = np.asarray(array)
        strides = tuple(stride // array.itemsize for stride in np.ascontiguousarray(array).strides)
        storage = _STORAGES[array.dtype.name]
        strides = strides if array.ndim else ()
        content += _text(name) + _tensor(storage, str(i), array.size, 0, array.shape, strides, old)
    return content + b"u"


def _tensor(
    storage: str,
    key: str,
    count: int,
    offset: int,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    old: bool,
) -> bytes:
    persistent = (
        b"("
        + _text("storage")
        + f"ctorch\n{storage}\n".encode()
        + _text(key)
        + _text("cpu")
        + _int(count)
    )
    persistent += (b"N" if old else b"") + b"tQ"
    view = _int(offset) + _ints(shape) + _ints(strides)
    return (
        b"ctorch._utils\n_rebuild_tensor_v2\n("
        + persistent
        + view
        + b"\x89ccollections\nOrderedDict\n)RtR"
    )


def _text(text: str) -> bytes:
    return b"X" + struct.pack("<I", len(text.encode())) + text.encode()


def _int(value: int) -> bytes:
    return pickle.dumps(value, 2)[2:-1]


def _ints(values: tuple[int, ...]) -> bytes:
    return b"(" + b"".join(map(_int, values)) + b"t"


def hashed(arrays: Mapping[str, np.ndarray] = ARRAYS) -> bytes:
    """safetensors with a hash, as they are written here."""
    return safetensors_file.to_bytes(arrays, {"format": "jaxcxr"})


def h5(arrays: Mapping[str, np.ndarray] = ARRAYS, *, compressed: bool = False) -> bytes:
    """Keras's groups."""
    import h5py

    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        root = file.create_group("model_weights")
        for name, array in arrays.items():
            layer, leaf = name.split(".")
            more = {"compression": "gzip", "shuffle": True} if compressed and np.ndim(array) else {}
            root.create_dataset(f"{layer}/{layer}/{leaf}:0", data=array, **more)
            root[layer].attrs["weight_names"] = [f"{layer}/{leaf}:0"]
    return buffer.getvalue()
