"""Size limits on the arrays of a weight file, checked in its headers before any array is read.

A few kilobytes can claim terabytes: as a shape, as zeros that were compressed, as a tensor that
repeats one number. Trained weights are nearly incompressible (float32 by 1.1), so a file's arrays
are not much larger than the file.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from jaxcxr.errors import InputError

HEADER_BYTES = 2 << 20  # of names, shapes and types; 1,000 arrays need 0.1 MB
ARRAYS = 2_000  # in a file: DenseNet-161 has 965
_NAME_LENGTH = 1_000
_EXPANSION = 16  # halved precision and pruned kernels compress by 2 to 8
_ALWAYS_BYTES = 64 << 20


class Allowance:
    """The bytes that a file's arrays may still take, all together.

    Each is claimed before it is made.
    """

    def __init__(self, path: Path):
        self._path = path
        self._size = path.stat().st_size
        self._left = max(_ALWAYS_BYTES, _EXPANSION * self._size)

    def claim(self, name: str, count: int) -> None:
        """Takes `count` bytes for an array.

        Raises:
            InputError: nothing is left.
        """
        self._left -= count
        if count < 0 or self._left < 0:
            raise InputError(
                f"{self._path} was not read: its {self._size:,} bytes claim to hold far larger "
                f"arrays ({shown(name)} with {count:,} bytes), which trained weights do not; take "
                "another file"
            )


def array_bytes(shape: tuple[int, ...], dtype: np.dtype) -> int:
    """Bytes of an array, without NumPy's overflow; negative where a dimension is."""
    return -1 if any(n < 0 for n in shape) else math.prod(shape) * dtype.itemsize


def check_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Raises InputError unless these are real numbers under names that can be shown."""
    if not arrays:
        raise InputError(f"{path} contains no arrays: take another file")
    if len(arrays) > ARRAYS:
        raise too_many(path, len(arrays))
    for name, array in arrays.items():
        if len(name) > _NAME_LENGTH or not name.isprintable():
            raise InputError(
                f"{path} names an array {shown(name)}: it is damaged, or contains no weights"
            )
        if not is_real(array.dtype):
            raise InputError(f"{path}: {name} holds {array.dtype}, and weights are real numbers")


def too_many(path: Path, count: int) -> InputError:
    """The error of a file with more arrays than any network has."""
    return InputError(
        f"{path} contains {count:,} arrays, and no network here has more than {ARRAYS:,}; take "
        "another file"
    )


def is_real(dtype: np.dtype) -> bool:
    """Returns whether float32 can represent a dtype, bfloat16 and 8-bit floats included."""
    return dtype.kind in "fiub" or (
        dtype.kind == "V" and dtype.isbuiltin == 2 and "float" in dtype.name
    )


def shown(name: str) -> str:
    """A name from a file that nothing is known of, for a message."""
    return ascii(name if len(name) <= 60 else f"{name[:60]}...")
