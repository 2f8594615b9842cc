"""TFDS builder of COVID-CXNet's 900 COVID-19 X-rays, those without a row in the table included."""

from __future__ import annotations

import collections
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds

from tfds_builders import (
    attributes,
    choices,
    github,
    image_files,
    patient_ids,
    tables,
    xray_builder,
)
from tfds_builders.covid_cxnet import collection

# The newest commit: the authors closed the collection at 900 images.
COMMIT = "3ade488b3828705706fc5f58c0667421d8b04a01"
FINDINGS = ("COVID-19", "")
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


class Builder(xray_builder.XrayBuilder):
    """Haghanifar et al. 2022.

    Option `no_findings`: the class of X-rays marked '-', a COVID-19 patient's on which nothing is
    to be seen ('left_out' | 'covid19').
    """

    # 1.2: one id for all spellings of a patient; 1.2.2: unknown findings are faults;
    # 1.2.3: CCX 343 is 342
    VERSION = tfds.core.Version("1.2.3")
    BUILDER_CONFIGS = choices.all_configs({"no_findings": ("left_out", "covid19")})
    MANUAL_DOWNLOAD_INSTRUCTIONS = INSTRUCTIONS
    HOMEPAGE = "https://github.com/armiro/COVID-CXNet"

    def select(self, dl_manager: tfds.download.DownloadManager) -> xray_builder.Selection:
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
        return xray_builder.Selection(
            images=chosen,
            count=len(chosen),
            rejected=rejected,
            notices=[*notices, *_without_patient(chosen)],
            unknown_findings=tables.unknown(
                (image.row["label"] for image in chosen.values() if image.row is not None), FINDINGS
            ),
            known_findings=FINDINGS,
            more={
                "without_row": sum(image.row is None for image in chosen.values()),
                "of_other_sets": dict(sorted(known.items())),
            },
        )

    def examples(self, images: dict[str, collection.Image]) -> Iterator[xray_builder.Example]:
        strict = collection.strict_patient_ids(images)
        healthy_looking = "covid19" if self.options["no_findings"] == "covid19" else ""
        for name, image in images.items():
            row = image.row or {}
            finding = row.get("label", "COVID-19")
            label = "covid19" if finding.casefold() == "covid-19" else ""
            if label and image.no_findings:
                finding, label = "COVID-19, no findings", healthy_looking
            yield xray_builder.Example(
                id=f"covid_cxnet-{name}",
                image=read_png_or_jpeg(image.path),
                patient_id=image.patient_id,
                strict_patient_id=strict[image.path.stem],
                label=label,
                finding=finding,
                view=attributes.frontal_view(row.get("view", "")) or "",
                source="covid_cxnet",
                age_group="paediatric"
                if image.paediatric
                else attributes.age_group(row.get("age", "")),
            )


def _without_patient(chosen: dict[str, collection.Image]) -> list[str]:
    """A notice about the images whose patient nothing says; empty if there are none."""
    alone = sum(image.row is None and image.origin is None for image in chosen.values())
    return [patient_ids.unnamed("the table names no patient of", alone)] if alone else []


def read_png_or_jpeg(path: Path) -> bytes:
    """The file's bytes; WebP, of which there are ten (two named .jpg and .png), as PNG."""
    with image_files.open_image(path) as image:
        if image.format in ("PNG", "JPEG"):
            return path.read_bytes()
        try:
            return image_files.png(np.asarray(image.convert("RGB")))
        except (OSError, SyntaxError) as error:
            raise ValueError(f"{path}: damaged image ({error})") from error
