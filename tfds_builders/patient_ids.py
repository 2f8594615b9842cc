"""Ids of patients: one for all spellings of a patient, and another one for everybody else.

Two ids for one patient let a split part the patient's images; one id for two is only a waste. So
what people and spreadsheets write differently for one patient is joined: capitals, blanks, composed
and decomposed accents, whole numbers with a decimal point (3.0), which pandas makes of a column
with gaps, and zeros in front (003, P003), which spreadsheets drop. Joined spellings are said.
"""

from __future__ import annotations

import dataclasses
import re
import unicodedata
from collections.abc import Iterable, Mapping

from tfds_builders import common

# What tables write where they know no patient.
_NOBODY = frozenset(
    {
        "",
        "-",
        "--",
        "?",
        ".",
        "nan",
        "na",
        "n/a",
        "n.a.",
        "#n/a",
        "<na>",
        "nat",
        "none",
        "null",
        "nil",
    }
    | {"unknown", "not available", "missing"}
)
_NUMBER = re.compile(r"0*([0-9]+)(\.0+)?")
_LETTERS_AND_NUMBER = re.compile(r"([^\W\d_]+[ _-]?)0*([0-9]+)")


@dataclasses.dataclass(frozen=True)
class Patients:
    """Patients of one table.

    Attributes:
        ids: text of the table -> id, alike for all spellings of one patient. Texts that name nobody
            are no keys.
        notices: who was joined, for whoever uses the data.
    """

    ids: Mapping[str, str]
    notices: tuple[str, ...] = ()


def key(text: str) -> str:
    """What all spellings of one patient have in common; '' where `text` names nobody."""
    plain = unicodedata.normalize("NFC", _tidy(text).casefold())
    if plain in _NOBODY:
        return ""
    if number := _NUMBER.fullmatch(plain):
        return number[1]
    if named := _LETTERS_AND_NUMBER.fullmatch(plain):
        return named[1] + named[2]
    return plain


def read(
    texts: Iterable[str],
    *,
    prefix: str,
    same: Mapping[str, str] | None = None,
    together: Iterable[tuple[str, str]] = (),
) -> Patients:
    """Gives each patient of a table an id, `prefix`-<the first spelling>.

    Args:
        texts: what the table writes, in its order.
        prefix: of the ids.
        same: key of a patient -> the one that it is known to be.
        together: pairs of texts, of patients who have an image file in common.
    """
    same = same or {}
    keys = {text: same.get(found, found) for text in texts if (found := key(text))}
    spelt: dict[str, str] = {}  # by key; a patient who is named by `same` alone is spelt as there
    for text, name in keys.items():
        if key(text) == name:
            spelt.setdefault(name, text)
    first = {name: name for name in keys.values()}

    def one_of(name: str) -> str:
        while first[name] != name:
            name = first[name]
        return name

    order = {name: number for number, name in enumerate(first)}
    for one, other in together:
        if one in keys and other in keys:
            a, b = sorted((one_of(keys[one]), one_of(keys[other])), key=order.__getitem__)
            first[b] = a
    ids = {
        text: f"{prefix}-{_written(spelt.get(one_of(name), one_of(name)))}"
        for text, name in keys.items()
    }
    others = [
        (text, spelt[name])
        for text, name in keys.items()
        if name in spelt and key(text) == name and text != spelt[name]
    ]
    joined = [
        (spelt.get(name, name), spelt.get(one, one))
        for name in first
        if (one := one_of(name)) != name
    ]
    return Patients(
        ids,
        (
            *_notice(others, "patients are spelt in more than one way and taken for one"),
            *_notice(joined, "patients have an image file of another one and are kept together"),
        ),
    )


def _notice(pairs: list[tuple[str, str]], what: str) -> list[str]:
    if not pairs:
        return []
    shown = ", ".join(f"{text!r} is {one!r}" for text, one in pairs[:3])
    return [f"{len(pairs)} {what}: {shown}" + (", ..." if len(pairs) > 3 else "")]


def _tidy(text: str) -> str:
    """In composed characters, with one blank for several; full-width letters and digits as plain
    ones.
    """
    return " ".join(unicodedata.normalize("NFKC", text).split())


def _written(text: str) -> str:
    """A spelling as part of an id."""
    return common.distinct_id(re.sub(r"^([0-9]+)\.0+$", r"\1", _tidy(text)), key=key(text))
