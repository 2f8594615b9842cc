"""The zip archives that .npz and .pth files are, read within bounds."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np

from jaxcxr.weights import bounds

_CHUNK_BYTES = 1 << 20
# All further methods may allocate gigabytes at their start.
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class Archive:
    """A zip archive whose members are read up to the sizes that its directory states.

    What is damaged raises whatever zipfile does: callers read within `files.reading`.
    """

    def __init__(self, path: Path):
        self._file = _Bounded(path)
        try:
            self._zip = zipfile.ZipFile(self._file)
            self._members = {member.filename: member for member in self._zip.infolist()}
            if len(self._members) < len(self._zip.infolist()):
                raise ValueError("two members of one name")
            for name in self._members:  # nothing is unpacked here, but no weights are called so
                if name.startswith("/") or ".." in name.split("/"):
                    raise ValueError(f"a member that lies outside: {bounds.shown(name)}")
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *_) -> None:
        self._zip.close()
        self._file.close()

    @property
    def names(self) -> list[str]:
        """The names of all members."""
        return list(self._members)

    def size(self, name: str) -> int:
        """Bytes of a member, as the directory states."""
        return self._members[name].file_size

    def open(self, name: str) -> Member:
        """The member `name`, to be read from its beginning."""
        return Member(self._zip, self._members[name])

    def read(self, name: str, most: int) -> bytes:
        """A member of at most `most` bytes."""
        if self.size(name) > most:
            raise ValueError(f"{bounds.shown(name)} has {self.size(name):,} bytes")
        with self.open(name) as member:
            return member.read_exactly(self.size(name), is_last=True)


class Member:
    """A member of an archive, read from its beginning on."""

    def __init__(self, archive: zipfile.ZipFile, member: zipfile.ZipInfo):
        if member.compress_type not in _METHODS or member.flag_bits & 1:
            raise ValueError(
                f"{bounds.shown(member.filename)} is encrypted, or compressed in an unusual way"
            )
        if not member.CRC and member.file_size:  # PyTorch can write files without
            member.CRC = None  # pyright: ignore[reportAttributeAccessIssue]  (zipfile then does not compare)
        self._stream = archive.open(member)

    def __enter__(self) -> Member:
        return self

    def __exit__(self, *_) -> None:
        self._stream.close()

    def read_exactly(self, count: int, *, is_last: bool = False) -> bytes:
        """`count` bytes of the member.

        Where they are the last ones there must be no more, and the checksum is compared.
        """
        content = bytearray(count)
        self._fill(memoryview(content), is_last)
        return bytes(content)

    def fill(self, array: np.ndarray) -> None:
        """Makes the rest of the member an array's numbers."""
        self._fill(array.reshape(-1, order="A").view(np.uint8).data, is_last=True)

    def _fill(self, buffer: memoryview, is_last: bool) -> None:
        at = 0
        while at < len(buffer):
            piece = self._stream.read(min(_CHUNK_BYTES, len(buffer) - at))
            if not piece:
                raise EOFError("a member ends too early")
            buffer[at : at + len(piece)] = piece
            at += len(piece)
        if is_last and self._stream.read(1):
            raise ValueError("a member goes on after its end")


class _Bounded(io.FileIO):
    """A file that zipfile cannot be made to read at once.

    It takes the directory's size from the file.
    """

    def read(self, size: int | None = -1, /) -> bytes:
        # Of the end of the file, where zipfile looks for the directory.
        if size is None or size < 0:
            size = bounds.HEADER_BYTES
        if size > bounds.HEADER_BYTES:
            raise ValueError("its directory is too long for weights")
        return super().read(size) or b""
