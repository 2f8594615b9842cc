"""Measures of an X-ray's lungs and heart: shape, grey values, cardiothoracic ratio.

The biomarkers that Patched FLANNEL's introduction names (lung morphology, mean and standard
deviation of lung intensity, cardiothoracic ratio; after Oh, Park and Ye, 2020). Research use only:
they are as good as the masks, and no diagnosis follows from them.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import chex
import numpy as np
from scipy import ndimage
from scipy.spatial import ConvexHull

# Name -> what it is, for readers. Fractions of the image depend on how an X-ray is cropped; ratios
# of two structures do not.
BIOMARKERS = {
    "lung_area": "Area of both lungs, fraction of the image",
    "right_lung_area": "Area of the right lung, fraction of the image",
    "left_lung_area": "Area of the left lung, fraction of the image",
    "left_right_area_ratio": "Area of the left lung over that of the right one",
    "thoracic_width": "Width of the lungs together, fraction of the image's width",
    "lung_height": "Height of the lungs together, fraction of the image's height",
    "height_width_ratio": "Height of the lungs together over their width",
    "lung_solidity": "Area of both lungs over that of their two convex hulls",
    "lung_mean": "Mean grey value in the lungs, 0 black to 1 white",
    "lung_std": "Standard deviation of the grey values in the lungs",
    "cardiothoracic_ratio": "Width of the heart over that of the lungs together",
}
# Of BIOMARKERS: they take both lungs, and with one alone would be other measures.
_OF_BOTH = ("lung_area", "thoracic_width", "lung_height", "height_width_ratio")
_SPECK = 0.1  # of a structure's pixels: smaller pieces are a segmenter's stray pixels


@dataclasses.dataclass(frozen=True, kw_only=True)
class Structures:
    """Masks [H, W] bool of one X-ray.

    Attributes:
        lungs: both lungs.
        right_lung, left_lung: the patient's; None where the masks do not tell them apart.
        heart: None where there is no mask of it.
    """

    lungs: np.ndarray
    right_lung: np.ndarray | None = None
    left_lung: np.ndarray | None = None
    heart: np.ndarray | None = None

    @classmethod
    def of(cls, masks: Mapping[str, np.ndarray]) -> Structures:
        """From masks [H, W] bool by name: left_lung and right_lung, or lung; heart if there is one.

        A mask of both lungs together is parted into the piece at the image's left, which is the
        right lung of an X-ray that is not mirrored, and the one at its right. Where they touch, or
        one of them was not found, neither is known.
        """
        heart = _without_specks(masks["heart"]) if "heart" in masks else None
        if {"left_lung", "right_lung"} <= masks.keys():
            right, left = (_without_specks(masks[name]) for name in ("right_lung", "left_lung"))
        else:
            lungs = _without_specks(masks["lung"])
            right, left = _parted(lungs)
            if not (right.any() and left.any()):
                return cls(lungs=lungs, heart=heart)
        return cls(lungs=right | left, right_lung=right, left_lung=left, heart=heart)


def measure(
    image: np.ndarray, structures: Structures, *, pixel_aspect: float = 1.0
) -> dict[str, float]:
    """The biomarkers of one X-ray.

    The cardiothoracic ratio is the clinical one, of a frontal X-ray: the greatest width of the
    heart, from its border furthest right to that furthest left, over the greatest width of the
    thorax between the ribs, here from the outer border of one lung to that of the other. The three
    borders lie at different heights. In an AP view the heart is enlarged, and so is the ratio.

    Args:
        image: [H, W] float grey values in [0, 1], lungs dark.
        structures: masks [H, W].
        pixel_aspect: width of a pixel over its height, of an image that was resized to a square.

    Returns:
        a value for each of `BIOMARKERS`; NaN where a structure that it needs is missing or empty.
    """
    chex.assert_rank(image, 2)
    chex.assert_equal_shape([image, structures.lungs])
    found = dict.fromkeys(BIOMARKERS, math.nan)
    lungs = structures.lungs
    if not lungs.any():
        return found
    right, left = structures.right_lung, structures.left_lung
    height, width = _extent(lungs, axis=1), _extent(lungs, axis=0)
    inside = image[lungs].astype(np.float64)
    found |= {
        "lung_area": float(lungs.mean()),
        "thoracic_width": width / lungs.shape[1],
        "lung_height": height / lungs.shape[0],
        "height_width_ratio": height / (width * pixel_aspect),
        "lung_mean": float(inside.mean()),
        "lung_std": float(inside.std()),
    }
    if right is None or left is None:
        return found
    if not (right.any() and left.any()):  # a lung was not found: what both have is not known
        return found | dict.fromkeys(_OF_BOTH, math.nan)
    hulls = sum(map(_hull_area, (right, left)))
    found |= {
        "right_lung_area": float(right.mean()),
        "left_lung_area": float(left.mean()),
        "left_right_area_ratio": float(left.sum() / right.sum()),
        "lung_solidity": float(right.sum() + left.sum()) / hulls,
    }
    if structures.heart is not None and structures.heart.any():
        found["cardiothoracic_ratio"] = _extent(structures.heart, axis=0) / width
    return found


def _extent(mask: np.ndarray, *, axis: int) -> int:
    """Pixels from the first to the last column (axis 0) or row (axis 1) of a mask."""
    places = np.flatnonzero(mask.any(axis=axis))
    return int(places[-1] - places[0]) + 1


def _hull_area(mask: np.ndarray) -> float:
    """Pixels of the convex hull of a mask's pixels, which are squares."""
    rows = np.flatnonzero(mask.any(axis=1))
    first = mask[rows].argmax(axis=1)
    last = mask.shape[1] - mask[rows, ::-1].argmax(axis=1)
    corners = [np.stack([y, x], axis=1) for y in (rows, rows + 1) for x in (first, last)]
    return float(ConvexHull(np.concatenate(corners)).volume)  # of a plane figure: its area


def _pieces(mask: np.ndarray) -> tuple[np.ndarray, int]:
    """The connected pieces of a mask: their numbers from 1 at their pixels, and how many."""
    labels, count = ndimage.label(mask)  # pyright: ignore[reportGeneralTypeIssues]
    return np.asarray(labels), int(count)


def _without_specks(mask: np.ndarray) -> np.ndarray:
    labels, _ = _pieces(mask)
    areas = np.bincount(labels.ravel())
    areas[0] = 0
    return (areas >= max(1, _SPECK * areas.sum()))[labels]


def _parted(lungs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The pieces at the image's left and at its right of the middle of the lungs' width."""
    labels, count = _pieces(lungs)
    columns = np.flatnonzero(lungs.any(axis=0))
    if not len(columns):
        return lungs, lungs
    middle = (columns[0] + columns[-1]) / 2
    numbers = np.arange(1, count + 1)
    centres = np.array([np.nonzero(labels == number)[1].mean() for number in numbers])
    return np.isin(labels, numbers[centres < middle]), np.isin(labels, numbers[centres > middle])
