"""TFDS builder of V7 Labs' lung masks and tags for the X-rays of ccx and kcx."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds

from tfds_builders import choices, file_names, ids, manual_folder, rejection, xray_builder
from tfds_builders.v7_darwin import darwin, pictures, regions, tags

SEMANTIC_MASKS = "annotations/all-images-semantic-masks"
MIN_LUNGS = 0.01  # of an image; one lung that is drawn alone has 5 % and more
JSON = ("annotations/all-images", "annotations/covid-only")
UNNAMED = rejection.Reason("mask whose image nothing names", is_fault=False)
NOT_OPEN = rejection.Reason("picture without an open licence", is_fault=False)
NO_LUNGS = rejection.Reason("no lung annotation")
OTHER_SHAPE = rejection.Reason("image of another shape than its annotation")
OFF_IMAGE = rejection.Reason("lung polygons outside the image, or not in pixels")
UNREAD = rejection.Reason("annotation of another kind, or in a subfolder")
AGAIN = rejection.Reason("same annotation in two exports", is_fault=False)
NOT_FOUND = (UNNAMED, pictures.MISSING, pictures.SEVERAL)
INSTRUCTIONS = """\
Expected under the manual folder: annotations (github.com/v7labs/covid-19-xray-dataset, zip files
unpacked) and pictures
  v7/
    annotations/
      all-images-semantic-masks/   964597.png, ...      (these, or JSON, or both)
      all-images/                  964597.json, ...     all-images.zip
      covid-only/                  1676192.json, ...    covid-only.zip
    images/                        964597.jpg or the original name, as downloaded from the
                                   JSON's url; or instead
  ccx/                             metadata.csv and images/, as the ccx builder reads them
  kcx/
    chest_xray/                    train/NORMAL/IM-0115-0001.jpeg, ..., as the kcx builder reads
                                   them
    index.csv                      optional, for masks without JSON: columns image and v7_id
"""


@dataclasses.dataclass(frozen=True)
class Item:
    """A picture, and the files that annotate it: a semantic mask, Darwin JSON, or both."""

    picture: pictures.Picture
    mask: Path | None
    annotation: Path | None


class Builder(xray_builder.XrayBuilder):
    """v7labs/covid-19-xray-dataset.

    Options:
        missing_images: annotations whose picture is not found are an 'error' (all are counted and
            the first ones named) | 'left_out' (counted in the metadata).
        licences: of the pictures, 'any' | 'open' (those that allow changes and commercial use: KCX,
            and rows of CCX with CC BY; the others are counted).
    """

    # 1.2: classes and patients in any spelling. 1.2.2, 1.3.1: patients as in other sets;
    # unknown findings and lungs outside the image are faults. 1.3: option licences.
    VERSION = tfds.core.Version("1.3.1")
    BUILDER_CONFIGS = choices.all_configs(
        {"missing_images": ("error", "left_out"), "licences": ("any", "open")}
    )
    MANUAL_DOWNLOAD_INSTRUCTIONS = INSTRUCTIONS
    HOMEPAGE = "https://github.com/v7labs/covid-19-xray-dataset"
    MASKS = ("mask_lung", "mask_ignore")

    def select(self, dl_manager: tfds.download.DownloadManager) -> xray_builder.Selection:
        root = self.manual_root(dl_manager, "v7/annotations")
        items, rejected, notices = select(root, open_only=self.options["licences"] == "open")
        missing = [reason for reason in NOT_FOUND if rejected.names(reason)]
        if missing and self.options["missing_images"] == "error":
            raise manual_folder.missing_data(self.name, _not_found(rejected, missing), INSTRUCTIONS)
        sources = collections.Counter(item.picture.source for item in items.values())
        return xray_builder.Selection(
            images=items,
            count=len(items),
            rejected=rejected,
            notices=notices,
            # `tags.finding` has quotation marks around what is not known.
            unknown_findings={
                item.picture.finding
                for item in items.values()
                if item.picture.finding.startswith(("'", '"'))
            },
            known_findings={*tags.CLASSES, *tags.CAUSES, *tags.TYPES},
            more={
                "masks_from_png": sum(item.mask is not None for item in items.values()),
                "masks_from_polygons": sum(item.mask is None for item in items.values()),
                "sources": dict(sources),
            },
        )

    def examples(self, images: dict[str, Item]) -> Iterator[xray_builder.Example]:
        for key, item in images.items():
            mask = lung_mask(item)
            texts = {
                field.name: getattr(item.picture, field.name)
                for field in dataclasses.fields(item.picture)
                if field.name != "image"
            }
            yield xray_builder.Example(
                id=key,
                image=item.picture.image.read_bytes(),
                masks={"mask_lung": mask, "mask_ignore": mask == regions.IGNORE},
                **texts,
            )


def select(
    root: Path, *, open_only: bool = False
) -> tuple[dict[str, Item], rejection.Rejected, list[str]]:
    """The usable annotations below `root` by id, sorted; the rejected ones by reason; notices.

    Args:
        root: the manual folder.
        open_only: of pictures whose licence allows changes and commercial use.

    Raises:
        ValueError: a damaged file, or two JSON files of one image that differ.
    """
    folder = root / "v7"
    masks = _files(folder / SEMANTIC_MASKS, ".png")
    items: dict[str, Item] = {}
    rejected = rejection.Rejected()
    annotations = _annotations(folder, rejected)
    rejected.add(UNREAD, file_names.unread(folder / SEMANTIC_MASKS, set(masks.values())))
    for export in JSON:
        there = {
            path for path in (folder / export).rglob("*.json") if path.parent != folder / export
        }
        rejected.add(UNREAD, sorted(path.relative_to(folder).as_posix() for path in there))
    tagged = (tags.value(annotation.tags, "PatientID") for annotation in annotations.values())
    available = pictures.Pictures(root, tagged)
    keys = sorted({*masks, *annotations})
    for key in keys:
        annotation, mask = annotations.get(key), masks.get(key)
        if annotation is not None:
            picture = _not_usable(annotation) or available.of(annotation)
        else:
            picture = available.of_key(key) or UNNAMED
            if isinstance(picture, pictures.Picture) and not _has_lungs(masks[key]):
                picture = NO_LUNGS
        if isinstance(picture, pictures.Picture) and not _fits(picture, annotation, mask):
            picture = OTHER_SHAPE
        if isinstance(picture, pictures.Picture) and annotation is not None and mask is None:
            picture = _on_image(annotation) or picture
        if isinstance(picture, pictures.Picture) and open_only:
            picture = picture if available.is_open(picture, annotation) else NOT_OPEN
        if isinstance(picture, rejection.Reason):
            name = f"{key} ({annotation.names[0]})" if annotation and annotation.names else key
            rejected.add(picture, [name])
        else:
            items[f"v7-{ids.distinct_id(key)}"] = Item(
                picture, mask, annotation.path if annotation else None
            )
    notices = [*available.notices, *_classes_not_read(annotations.values())]
    if unused := available.own_not_named(annotations.values(), keys):
        shown = ", ".join(unused[:3]) + (", ..." if len(unused) > 3 else "")
        notices.append(f"{len(unused)} images in v7/images have no annotation: {shown}")
    return items, rejected, notices


def _classes_not_read(annotations: Iterable[darwin.Annotation]) -> list[str]:
    """A notice about drawn classes that are neither lung nor ignored; empty if there are none."""
    counts = collections.Counter(name for annotation in annotations for name in annotation.others)
    if not counts:
        return []
    shown = ", ".join(f"{name or '(blank)'} ({count})" for name, count in counts.most_common(10))
    more = ", ..." if len(counts) > 10 else ""
    return [f"classes that are drawn and not read, with the number of their regions: {shown}{more}"]


def _files(folder: Path, suffix: str) -> dict[str, Path]:
    """Files of that suffix by stem; the class table beside the masks is none of them."""
    paths = file_names.files_by_name(folder).values() if folder.is_dir() else ()
    return {path.stem: path for path in paths if path.suffix.lower() == suffix}


def _annotations(folder: Path, rejected: rejection.Rejected) -> dict[str, darwin.Annotation]:
    """The annotations of the JSON files by Darwin's number.

    An image in both exports is counted as `AGAIN`.
    """
    annotations: dict[str, darwin.Annotation] = {}
    for export in JSON:
        for path in _files(folder / export, ".json").values():
            annotation = darwin.read(path)
            first = annotations.setdefault(annotation.key, annotation)
            if first is annotation:
                continue
            if not darwin.same_content(first, annotation):
                raise ValueError(
                    f"{first.path} and {path} annotate one image and differ: keep the right one"
                )
            rejected.add(AGAIN, [annotation.key])
    return annotations


def _not_usable(annotation: darwin.Annotation) -> rejection.Reason | None:
    """The reason why an annotation is not of a frontal X-ray's lungs, or None."""
    if reason := tags.reject_reason(annotation.tags):
        return reason
    if annotation.unclear:
        return rejection.Reason(f"class that may be a lung or not: {', '.join(annotation.unclear)}")
    return None if annotation.has_lungs else NO_LUNGS


def _on_image(annotation: darwin.Annotation) -> rejection.Reason | None:
    """The reason to reject polygons of which hardly anything is on the image, or None.

    So it is where coordinates are fractions of 1, or are of another image.
    """
    return OFF_IMAGE if regions.lung_fraction(annotation) < MIN_LUNGS else None


def _has_lungs(mask: Path) -> bool:
    return bool((regions.read_semantic(mask) == regions.LUNG).any())


def _fits(
    picture: pictures.Picture, annotation: darwin.Annotation | None, mask: Path | None
) -> bool:
    """Returns whether an image has the shape of its annotation; another crop has not."""
    annotated = [(annotation.width, annotation.height)] if annotation else []
    annotated += [regions.size_of(mask)] if mask else []
    size = regions.size_of(picture.image)
    return all(regions.same_shape(size, other) for other in annotated)


def _not_found(rejected: rejection.Rejected, missing: list[rejection.Reason]) -> str:
    """The problem in words: each reason with its number and the first ten."""
    parts = []
    for reason in missing:
        names = rejected.names(reason)
        shown = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
        parts.append(f"{reason.text}: {len(names)} ({shown}).")
    fix = (
        "Add the pictures, or leave these out with "
        "config.data.options.v7_darwin.missing_images='left_out'."
    )
    return " ".join([*parts, fix])


def lung_mask(item: Item) -> np.ndarray:
    """The semantic mask in the image's size, else the polygons, drawn.

    Returns:
        [H, W] uint8 of 0, 127 (ignore) and 255 (lung).

    Raises:
        ValueError: a damaged file, or a mask without lungs whose JSON has some.
    """
    if item.mask is not None:
        mask = regions.read_semantic(item.mask)
        if not (mask == regions.LUNG).any():
            raise ValueError(
                f"{item.mask}: has no lung pixel ({regions.LUNG}), but {item.annotation} has Lung "
                "polygons: remove the mask, and they are drawn"
            )
    else:
        assert item.annotation is not None  # `select` made the item of one or the other
        mask = regions.draw(darwin.read(item.annotation))
    return regions.fit(mask, size=regions.size_of(item.picture.image))
