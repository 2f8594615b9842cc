"""Masks of lungs and ignored regions: drawn from polygons, or read from V7's semantic PNG files.

Either way 0 is background, 127 ignore and 255 lung.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from tfds_builders import image_files, mask_files
from tfds_builders.v7_darwin import darwin

BACKGROUND, IGNORE, LUNG = 0, 127, 255
_VALUES = {darwin.LUNG: LUNG, darwin.IGNORE: IGNORE}


def read_semantic(path: Path) -> np.ndarray:
    """A semantic mask file -> uint8 [H, W] of 0, 127 and 255.

    Raises:
        ValueError: not an 8-bit grey or indexed image, damaged, or any other value; names it.
    """
    with mask_files.open_mask(path) as image:
        if image.mode not in ("L", "P"):
            raise ValueError(
                f"{path}: mode {image.mode}: a semantic mask has 8 bits and one channel"
            )
        pixels = np.asarray(image)
    strange = sorted({*np.unique(pixels).tolist()} - {BACKGROUND, IGNORE, LUNG})
    if strange:
        shown = ", ".join(map(str, strange[:5])) + (", ..." if len(strange) > 5 else "")
        raise ValueError(
            f"{path}: has pixels of value {shown}, which means nothing: {BACKGROUND} is "
            f"background, {IGNORE} ignore, {LUNG} lung. Was it resized with smoothing? Take the "
            "original"
        )
    return pixels


def draw(annotation: darwin.Annotation) -> np.ndarray:
    """The shapes of an annotation, painted in their order -> uint8 [H, W] of 0, 127 and 255, in the
    size it states.

    As V7's own masks were made, with OpenCV: vertices are pixels and belong to the region, the
    paths of one shape are filled by even and odd, what is outside is cut off, a later shape covers
    an earlier one.
    """
    return _draw(annotation, scale=1)


def lung_fraction(annotation: darwin.Annotation) -> float:
    """The part of the image that is drawn as lung, from a drawing of 128 pixels at most."""
    scale = min(1, 128 / max(annotation.width, annotation.height))
    return float((_draw(annotation, scale=scale) == LUNG).mean())


def _draw(annotation: darwin.Annotation, *, scale: float) -> np.ndarray:
    height, width = (max(1, round(scale * n)) for n in (annotation.height, annotation.width))
    pixels = np.zeros((height, width), np.uint8)
    for shape in annotation.shapes:
        paths = [np.rint(scale * path).astype(np.int32) for path in shape.paths]
        cv2.fillPoly(pixels, paths, _VALUES[shape.name])
    return pixels


def fit(pixels: np.ndarray, *, size: tuple[int, int]) -> np.ndarray:
    """A mask in the size (width, height) of its image, by the nearest neighbour -> [height, width].

    This is how coordinates are scaled: polygons are drawn in the size in which their vertices are
    pixels, since scaled vertices, rounded to pixels again, would move every border.
    """
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.NEAREST))


def same_shape(first: tuple[int, int], other: tuple[int, int]) -> bool:
    """Returns whether two sizes (width, height) have one aspect ratio, to a pixel.

    That is, one is the other one scaled.
    """
    (width, height), (larger_width, larger_height) = sorted((first, other))
    return (
        abs(larger_height * width / larger_width - height) <= 1
        or abs(larger_width * height / larger_height - width) <= 1
    )


def size_of(path: Path) -> tuple[int, int]:
    """(width, height) of an image file, whose pixels are not decoded."""
    with image_files.open_image(path) as image:
        return image.size
