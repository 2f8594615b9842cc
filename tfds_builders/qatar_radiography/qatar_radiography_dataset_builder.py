"""TFDS builder of the COVID-19 Radiography Database: classes from its folders, lung masks."""

from __future__ import annotations

import collections
from collections.abc import Iterator
from pathlib import Path

import tensorflow_datasets as tfds

from tfds_builders import common, mask_files, rejection
from tfds_builders.qatar_radiography import layouts, origins

CONFIGS = common.all_configs({"lung_opacity": ("left_out", "class"), "masks": ("none", "lung")})


class Builder(tfds.core.GeneratorBasedBuilder):
    """Chowdhury et al. 2020 and Rahman et al. 2021, one split "main"."""

    # 1.1: masks are read by what they are. 1.2: all of 16 bits; one id for all spellings of a
    # patient.
    VERSION = tfds.core.Version("1.2.0")
    BUILDER_CONFIGS = CONFIGS
    MANUAL_DOWNLOAD_INSTRUCTIONS = layouts.INSTRUCTIONS

    @classmethod
    def configure(cls, **options: str) -> common.ChoiceConfig:
        """Config of `lung_opacity`, whether that is a class ('left_out' | 'class'), and `masks`
        ('none' | 'lung': only images of the classes that have masks, each with its own).
        """
        return common.find_config(CONFIGS, **options)

    def _info(self) -> tfds.core.DatasetInfo:
        masks = ("mask_lung",) if common.options_of(self)["masks"] == "lung" else ()
        return tfds.core.DatasetInfo(
            builder=self,
            features=common.cxr_features(masks=masks, extra={"url": tfds.features.Text()}),
            metadata=tfds.core.MetadataDict(),
            homepage="https://www.kaggle.com/datasets/tawsifurrahman/covid19-radiography-database",
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
        root = common.require_manual(
            dl_manager,
            name="qatar_radiography",
            paths=(layouts.FOLDER,),
            instructions=layouts.INSTRUCTIONS,
        )
        release = layouts.find_release(root)
        images = layouts.find_images(release, needed=self._needed())
        found = origins.find_origins(images, root)
        urls = origins.read_urls(release, images)
        masks: dict[str, Path] = {}
        rejected = rejection.Rejected()
        if common.options_of(self)["masks"] == "lung":
            masks, rejected = layouts.pair_with_masks(images)
            images = [image for image in images if image.key in masks]
        patients = [found[image.key].patient_id for image in images]
        joined = collections.Counter(p.split("-")[0] for p in patients)
        rejection.record_counts(
            self,
            kept=len(images),
            rejected=rejected,
            release=images[0].release,
            findings=dict(collections.Counter(image.kind.finding for image in images)),
            of_other_sets={name: joined[name] for name in ("ccx", "kcx") if joined[name]},
        )
        return {common.SPLIT: self._generate_examples(images, found, urls, masks)}

    def _needed(self) -> list[str]:
        optional = common.options_of(self)["lung_opacity"] == "left_out"
        return [k.finding for k in layouts.KINDS if not (optional and k.finding == "lung_opacity")]

    def _generate_examples(
        self,
        images: list[layouts.Image],
        found: dict[str, origins.Origin],
        urls: dict[str, str],
        masks: dict[str, Path],
    ) -> Iterator[tuple[str, dict]]:
        classes = self._needed()
        reader = mask_files.MaskReader()
        for image in images:
            origin, finding = found[image.key], image.kind.finding
            example = {
                "image": image.path.read_bytes(),
                "id": image.key,
                "patient_id": origin.patient_id,
                "strict_patient_id": origin.strict_patient_id,
                "label": finding if finding in classes else "",
                "finding": finding,
                "view": origin.view,
                "source": origin.source,
                "age_group": origin.age_group,
                "url": urls.get(image.key, ""),
            }
            if masks:
                example["mask_lung"] = common.png(reader.read(masks[image.key]))
            yield image.key, example
        reader.record(self)
