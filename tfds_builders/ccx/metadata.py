"""Reads metadata.csv of any era and says which rows are frontal X-rays.

Eras: March 2020 (14 columns, 'Patientid', names with leading spaces, no modality or folder),
June 2020 (flat findings, modality, folder), October 2020 on (findings as 'Pneumonia/Viral/...',
RT_PCR_positive). Columns are found by name, so further ones do no harm.
"""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Collection
from pathlib import Path

REQUIRED = ("patientid", "finding", "view", "filename")

# 'APS' is the short form in the data set's SCHEMA.md. Laterals ('L'), CT planes ('Axial',
# 'Coronal'), '?' and blanks are not here: they are rejected.
FRONTAL_VIEWS = {
    "pa": "PA",
    "ap": "AP",
    "ap supine": "AP Supine",
    "aps": "AP Supine",
    "ap erect": "AP Erect",
}


@dataclasses.dataclass(frozen=True)
class Row:
    """One row of metadata.csv; '' where the era has no such column."""

    patient: str
    finding: str
    view: str
    modality: str
    age: str
    filename: str


@dataclasses.dataclass(frozen=True)
class Metadata:
    """The rows of one metadata.csv and the era that its columns belong to."""

    era: str
    rows: tuple[Row, ...]


def read_metadata(path: Path) -> Metadata:
    """Parses metadata.csv.

    Raises:
      ValueError: a needed column is missing; names the file and the columns it has.
    """
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        reader = csv.DictReader(file)
        names = {name.strip().lower(): name for name in reader.fieldnames or () if name}
        missing = [name for name in REQUIRED if name not in names]
        if missing:
            raise ValueError(
                f"{path}: no column {', '.join(missing)}; it has {', '.join(names) or 'none'}"
            )

        def value(record: dict, name: str) -> str:
            return (record.get(names.get(name)) or "").strip()

        rows = tuple(
            Row(
                patient=value(record, "patientid"),
                finding=value(record, "finding"),
                view=value(record, "view"),
                modality=value(record, "modality"),
                age=value(record, "age"),
                filename=value(record, "filename"),
            )
            for record in reader
        )
    if "rt_pcr_positive" in names or any(row.finding.startswith("Pneumonia/") for row in rows):
        era = "2020-10"
    else:
        era = "2020-06" if "folder" in names else "2020-03"
    return Metadata(era=era, rows=rows)


def frontal_view(view: str) -> str | None:
    """The view in its canonical spelling ('PA', 'AP', 'AP Supine', 'AP Erect'), None if another."""
    return FRONTAL_VIEWS.get(" ".join(view.lower().split()))


def reject_reason(row: Row, files: Collection[str]) -> str | None:
    """Why a row is not used, or None. `files` are the names in the image folder."""
    if row.modality and "ray" not in row.modality.lower():
        return f"modality {row.modality}"
    if frontal_view(row.view) is None:
        return f"view {row.view or 'blank'}"
    if not row.patient:
        return "no patient id"
    # A member of the listing is a plain name, so a path such as ../x can never be followed.
    if row.filename not in files:
        return "missing file"
    return None
