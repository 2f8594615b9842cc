"""TFDS builder of Hannover's COVID-19 X-rays: classes from the days between X-ray and admission."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import tensorflow_datasets as tfds

from tfds_builders import common, github, patient_ids, rejection, tables
from tfds_builders.hannover import patients

COMMIT = "ad7ab099b425f16e06bba22322336b7d6a732965"  # the newest; data of version 2.0
URL = github.archive_url("ml-workgroup/covid-19-image-repository", COMMIT)
REQUIRED = ("patient_id", "image_id", "admission_offset", "modality", "projection")
INSTRUCTIONS = """\
Expected under the manual folder (github.com/ml-workgroup/covid-19-image-repository, cloned or
unpacked; version 2.0 of the data, since version 1.0 has wrong dates):
  hannover/
    data.csv
    png/
      00870a9c.png, ...
"""
CONFIGS = common.all_configs({"before_admission": ("left_out", "guideline", "published")})


class Builder(tfds.core.GeneratorBasedBuilder):
    """Winther et al. 2020, one split "main"."""

    VERSION = tfds.core.Version("1.2.1")  # 1.2: one id for all spellings of a patient
    BUILDER_CONFIGS = CONFIGS
    MANUAL_DOWNLOAD_INSTRUCTIONS = INSTRUCTIONS

    @classmethod
    def configure(cls, **options: str) -> common.ChoiceConfig:
        """Config of `before_admission`, the classes of X-rays from before the patient came
        ('left_out' | 'guideline': the data set's authors' | 'published': COVID-CXNet's).
        """
        return common.find_config(CONFIGS, **options)

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            features=common.cxr_features(),
            metadata=tfds.core.MetadataDict(),
            homepage="https://github.com/ml-workgroup/covid-19-image-repository",
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
        folder = github.find_or_download(
            dl_manager,
            name="hannover",
            url=URL,
            commit=COMMIT,
            paths=("data.csv", "png"),
            instructions=INSTRUCTIONS,
        )
        origin = folder / "data.csv"
        files = common.files_by_name(folder / "png")
        kept, rejected, notices = tables.choose_rows(
            tables.read_table(origin, required=REQUIRED),
            files,
            file_name=lambda row: f"{row['image_id']}.png",
            reject_reason=reject_reason,
            origin=origin,
        )
        found = patient_ids.read((row["patient_id"] for row in kept.values()), prefix="hannover")
        notices += found.notices
        rejection.record_counts(self, kept=len(kept), rejected=rejected, notices=notices)
        return {common.SPLIT: self._generate_examples(files, kept, found.ids)}

    def _generate_examples(
        self, files: dict[str, Path], kept: dict[str, tables.Row], ids: Mapping[str, str]
    ) -> Iterator[tuple[str, dict]]:
        rule = common.options_of(self)["before_admission"]

        def listed(path: Path, row: tables.Row) -> tables.Listed:
            patient_id = ids[row["patient_id"]]
            try:
                label, finding = classify(row["admission_offset"], rule=rule)
            except ValueError as error:
                raise ValueError(f"hannover: {path.name}: {error}") from error
            return tables.Listed(
                image=path,
                patient_id=patient_id,
                strict_patient_id=patients.strict_patient_id(patient_id.removeprefix("hannover-")),
                label=label,
                finding=finding,
                view=common.frontal_view(row["projection"]) or "",
                age_group=common.age_group(row.get("age", "")),
            )

        images = (
            (f"hannover-{files[name].stem}", listed(files[name], row)) for name, row in kept.items()
        )
        return tables.examples(images, source="hannover")


def classify(admission_offset: str, *, rule: str) -> tuple[str, str]:
    """(class, finding) by the days from the X-ray to the admission, negative after it.

    Args:
        admission_offset: as in data.csv, '' unknown.
        rule: 'published': over 14 days normal, else covid19, unknown included. 'guideline': over 14
            normal, 7 to 14 and unknown '', under 7 covid19. 'left_out': as that, with '' for
            normal.

    Raises:
        ValueError: not a number.
    """
    days = math.nan
    if admission_offset:
        if not re.fullmatch(r"[+-]?\d+(\.\d+)?", admission_offset):
            raise ValueError(f"admission_offset {admission_offset!r} is not a number of days")
        days = float(admission_offset)
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
