"""Image/mask pairs in the folder layouts in which the two sets are distributed."""

from __future__ import annotations

import dataclasses
import filecmp
import re
from collections.abc import Collection, Iterable
from pathlib import Path

from tfds_builders import file_names, rejection

NAME = re.compile(r"(?P<series>MCUCXR|CHNCXR)_(?P<number>\d{4})_(?P<suffix>[01])")
SOURCES = {"MCUCXR": "montgomery", "CHNCXR": "shenzhen"}
FINDINGS = {"0": "normal", "1": "tuberculosis"}
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
NOT_NAMED = rejection.Reason("not named MCUCXR_dddd_0|1 or CHNCXR_dddd_0|1")
NO_MASK = rejection.Reason("no mask")
NOT_READ = rejection.Reason("image in a subfolder or of an extension that is not read")
NO_IMAGE = rejection.Reason("mask without image")
SAME_NAME = rejection.Reason("same name in another layout", is_fault=False)
COPY = rejection.Reason("same file under another ending", is_fault=False)


@dataclasses.dataclass(frozen=True)
class Pair:
    """An X-ray, the files whose union is its lung mask, and its clinical reading, if any."""

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

    def masks_without(self, root: Path, stems: Collection[str]) -> list[str]:
        """The mask files that belong to none of these images, as paths below the manual folder."""
        left = []
        for mask in self.masks:
            pattern = root / mask
            unread = file_names.unread(pattern.parent, list(_found(pattern, stems).values()))
            left += [f"{Path(mask).parent.as_posix()}/{name}" for name in unread]
        return left

    def pairs(self, root: Path, images: Iterable[Path]) -> dict[Path, Pair | rejection.Reason]:
        """The pair of each image file, or the reason why it has none."""
        stems = [image.stem for image in images if NAME.fullmatch(image.stem)]
        masks = [_found(root / mask, stems) for mask in self.masks]
        readings = _found(root / self.readings, stems)

        def pair(image: Path) -> Pair | rejection.Reason:
            if not NAME.fullmatch(image.stem):
                return NOT_NAMED
            halves = [files[image.stem] for files in masks if image.stem in files]
            if len(halves) < len(masks):
                return NO_MASK
            return Pair(image.stem, image, tuple(halves), readings.get(image.stem))

        return {image: pair(image) for image in images}


def _found(pattern: Path, stems: Iterable[str]) -> dict[str, Path]:
    """The files of a folder by the image that `pattern`, FOLDER/{name}.png, is filled in for.

    A mask may be named as its image or with `_mask` behind it: collections that merge the two sets
    have both.

    Raises:
        ValueError: an image has both.
    """
    files = file_names.files_by_name(pattern.parent) if pattern.parent.is_dir() else {}
    form = pattern.name.replace("_mask.png", ".png")
    forms = (form, form.replace(".png", "_mask.png"))
    stem_of = {form.format(name=stem): stem for stem in stems for form in forms}
    found: dict[str, Path] = {}
    for name, file in file_names.match(stem_of, files).items():
        first = found.setdefault(stem_of[name], files[file])
        if first != files[file]:
            raise ValueError(
                f"{first} and {files[file]} are masks of one image: keep the right one"
            )
    return found


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


def find_pairs(root: Path) -> tuple[dict[str, Pair], rejection.Rejected]:
    """Pairs by name in a fixed order, and the unused files by reason.

    Raises:
        ValueError: two files of one folder are one image and differ, or are its masks.
    """
    pairs: dict[str, Pair] = {}
    rejected = rejection.Rejected()
    stems: set[str] = set()
    for layout in LAYOUTS:
        folder = root / layout.images
        files = file_names.files_by_name(folder).values() if folder.is_dir() else ()
        images = [path for path in files if path.suffix.lower() in IMAGE_SUFFIXES]
        unread = file_names.unread(folder, images)
        rejected.add(NOT_READ, unread)
        # The mask of an image that is not read is not counted again.
        stems.update(path.stem for path in (*images, *map(Path, unread)))
        images, copies = _without_copies(images)
        rejected.add(COPY, [path.name for path in copies])
        for image, pair in layout.pairs(root, images).items():
            if isinstance(pair, Pair) and pair.name in pairs:
                pair = SAME_NAME
            if isinstance(pair, Pair):
                pairs[pair.name] = pair
            else:
                rejected.add(pair, [image.name])
    for layout in LAYOUTS:  # a mask's image may be in another layout, beside its copy there
        rejected.add(NO_IMAGE, layout.masks_without(root, stems))
    return pairs, rejected


def _without_copies(images: Iterable[Path]) -> tuple[list[Path], list[Path]]:
    """The first file of each image, and those of the same bytes under another ending.

    Raises:
        ValueError: the bytes of two files of one image differ.
    """
    first: dict[str, Path] = {}
    kept, copies = [], []
    for path in images:
        other = first.setdefault(path.stem, path)
        if other is path or not NAME.fullmatch(path.stem):
            kept.append(path)
        elif filecmp.cmp(other, path, shallow=False):
            copies.append(path)
        else:
            raise ValueError(f"{other} and {path} are one image and differ: keep the right one")
    return kept, copies


def age_in_years(reading: str) -> str:
    """Age in a clinical reading as a number of years ('0' for months and days), '' if absent.

    Montgomery: "Patient's Age: 031Y". Shenzhen: "male 45yrs", "Female , 9 months".
    """
    text = reading.lower()
    if match := re.search(r"\b(\d{1,3})\s*(?:y\b|yrs?\b|years?\b)", text):
        return str(int(match[1]))
    if re.search(r"\b\d{1,3}\s*(?:m\b|months?\b|d\b|days?\b)", text):
        return "0"
    return ""
