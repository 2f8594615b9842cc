"""Reads metadata.csv of any era and says which rows are frontal X-rays.

Eras: March 2020 (14 columns, 'Patientid', names with leading spaces, no modality or folder),
June 2020 (flat findings, modality, folder), October 2020 on (findings as 'Pneumonia/Viral/...',
RT_PCR_positive). Columns are found by name, so further ones do no harm.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from pathlib import Path

from tfds_builders import common, tables

REQUIRED = ("patientid", "finding", "view", "filename")


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
    table = tables.read_table(path, required=REQUIRED)
    rows = tuple(
        Row(
            patient=row["patientid"],
            finding=row["finding"],
            view=row["view"],
            modality=row.get("modality", ""),
            age=row.get("age", ""),
            filename=row["filename"],
        )
        for row in table.rows
    )
    if "rt_pcr_positive" in table.columns or any(
        row.finding.startswith("Pneumonia/") for row in rows
    ):
        era = "2020-10"
    else:
        era = "2020-06" if "folder" in table.columns else "2020-03"
    return Metadata(era=era, rows=rows)


def reject_reason(row: Row, files: Collection[str]) -> str | None:
    """Why a row is not used, or None. `files` are the names in the image folder."""
    if row.modality and "ray" not in row.modality.lower():
        return f"modality {row.modality}"
    if common.frontal_view(row.view) is None:
        return f"view {row.view or 'blank'}"
    if not row.patient:
        return "no patient id"
    # A member of the listing is a plain name, so a path such as ../x can never be followed.
    if row.filename not in files:
        return "missing file"
    return None
