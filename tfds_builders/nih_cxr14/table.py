"""Reads NIH's Data_Entry table: findings -> class of the study, ages with and without a unit."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from tfds_builders import attributes, file_names, patient_ids, rejection, tables

# The newest first. Kaggle's sample has 5,606 of the images and a table of its own.
FILES = ("Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv", "sample_labels.csv")
REQUIRED = ("image index", "finding labels", "patient id", "patient age", "view position")

_NAME = re.compile(r"0*([0-9]+)_[0-9]{3}(\..*)?")  # patient and follow-up

NORMAL = "No Finding"
FINDINGS = (
    NORMAL, "Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Effusion", "Emphysema",
    "Fibrosis", "Hernia", "Infiltration", "Mass", "Nodule", "Pleural Thickening", "Pneumonia",
    "Pneumothorax",
)  # fmt: skip
# Which findings stand for a community-acquired pneumonia; see README.md.
PNEUMONIA = {
    "pneumonia": frozenset({"Pneumonia"}),
    "consolidation": frozenset({"Pneumonia", "Consolidation"}),
    "pneumonia_like": frozenset({"Pneumonia", "Consolidation", "Infiltration"}),
}


def find(folder: Path) -> Path | None:
    """The newest of the known tables in `folder`."""
    return next((folder / name for name in FILES if (folder / name).is_file()), None)


def label(finding_labels: str, *, cap: str) -> str:
    """Class of 'Infiltration|Pneumonia': 'normal', 'pneumonia' or ''; `cap` is a key of PNEUMONIA.

    Raises:
        ValueError: 'No Finding' beside a finding.
    """
    found = findings(finding_labels)
    if NORMAL in found and len(found) > 1:
        raise ValueError(f"finding labels {finding_labels!r} contradict each other")
    if NORMAL in found:
        return "normal"
    return "pneumonia" if found & PNEUMONIA[cap] else ""


def findings(finding_labels: str) -> set[str]:
    """{'Infiltration', 'Pneumonia'} of 'Infiltration|pneumonia', in NIH's capitals."""
    # Kaggle's sample writes No_Finding in some copies
    return {part.strip().replace("_", " ").title() for part in finding_labels.split("|")}


def age_group(age: str) -> str:
    """As `attributes.age_group`, for '58' (2020) and for '058Y', '011M', '013D' (2017)."""
    match = re.fullmatch(r"(\d{1,3})([YMD]?)", age.upper())
    if match is None:
        return ""
    # Months and days stand for children; as years they would be adults.
    years = int(match[1]) / {"": 1, "Y": 1, "M": 12, "D": 365}[match[2]]
    return attributes.age_group(f"{years:.3f}")


def reject_reason(row: tables.Row) -> rejection.Reason | None:
    """The reason to reject a row, or None."""
    if reason := rejection.view_reason(row["view position"]):
        return reason
    if not row["finding labels"]:
        return rejection.Reason("no finding labels")
    if not re.fullmatch(r"[0-9]{1,9}", patient_ids.key(row["patient id"])):
        return rejection.Reason("no patient number")
    return None


def check_patients(rows: Iterable[tables.Row], *, origin: Path) -> None:
    """Raises ValueError where a file name has another patient's number than its row.

    Such patients would be in several parts of a split.
    """
    wrong = []
    for row in rows:
        match = _NAME.fullmatch(file_names.plain(row["image index"]) or "")
        patient = patient_ids.key(row["patient id"])
        if match and patient and match[1] != patient:
            wrong.append(f"{row['image index']} has Patient ID {row['patient id']}")
    if wrong:
        shown = "; ".join(wrong[:3]) + ("; ..." if len(wrong) > 3 else "")
        raise ValueError(
            f"{origin}: {len(wrong)} rows contradict their file names, which begin with the "
            f"patient's number: {shown}. Was a column sorted without the others? Take the "
            "published table"
        )
