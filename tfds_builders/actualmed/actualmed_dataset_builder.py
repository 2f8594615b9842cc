"""TFDS builder of the Actualmed COVID-19 chest X-rays: a clinic's, with one row per image."""

from __future__ import annotations

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

REQUIRED = ("patientid", "finding", "view", "imagename")
INSTRUCTIONS = """\
Expected under the manual folder (github.com/agchung/Actualmed-COVID-chestxray-dataset, cloned or
unpacked; the repository states no licence, so it is not downloaded for you):
  actualmed/
    metadata.csv
    images/
      CR.1.2.840.113564.1722810170.20200313090023421700.1003000225002.png, ...
"""
FINDINGS = ("COVID-19", "No finding", "")  # blank: inconclusive
# Files by name, rows by file name, patient ids by what the rows say.
Images = tuple[dict[str, Path], dict[str, tables.Row], Mapping[str, str]]


class Builder(xray_builder.XrayBuilder):
    """Actualmed and Universitat Jaume I 2020.

    Option `no_finding`: the class where COVID-19 was excluded ('normal' | 'left_out').
    """

    VERSION = tfds.core.Version("1.2.1")  # 1.2: one id for all spellings of a patient
    BUILDER_CONFIGS = choices.all_configs({"no_finding": ("normal", "left_out")})
    MANUAL_DOWNLOAD_INSTRUCTIONS = INSTRUCTIONS
    HOMEPAGE = "https://github.com/agchung/Actualmed-COVID-chestxray-dataset"

    def select(self, dl_manager: tfds.download.DownloadManager) -> xray_builder.Selection:
        root = self.manual_root(dl_manager, "actualmed/metadata.csv", "actualmed/images")
        origin = root / "actualmed" / "metadata.csv"
        files = file_names.files_by_name(root / "actualmed" / "images")
        kept, rejected, notices = tables.choose_rows(
            tables.read_table(origin, required=REQUIRED),
            files,
            file_name=lambda row: row["imagename"],
            reject_reason=reject_reason,
            origin=origin,
        )
        patients = patient_ids.read((row["patientid"] for row in kept.values()), prefix="actualmed")
        return xray_builder.Selection(
            images=(files, kept, patients.ids),
            count=len(kept),
            rejected=rejected,
            notices=[*notices, *patients.notices],
            unknown_findings=tables.unknown((row["finding"] for row in kept.values()), FINDINGS),
            known_findings=FINDINGS,
        )

    def examples(self, images: Images) -> Iterator[xray_builder.Example]:
        files, kept, patients = images
        image_ids = ids.unique_ids(kept, prefix="actualmed")
        labels = {
            "covid-19": "covid19",
            "no finding": "normal" if self.options["no_finding"] == "normal" else "",
        }
        for name, row in kept.items():
            patient_id = patients[row["patientid"]]
            yield xray_builder.Example(
                id=image_ids[name],
                image=files[name].read_bytes(),
                patient_id=patient_id,
                strict_patient_id=patient_id,
                label=labels.get(row["finding"].casefold(), ""),
                finding=row["finding"],
                view=attributes.frontal_view(row["view"]) or "",
                source="actualmed",
                age_group=attributes.age_group(row.get("age", "")),
            )


def reject_reason(row: tables.Row) -> rejection.Reason | None:
    """The reason to reject a row, or None."""
    if reason := rejection.view_reason(row["view"]):
        return reason
    return None if patient_ids.key(row["patientid"]) else rejection.NO_PATIENT
