"""metadata.csv of any era, and the selection of its frontal X-rays.

Eras: March 2020 (14 columns, 'Patientid', names with leading spaces, no modality or folder),
June 2020 (flat findings, modality, folder), October 2020 on (findings as 'Pneumonia/Viral/...',
RT_PCR_positive). Columns are found by name, so further ones do no harm.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path

from tfds_builders import file_names, patient_ids, rejection, tables
from tfds_builders.ccx import labels

REQUIRED = ("patientid", "finding", "view", "filename")


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of metadata.csv; '' for columns that its era does not have."""

    patient: str
    finding: str
    view: str
    modality: str
    age: str
    filename: str


@dataclasses.dataclass(frozen=True)
class Metadata:
    """The rows of a metadata.csv, the era of its columns, and assumptions made in reading."""

    era: str
    rows: tuple[Row, ...]
    notices: tuple[str, ...] = ()


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
    return Metadata(era=era, rows=rows, notices=table.notices)


def read_patients(rows: Iterable[Row]) -> patient_ids.Patients:
    """The patients of a table, equal for every builder that reads it.

    Patients of the same file are the same patient.
    """
    first: dict[str, str] = {}
    together = []
    rows = [row for row in rows if patient_ids.key(row.patient)]
    for row in rows:
        if name := file_names.plain(row.filename):
            together.append((first.setdefault(name, row.patient), row.patient))
    return patient_ids.read(
        (row.patient for row in rows),
        prefix="ccx",
        same=labels.SAME_PATIENT,
        together=together,
        spell=str,
    )


def reject_reason(row: Row) -> rejection.Reason | None:
    """The reason to reject a row, whether or not it has a file; None if it is usable."""
    if row.modality and (reason := rejection.modality_reason(row.modality)):
        return reason
    if reason := rejection.view_reason(row.view):
        return reason
    return None if patient_ids.key(row.patient) else rejection.NO_PATIENT
