"""The images of COVID-CXNet's collection, the meaning of their names, and their patients.

A name is a number, then 'p' (a child) and '-' (no findings) if need be, then any image suffix:
'481p-.jpg'. metadata.csv has a row for half of them, some under another suffix.
"""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from tfds_builders import file_names, patient_ids, rejection, tables
from tfds_builders.covid_cxnet import origins

NAME = re.compile(r"(?P<number>\d+)(?P<marks>p?-?)\.(jpe?g|jfif|png|webp)", re.IGNORECASE)
REQUIRED = ("filename", "patient_id", "age", "view", "label")

# The table calls 41-year-old men 38 and 48; two X-rays of the one are, byte for byte, the other's.
SAME_PATIENT = {"48": "38"}
UNKNOWN = "covid_cxnet-unknown"


@dataclasses.dataclass(frozen=True)
class Image:
    """An image, its row of metadata.csv if it has one, and the patient id of that row."""

    path: Path
    row: tables.Row | None
    patient: str = ""

    @property
    def marks(self) -> str:
        match = NAME.fullmatch(self.path.name)
        return match["marks"] if match else ""

    @property
    def no_findings(self) -> bool:
        return "-" in self.marks

    @property
    def paediatric(self) -> bool:
        return "p" in self.marks.lower()

    @property
    def number(self) -> str:
        return self.path.stem.removesuffix(self.marks)

    @property
    def origin(self) -> str | None:
        """The other set that has the same X-ray."""
        return origins.ORIGINS.get(self.number, (None, ""))[0]

    @property
    def patient_id(self) -> str:
        """The table's patient; without a row the other set's; else a patient of its own."""
        if self.patient:
            return self.patient
        return origins.patient_id(self.number) or f"covid_cxnet-image_{self.path.stem}"


def choose(metadata: Path, folder: Path) -> tuple[dict[str, Image], rejection.Rejected, list[str]]:
    """The usable images by stem, the rejected rows and images by reason, and notices.

    Raises:
        ValueError: a file of another name in `folder`, two files of one stem, or a table that
            lacks a column or contradicts itself; says which.
    """
    files = file_names.files_by_stem(folder)
    strange = [path.name for path in files.values() if not NAME.fullmatch(path.name)]
    strange += file_names.unread(folder, list(files.values()))  # of subfolders
    if strange:
        shown = ", ".join(strange[:10]) + (", ..." if len(strange) > 10 else "")
        raise ValueError(
            f"covid_cxnet: {len(strange)} files in {folder} are not named as published "
            f"('166-.jpeg'): {shown}. Move them away."
        )
    rows, rejected, notices = tables.choose_rows(
        tables.read_table(metadata, required=REQUIRED),
        files,
        file_name=lambda row: Path(row["filename"]).stem if safe(row["filename"]) else "",
        reject_reason=lambda row: (
            None if patient_ids.key(row["patient_id"]) else rejection.NO_PATIENT
        ),
        origin=metadata,
        every_image_has_row=False,
    )
    patients = patient_ids.read(
        (row["patient_id"] for row in rows.values()), prefix="covid_cxnet", same=SAME_PATIENT
    )
    notices += patients.notices
    chosen: dict[str, Image] = {}
    seen: set[bytes] = set()
    # Of copies, one with a row.
    for name in sorted(files, key=lambda name: (name not in rows, name)):
        view = rows[name]["view"] if name in rows else ""
        digest = hashlib.sha256(files[name].read_bytes()).digest()
        if view and (reason := rejection.view_reason(view)):
            rejected.add(reason, [files[name].name])
        elif digest in seen:
            rejected.add(
                rejection.Reason("copy of another image", is_fault=False), [files[name].name]
            )
        else:
            row = rows.get(name)
            patient = patients.ids[row["patient_id"]] if row is not None else ""
            chosen[name] = Image(files[name], row, patient)
        seen.add(digest)
    return dict(sorted(chosen.items())), rejected, notices


def safe(filename: str) -> bool:
    """Returns whether `filename` is a plain name, whose stem stands for a file of the folder."""
    return not re.search(r"[/\\]", filename)


def strict_patient_ids(chosen: Mapping[str, Image]) -> dict[str, str]:
    """Stem -> key that joins a patient's images with those of the same X-rays in other sets.

    All images of unknown patients are one group: any two of them may be of one person.
    """
    elsewhere: dict[str, set[str]] = collections.defaultdict(set)
    for image in chosen.values():
        if (found := origins.strict_patient_id(image.number)) is not None:
            elsewhere[image.patient_id].add(found)
    keys = {}
    for name, image in chosen.items():
        if elsewhere[image.patient_id]:
            keys[name] = min(elsewhere[image.patient_id])  # one, save for a fault of the other set
        else:
            keys[name] = UNKNOWN if image.row is None else image.patient_id
    return keys
