"""TFDS builder of the Montgomery and Shenzhen X-rays with lung masks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import tensorflow_datasets as tfds

from tfds_builders import attributes, choices, image_files, manual_folder, mask_files, xray_builder
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


class Builder(xray_builder.XrayBuilder):
    """Montgomery County and Shenzhen Hospital sets; no options."""

    # 1.1: masks are read by what they are. 1.2: TIFF and BMP images; 16-bit colour masks; all files
    # are counted. 1.2.1: one mask of both lungs is said. 1.2.2: _mask may stand behind any name.
    # 1.2.3: two files of one image are copies, or refused.
    VERSION = tfds.core.Version("1.2.3")
    BUILDER_CONFIGS = choices.all_configs({})
    MANUAL_DOWNLOAD_INSTRUCTIONS = INSTRUCTIONS
    HOMEPAGE = "https://lhncbc.nlm.nih.gov/LHC-downloads/downloads.html"
    MASKS = ("mask_lung",)

    def select(self, dl_manager: tfds.download.DownloadManager) -> xray_builder.Selection:
        root = self.manual_root(dl_manager, "lungs")
        pairs, rejected = layouts.find_pairs(root)
        if not pairs and not rejected.counts:
            raise manual_folder.missing_data(
                self.name, f"no image in {root / 'lungs'} in any known layout.", INSTRUCTIONS
            )
        return xray_builder.Selection(images=pairs, count=len(pairs), rejected=rejected)

    def examples(self, images: dict[str, layouts.Pair]) -> Iterator[xray_builder.Example]:
        reader = mask_files.MaskReader()
        for name, pair in images.items():
            source = layouts.SOURCES[pair.field("series")]
            patient_id = f"{source}-{pair.field('number')}"
            reading = (
                pair.reading.read_text(encoding="utf-8", errors="replace") if pair.reading else ""
            )
            yield xray_builder.Example(
                id=f"{source}-{name}",
                image=pair.image.read_bytes(),
                patient_id=patient_id,
                strict_patient_id=patient_id,
                label="",  # tuberculosis screening: no class of the study
                finding=layouts.FINDINGS[pair.field("suffix")],
                view="PA",
                source=source,
                age_group=attributes.age_group(layouts.age_in_years(reading)),
                masks={"mask_lung": lung_mask(pair, reader)},
            )
        reader.record(self)


def lung_mask(pair: layouts.Pair, reader: mask_files.MaskReader) -> np.ndarray:
    """Union of the mask files, bool [H, W].

    Raises:
        ValueError: sizes of masks and image differ; names the files.
    """
    with image_files.open_image(pair.image) as image:
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
