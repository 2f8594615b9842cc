"""Names that users gave, in what we write: of pictures, in the cells of tables, on the terminal."""

from __future__ import annotations

import hashlib
import os
import re
import sys
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxcxr.schema.shared import WEIGHTS_KINDS

# A name on common file systems has at most 255 bytes. The suffix (such as '_figure2.png'), the
# hash, and what `files.atomic_file` adds to the name while it writes (a process number, two dots,
# '.tmp') take up to 40 of them.
MAX_BYTES = 200
_MAX_PATH_BYTES = 1000  # of a system's 4096, which the run folder shares
_HASH_DIGITS = 8

_DEVICES = re.compile(
    r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$)\s*(\..*)?", re.IGNORECASE
)
_FORBIDDEN = frozenset('<>:"|?*\\')  # on Windows and on disks that it can read
_TURNS_TEXT = frozenset(("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"))
_FORMULA = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")


def is_weights_file(name: str) -> bool:
    """Returns whether `model.pretrained` means a file rather than an entry of the catalogue."""
    return Path(name).suffix in WEIGHTS_KINDS or "/" in name


class PictureNames:
    """Gives each id the name of its picture, which no other id has.

    It is '<id>.png' wherever that is harmless.

    A name is harmless where every system can have it: not too long, no control characters, nothing
    that Windows forbids, no '..', neither the name of another picture (nor but for case or
    Unicode's normal form) nor that of a folder of pictures. Otherwise what is readable of it stays,
    '~' and a hash of the id follow.
    """

    def __init__(self, suffixes: Sequence[str] = (".png",), *, reserved: Sequence[str] = ()):
        """Begins without any.

        Args:
            suffixes: what follows on an id in the names of its pictures.
            reserved: names in the same folder, and folders in it, that no picture may have.
        """
        self._suffixes = tuple(suffixes)
        self._files = {_key(name) for name in reserved}
        self._folders: set[str] = set()
        self._stems: dict[str, str] = {}

    def stem(self, picture_id: str) -> str:
        """The name, with '/' between folders, without a suffix.

        The same whenever it is asked for.
        """
        if picture_id not in self._stems:
            self._stems[picture_id] = self._new_stem(picture_id)
        return self._stems[picture_id]

    def of(self, picture_id: str) -> str:
        """The name with the first suffix."""
        return self.stem(picture_id) + self._suffixes[0]

    def _new_stem(self, picture_id: str) -> str:
        *folders, last = picture_id.split("/")
        if len(picture_id.encode(errors="replace")) > _MAX_PATH_BYTES:
            folders = []
        place = ""
        for n, folder in enumerate(folders, start=1):
            whole = "/".join(folders[:n])
            name = _harmless(folder, whole, folder=True)
            while _key(place + name) in self._files:
                name = _with_hash(name, whole)
                whole += "/"
            place += f"{name}/"
            self._folders.add(_key(place[:-1]))
        stem = place + _harmless(last, picture_id, changed="/".join([*folders, last]) != picture_id)
        salt = picture_id
        while not self._is_free(keys := {_key(stem + suffix) for suffix in self._suffixes}):
            salt += "/"
            stem = place + _with_hash(last, salt)
        self._files |= keys
        return stem

    def _is_free(self, keys: set[str]) -> bool:
        return self._files.isdisjoint(keys) and self._folders.isdisjoint(keys)


def on_disk(name: str) -> str:
    """A name as the file system is told it.

    Its bytes are UTF-8, whatever the locale says that names are.
    """
    return os.fsdecode(name.encode(errors="surrogateescape"))


def _harmless(part: str, whole: str, *, folder: bool = False, changed: bool = False) -> str:
    """A part of an id as a name; `whole` decides the hash.

    A picture's suffix follows on what is no folder.
    """
    readable = _readable(part)
    ends_badly = folder and part.endswith((" ", "."))
    same = readable == part and not ends_badly and not _DEVICES.fullmatch(part)
    return part if same and not changed and part else _with_hash(readable, whole)


def _readable(part: str) -> str:
    """Without what no name may have, cut to MAX_BYTES between characters."""
    if not part.strip("."):
        return "_" * len(part[:8])
    clean = "".join("_" if _is_harmful(character) else character for character in part)
    if len(clean.encode()) <= MAX_BYTES:
        return clean
    return clean.encode()[:MAX_BYTES].decode(errors="ignore")


def _is_harmful(character: str) -> bool:
    return character in _FORBIDDEN or _is_obeyed(character)


def _with_hash(part: str, whole: str) -> str:
    """'<as much of the part as fits>~<hash of the whole>'."""
    digest = hashlib.sha256(whole.encode(errors="surrogatepass")).hexdigest()[:_HASH_DIGITS]
    room = MAX_BYTES - _HASH_DIGITS - 1
    return f"{_readable(part).encode()[:room].decode(errors='ignore').rstrip(' .')}~{digest}"


def _key(name: str) -> str:
    """Equal for names that some file systems take for the same."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", name).casefold())


def csv_line(cells: Sequence[Any]) -> str:
    """A line of a table, in which no spreadsheet takes a text for a formula.

    A text that would begin one gets a ' in front, which spreadsheets do not show; one with a
    semicolon or a tab, which some take for the end of a cell, stands in quotes. Numbers stay what
    they are: give them as numbers.
    """
    return ",".join(map(_as_text, cells)) + "\n"


def _as_text(cell: Any) -> str:
    if not isinstance(cell, str):
        return "" if cell is None else str(cell)
    text = f"'{cell}" if _FORMULA.match(cell) else cell
    quoted = text.replace('"', '""')
    return f'"{quoted}"' if re.search(r'[",;\t\r\n]', text) else text


def printable(text: str, *, keep: str = "") -> str:
    r"""`text` with \x1b for an escape character and the like.

    These are what a terminal would obey rather than show.

    Args:
        text: anything.
        keep: control characters that stay, such as a line feed.
    """
    return "".join(
        character
        if character in keep or not _is_obeyed(character)
        else character.encode("unicode_escape", "surrogatepass").decode()
        for character in text
    )


def _is_obeyed(character: str) -> bool:
    """Returns whether a terminal obeys the character.

    A control character, half of a character or one that turns the direction of text.
    """
    return (
        unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")
        or unicodedata.bidirectional(character) in _TURNS_TEXT
    )


def print_whatever_comes() -> None:
    """Makes the standard streams print any character.

    One that the terminal's encoding lacks appears as its number.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # not where a notebook or a test took its place
            stream.reconfigure(errors="backslashreplace")  # pyright: ignore[reportAttributeAccessIssue]


def further_ensemble(text: str) -> str:
    """Folder in a study of the ensemble that an item of `study.ensembles` asks for."""
    return f"ensembles/{text.replace(' ', '')}"
