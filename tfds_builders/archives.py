"""Safe extraction of .tar.gz archives: size limits, atomic, never a byte outside the folder."""

from __future__ import annotations

import errno
import gzip
import io
import os
import platform
import re
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath

_CHUNK = 1 << 20
_BLOCK = 512  # of a tar file; at least one of zeros ends it
_HEADERS = 8 << 10  # bytes of headers and padding that a member may have
_MAX_NAME = 1000  # characters of a member's path
_OF_THE_SYSTEM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)


def extract_tar(
    archive: Path,
    folder: Path,
    *,
    wanted: Callable[[str], bool],
    max_bytes: int,
    max_members: int,
    commit: str | None = None,
) -> Path:
    """Unpacks a .tar.gz with one top folder; its selected content becomes `folder`, atomically.

    The stream is read to its end, since gzip's checksum stands there and tarfile stops before it.

    Args:
        archive: the file.
        folder: must not exist yet.
        wanted: told a file's path below the top folder; others are skipped.
        max_bytes: limit on the unpacked size of all members together.
        max_members: limit on their number.
        commit: the git commit that must be recorded in the archive (`git archive` writes it).

    Raises:
        ValueError: damaged, too large, of another commit, or a member that leaves the folder or is
            not a plain file; `folder` is then untouched.
        OSError: the disk is full, or `folder` is not to be written to.
    """
    if not hasattr(tarfile, "data_filter"):
        raise ValueError(
            f"{archive}: Python {platform.python_version()} cannot tell which members are unsafe; "
            "take Python 3.11.4 or newer, or name a folder that has the files (data.manual_dir)"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as scratch:
        try:
            with gzip.open(archive) as stream:
                limited = _Limited(stream, max_bytes + max_members * _HEADERS)
                top = _extract(limited, scratch, wanted, max_bytes, max_members, commit)
        except _RefusedError as error:
            raise ValueError(f"{archive}: {error}; nothing was unpacked") from error
        except tarfile.FilterError as error:
            raise ValueError(f"{archive}: unsafe member, nothing unpacked ({error})") from error
        except Exception as error:
            # A dozen types, of tarfile, gzip, zlib and the file system's names.
            if isinstance(error, OSError) and error.errno in _OF_THE_SYSTEM:
                raise
            problem = str(error) or type(error).__name__
            raise ValueError(f"{archive}: damaged archive ({problem}); fetch it again") from error
        os.replace(Path(scratch) / top, folder)
    return folder


class _RefusedError(Exception):
    """An intact archive is refused: its size, its members or its commit."""


class _Limited(io.RawIOBase):
    """A stream that is read forwards, up to a limit, in pieces that fit into memory.

    tarfile reads a member's long name or extended header in one piece, of whatever size the file
    claims.
    """

    def __init__(self, stream: gzip.GzipFile, limit: int):
        self._stream, self._limit = stream, limit

    def read(self, size: int = -1, /) -> bytes:
        if not 0 <= size <= _CHUNK:
            raise _RefusedError(f"a header of {size} bytes")
        data = self._stream.read(size)
        self._check()
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        if whence == os.SEEK_SET and offset > self._limit:
            raise _RefusedError(f"unpacks to more than {self._limit} bytes with its headers")
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def _check(self) -> None:
        if self._stream.tell() > self._limit:
            raise _RefusedError(f"unpacks to more than {self._limit} bytes with its headers")


def _extract(
    stream: _Limited,
    scratch: str,
    wanted: Callable[[str], bool],
    max_bytes: int,
    max_members: int,
    commit: str | None,
) -> str:
    """Unpacks into `scratch`; returns the name of the top folder."""
    tops: set[str] = set()
    size = 0
    with tarfile.open(fileobj=stream, mode="r:") as tar:
        for count, member in enumerate(tar, start=1):
            size += max(member.size, 0)
            if size > max_bytes or count > max_members:
                raise _RefusedError(
                    f"unpacks to more than {max_bytes} bytes or {max_members} members"
                )
            if len(member.name) > _MAX_NAME:
                raise _RefusedError(f"a name of {len(member.name)} characters")
            # Of every member, so that none is skipped silently.
            tarfile.data_filter(member, scratch)
            top, _, below = member.name.partition("/")
            if not wanted(below) or member.isdir():
                continue
            _check_member(member, scratch)
            tar.extract(member, scratch, filter="data")
            tops.add(top)
        _check_end(stream, tar.offset)
        if commit is not None and tar.pax_headers.get("comment") != commit:
            stated = tar.pax_headers.get("comment", "none")
            raise _RefusedError(f"made of commit {stated}, expected {commit}")
    if len(tops) != 1:
        raise _RefusedError(f"{len(tops)} top folders with wanted files, expected one")
    return tops.pop()


def _check_member(member: tarfile.TarInfo, scratch: str) -> None:
    name = member.name
    if not member.isfile() or member.issparse():
        raise _RefusedError(f"member {name!r} is not a plain file")
    parts = name.split("/")
    if len(parts) < 2 or any(part in ("", ".", "..") for part in parts):
        raise _RefusedError(f"member {name!r} is not below a top folder")
    if re.search(r"[\x00-\x1f\x7f\\]|^[A-Za-z]:|/[A-Za-z]:", name):
        raise _RefusedError(f"member {name!r} has a name that means something else elsewhere")
    # Also in other capitals, where that is the same.
    if os.path.lexists(Path(scratch) / PurePosixPath(name)):
        raise _RefusedError(f"member {name!r} is there twice")


def _check_end(stream: _Limited, offset: int) -> None:
    """Reads to the end of the stream, which compares the checksum; what follows the last member
    must be zeros.
    """
    stream.seek(offset)
    length = 0
    while data := stream.read(_CHUNK):
        length += len(data)
        if data.strip(b"\0"):
            raise _RefusedError("damaged archive: something follows the last member")
    if length < _BLOCK:
        raise _RefusedError("damaged archive: it is cut off")
