"""Patient ids: the same id for all spellings of a patient, different ids for different patients.

Two ids for one patient leak: a split may separate the patient's images. One id for two patients
only wastes data. Spellings of people and spreadsheets are therefore joined: capitals, blanks,
invisible characters (zero-width blanks, byte-order marks, soft hyphens), composed and decomposed
accents, whole numbers with a decimal point or comma (3.0, 3,0), which pandas makes of a column with
gaps, or in scientific notation (1E+05), which spreadsheets make of long ones, and leading zeros
(003, P003, IM-0115), which spreadsheets drop. Notices report what was joined.
"""

from __future__ import annotations

import dataclasses
import decimal
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping

from tfds_builders import ids

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
_NUMBER = re.compile(r"0*([0-9]+)([.,]0+)?")
_SCIENTIFIC = re.compile(r"[0-9]{1,20}([.,][0-9]{1,20})?e[+-]?[0-9]{1,3}")
_MAX_EXPONENT = 308  # of a spreadsheet's numbers
# Words and numbers: 'p003', 'im-0115', 'train-normal2-im-0383'; not the hexadecimal '0a35'.
_WORDS_AND_NUMBERS = re.compile(r"[^\W\d_]+[0-9]*([ _-][^\W\d_]*[0-9]*)*")
_LEADING_ZEROS = re.compile(r"(?<![0-9])0+(?=[0-9])")


@dataclasses.dataclass(frozen=True)
class Patients:
    """The patients of a table.

    Attributes:
        ids: text of the table -> id, equal for all spellings of one patient. Texts that name no
            patient are not keys.
        notices: the joined patients, for users of the data.
    """

    ids: Mapping[str, str]
    notices: tuple[str, ...] = ()


def key(text: str) -> str:
    """The canonical form of all spellings of one patient; '' where `text` names no patient."""
    plain = unicodedata.normalize("NFC", _tidy(text).casefold())
    if plain in _NOBODY:
        return ""
    if number := _NUMBER.fullmatch(plain):
        return number[1]
    if _SCIENTIFIC.fullmatch(plain):
        return _whole(plain) or plain
    if _WORDS_AND_NUMBERS.fullmatch(plain):
        return _LEADING_ZEROS.sub("", plain)
    return plain


def _whole(scientific: str) -> str:
    """'100000' of '1,0e+05'; '' for what is no whole number, or none of a spreadsheet."""
    value = decimal.Decimal(scientific.replace(",", "."))
    if value.adjusted() > _MAX_EXPONENT or value != value.to_integral_value():
        return ""
    return format(value.normalize(), "f")


def read(
    texts: Iterable[str],
    *,
    prefix: str,
    same: Mapping[str, str] | None = None,
    together: Iterable[tuple[str, str]] = (),
    spell: Callable[[str], str] | None = None,
) -> Patients:
    """The ids of a table's patients, `prefix`-<the first spelling>, or as `spell` writes it.

    Args:
        texts: the cells of the table's patient column, in order.
        prefix: of the ids.
        same: key of a patient -> key of the same patient under another name.
        together: pairs of texts, of patients who have an image file in common.
        spell: key of a patient -> the spelling that the id shows. A data set whose patients other
            sets name gives it: their ids are then the same in every set, whatever each table
            writes.
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

    def written(name: str) -> str:
        if spell is not None:
            return ids.distinct_id(spell(name), key=name)
        return _written(spelt.get(name, name))

    found = {text: f"{prefix}-{written(one_of(name))}" for text, name in keys.items()}
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
        found,
        (
            *_notice(others, "patients have several spellings, which are joined"),
            *_notice(joined, "patients share an image file with another one and are joined"),
        ),
    )


def unnamed(problem: str, count: int) -> str:
    """A notice about `count` images of unnamed patients: what `problem` says, and what follows."""
    return (
        f"{problem} {count} images: each counts as a patient of its own, so that images of one "
        "patient may lie in training and test and scores come out too high "
        "(data.patient_key='strict_patient_id' keeps them together, where that leaves enough "
        "patients for a split)"
    )


def _notice(pairs: list[tuple[str, str]], problem: str) -> list[str]:
    if not pairs:
        return []
    shown = ", ".join(f"{text!r} is {other!r}" for text, other in pairs[:3])
    return [f"{len(pairs)} {problem}: {shown}" + (", ..." if len(pairs) > 3 else "")]


def _tidy(text: str) -> str:
    """NFKC form with single blanks: composed characters, plain letters for full-width ones.

    Without characters that are not seen.
    """
    seen = (c for c in unicodedata.normalize("NFKC", text) if unicodedata.category(c) != "Cf")
    return " ".join("".join(seen).split())


def _written(text: str) -> str:
    """A spelling as part of an id."""
    plain = re.sub(r"^([0-9]+)[.,]0+$", r"\1", _tidy(text))
    if re.search(r"[.,+]", plain) and _SCIENTIFIC.fullmatch(plain.casefold()):
        plain = key(text)
    return ids.distinct_id(plain, key=key(text))
