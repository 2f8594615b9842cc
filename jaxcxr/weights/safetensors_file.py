"""safetensors files, and the hash that those written here carry in their header.

The format has no checksum, and 59 of 60 flipped bits in a file's arrays are other weights without a
word. The hash is of the whole file with zeros in its own place, so that it travels with the file
and covers the header, too. Checking it takes about as long as reading the file.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save

from jaxcxr.errors import InputError
from jaxcxr.weights import bounds

HASH = "jaxcxr_sha256"
_UNKNOWN = "0" * 64
_LENGTH_BYTES = 8  # of the header's length, at the beginning
_CHUNK_BYTES = 4 << 20


@dataclasses.dataclass(frozen=True)
class Contents:
    """The contents of a file.

    Attributes:
        arrays: by name.
        metadata: the header's own, name -> text.
        is_hashed: whether the file carries a hash; it has then been verified.
    """

    arrays: dict[str, np.ndarray]
    metadata: dict[str, str]
    is_hashed: bool


def to_bytes(arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> bytes:
    """A file with these arrays, what it says of itself, and its hash.

    Equal content, equal bytes.
    """
    plain = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    content = _in_order(save(plain, metadata={**metadata, HASH: _UNKNOWN}))
    return content.replace(_UNKNOWN.encode(), hashlib.sha256(content).hexdigest().encode(), 1)


def _in_order(content: bytes) -> bytes:
    """The file with its header sorted: safetensors puts metadata in another order each time."""
    end = _LENGTH_BYTES + int.from_bytes(content[:_LENGTH_BYTES], "little")
    header = json.dumps(json.loads(content[_LENGTH_BYTES:end]), sort_keys=True).encode()
    header += b" " * (-len(header) % 8)  # the format's alignment of what follows
    return len(header).to_bytes(_LENGTH_BYTES, "little") + header + content[end:]


def read(path: Path) -> Contents:
    """Reads a file and compares its hash, where it carries one.

    What is damaged raises anything: read within `files.reading`.

    Raises:
        InputError: the hash is another.
    """
    start = _header(path)
    header = json.loads(start[_LENGTH_BYTES:])
    metadata = header.get("__metadata__", {})
    if len(header) > bounds.ARRAYS:
        raise bounds.too_many(path, len(header))
    digest = metadata.get(HASH)
    if digest is not None:
        _check_hash(path, start, digest)
    arrays = load_file(path)
    return Contents(arrays, metadata, digest is not None)


def _header(path: Path) -> bytes:
    """The header with its length before it."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = file.read(_LENGTH_BYTES)
        count = int.from_bytes(length, "little")
        if count > size - _LENGTH_BYTES:
            raise ValueError(f"a header of {count:,} bytes in a file of {size:,}")
        if count > bounds.HEADER_BYTES:
            raise ValueError(f"a header of {count:,} bytes")
        return length + file.read(count)


def _check_hash(path: Path, start: bytes, expected: str) -> None:
    written = expected.encode()
    if len(written) != len(_UNKNOWN) or start.count(written) != 1:
        raise ValueError("the hash in its header is none")
    digest = hashlib.sha256(start.replace(written, _UNKNOWN.encode()))
    with path.open("rb") as file:
        file.seek(len(start))
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    if digest.hexdigest() != expected:
        raise InputError(
            f"{path} is damaged: its SHA-256 is {digest.hexdigest()}, and its header says "
            f"{expected}; write or copy it again"
        )
