"""TFDS builder of the Montgomery and Shenzhen X-rays with lung masks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import tensorflow_datasets as tfds

from tfds_builders import common, mask_files, rejection
from tfds_builders.montgomery_shenzhen import layouts

INSTRUCTIONS = """\
Expected under the manual folder: one or more of
  lungs/
    MontgomerySet/                           as the US National Library of Medicine gives it
      CXR_png/                               MCUCXR_0001_0.png, ...
      ManualMask/leftMask/                   MCUCXR_0001_0.png, ...
      ManualMask/rightMask/                  MCUCXR_0001_0.png, ...
      ClinicalReadings/                      MCUCXR_0001_0.txt, ... (optional: age)
  lungs/
    ChinaSet_AllFiles/                       as the US National Library of Medicine gives it
      CXR_png/                               CHNCXR_0001_0.png, ...
      mask/                                  CHNCXR_0001_0_mask.png, ... (Stirenko et al.)
      ClinicalReadings/                      CHNCXR_0001_0.txt, ... (optional: age)
  lungs/
    cxr/                                     MCUCXR_0001_0.jpg, .png, .tif or .bmp, ...
    masks/                                   MCUCXR_0001_0.png, CHNCXR_0001_0.png, ...
"""
CONFIGS = common.all_configs({})


class Builder(tfds.core.GeneratorBasedBuilder):
    """Montgomery County and Shenzhen Hospital sets, one split "main"."""

    # 1.1: masks are read by what they are. 1.2: TIFF and BMP images; 16-bit colour masks; all files
    # are counted. 1.2.1: one mask of both lungs is said.
    VERSION = tfds.core.Version("1.2.1")
    BUILDER_CONFIGS = CONFIGS
    MANUAL_DOWNLOAD_INSTRUCTIONS = INSTRUCTIONS

    @classmethod
    def configure(cls, **options: str) -> common.ChoiceConfig:
        """The only config; this data set has no options."""
        return common.find_config(CONFIGS, **options)

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            features=common.cxr_features(masks=("mask_lung",)),
            metadata=tfds.core.MetadataDict(),
            homepage="https://lhncbc.nlm.nih.gov/LHC-downloads/downloads.html",
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
        root = common.require_manual(
            dl_manager, name=self.name, paths=("lungs",), instructions=INSTRUCTIONS
        )
        pairs, rejected = layouts.find_pairs(root)
        if not pairs and not rejected.counts:
            raise common.missing_data(
                self.name, f"no image in {root / 'lungs'} in any known layout.", INSTRUCTIONS
            )
        rejection.record_counts(self, kept=len(pairs), rejected=rejected)
        return {common.SPLIT: self._generate_examples(pairs)}

    def _generate_examples(self, pairs: dict[str, layouts.Pair]) -> Iterator[tuple[str, dict]]:
        reader = mask_files.MaskReader()
        for name, pair in pairs.items():
            source = layouts.SOURCES[pair.field("series")]
            key = f"{source}-{name}"
            patient_id = f"{source}-{pair.field('number')}"
            reading = (
                pair.reading.read_text(encoding="utf-8", errors="replace") if pair.reading else ""
            )
            yield (
                key,
                {
                    "image": pair.image.read_bytes(),
                    "mask_lung": common.png(lung_mask(pair, reader)),
                    "id": key,
                    "patient_id": patient_id,
                    "strict_patient_id": patient_id,
                    "label": "",  # tuberculosis screening: no class of the study
                    "finding": layouts.FINDINGS[pair.field("suffix")],
                    "view": "PA",
                    "source": source,
                    "age_group": common.age_group(layouts.age_in_years(reading)),
                },
            )
        reader.record(self)


def lung_mask(pair: layouts.Pair, reader: mask_files.MaskReader) -> np.ndarray:
    """Union of the mask files, bool [H, W].

    Raises:
        ValueError: sizes of masks and image differ; names the files.
    """
    with common.open_image(pair.image) as image:
        height, width = image.height, image.width
    union = np.zeros((height, width), bool)
    masks = [reader.read(path) for path in pair.masks]
    for path, mask in zip(pair.masks, masks, strict=True):
        if mask.shape != union.shape:
            raise ValueError(
                f"{path} is {mask.shape[1]} x {mask.shape[0]} but its image {pair.image} is "
                f"{width} x {height}: a mask must have its image's size"
            )
        union |= mask
    if len(masks) == 2:
        reader.compare_sides(pair.name, *masks)
    return union
