"""TFDS builder of the COVID-19 image data collection: frontal X-rays, label from `finding`."""

from __future__ import annotations

import collections
from collections.abc import Iterator
from pathlib import Path

import tensorflow_datasets as tfds

from tfds_builders import common
from tfds_builders.ccx import labels, metadata, source

CONFIGS = common.all_configs(
    {"pneumocystis": ("bacterial", "fungal"), "findings": ("published", "extended")}
)


class Builder(tfds.core.GeneratorBasedBuilder):
    """ieee8023/covid-chestxray-dataset, one split "main"."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = CONFIGS
    MANUAL_DOWNLOAD_INSTRUCTIONS = source.INSTRUCTIONS

    @classmethod
    def configure(cls, **options: str) -> common.ChoiceConfig:
        """Config of `pneumocystis` ('bacterial' as published | 'fungal': left out) and `findings`
        ('published' | 'extended': all named bacteria and viruses, see labels.py).
        """
        return common.find_config(CONFIGS, **options)

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            features=common.cxr_features(),
            metadata=tfds.core.MetadataDict(),
            homepage="https://github.com/ieee8023/covid-chestxray-dataset",
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
        folder = source.find_or_download(dl_manager)
        table = metadata.read_metadata(folder / "metadata.csv")
        images = folder / "images"
        kept, rejected = select_rows(table, {path.name for path in images.iterdir()})
        common.record_counts(self, kept=len(kept), rejected=rejected, metadata_era=table.era)
        return {common.SPLIT: self._generate_examples(images, kept)}

    def _generate_examples(
        self, images: Path, kept: dict[str, list[metadata.Row]]
    ) -> Iterator[tuple[str, dict]]:
        classes = labels.label_table(**common.options_of(self))
        ids = common.unique_ids(kept, prefix="ccx")
        for name, rows in kept.items():
            found = {classes.get(row.finding, "") for row in rows}
            patient = labels.SAME_PATIENT.get(rows[0].patient, rows[0].patient)
            patient_id = f"ccx-{common.safe_id(patient)}"
            yield (
                ids[name],
                {
                    "image": (images / name).read_bytes(),
                    "id": ids[name],
                    "patient_id": patient_id,
                    "strict_patient_id": patient_id,
                    # Rows that disagree about one image (there are such) leave it without a class.
                    "label": found.pop() if len(found) == 1 else "",
                    "finding": " | ".join(dict.fromkeys(row.finding for row in rows)),
                    "view": common.frontal_view(rows[0].view),
                    "source": "ccx",
                    "age_group": common.age_group(rows[0].age),
                },
            )


def select_rows(
    table: metadata.Metadata, files: set[str]
) -> tuple[dict[str, list[metadata.Row]], dict[str, int]]:
    """Usable rows grouped by file name, in the file's order, and the rejected ones by reason."""
    kept: dict[str, list[metadata.Row]] = {}
    rejected: collections.Counter[str] = collections.Counter()
    for row in table.rows:
        reason = metadata.reject_reason(row, files)
        if reason is None and row.filename in kept:
            reason = "file named again"  # still heard: its finding may contradict the first
            kept[row.filename].append(row)
        elif reason is None:
            kept[row.filename] = [row]
        if reason is not None:
            rejected[reason] += 1
    return kept, dict(rejected)
