"""Meaning of the Kermany set's file names: class, patient number, and two patient keys.

Kaggle's folders hold `person<N>_bacteria_<n>.jpeg`, `person<N>_virus_<n>.jpeg`,
`IM-<N>-<n>.jpeg` and `NORMAL2-IM-<N>-<n>.jpeg` below <train|val|test>/<NORMAL|PNEUMONIA>.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import PurePath

PNEUMONIA = re.compile(r"person(?P<number>\d+)_(?P<cause>bacteria|virus)_\d+\.jpe?g", re.IGNORECASE)
NORMAL = re.compile(r"(?P<series>NORMAL2-IM|IM)-(?P<number>\d+)-\d+(-\d+)?\.jpe?g", re.IGNORECASE)
LABELS = {"bacteria": "bacterial", "virus": "viral"}

# Kaggle took its 16 val images out of the authors' train set, so both count persons alike; the test
# set counts again from 1.
NUMBERING = {"train": "train", "val": "train", "test": "test"}


@dataclasses.dataclass(frozen=True)
class Name:
    """Meaning of one path: see the keys in README.md.

    The keys do not depend on how the number is spelt, so that every data set that has one of these
    pictures gives its patient the same: persons without zeros in front, IM with four digits, as
    published. `spelt` is what the name itself says.
    """

    label: str
    finding: str
    patient_id: str
    strict_patient_id: str
    spelt: str


def parse(path: PurePath) -> Name | None:
    """Reads <split>/<class>/<file name> off the end of `path`; None if it does not fit."""
    if len(path.parts) < 3:
        return None
    split, folder, name = path.parts[-3:]
    numbering = NUMBERING.get(split)
    if numbering is None:
        return None
    if folder == "PNEUMONIA" and (match := PNEUMONIA.fullmatch(name)):
        cause, number = match["cause"].lower(), str(int(match["number"]))
        return Name(
            label=LABELS[cause],
            finding=cause,
            patient_id=f"kcx-{numbering}-{cause}-{number}",
            strict_patient_id=f"kcx-person{number}",
            spelt=f"person{match['number']}",
        )
    if folder == "NORMAL" and (match := NORMAL.fullmatch(name)):
        series, number = match["series"].upper(), f"{int(match['number']):04d}"
        return Name(
            label="normal",
            finding="normal",
            patient_id=f"kcx-{numbering}-{series}-{number}",
            strict_patient_id=f"kcx-IM{number}",
            spelt=f"IM-{match['number']}",
        )
    return None
