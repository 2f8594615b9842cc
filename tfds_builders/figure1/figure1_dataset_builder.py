"""TFDS builder of the Figure 1 COVID-19 chest X-rays: cases that physicians posted."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import tensorflow_datasets as tfds

from tfds_builders import (
    attributes,
    choices,
    file_names,
    ids,
    patient_ids,
    rejection,
    tables,
    xray_builder,
)

REQUIRED = ("patientid", "finding", "view")
LABELS = {"covid-19": "covid19", "no finding": "normal", "pneumonia": "pneumonia"}
# This X-ray is the collection's 9C34AF49-E589-44D5-92D3-168B3B04E4A6.jpeg, of its patient 36.
CCX_PATIENTS = {"COVID-00022": "ccx-36"}
INSTRUCTIONS = """\
Expected under the manual folder (github.com/agchung/Figure1-COVID-chestxray-dataset, cloned or
unpacked; the repository states no licence, so it is not downloaded for you):
  figure1/
    metadata.csv
    images/
      COVID-00001.jpg, COVID-00003a.jpg, COVID-00015a.png, ...
"""
# Files by name, rows by file name, patient ids by what the rows say.
Images = tuple[dict[str, Path], dict[str, tables.Row], Mapping[str, str]]


class Builder(xray_builder.XrayBuilder):
    """Figure 1 and DarwinAI 2020; no options."""

    # 1.2: one id for all spellings of a patient; 1.2.2: the same in other sets
    VERSION = tfds.core.Version("1.2.2")
    BUILDER_CONFIGS = choices.all_configs({})
    MANUAL_DOWNLOAD_INSTRUCTIONS = INSTRUCTIONS
    HOMEPAGE = "https://github.com/agchung/Figure1-COVID-chestxray-dataset"

    def select(self, dl_manager: tfds.download.DownloadManager) -> xray_builder.Selection:
        root = self.manual_root(dl_manager, "figure1/metadata.csv", "figure1/images")
        origin = root / "figure1" / "metadata.csv"
        # The table has no file names: its patientid 'COVID-00003a' is the stem of one.
        files = file_names.files_by_stem(root / "figure1" / "images")
        kept, rejected, notices = tables.choose_rows(
            tables.read_table(origin, required=REQUIRED),
            files,
            file_name=lambda row: row["patientid"],
            reject_reason=reject_reason,
            origin=origin,
        )
        patients = patient_ids.read(map(patient, kept.values()), prefix="figure1", spell=spell)
        return xray_builder.Selection(
            images=(files, kept, patients.ids),
            count=len(kept),
            rejected=rejected,
            notices=[*notices, *patients.notices],
            unknown_findings=tables.unknown(
                (row["finding"] for row in kept.values()), (*LABELS, "")
            ),
            known_findings=LABELS,
        )

    def examples(self, images: Images) -> Iterator[xray_builder.Example]:
        files, kept, patients = images
        elsewhere = {patient_ids.key(name): other for name, other in CCX_PATIENTS.items()}
        for name, row in kept.items():
            patient_id = patients[patient(row)]
            yield xray_builder.Example(
                id=f"figure1-{ids.distinct_id(name)}",
                image=files[name].read_bytes(),
                patient_id=patient_id,
                strict_patient_id=elsewhere.get(patient_ids.key(patient(row)), patient_id),
                label=LABELS.get(row["finding"].casefold(), ""),
                finding=row["finding"],
                view=attributes.frontal_view(row["view"]) or "",
                source="figure1",
                age_group=attributes.age_group(row.get("age", "")),
            )


def patient(row: tables.Row) -> str:
    """'COVID-00003' of 'COVID-00003a': a letter counts the images of one patient."""
    return re.sub(r"(?<=\d)[A-Za-z]$", "", row["patientid"])


def spell(key: str) -> str:
    """The published spelling, 'COVID-00003', of a patient's key, 'covid-3'."""
    letters, _, number = key.partition("-")
    return f"{letters.upper()}-{number.zfill(5)}"


def reject_reason(row: tables.Row) -> rejection.Reason | None:
    """The reason to reject a row, or None.

    A blank view is accepted: all 55 published images are frontal.
    """
    if row["view"] and (reason := rejection.view_reason(row["view"])):
        return reason
    if not re.fullmatch(r"[A-Za-z]+-\d+[A-Za-z]?", row["patientid"]):
        return rejection.NO_PATIENT
    return None
