"""Files in a folder of X-rays that are plainly something else: notes, tables, documents."""

from __future__ import annotations

from pathlib import Path

from jaxcxr.data import dicom

# How the pictures begin that are read here.
SIGNATURES = (b"\x89PNG", b"\xff\xd8\xff", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"GIF8", b"BM")

# No archives: X-rays may be in one, and then it is an input that could not be used.
_SUFFIXES = frozenset(
    (".txt", ".md", ".rst", ".log", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".yaml", ".yml",
     ".html", ".htm", ".ini", ".db", ".pdf", ".rtf", ".doc", ".docx", ".odt", ".xls", ".xlsx",
     ".ods", ".md5", ".sha256")
)  # fmt: skip
_HEAD = 132  # bytes that tell DICOM


def is_stray(path: Path) -> bool:
    """Whether a file's name and its content both say that it is no X-ray.

    Either alone is not enough: DICOM files and pictures have any name, and a picture that is cut
    off or overwritten is one that could not be used, not one to leave out. A file that cannot be
    read is not called stray: whoever reads it says why.
    """
    if path.suffix.casefold() not in _SUFFIXES:
        return False
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError:
        return False
    return not head.startswith(SIGNATURES) and not dicom.is_dicom(head)
