"""Finds image/mask pairs in the layouts in which the two sets are passed around."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

NAME = re.compile(r"(?P<series>MCUCXR|CHNCXR)_(?P<number>\d{4})_(?P<suffix>[01])")
SOURCES = {"MCUCXR": "montgomery", "CHNCXR": "shenzhen"}
FINDINGS = {"0": "normal", "1": "tuberculosis"}
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")


@dataclasses.dataclass(frozen=True)
class Pair:
    """One X-ray, the files whose union is its lung mask, and its clinical reading if there is one."""

    name: str
    image: Path
    masks: tuple[Path, ...]
    reading: Path | None

    def field(self, group: str) -> str:
        """'series', 'number' or 'suffix' of the name."""
        return NAME.fullmatch(self.name)[group]


@dataclasses.dataclass(frozen=True)
class Layout:
    """Folders relative to the manual folder; `{name}` stands for e.g. MCUCXR_0001_0."""

    images: str
    masks: tuple[str, ...]
    readings: str

    def pair(self, root: Path, image: Path) -> Pair | str:
        """The pair of an image file, or why it has none."""
        if not NAME.fullmatch(image.stem):
            return "not named MCUCXR_dddd_0|1 or CHNCXR_dddd_0|1"
        masks = tuple(root / mask.format(name=image.stem) for mask in self.masks)
        if not all(mask.is_file() for mask in masks):
            return "no mask"
        reading = root / self.readings.format(name=image.stem)
        return Pair(image.stem, image, masks, reading if reading.is_file() else None)


# Full-resolution originals first: a name that occurs again in a later layout is counted, not used.
LAYOUTS = (
    Layout(
        images="lungs/MontgomerySet/CXR_png",
        masks=(
            "lungs/MontgomerySet/ManualMask/leftMask/{name}.png",
            "lungs/MontgomerySet/ManualMask/rightMask/{name}.png",
        ),
        readings="lungs/MontgomerySet/ClinicalReadings/{name}.txt",
    ),
    Layout(
        images="lungs/ChinaSet_AllFiles/CXR_png",
        masks=("lungs/ChinaSet_AllFiles/mask/{name}_mask.png",),
        readings="lungs/ChinaSet_AllFiles/ClinicalReadings/{name}.txt",
    ),
    Layout(
        images="lungs/cxr",
        masks=("lungs/masks/{name}.png",),
        readings="lungs/ClinicalReadings/{name}.txt",
    ),
)


def find_pairs(root: Path) -> tuple[dict[str, Pair], dict[str, int]]:
    """Pairs by name in a fixed order, and the number of unused files by reason."""
    pairs: dict[str, Pair] = {}
    rejected: dict[str, int] = {}
    for layout in LAYOUTS:
        folder = root / layout.images
        files = sorted(folder.iterdir()) if folder.is_dir() else []
        for image in files:
            if image.suffix.lower() not in IMAGE_SUFFIXES or image.name.startswith("."):
                continue  # Thumbs.db and the like
            pair = layout.pair(root, image)
            if isinstance(pair, Pair) and pair.name in pairs:
                pair = "same name in another layout"
            if isinstance(pair, Pair):
                pairs[pair.name] = pair
            else:
                rejected[pair] = rejected.get(pair, 0) + 1
    return pairs, rejected


def age_in_years(reading: str) -> str:
    """Age in a clinical reading as a number of years ('0' for months and days), '' if not told.

    Montgomery: "Patient's Age: 031Y". Shenzhen: "male 45yrs", "Female , 9 months".
    """
    text = reading.lower()
    if match := re.search(r"\b(\d{1,3})\s*(?:y\b|yrs?\b|years?\b)", text):
        return str(int(match[1]))
    if re.search(r"\b\d{1,3}\s*(?:m\b|months?\b|d\b|days?\b)", text):
        return "0"
    return ""
