"""NumPy's .npz files: a zip archive with an array in each member."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from jaxcxr.weights import bounds
from jaxcxr.weights.archive import Archive, Member

_HEADER_BYTES = 10_000  # of one array; what NumPy itself trusts


def read(path: Path) -> dict[str, np.ndarray]:
    """The arrays by name. What is damaged raises anything: read within `files.reading`."""
    allowance, arrays = bounds.Allowance(path), {}
    with Archive(path) as archive:
        if len(archive.names) > bounds.ARRAYS:
            raise bounds.too_many(path, len(archive.names))
        for name in archive.names:
            if not name.endswith(".npy"):
                raise ValueError(f"{bounds.shown(name)} is no array")
            with archive.open(name) as member:
                shape, dtype, is_fortran = _header(member, archive.size(name))
                short = name.removesuffix(".npy")
                allowance.claim(short, bounds.array_bytes(shape, dtype))
                array = np.empty(shape, dtype, "F" if is_fortran else "C")
                member.fill(array)
                arrays[short] = array
    return arrays


def _header(member: Member, size: int) -> tuple[tuple[int, ...], np.dtype, bool]:
    """(shape, dtype, whether columns come first), once they fit the member's size."""
    start = member.read_exactly(npy.MAGIC_LEN)
    version = npy.read_magic(io.BytesIO(start))
    readers = {(1, 0): (2, npy.read_array_header_1_0), (2, 0): (4, npy.read_array_header_2_0)}
    if version not in readers:  # 3.0 is for names of fields beyond Latin-1
        raise ValueError(f"an array of version {version}")
    width, read_header = readers[version]
    length = member.read_exactly(width)
    count = int.from_bytes(length, "little")
    if count > _HEADER_BYTES:
        raise ValueError(f"a header of {count:,} bytes")
    shape, is_fortran, dtype = read_header(
        io.BytesIO(length + member.read_exactly(count)), max_header_size=_HEADER_BYTES
    )
    if not bounds.is_real(dtype):
        raise ValueError(f"{dtype} values, and weights are real numbers")
    expected = npy.MAGIC_LEN + width + count + bounds.array_bytes(shape, dtype)
    if expected != size:
        raise ValueError(f"shape {list(shape)} of {dtype} in {size:,} bytes")
    return shape, dtype, is_fortran
