"""Small weight files that claim, or grow into, what no machine has."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable

import numpy as np

from tests.weights import samples

GIB = 1 << 30


def _deflated_zeros(start: bytes, count: int) -> bytes:
    """A raw deflate stream of `start` and `count` MiB of zeros, made by repeating one block."""
    stream = zlib.compressobj(9, zlib.DEFLATED, -15)
    first = stream.compress(start) + stream.flush(zlib.Z_FULL_FLUSH)
    block = stream.compress(bytes(1 << 20)) + stream.flush(zlib.Z_FULL_FLUSH)
    return first + block * count + stream.flush()


def _zip_of(name: str, body: bytes, size: int, *, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """An archive of one member, whatever its body is."""
    header = struct.pack("<HHHHHIIIHH", 20, 0, method, 0, 33, 1, len(body), size, len(name), 0)
    start = b"PK\x03\x04" + header + name.encode() + body
    entry = (
        b"PK\x01\x02"
        + struct.pack("<H", 20)
        + header
        + struct.pack("<HHHII", 0, 0, 0, 0, 0)
        + name.encode()
    )
    return (
        start
        + entry
        + b"PK\x05\x06"
        + struct.pack("<HHHHIIH", 0, 0, 1, 1, len(entry), len(start), 0)
    )


def _npy(shape: str, descr: str = "<f4") -> bytes:
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def _npz_zeros() -> bytes:
    header = _npy(f"({4 * GIB // 4 - 1024},)")
    return _zip_of("a.npy", _deflated_zeros(header, 4095), len(header) + 4 * GIB - 4096)


def _npz_lying() -> bytes:
    """4 GiB behind a directory that says 1 MB."""
    header = _npy("(262144,)")
    return _zip_of("a.npy", _deflated_zeros(header, 4095), len(header) + (1 << 20))


def _npz_of(*members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for i, content in enumerate(members):
            file.writestr(f"{i}.npy", content)
    return buffer.getvalue()


def _npz_long_header() -> bytes:
    start = b"\x93NUMPY\x02\x00" + struct.pack("<I", 0xFFFFFFFF)
    return _zip_of("a.npy", _deflated_zeros(start, 4000), 4000 << 20)


def _npz_lzma() -> bytes:
    properties = b"\x09\x14\x05\x00" + b"\x5d" + struct.pack("<I", 0xFFFFFFFF)
    return _zip_of("a.npy", properties + bytes(100), 1000, method=zipfile.ZIP_LZMA)


def _safetensors(header: bytes, body: bytes = b"") -> bytes:
    return struct.pack("<Q", len(header)) + header + body


def _overlapping() -> bytes:
    """2,000 arrays of the same 4 MB."""
    entry = {"dtype": "F32", "shape": [1 << 20], "data_offsets": [0, 4 << 20]}
    return _safetensors(json.dumps({f"a{i}": entry for i in range(1999)}).encode(), bytes(4 << 20))


def _entry(dtype: str, shape: list[int], start: int, end: int) -> bytes:
    return _safetensors(
        json.dumps({"a": {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}}).encode()
    )


def _pth(pickled: bytes, numbers: bytes = b"\x00\x00\x80\x3f") -> bytes:
    return samples.torch_zip({"data.pkl": pickled, "data/0": numbers})


def _pth_deflated() -> bytes:
    return _zip_of("archive/data.pkl", _deflated_zeros(b"\x80\x02", 1000), 1000 << 20)


def _pth_nested_keys() -> bytes:
    """A dict whose key is (t, t) 60 times over: hashing it takes 2^60 steps."""
    return _pth(b"\x80\x02)" + b"q\x00h\x00h\x00\x86" * 60 + b"q\x00}h\x00Ns.")


def _pth_copies() -> bytes:
    """One list of 30,000 pairs, made a dict 10,000 times."""
    pairs = b"](" + b"X\x01\x00\x00\x00aN\x86" * 30_000 + b"e\x85q\x00"
    return _pth(b"\x80\x02" + pairs + b"]" + b"ccollections\nOrderedDict\nh\x00Ra" * 10_000 + b".")


def _pth_repeated() -> bytes:
    """2,000 views of one number, 16 MB each."""
    views = b"".join(
        samples._text(f"w{i}")
        + samples._tensor("FloatStorage", "0", 1, 0, (2048, 2048), (0, 0), False)
        for i in range(1500)
    )
    return _pth(b"\x80\x02}(" + views + b"u.")


def _pth_text_as_storage() -> bytes:
    """16 MB of text where the name of a storage is wanted, which letter by letter were 700 MB."""
    text = ("\u0416" * ((16 << 20) // 2 - 100)).encode()
    pickled = b"\x80\x02\x8d" + struct.pack("<Q", len(text)) + text + b"Q."
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("archive/data.pkl", pickled)
    return buffer.getvalue()


def _legacy(pickled: bytes) -> bytes:
    start = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}]
    return b"".join(pickle.dumps(value, 2) for value in start) + pickled


BOMBS: dict[str, Callable[[], bytes]] = {
    "zeros.npz": _npz_zeros,
    "lying.npz": _npz_lying,
    "huge_shape.npz": lambda: _npz_of(_npy("(1000000, 1000000)")),
    "overflowing_shape.npz": lambda: _npz_of(_npy("(4294967296, 4294967296)")),
    "negative_shape.npz": lambda: _npz_of(_npy("(-1, 4)")),
    "long_header.npz": _npz_long_header,
    "nested_header.npz": lambda: _npz_of(_npy("(" * 9_000)),
    "wide_type.npz": lambda: _npz_of(_npy("(1,)", "<V2000000000")),
    "objects.npz": lambda: samples.npz({"a": np.array([{}], dtype=object)}),
    "lzma.npz": _npz_lzma,
    "members.npz": lambda: _npz_of(*[_npy("(0,)")] * 20_000),
    "header.safetensors": lambda: struct.pack("<Q", 1 << 60) + b"{}" + bytes(100),
    "nested.safetensors": lambda: _safetensors(b"[" * 1_900_000),
    "overlapping.safetensors": _overlapping,
    "beyond.safetensors": lambda: _entry("F32", [1 << 40], 0, 4 << 40),
    "overflowing.safetensors": lambda: _entry("F32", [1 << 62, 4], 0, 0),
    "many.safetensors": lambda: samples.safetensors(
        {f"a{i}": np.zeros(0, np.float32) for i in range(15_000)}
    ),
    "strides.pth": lambda: _pth(
        samples.tensor_pickle("FloatStorage", 1, 0, (1 << 20, 1 << 20), (0, 0))
    ),
    "storage.pth": lambda: _pth(samples.tensor_pickle("FloatStorage", 1 << 40, 0, (1,), (1,))),
    "offset.pth": lambda: _pth(samples.tensor_pickle("FloatStorage", 1, 1 << 40, (1,), (1,))),
    "repeated.pth": _pth_repeated,
    "deflated.pth": _pth_deflated,
    "nested_keys.pth": _pth_nested_keys,
    "copies.pth": _pth_copies,
    "memo.pth": lambda: _pth(b"\x80\x02}r\xff\xff\xff\x7f(X\x01\x00\x00\x00aK\x01u."),
    "instructions.pth": lambda: _pth(b"\x80\x02" + b"}" * 10_000_000 + b"."),
    "text_as_storage.pth": _pth_text_as_storage,
    "text.pth": lambda: _legacy(b"\x80\x02\x8d" + struct.pack("<Q", 1 << 62) + b"a."),
    "number.pth": lambda: _legacy(b"\x80\x02\x8b" + struct.pack("<I", 0x7FFFFFFF) + b"a."),
}


def _h5(write: Callable[..., None]) -> Callable[[], bytes]:
    def content() -> bytes:
        import h5py

        buffer = io.BytesIO()
        with h5py.File(buffer, "w") as file:
            write(h5py, file)
        return buffer.getvalue()

    return content


def _unwritten(_, file) -> None:
    file.create_dataset(
        "a/kernel", (1 << 20, 1 << 9), np.float32, chunks=(1 << 10, 1 << 9), fillvalue=1
    )


def _large_chunk(_, file) -> None:
    file.create_dataset(
        "a/kernel", (4,), np.float32, chunks=(1 << 29,), maxshape=(None,), compression="gzip"
    )


def _growing_chunk(_, file) -> None:
    """A chunk of 4 kB whose deflate stream has 1 GB."""
    dataset = file.create_dataset(
        "a/kernel", (1024,), np.float32, chunks=(1024,), compression="gzip"
    )
    stream = zlib.compressobj(9)
    first = stream.compress(bytes(1 << 20)) + stream.flush(zlib.Z_FULL_FLUSH)
    block = stream.compress(bytes(1 << 20)) + stream.flush(zlib.Z_FULL_FLUSH)
    dataset.id.write_direct_chunk((0,), first + block * 1000 + stream.flush())


def _elsewhere(h5py, file) -> None:
    file["a"] = h5py.ExternalLink("/etc/passwd", "/")


def _virtual(h5py, file) -> None:
    layout = h5py.VirtualLayout((1 << 30,), np.float32)
    layout[:4] = h5py.VirtualSource("other.h5", "a", (4,))
    file.create_virtual_dataset("a/kernel", layout)


def _raw_elsewhere(_, file) -> None:
    file.create_dataset("a/kernel", (4,), np.float32, external=[("/dev/zero", 0, 16)])


def _circle(_, file) -> None:
    group = file.create_group("a")
    group["b"] = group["c"] = group


def _softly(h5py, file) -> None:
    file["a"] = h5py.SoftLink("/a")


def _text_values(_, file) -> None:
    file["a/kernel"] = ["text"] * 4


HDF5_BOMBS: dict[str, Callable[[], bytes]] = {
    write.__name__.strip("_") + ".h5": _h5(write)
    for write in (
        _unwritten, _large_chunk, _growing_chunk, _elsewhere, _virtual, _raw_elsewhere, _circle,
        _softly, _text_values,
    )
}  # fmt: skip
