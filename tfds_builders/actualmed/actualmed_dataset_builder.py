"""TFDS builder of the Actualmed COVID-19 chest X-rays: a clinic's, with one row per image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import tensorflow_datasets as tfds

from tfds_builders import common, patient_ids, rejection, tables

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
CONFIGS = common.all_configs({"no_finding": ("normal", "left_out")})


class Builder(tfds.core.GeneratorBasedBuilder):
    """Actualmed and Universitat Jaume I 2020, one split "main"."""

    VERSION = tfds.core.Version("1.2.1")  # 1.2: one id for all spellings of a patient
    BUILDER_CONFIGS = CONFIGS
    MANUAL_DOWNLOAD_INSTRUCTIONS = INSTRUCTIONS

    @classmethod
    def configure(cls, **options: str) -> common.ChoiceConfig:
        """Config of `no_finding`, the class where COVID-19 was excluded ('normal' | 'left_out')."""
        return common.find_config(CONFIGS, **options)

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            features=common.cxr_features(),
            metadata=tfds.core.MetadataDict(),
            homepage="https://github.com/agchung/Actualmed-COVID-chestxray-dataset",
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
        root = common.require_manual(
            dl_manager,
            name="actualmed",
            paths=("actualmed/metadata.csv", "actualmed/images"),
            instructions=INSTRUCTIONS,
        )
        origin = root / "actualmed" / "metadata.csv"
        files = common.files_by_name(root / "actualmed" / "images")
        kept, rejected, notices = tables.choose_rows(
            tables.read_table(origin, required=REQUIRED),
            files,
            file_name=lambda row: row["imagename"],
            reject_reason=reject_reason,
            origin=origin,
        )
        patients = patient_ids.read((row["patientid"] for row in kept.values()), prefix="actualmed")
        rejection.record_counts(
            self,
            kept=len(kept),
            rejected=rejected,
            notices=[*notices, *patients.notices],
            unknown_findings=tables.unknown((row["finding"] for row in kept.values()), FINDINGS),
            known_findings=FINDINGS,
        )
        return {common.SPLIT: self._generate_examples(files, kept, patients.ids)}

    def _generate_examples(
        self, files: dict[str, Path], kept: dict[str, tables.Row], patients: Mapping[str, str]
    ) -> Iterator[tuple[str, dict]]:
        ids = common.unique_ids(kept, prefix="actualmed")
        no_finding = common.options_of(self)["no_finding"]
        labels = {
            "covid-19": "covid19",
            "no finding": "normal" if no_finding == "normal" else "",
        }

        def listed(name: str, row: tables.Row) -> tables.Listed:
            patient_id = patients[row["patientid"]]
            return tables.Listed(
                image=files[name],
                patient_id=patient_id,
                strict_patient_id=patient_id,
                label=labels.get(row["finding"].casefold(), ""),
                finding=row["finding"],
                view=common.frontal_view(row["view"]) or "",
                age_group=common.age_group(row.get("age", "")),
            )

        return tables.examples(
            ((ids[name], listed(name, row)) for name, row in kept.items()), source="actualmed"
        )


def reject_reason(row: tables.Row) -> rejection.Reason | None:
    """The reason to reject a row, or None."""
    if reason := rejection.view_reason(row["view"]):
        return reason
    return None if patient_ids.key(row["patientid"]) else rejection.NO_PATIENT
