"""TFDS builder of the Figure 1 COVID-19 chest X-rays: cases that physicians posted."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import tensorflow_datasets as tfds

from tfds_builders import common, patient_ids, rejection, tables

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
CONFIGS = common.all_configs({})


class Builder(tfds.core.GeneratorBasedBuilder):
    """Figure 1 and DarwinAI 2020, one split "main"."""

    VERSION = tfds.core.Version("1.2.1")  # 1.2: one id for all spellings of a patient
    BUILDER_CONFIGS = CONFIGS
    MANUAL_DOWNLOAD_INSTRUCTIONS = INSTRUCTIONS

    @classmethod
    def configure(cls, **options: str) -> common.ChoiceConfig:
        """The only config; this data set has no options."""
        return common.find_config(CONFIGS, **options)

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            features=common.cxr_features(),
            metadata=tfds.core.MetadataDict(),
            homepage="https://github.com/agchung/Figure1-COVID-chestxray-dataset",
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
        root = common.require_manual(
            dl_manager,
            name="figure1",
            paths=("figure1/metadata.csv", "figure1/images"),
            instructions=INSTRUCTIONS,
        )
        origin = root / "figure1" / "metadata.csv"
        # The table has no file names: its patientid 'COVID-00003a' is the stem of one.
        files = common.files_by_stem(root / "figure1" / "images")
        kept, rejected, notices = tables.choose_rows(
            tables.read_table(origin, required=REQUIRED),
            files,
            file_name=lambda row: row["patientid"],
            reject_reason=reject_reason,
            origin=origin,
        )
        patients = patient_ids.read(map(patient, kept.values()), prefix="figure1")
        rejection.record_counts(
            self,
            kept=len(kept),
            rejected=rejected,
            notices=[*notices, *patients.notices],
            unknown_findings=tables.unknown(
                (row["finding"] for row in kept.values()), (*LABELS, "")
            ),
            known_findings=LABELS,
        )
        return {common.SPLIT: self._generate_examples(files, kept, patients.ids)}

    def _generate_examples(
        self, files: dict[str, Path], kept: dict[str, tables.Row], patients: Mapping[str, str]
    ) -> Iterator[tuple[str, dict]]:
        images = (
            (
                f"figure1-{common.distinct_id(name)}",
                listed(files[name], row, patients[patient(row)]),
            )
            for name, row in kept.items()
        )
        return tables.examples(images, source="figure1")


def listed(path: Path, row: tables.Row, patient_id: str) -> tables.Listed:
    """The metadata of one image."""
    elsewhere = {patient_ids.key(name): other for name, other in CCX_PATIENTS.items()}
    return tables.Listed(
        image=path,
        patient_id=patient_id,
        strict_patient_id=elsewhere.get(patient_ids.key(patient(row)), patient_id),
        label=LABELS.get(row["finding"].casefold(), ""),
        finding=row["finding"],
        view=common.frontal_view(row["view"]) or "",
        age_group=common.age_group(row.get("age", "")),
    )


def patient(row: tables.Row) -> str:
    """'COVID-00003' of 'COVID-00003a': a letter counts the images of one patient."""
    return re.sub(r"(?<=\d)[A-Za-z]$", "", row["patientid"])


def reject_reason(row: tables.Row) -> rejection.Reason | None:
    """The reason to reject a row, or None.

    A blank view is accepted: all 55 published images are frontal.
    """
    if row["view"] and (reason := rejection.view_reason(row["view"])):
        return reason
    if not re.fullmatch(r"[A-Za-z]+-\d+[A-Za-z]?", row["patientid"]):
        return rejection.NO_PATIENT
    return None
