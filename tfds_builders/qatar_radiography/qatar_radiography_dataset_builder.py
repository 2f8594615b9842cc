"""TFDS builder of the COVID-19 Radiography Database: classes from its folders, lung masks."""

from __future__ import annotations

import collections
from collections.abc import Iterator
from pathlib import Path

import tensorflow_datasets as tfds

from tfds_builders import choices, mask_files, patient_ids, rejection, xray_builder
from tfds_builders.qatar_radiography import layouts, origins

# Images; then by their keys: origins, addresses, mask files.
Images = tuple[list[layouts.Image], dict[str, origins.Origin], dict[str, str], dict[str, Path]]


class Builder(xray_builder.XrayBuilder):
    """Chowdhury et al. 2020 and Rahman et al. 2021.

    Options:
        lung_opacity: whether that is a class ('left_out' | 'class').
        masks: 'none' | 'lung': only images of the classes that have masks, each with its own.
    """

    # 1.1: masks are read by what they are. 1.2: all of 16 bits; one id for all spellings of a
    # patient. 1.2.1, 1.2.3: the same in other sets.
    VERSION = tfds.core.Version("1.2.3")
    BUILDER_CONFIGS = choices.all_configs(
        {"lung_opacity": ("left_out", "class"), "masks": ("none", "lung")}
    )
    MANUAL_DOWNLOAD_INSTRUCTIONS = layouts.INSTRUCTIONS
    HOMEPAGE = "https://www.kaggle.com/datasets/tawsifurrahman/covid19-radiography-database"
    OWN_TEXTS = ("url",)

    def mask_names(self) -> tuple[str, ...]:
        return ("mask_lung",) if self.options["masks"] == "lung" else ()

    def select(self, dl_manager: tfds.download.DownloadManager) -> xray_builder.Selection:
        root = self.manual_root(dl_manager, layouts.FOLDER)
        release = layouts.find_release(root)
        images = layouts.find_images(release, needed=self._needed())
        version = images[0].release
        found = origins.find_origins(images, root)
        urls = origins.read_urls(release, images)
        masks: dict[str, Path] = {}
        rejected = rejection.Rejected()
        if self.mask_names():
            masks, rejected = layouts.pair_with_masks(images)
            images = [image for image in images if image.key in masks]
        patients = [found[image.key].patient_id for image in images]
        alone = sum(found[image.key].is_unknown for image in images)
        joined = collections.Counter(p.split("-")[0] for p in patients)
        return xray_builder.Selection(
            images=(images, found, urls, masks),
            count=len(images),
            rejected=rejected,
            notices=[patient_ids.unnamed("the database names no patients of", alone)]
            if alone
            else [],
            more={
                "release": version,
                "findings": dict(collections.Counter(image.kind.finding for image in images)),
                "of_other_sets": {name: joined[name] for name in ("ccx", "kcx") if joined[name]},
            },
        )

    def _needed(self) -> list[str]:
        optional = self.options["lung_opacity"] == "left_out"
        return [k.finding for k in layouts.KINDS if not (optional and k.finding == "lung_opacity")]

    def examples(self, images: Images) -> Iterator[xray_builder.Example]:
        chosen, found, urls, masks = images
        classes = self._needed()
        reader = mask_files.MaskReader()
        for image in chosen:
            origin, finding = found[image.key], image.kind.finding
            yield xray_builder.Example(
                id=image.key,
                image=image.path.read_bytes(),
                patient_id=origin.patient_id,
                strict_patient_id=origin.strict_patient_id,
                label=finding if finding in classes else "",
                finding=finding,
                view=origin.view,
                source=origin.source,
                age_group=origin.age_group,
                masks={"mask_lung": reader.read(masks[image.key])} if masks else {},
                own_texts={"url": urls.get(image.key, "")},
            )
        reader.record(self)
