"""TFDS builder of Hannover's COVID-19 X-rays: classes from the days between X-ray and admission."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import tensorflow_datasets as tfds

from tfds_builders import (
    attributes,
    choices,
    file_names,
    github,
    patient_ids,
    rejection,
    tables,
    xray_builder,
)
from tfds_builders.hannover import patients

COMMIT = "ad7ab099b425f16e06bba22322336b7d6a732965"  # the newest; data of version 2.0
URL = github.archive_url("ml-workgroup/covid-19-image-repository", COMMIT)
REQUIRED = ("patient_id", "image_id", "admission_offset", "modality", "projection")
MAX_DAYS = 3650
INSTRUCTIONS = """\
Expected under the manual folder (github.com/ml-workgroup/covid-19-image-repository, cloned or
unpacked; version 2.0 of the data, since version 1.0 has wrong dates):
  hannover/
    data.csv
    png/
      00870a9c.png, ...
"""
# Files by name, rows by file name, patient ids by what the rows say.
Images = tuple[dict[str, Path], dict[str, tables.Row], Mapping[str, str]]


class Builder(xray_builder.XrayBuilder):
    """Winther et al. 2020.

    Option `before_admission`: the classes of X-rays from before the patient came ('left_out' |
    'guideline': the data set's authors' | 'published': COVID-CXNet's).
    """

    # 1.2: one id for all spellings of a patient; 1.2.2: the same in other sets;
    # offsets of years are refused
    VERSION = tfds.core.Version("1.2.2")
    BUILDER_CONFIGS = choices.all_configs(
        {"before_admission": ("left_out", "guideline", "published")}
    )
    MANUAL_DOWNLOAD_INSTRUCTIONS = INSTRUCTIONS
    HOMEPAGE = "https://github.com/ml-workgroup/covid-19-image-repository"

    def select(self, dl_manager: tfds.download.DownloadManager) -> xray_builder.Selection:
        folder = github.find_or_download(
            dl_manager,
            name="hannover",
            url=URL,
            commit=COMMIT,
            paths=("data.csv", "png"),
            instructions=INSTRUCTIONS,
        )
        origin = folder / "data.csv"
        files = file_names.files_by_name(folder / "png")
        kept, rejected, notices = tables.choose_rows(
            tables.read_table(origin, required=REQUIRED),
            files,
            file_name=lambda row: f"{row['image_id']}.png",
            reject_reason=reject_reason,
            origin=origin,
        )
        known = patient_ids.read(
            (row["patient_id"] for row in kept.values()), prefix="hannover", spell=patients.spell
        )
        return xray_builder.Selection(
            images=(files, kept, known.ids),
            count=len(kept),
            rejected=rejected,
            notices=[*notices, *known.notices],
        )

    def examples(self, images: Images) -> Iterator[xray_builder.Example]:
        files, kept, known = images
        for name, row in kept.items():
            path, patient_id = files[name], known[row["patient_id"]]
            try:
                label, finding = classify(
                    row["admission_offset"], rule=self.options["before_admission"]
                )
            except ValueError as error:
                raise ValueError(f"hannover: {path.name}: {error}") from error
            yield xray_builder.Example(
                id=f"hannover-{path.stem}",
                image=path.read_bytes(),
                patient_id=patient_id,
                strict_patient_id=patients.strict_patient_id(patient_id.removeprefix("hannover-")),
                label=label,
                finding=finding,
                view=attributes.frontal_view(row["projection"]) or "",
                source="hannover",
                age_group=attributes.age_group(row.get("age", "")),
            )


def classify(admission_offset: str, *, rule: str) -> tuple[str, str]:
    """(class, finding) by the days from the X-ray to the admission, negative after it.

    Args:
        admission_offset: as in data.csv, '' unknown.
        rule: 'published': over 14 days normal, else covid19, unknown included. 'guideline': over 14
            normal, 7 to 14 and unknown '', under 7 covid19. 'left_out': as that, with '' for
            normal.

    Raises:
        ValueError: not a number, or of more than ten years.
    """
    days = math.nan
    if admission_offset:
        if not re.fullmatch(r"[+-]?\d+(\.\d+)?", admission_offset):
            raise ValueError(f"admission_offset {admission_offset!r} is not a number of days")
        days = float(admission_offset)
        if abs(days) > MAX_DAYS:
            raise ValueError(
                f"admission_offset {admission_offset!r} is over {MAX_DAYS} days, ten years: it "
                "looks like a date, as spreadsheets write it; put in the days from the X-ray to "
                "the admission"
            )
    if days > 14:
        return "" if rule == "left_out" else "normal", "more than 14 days before admission"
    if days < 7:
        return "covid19", "COVID-19"
    label = "covid19" if rule == "published" else ""
    return label, "admission unknown" if math.isnan(days) else "7 to 14 days before admission"


def reject_reason(row: tables.Row) -> rejection.Reason | None:
    """The reason to reject a row, or None."""
    reason = rejection.modality_reason(row["modality"]) or rejection.view_reason(row["projection"])
    if reason is not None:
        return reason
    return None if patient_ids.key(row["patient_id"]) else rejection.NO_PATIENT
