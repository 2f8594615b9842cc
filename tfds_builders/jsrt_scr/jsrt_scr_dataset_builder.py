"""TFDS builder of JSRT (247 X-rays with and without a nodule) with the SCR masks."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds

from tfds_builders import (
    choices,
    file_names,
    image_files,
    manual_folder,
    mask_files,
    rejection,
    xray_builder,
)
from tfds_builders.jsrt_scr import raw

NAME = re.compile(r"JPC(?P<kind>LN|NN)\d{3}")
FINDINGS = {"LN": "nodule", "NN": "non-nodule"}
STRUCTURES = {
    "mask_heart": "heart",
    "mask_left_lung": "left lung",
    "mask_right_lung": "right lung",
    "mask_left_clavicle": "left clavicle",
    "mask_right_clavicle": "right clavicle",
}
NOT_READ = rejection.Reason("image of another name, or neither .IMG nor .png")
NO_IMAGE = rejection.Reason("masks without image")
FOLDS = ("fold1", "fold2")
INSTRUCTIONS = """\
JSRT forbids copying and distribution, so nothing is downloaded. Ask for the images at
db.jsrt.or.jp and for the masks at the SCR database, and put them under the manual folder:
  jsrt/
    images/                  JPCLN001.IMG ... JPCLN154.IMG, JPCNN001.IMG ... JPCNN093.IMG
                             (headerless .IMG or .png; folders below images/ do no harm)
    scr/
      fold1/masks/           and the same below fold2/masks/
        left lung/           JPCLN001.gif, ...
        right lung/          JPCLN001.gif, ...
        heart/               JPCLN001.gif, ...
        left clavicle/       JPCLN001.gif, ...
        right clavicle/      JPCLN001.gif, ...
"""


class Builder(xray_builder.XrayBuilder):
    """JSRT with SCR masks.

    Option `png_polarity`: 'display' (PNG files show dark lungs already) | 'stored' (PNG files keep
    the polarity of the .IMG files and get inverted). .IMG files always are.
    """

    # 1.1: masks are read by what they are. 1.2: all of 16 bits, and all files are counted.
    # 1.2.1: one mask of both lungs is said.
    VERSION = tfds.core.Version("1.2.1")
    BUILDER_CONFIGS = choices.all_configs({"png_polarity": ("display", "stored")})
    MANUAL_DOWNLOAD_INSTRUCTIONS = INSTRUCTIONS
    HOMEPAGE = "http://db.jsrt.or.jp/eng.php"
    MASKS = ("mask_lung", *STRUCTURES)
    OWN_TEXTS = ("scr_fold",)

    def select(self, dl_manager: tfds.download.DownloadManager) -> xray_builder.Selection:
        root = self.manual_root(dl_manager, "jsrt/images", "jsrt/scr")
        images = find_images(root / "jsrt" / "images")
        masks = {name: find_masks(root / "jsrt" / "scr", name) for name in images}
        kept = {name: path for name, path in images.items() if masks[name] is not None}
        rejected = rejection.Rejected()
        rejected.add(
            rejection.Reason("no SCR masks"), [name for name in images if name not in kept]
        )
        unread = file_names.unread(root / "jsrt" / "images", list(images.values()))
        rejected.add(NOT_READ, [name for name in unread if Path(name).stem not in images])
        rejected.add(NO_IMAGE, masks_without(root / "jsrt" / "scr", images))
        return xray_builder.Selection(images=(kept, masks), count=len(kept), rejected=rejected)

    def examples(
        self, images: tuple[dict[str, Path], dict[str, Path]]
    ) -> Iterator[xray_builder.Example]:
        kept, masks = images
        reader = mask_files.MaskReader()
        for name, path in kept.items():
            folder = masks[name]
            structures = {
                feature: reader.read(folder / structure / f"{name}.gif")
                for feature, structure in STRUCTURES.items()
            }
            check_sizes(folder, name, structures)
            left, right = structures["mask_left_lung"], structures["mask_right_lung"]
            reader.compare_sides(name, left, right)
            key = f"jsrt-{name}"
            yield xray_builder.Example(
                id=key,
                image=grey_png(path, png_polarity=self.options["png_polarity"]),
                patient_id=key,  # one image per patient
                strict_patient_id=key,
                label="",  # lung nodules: no class of the study
                finding=FINDINGS[NAME.fullmatch(name)["kind"]],
                view="PA",
                source="jsrt",
                age_group="adult",
                masks={"mask_lung": left | right, **structures},
                own_texts={"scr_fold": folder.parent.name},
            )
        reader.record(self)


def find_images(folder: Path) -> dict[str, Path]:
    """Image files by JSRT name, sorted.

    Raises:
        FileNotFoundError: there is none.
        ValueError: one name has two files, e.g. as .IMG and as .png.
    """
    images: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if not NAME.fullmatch(path.stem) or path.suffix.lower() not in (".img", ".png"):
            continue
        if path.stem in images:
            raise ValueError(f"{images[path.stem]} and {path} are one image: keep one of them")
        images[path.stem] = path
    if not images:
        problem = f"no JPCLNddd or JPCNNddd .IMG or .png file in {folder}."
        raise manual_folder.missing_data("jsrt_scr", problem, INSTRUCTIONS)
    return images


def find_masks(folder: Path, name: str) -> Path | None:
    """The masks folder of the fold that has `name`, None if neither fold has any of its masks.

    Raises:
        ValueError: some of its masks are missing, or both folds have it.
    """
    folders = []
    for fold in FOLDS:
        masks = folder / fold / "masks"
        missing = [
            part for part in STRUCTURES.values() if not (masks / part / f"{name}.gif").is_file()
        ]
        if not missing:
            folders.append(masks)
        elif len(missing) < len(STRUCTURES):
            raise ValueError(f"{masks}: {name}.gif is missing in {', '.join(missing)}")
    if len(folders) > 1:
        raise ValueError(f"{folder}: both folds have masks of {name}; SCR has each in one")
    return folders[0] if folders else None


def check_sizes(folder: Path, name: str, masks: Mapping[str, np.ndarray]) -> None:
    """Raises ValueError where the masks of an image differ in size; names the files."""
    first = next(iter(STRUCTURES))
    for feature, mask in masks.items():
        if mask.shape != masks[first].shape:
            (height, width), (other_height, other_width) = masks[first].shape, mask.shape
            raise ValueError(
                f"{folder / STRUCTURES[feature] / name}.gif is {other_width} x {other_height} but "
                f"{folder / STRUCTURES[first] / name}.gif is {width} x {height}: the masks of an "
                "image have one size"
            )


def masks_without(folder: Path, images: Collection[str]) -> list[str]:
    """The names that have masks but no image."""
    paths = (path for fold in FOLDS for path in (folder / fold / "masks").glob("*/*"))
    return sorted({path.stem for path in paths if NAME.fullmatch(path.stem)}.difference(images))


def grey_png(path: Path, *, png_polarity: str) -> bytes:
    """The image in display polarity as a grey PNG: 16-bit, or 8-bit where the file has 8 bits.

    A .png in display polarity is handed on byte for byte.
    """
    if path.suffix.lower() == ".img":
        return image_files.png(raw.read_img(path))
    if png_polarity == "display":
        return path.read_bytes()
    with image_files.open_image(path) as image:
        if image.mode not in ("L", "I", "I;16", "I;16B"):
            raise ValueError(f"{path}: mode {image.mode}, expected a grey PNG of 8 or 16 bits")
        eight = image.mode == "L"
        pixels = np.asarray(image).astype(np.uint8 if eight else np.uint16)
    return image_files.png(raw.invert(pixels, white=255 if eight else raw.WHITE, path=path))
