"""Matching of the file names in a table to files, tolerant of spelling but never ambiguous.

Tables are written on one system and read on another: Windows' separators, macOS' decomposed
accents, other capitals, a lost or another extension. A name is compared exactly first, then more
and more loosely, and matches only if that is unique among the names and among the files.
"""

from __future__ import annotations

import collections
import filecmp
import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path

# What a picture may end in; '.113564' of a DICOM number is no extension.
_EXTENSION = re.compile(r"\.(png|jpe?g|jfif|jp2|tiff?|bmp|gif|webp|dcm|dicom|img)$")

# What lies beside pictures and is none: systems' own files, texts, tables, archives.
_BESIDE = re.compile(
    r"^(thumbs\.db|desktop\.ini|icon\r|.*"
    r"\.(txt|md|rst|csv|tsv|xlsx?|ods|json|xml|ya?ml|html?|pdf|docx?|py|ipynb|log|sha256|md5"
    r"|zip|gz|tgz|tar|7z|rar))$"
    r"|^(readme|licen[cs]e|sha256sums|md5sums)"
)


def match(names: Iterable[str], files: Collection[str]) -> dict[str, str]:
    """Maps names of a table to file names; names without a file or with several are absent.

    Args:
        names: as the table writes them. One that leaves the folder by '..' is never found.
        files: plain names. Only these are ever returned, so that no path of a table is followed.
    """
    names = dict.fromkeys(names)
    matches = {name: name for name in names if name in files}
    for spelling in (plain, _stem):
        used = set(matches.values())
        files_of = _by_spelling(files, spelling)
        left = _by_spelling((name for name in names if name not in matches), spelling)
        for key, same_names in left.items():
            same_files = files_of.get(key, [])
            if len(same_names) == 1 and len(same_files) == 1 and same_files[0] not in used:
                matches[same_names[0]] = same_files[0]
    return matches


def respelt(matches: Mapping[str, str]) -> list[str]:
    """A notice about the matches under another spelling; empty if there are none."""
    others = [f"{name!r} is {file!r}" for name, file in matches.items() if name != file]
    if not others:
        return []
    shown = ", ".join(others[:3]) + (", ..." if len(others) > 3 else "")
    return [f"{len(others)} file names are spelt differently in the table: {shown}"]


def not_named(files: Iterable[str], named: Iterable[str], *, table: str) -> list[str]:
    """A notice about the pictures that no row of a table names; empty if there are none."""
    left = sorted({file for file in files if may_be_picture(file)}.difference(named))
    if not left:
        return []
    shown = ", ".join(map(repr, left[:3])) + (", ..." if len(left) > 3 else "")
    return [f"{len(left)} images are in no row of {table} and are not used: {shown}"]


def unread(folder: Path, read: Collection[Path]) -> list[str]:
    """Possible pictures below `folder` that are not among `read`, as paths relative to it."""
    left = []
    for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
        below = path.relative_to(folder)
        # macOS leaves __MACOSX/._name beside the files of an archive.
        is_passed_over = any(part.startswith((".", "__MACOSX")) for part in below.parts)
        if path not in read and not is_passed_over and may_be_picture(path.name) and path.is_file():
            left.append(below.as_posix())
    return left


def may_be_picture(name: str) -> bool:
    """Returns whether a file may be a picture, of any extension.

    Hidden files, texts, tables and archives are not.
    """
    return not name.startswith(".") and not _BESIDE.search(name.casefold())


def _by_spelling(
    names: Iterable[str], spelling: Callable[[str], str | None]
) -> dict[str, list[str]]:
    grouped: dict[str, list[str]] = collections.defaultdict(list)
    for name in names:
        if key := spelling(name):
            grouped[key].append(name)
    return grouped


def plain(name: str) -> str | None:
    """Without folders, in composed characters and small letters; None where a folder is '..'."""
    parts = [part.strip() for part in name.replace("\\", "/").split("/")]
    return None if ".." in parts else unicodedata.normalize("NFC", parts[-1].casefold())


def _stem(name: str) -> str | None:
    """As `plain`, without the extension of a picture."""
    whole = plain(name)
    return whole and _EXTENSION.sub("", whole)


def files_by_name(*folders: Path) -> dict[str, Path]:
    """The plain files of `folders` by name, the first of copies in several; no hidden ones.

    Raises:
        ValueError: files of one name in two folders that differ.
    """
    files: dict[str, Path] = {}
    for folder in folders:
        for path in sorted(folder.iterdir()):
            if not path.is_file() or path.name.startswith("."):
                continue
            first = files.setdefault(path.name, path)
            if first is not path and not filecmp.cmp(first, path, shallow=False):
                raise ValueError(
                    f"{first} and {path} have one name, and their bytes differ: keep the right one"
                )
    return files


def files_by_stem(folder: Path) -> dict[str, Path]:
    """The plain files of `folder` by stem; no hidden ones.

    Raises:
        ValueError: two files have one stem.
    """
    files: dict[str, Path] = {}
    for path in files_by_name(folder).values():
        if path.stem in files:
            raise ValueError(f"{folder}: both {files[path.stem].name} and {path.name}: keep one")
        files[path.stem] = path
    return files
