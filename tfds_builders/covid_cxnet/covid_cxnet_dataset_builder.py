"""TFDS builder of COVID-CXNet's 900 COVID-19 X-rays, those without a row in the table included."""

from __future__ import annotations

import collections
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds

from tfds_builders import common, github, rejection, tables
from tfds_builders.covid_cxnet import collection

# The newest commit: the authors closed the collection at 900 images.
COMMIT = "3ade488b3828705706fc5f58c0667421d8b04a01"
URL = github.archive_url("armiro/COVID-CXNet", COMMIT)
IMAGES = "chest_xray_images/covid19"
INSTRUCTIONS = """\
Expected under the manual folder (github.com/armiro/COVID-CXNet, cloned or unpacked):
  covid_cxnet/
    metadata.csv
    chest_xray_images/
      covid19/
        001.jpeg, 166-.jpeg, 446p.jpg, 481p-.jpg, ...
"""
CONFIGS = common.all_configs({"no_findings": ("left_out", "covid19")})


class Builder(tfds.core.GeneratorBasedBuilder):
    """Haghanifar et al. 2022, one split "main"."""

    VERSION = tfds.core.Version("1.2.1")  # 1.2: one id for all spellings of a patient
    BUILDER_CONFIGS = CONFIGS
    MANUAL_DOWNLOAD_INSTRUCTIONS = INSTRUCTIONS

    @classmethod
    def configure(cls, **options: str) -> common.ChoiceConfig:
        """Config of `no_findings`, the class of X-rays marked '-': a COVID-19 patient's, but
        nothing to be seen ('left_out' | 'covid19').
        """
        return common.find_config(CONFIGS, **options)

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            features=common.cxr_features(),
            metadata=tfds.core.MetadataDict(),
            homepage="https://github.com/armiro/COVID-CXNet",
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
        folder = github.find_or_download(
            dl_manager,
            name="covid_cxnet",
            url=URL,
            commit=COMMIT,
            paths=("metadata.csv", IMAGES),
            instructions=INSTRUCTIONS,
        )
        chosen, rejected, notices = collection.choose(folder / "metadata.csv", folder / IMAGES)
        known = collections.Counter(i.origin for i in chosen.values() if i.origin)
        rejection.record_counts(
            self,
            kept=len(chosen),
            rejected=rejected,
            notices=notices,
            without_row=sum(image.row is None for image in chosen.values()),
            of_other_sets=dict(sorted(known.items())),
        )
        return {common.SPLIT: self._generate_examples(chosen)}

    def _generate_examples(self, chosen: dict[str, collection.Image]) -> Iterator[tuple[str, dict]]:
        strict = collection.strict_patient_ids(chosen)
        healthy_looking = "covid19" if common.options_of(self)["no_findings"] == "covid19" else ""

        def listed(image: collection.Image) -> tables.Listed:
            row = image.row or {}
            finding = row.get("label", "COVID-19")
            label = "covid19" if finding.casefold() == "covid-19" else ""
            if label and image.no_findings:
                finding, label = "COVID-19, no findings", healthy_looking
            return tables.Listed(
                image=image.path,
                patient_id=image.patient_id,
                strict_patient_id=strict[image.path.stem],
                label=label,
                finding=finding,
                view=common.frontal_view(row.get("view", "")) or "",
                age_group="paediatric"
                if image.paediatric
                else common.age_group(row.get("age", "")),
            )

        images = ((f"covid_cxnet-{name}", listed(image)) for name, image in chosen.items())
        return tables.examples(images, source="covid_cxnet", read=read_png_or_jpeg)


def read_png_or_jpeg(path: Path) -> bytes:
    """The file's bytes; WebP, of which there are ten (two named .jpg and .png), as PNG."""
    with common.open_image(path) as image:
        if image.format in ("PNG", "JPEG"):
            return path.read_bytes()
        try:
            return common.png(np.asarray(image.convert("RGB")))
        except (OSError, SyntaxError) as error:
            raise ValueError(f"{path}: damaged image ({error})") from error
