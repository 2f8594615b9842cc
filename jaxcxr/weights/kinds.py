"""File types by their first bytes, to name files that are not the weights they should be."""

from __future__ import annotations

import codecs
from pathlib import Path

_START_BYTES = 512
_MAGIC = {
    b"\x1f\x8b": "is a gzip archive: unpack it",
    b"BZh": "is a bzip2 archive: unpack it",
    b"\xfd7zXZ\x00": "is an xz archive: unpack it",
    b"7z\xbc\xaf\x27\x1c": "is a 7z archive: unpack it",
    b"%PDF-": "is a PDF document, not weights: name the file of the weights",
    b"\x89PNG": "is a picture, not weights: name the file of the weights",
}
# Formats of weights -> the suffixes under which they are read.
_WEIGHTS = {
    b"\x89HDF\r\n\x1a\n": ("HDF5", (".h5", ".hdf5")),
    b"PK\x03\x04": ("a zip archive", (".npz", ".pth", ".pt", ".bin", ".tar")),
}


def problem(path: Path) -> str | None:
    """The reason why a file cannot be weights of its suffix, by its first bytes, or None.

    For example "is a web page, ...".
    """
    with path.open("rb") as file:
        start = file.read(_START_BYTES)
    if not start:
        return "is empty: take another copy of it"
    if start.startswith(b"version https://git-lfs"):
        return (
            "is a Git LFS pointer, not the weights it points to: fetch them with `git lfs pull`, "
            "or download them"
        )
    for magic, what in _MAGIC.items():
        if start.startswith(magic):
            return what
    if start[257:262] == b"ustar":
        return (
            "is a tar archive: unpack it, or, if PyTorch wrote it so before 2017, load it there "
            "and save it again with torch.save"
        )
    for magic, (name, suffixes) in _WEIGHTS.items():
        if start.startswith(magic) and path.suffix not in suffixes:
            return f"is {name} by its first bytes: rename it so that it ends in {suffixes[0]}"
    return _text_problem(start)


def _text_problem(start: bytes) -> str | None:
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        start = start.decode("utf-16", errors="ignore").encode()
    start = start.removeprefix(b"\xef\xbb\xbf")
    # Every format of weights has some.
    if any(byte < 32 and byte not in b"\t\n\v\f\r" for byte in start):
        return None
    if start.lstrip().startswith(b"<"):
        return "is a web page, not weights: take the file that the page is about"
    try:
        codecs.getincrementaldecoder("utf-8")().decode(start)  # the last character may be cut
    except UnicodeDecodeError:
        return None
    return "is text, not weights: take another copy of it"
