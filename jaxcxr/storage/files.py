"""Files that are whole or absent: written beside, flushed to the disk, then renamed into place."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from jaxcxr.errors import InputError

TEMPORARY_SUFFIX = ".tmp"
_CHUNK_BYTES = 4 << 20
_REASON_LENGTH = 200


@contextlib.contextmanager
def reading(path: str | os.PathLike[str], what_to_do: str) -> Iterator[None]:
    """The one error of a reader.

    Whatever its block raises becomes an InputError that names the file.

    Decoders raise what they come upon in damaged bytes: IndexError, MemoryError, RecursionError,
    zlib.error, UnicodeDecodeError. An InputError passes as it is.

    Args:
        path: what the block reads.
        what_to_do: the end of the message: what the user does about it.

    Raises:
        InputError: "PATH is damaged (REASON): WHAT_TO_DO", or "PATH cannot be read: ..." where the
            system refused.
    """
    try:
        yield
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist: {what_to_do}") from error
    except Exception as error:
        if isinstance(error, OSError) and error.strerror:
            raise InputError(f"{path} cannot be read: {error.strerror}: {what_to_do}") from error
        raise InputError(f"{path} is damaged ({reason(error)}): {what_to_do}") from error


def reason(error: BaseException) -> str:
    """Message of an exception, in one line of at most 200 characters, without memory addresses."""
    text = re.sub(r"( object)? at 0x[0-9a-fA-F]+", "", " ".join(str(error).split()))
    if not text or isinstance(error, LookupError):  # a KeyError says no more than its key
        text = f"{type(error).__name__} {text}".strip()
    return text if len(text) <= _REASON_LENGTH else text[: _REASON_LENGTH - 1] + "…"


@contextlib.contextmanager
def atomic_file(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Yields a binary file that takes the place of `path` only when the block ends without error.

    A crash at any moment leaves either the old file or the new one, never a part.

    Raises:
        InputError: the disk is full, or the system refuses; the old file is untouched.
    """
    path = Path(path)
    temporary = path.parent / f".{path.name}.{os.getpid()}{TEMPORARY_SUFFIX}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        fsync_folder(path.parent)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if is_disk_full(error):
            raise InputError(disk_full(path)) from error
        if isinstance(error, OSError):
            why = error.strerror or reason(error)
            raise InputError(
                f"{path} was not written ({why}) and what was there before is untouched."
            ) from error
        raise


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """Writes `content` atomically."""
    with atomic_file(path) as file:
        file.write(content)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    r"""Writes `text` as UTF-8, atomically.

    Halves of characters, from names that are no UTF-8, are written as \udc..
    """
    write_bytes(path, text.encode(errors="backslashreplace"))


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Writes strict JSON atomically; see `jsonable` for what becomes of NumPy values and NaN."""
    write_text(path, json_text(value))


def json_text(value: Any) -> str:
    """What `write_json` writes."""
    return json.dumps(jsonable(value), indent=2, allow_nan=False) + "\n"


def write_npz(path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray]) -> None:
    """Writes a compressed `.npz` atomically; equal arrays give equal bytes."""
    for name, array in arrays.items():
        if array.dtype.hasobject:
            raise TypeError(f"{path}: array {name!r} holds Python objects; give it a plain dtype.")
    with atomic_file(path) as file:
        np.savez_compressed(file, **arrays)  # pyright: ignore[reportArgumentType]


def write_png(path: str | os.PathLike[str], image: np.ndarray) -> None:
    """Writes an image as PNG, atomically; see `encode_png` for its shapes and types."""
    write_bytes(path, encode_png(image))


def encode_png(image: np.ndarray) -> bytes:
    """Encodes an image [H, W], [H, W, 1] or [H, W, 3] of uint8, or [H, W] of uint16, as PNG."""
    if image.dtype != np.uint8 and not (image.dtype == np.uint16 and image.ndim == 2):
        raise TypeError(
            f"a PNG is written from uint8, or grey uint16, not {image.dtype} {list(image.shape)}"
        )
    if image.ndim == 3 and image.shape[-1] == 1:
        image = image[..., 0]
    if not (image.ndim == 2 or (image.ndim == 3 and image.shape[-1] == 3)):
        raise ValueError(f"an image is [H, W], [H, W, 1] or [H, W, 3], not {list(image.shape)}")
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG")
    return buffer.getvalue()


def read_json(
    path: str | os.PathLike[str],
    what_to_do: str = "put the file back, or delete the run folder and start the run again.",
) -> Any:
    """Reads a JSON file.

    Raises:
        InputError: the file is missing or is not JSON; the message names it and `what_to_do`.
    """
    with reading(path, what_to_do):
        return json.loads(Path(path).read_text(encoding="utf-8"))


def jsonable(value: Any) -> Any:
    """Returns `value` as plain JSON types: arrays become lists, NaN and infinities become null."""
    if hasattr(value, "to_dict"):  # ml_collections.ConfigDict is no Mapping
        value = value.to_dict()
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return [jsonable(item) for item in sorted(value)]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "__array__") and not isinstance(value, np.generic):
        return jsonable(np.asarray(value).tolist())
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def expanded(path: str | os.PathLike[str], fix: str) -> Path:
    """The path with the user's home folder in place of `~`.

    Raises:
        InputError: there is none, as for a user of a container without $HOME; ends with the fix.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise InputError(
            f"{path}: this user has no home folder ($HOME is not set): {fix}"
        ) from error


def remove_leftovers(folder: str | os.PathLike[str]) -> None:
    """Deletes the temporary files, anywhere below `folder`, of processes that live no more."""
    for leftover in Path(folder).rglob(f".*{TEMPORARY_SUFFIX}"):
        pid = leftover.name.removesuffix(TEMPORARY_SUFFIX).rpartition(".")[2]
        if pid.isdecimal() and not _is_alive(int(pid)):
            leftover.unlink(missing_ok=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    return True


def sha256_file(path: str | os.PathLike[str], *, fsync: bool = False) -> str:
    """Returns the hex SHA-256 of a file, read in pieces; `fsync` first forces it to the disk."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        if fsync:
            os.fsync(file.fileno())
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def fsync_folder(path: str | os.PathLike[str]) -> None:
    """Forces a folder's list of names (a rename, a new file) to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def disk_full(
    path: str | os.PathLike[str], intact: str = "what was there before is untouched"
) -> str:
    """The message where there is no room for `path`: what is intact, and what to do."""
    return (
        f"The disk is full: {path} was not written and {intact}. "
        "Free some space and start the same command again."
    )


def is_disk_full(error: BaseException | None) -> bool:
    """Returns whether `error` or its cause is a full disk or an exhausted quota."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        # TensorStore raises ValueError with the system's own words.
        if any(words in str(error) for words in ("No space left", "quota exceeded")):
            return True
        error = error.__cause__ or error.__context__
    return False
