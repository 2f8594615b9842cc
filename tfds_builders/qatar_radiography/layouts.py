"""Images and lung masks of the database in the layouts of its releases.

2020: 'COVID-19 Radiography Database/NORMAL/NORMAL (3).png'. 2021: 'COVID-19_Radiography_Dataset/
Normal/Normal-3.png', later Normal/images/Normal-3.png and Normal/masks/Normal-3.png.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from tfds_builders import file_names, ids, manual_folder, rejection

FOLDER = "qatar"
NO_IMAGE = rejection.Reason("mask without image")
RELEASES = ("COVID-19_Radiography_Dataset", "COVID-19 Radiography Database")
INSTRUCTIONS = """\
Expected under the manual folder (Kaggle tawsifurrahman/covid19-radiography-database, unpacked; one
of its releases):
  qatar/
    COVID-19_Radiography_Dataset/    releases of 2021; the earlier ones have no images/ and masks/
      COVID/                         images/COVID-1.png, ... and masks/COVID-1.png, ...
      Normal/                        images/Normal-1.png, ... and masks/Normal-1.png, ...
      Viral Pneumonia/               images/Viral Pneumonia-1.png, ... and masks/...
      Lung_Opacity/                  the same; needed for lung_opacity='class' only
  qatar/
    COVID-19 Radiography Database/   releases of 2020
      COVID-19/ or COVID/            COVID-19 (1).png, COVID-19(134).png, ... or COVID (1).png, ...
      NORMAL/                        NORMAL (1).png, ...
      Viral Pneumonia/               Viral Pneumonia (1).png, ...
Optional:
  qatar/index.csv                    columns image, kcx_same_image, ccx_same_image: which pictures
                                     the sets kcx and ccx have too
  qatar/<release>/*.metadata.csv     the *.metadata.xlsx beside the class folders, saved as CSV
"""


@dataclasses.dataclass(frozen=True)
class Kind:
    """A class of the database: its finding, and its names in 2021 and, if different, in 2020."""

    finding: str
    names: tuple[str, ...]


KINDS = (
    Kind("covid19", ("COVID", "COVID-19")),
    Kind("normal", ("Normal",)),
    Kind("viral", ("Viral Pneumonia",)),
    Kind("lung_opacity", ("Lung_Opacity",)),
)


@dataclasses.dataclass(frozen=True)
class Image:
    """An image by class and number; another release may give these to another image."""

    path: Path
    kind: Kind
    number: int
    release: str  # '2020' or '2021'

    @property
    def key(self) -> str:
        """'qatar_radiography-COVID-12', in the releases of 2020 'qatar_radiography-COVID_12'."""
        separator = {"2020": "_", "2021": "-"}[self.release]
        name = f"{self.kind.names[0]}{separator}{self.number}"
        return f"qatar_radiography-{ids.safe_id(name)}"

    @property
    def masks(self) -> Path | None:
        """The folder of the class's masks, if it has one."""
        folder = self.path.parent.with_name("masks")
        return folder if self.path.parent.name == "images" and folder.is_dir() else None


def parse(path: Path, kind: Kind) -> Image | None:
    """Reads 'COVID-19 (12).png', 'COVID-19(134).png' (2020) or 'COVID-12.png' (2021), else None."""
    match = re.fullmatch(
        rf"(?:(?:{'|'.join(kind.names)}) ?\((?P<old>[1-9]\d*)\)"
        rf"|{kind.names[0]}-(?P<new>[1-9]\d*))\.png",
        path.name,
        re.IGNORECASE,
    )
    if match is None:
        return None
    release = "2021" if match["new"] else "2020"
    return Image(path, kind, int(match["new"] or match["old"]), release)


def find_release(root: Path) -> Path:
    """The folder of the one release below `root`, the manual folder.

    Raises:
        FileNotFoundError: there is none.
        ValueError: there are two, which have images in common.
    """
    folders = [root / FOLDER / name for name in RELEASES if (root / FOLDER / name).is_dir()]
    if not folders:
        problem = f"{root / FOLDER} has neither {RELEASES[0]}/ nor {RELEASES[1]}/."
        raise manual_folder.missing_data("qatar_radiography", problem, INSTRUCTIONS)
    if len(folders) > 1:
        raise ValueError(
            f"qatar_radiography: both {folders[0]} and {folders[1]}: keep one, they share images"
        )
    return folders[0]


def find_images(release: Path, *, needed: Sequence[str]) -> list[Image]:
    """All images, by class and number.

    Args:
        release: the folder with the class folders.
        needed: findings whose folders must exist; all further ones are optional.

    Raises:
        FileNotFoundError: a class folder is missing or has no image; says which.
        ValueError: a class has two folders, one number has two files, files have other names, or
            the names are those of two releases.
    """
    folders = {kind: class_folder(release, kind) for kind in KINDS}
    missing = [kind.names[0] for kind in KINDS if kind.finding in needed and folders[kind] is None]
    if missing:
        there = ", ".join(sorted(path.name for path in release.iterdir() if path.is_dir()))
        problem = f"{release} lacks {', '.join(missing)}/; it has {there or 'no folder'}."
        raise manual_folder.missing_data("qatar_radiography", problem, INSTRUCTIONS)
    images = [
        image
        for kind, folder in folders.items()
        if folder is not None
        for image in images_of(folder, kind)
    ]
    example = {image.release: image.path for image in images}
    if len(example) > 1:
        raise ValueError(
            f"qatar_radiography: {example['2020']} is named as in the releases of 2020, "
            f"{example['2021']} as in those of 2021: keep one release, they share images"
        )
    return images


def class_folder(release: Path, kind: Kind) -> Path | None:
    """The folder of a class, whatever its capitals, or None.

    Raises:
        ValueError: there are two.
    """
    names = [name.lower() for name in kind.names]
    folders = [p for p in sorted(release.iterdir()) if p.is_dir() and p.name.lower() in names]
    if len(folders) > 1:
        raise ValueError(f"qatar_radiography: both {folders[0]} and {folders[1]}: keep one")
    return folders[0] if folders else None


def images_of(folder: Path, kind: Kind) -> list[Image]:
    """The images of one class, in `folder` or `folder`/images, by number; see `find_images`."""
    inner = folder / "images"
    if not inner.is_dir() and (folder / "masks").is_dir():
        problem = f"{folder} has masks/ but no images/."
        raise manual_folder.missing_data("qatar_radiography", problem, INSTRUCTIONS)
    nested = [
        name
        for name in file_names.unread(folder, list(inner.glob("*")) if inner.is_dir() else [])
        if "/" in name and not name.startswith("masks/")
    ]
    if nested:
        raise ValueError(
            f"qatar_radiography: {len(nested)} files in folders below {folder} are not read: "
            f"{shortened(nested)}. Move them up, or away."
        )
    files = file_names.files_by_name(folder)
    if inner.is_dir():
        if files:
            raise ValueError(
                f"qatar_radiography: {folder} has images/ and files beside it, "
                f"{shortened(files)}: move them away, or into images/"
            )
        folder, files = inner, file_names.files_by_name(inner)
    if not files:
        problem = f"{folder} has no image."
        raise manual_folder.missing_data("qatar_radiography", problem, INSTRUCTIONS)
    strange = [name for name, path in files.items() if parse(path, kind) is None]
    if strange:
        raise ValueError(
            f"qatar_radiography: {len(strange)} files in {folder} are not named as published "
            f"('{kind.names[0]}-1.png'): {shortened(strange)}. Move them away."
        )
    images: dict[tuple[str, int], Image] = {}
    for image in (parse(path, kind) for path in files.values()):
        if image is None:
            continue
        first = images.setdefault((image.release, image.number), image)
        if first is not image:
            raise ValueError(
                f"qatar_radiography: {folder} has both {first.path.name} and {image.path.name}: "
                "keep one"
            )
    return [images[key] for key in sorted(images)]


def pair_with_masks(images: Iterable[Image]) -> tuple[dict[str, Path], rejection.Rejected]:
    """Mask files by the images' keys, and the images without mask and masks without image.

    A class without masks/ has no masks; a class with that folder must have all of them.

    Raises:
        FileNotFoundError: masks/ lacks masks of some images, or no class has masks/.
    """
    masks: dict[str, Path] = {}
    without = rejection.Rejected()
    missing = []
    folders = set()
    for image in images:
        if image.masks is None:
            # Whoever asks for masks asks for the classes that have them.
            reason = rejection.Reason(f"no mask: {image.kind.finding}", is_fault=False)
            without.add(reason, [image.path.name])
            continue
        folders.add(image.masks)
        masks[image.key] = image.masks / image.path.name
        if not masks[image.key].is_file():
            missing.append(f"{image.masks.parent.name}/masks/{image.path.name}")
    if missing:
        problem = f"{len(missing)} masks are missing: {shortened(missing)}."
        raise manual_folder.missing_data("qatar_radiography", problem, INSTRUCTIONS)
    if not masks:
        problem = "masks='lung', but no class has masks/ beside images/: only the last release has."
        raise manual_folder.missing_data("qatar_radiography", problem, INSTRUCTIONS)
    used = set(masks.values())
    for folder in sorted(folders):
        unread = file_names.unread(folder, used)
        without.add(NO_IMAGE, [f"{folder.parent.name}/masks/{name}" for name in unread])
    return masks, without


def shortened(names: Iterable[str]) -> str:
    """The first ten names."""
    names = list(names)
    return ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
