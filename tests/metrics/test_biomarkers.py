"""Biomarkers of drawn shapes are those of geometry; the phantoms' follow from their anatomy."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest

from jaxcxr.metrics.biomarkers import BIOMARKERS, Structures, measure
from tfds_builders.phantom_cxr import anatomy, drawing

SIDE = 200
# Where the structures would be if they were cut out of the same X-ray elsewhere.
RATIOS = ("left_right_area_ratio", "height_width_ratio", "lung_solidity", "lung_mean", "lung_std",
          "cardiothoracic_ratio")  # fmt: skip


def box(top: int, bottom: int, left: int, right: int, side: int = SIDE) -> np.ndarray:
    mask = np.zeros((side, side), bool)
    mask[top:bottom, left:right] = True
    return mask


def ellipse(row: float, column: float, height: float, width: float) -> np.ndarray:
    rows, columns = np.mgrid[:SIDE, :SIDE]
    return ((rows - row) / (height / 2)) ** 2 + ((columns - column) / (width / 2)) ** 2 <= 1


def of(image: np.ndarray | None = None, **masks: np.ndarray) -> dict[str, float]:
    shape = next(iter(masks.values())).shape
    grey = np.zeros(shape, np.float32) if image is None else image
    return measure(grey, Structures.of(masks))


# The thorax is 120 wide and 100 high, the heart 60 wide.
MASKS = {
    "right_lung": box(40, 140, 40, 90),
    "left_lung": box(50, 130, 120, 160),
    "heart": box(100, 150, 85, 145),
}


def test_boxes_have_the_measures_of_their_sides():
    found = of(**MASKS)
    assert found.keys() == BIOMARKERS.keys()
    assert found["cardiothoracic_ratio"] == 60 / 120
    assert found["right_lung_area"] == pytest.approx(5000 / SIDE**2)
    assert found["left_lung_area"] == pytest.approx(3200 / SIDE**2)
    assert found["lung_area"] == pytest.approx(8200 / SIDE**2)
    assert found["left_right_area_ratio"] == pytest.approx(3200 / 5000)
    assert (found["thoracic_width"], found["lung_height"]) == (120 / SIDE, 100 / SIDE)
    assert found["height_width_ratio"] == pytest.approx(100 / 120)
    assert found["lung_solidity"] == pytest.approx(1)


def test_the_borders_of_heart_and_lungs_may_lie_at_different_heights():
    masks = MASKS | {"left_lung": box(10, 30, 120, 160), "heart": box(100, 110, 85, 100)}
    assert of(**masks)["cardiothoracic_ratio"] == 15 / 120
    masks["heart"] |= box(109, 150, 90, 145)  # its right border is above, its left one below
    assert of(**masks)["cardiothoracic_ratio"] == 60 / 120


@pytest.mark.parametrize("heart", [40, 60, 80])
def test_the_ratio_of_ellipses_is_that_of_their_axes(heart):
    found = of(
        right_lung=ellipse(100, 60, 140, 60),
        left_lung=ellipse(100, 140, 140, 60),
        heart=ellipse(120, 105, 50, heart),
    )
    assert found["cardiothoracic_ratio"] == pytest.approx(heart / 140, abs=2 / 140)
    assert found["lung_area"] == pytest.approx(2 * math.pi * 70 * 30 / SIDE**2, rel=0.01)
    assert found["lung_solidity"] == pytest.approx(1, abs=0.03)


def test_a_lung_with_a_bay_is_less_solid():
    masks = MASKS | {"right_lung": MASKS["right_lung"] & ~box(80, 100, 40, 80)}
    assert of(**masks)["lung_solidity"] == pytest.approx(7400 / 8200, abs=0.005)


def test_grey_values_are_those_inside_the_lungs():
    image = np.full((SIDE, SIDE), 0.9, np.float32)
    image[MASKS["right_lung"]], image[MASKS["left_lung"]] = 0.2, 0.6
    found = of(image, **MASKS)
    values = np.repeat([0.2, 0.6], [5000, 3200])
    assert found["lung_mean"] == pytest.approx(values.mean(), abs=1e-6)
    assert found["lung_std"] == pytest.approx(values.std(), abs=1e-6)


@pytest.mark.parametrize("shift", [(20, 0), (-30, 15), (0, -25)])
def test_moved_lungs_have_the_same_measures(shift):
    moved = {name: np.roll(mask, shift, axis=(0, 1)) for name, mask in MASKS.items()}
    assert of(**moved) == pytest.approx(of(**MASKS))


def test_a_finer_image_has_the_same_measures():
    finer = {name: mask.repeat(2, axis=0).repeat(2, axis=1) for name, mask in MASKS.items()}
    assert of(**finer) == pytest.approx(of(**MASKS))


def test_in_a_larger_frame_the_ratios_are_the_same():
    framed = of(**{name: np.pad(mask, 60) for name, mask in MASKS.items()})
    whole = of(**MASKS)
    for name in RATIOS:
        assert framed[name] == pytest.approx(whole[name]), name
    assert framed["lung_area"] < whole["lung_area"]


def test_an_image_squeezed_to_a_square_keeps_its_proportions():
    squeezed = {name: mask[:, ::2] for name, mask in MASKS.items()}
    structures = Structures.of(squeezed)
    found = measure(np.zeros(structures.lungs.shape), structures, pixel_aspect=2.0)
    assert found == pytest.approx(of(**MASKS))


def test_left_and_right_change_places_in_a_mirrored_image():
    mirrored = {name: mask[:, ::-1] for name, mask in MASKS.items()}
    swapped = mirrored | {
        "right_lung": mirrored["left_lung"],
        "left_lung": mirrored["right_lung"],
    }
    original, found = of(**MASKS), of(**swapped)
    assert found["right_lung_area"] == original["left_lung_area"]
    assert found["left_right_area_ratio"] == pytest.approx(1 / original["left_right_area_ratio"])
    for name in ("lung_area", "cardiothoracic_ratio", "lung_solidity", "height_width_ratio"):
        assert found[name] == pytest.approx(original[name]), name


def test_a_mask_of_both_lungs_is_parted_at_its_middle():
    both = MASKS["right_lung"] | MASKS["left_lung"]
    assert of(lung=both, heart=MASKS["heart"]) == pytest.approx(of(**MASKS))


def test_stray_pixels_of_a_segmenter_count_for_nothing():
    speck = box(190, 195, 0, 5)
    stray = {name: mask | speck for name, mask in MASKS.items()}
    assert of(**stray) == pytest.approx(of(**MASKS))


def missing(found: dict[str, float]) -> set[str]:
    return {name for name, value in found.items() if math.isnan(value)}


PARTED = {"right_lung_area", "left_lung_area", "left_right_area_ratio", "lung_solidity",
          "cardiothoracic_ratio"}  # fmt: skip
OF_BOTH = {"lung_area", "thoracic_width", "lung_height", "height_width_ratio"}


@pytest.mark.parametrize(
    ("masks", "expected"),
    [
        ({n: MASKS[n] for n in ("right_lung", "left_lung")}, {"cardiothoracic_ratio"}),
        (MASKS | {"heart": box(0, 0, 0, 0)}, {"cardiothoracic_ratio"}),
        (MASKS | {"left_lung": box(0, 0, 0, 0)}, PARTED | OF_BOTH),
        ({"lung": box(40, 140, 40, 160), "heart": MASKS["heart"]}, PARTED),
        ({"lung": box(0, 0, 0, 0), "heart": MASKS["heart"]}, set(BIOMARKERS)),
    ],
    ids=["no heart mask", "no heart", "one lung", "lungs that touch", "no lungs"],
)
def test_what_cannot_be_measured_is_missing_and_nothing_else(masks, expected):
    assert missing(of(**masks)) == expected


# The phantoms: the midpoint of each range of the anatomy, upright.
BODY = SimpleNamespace(**{n: sum(ends) / 2 for n, ends in anatomy.PATIENT_RANGES.items()})


def drawn(*, heart_scale: float = 1.0, size: int = 512) -> dict[str, float]:
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    where = anatomy.shapes(BODY, x, y, heart_scale=heart_scale)
    return of(**{n: getattr(where, n) > 0 for n in ("right_lung", "left_lung", "heart")})


def true_ratio(heart_scale: float = 1.0) -> float:
    """Of the tilted ellipse that the heart is, and of the lungs' outer borders."""
    size = BODY.heart_size * heart_scale
    half = math.hypot(0.38 * math.cos(BODY.heart_tilt), 0.27 * math.sin(BODY.heart_tilt)) * size
    return half / BODY.lung_width


@pytest.mark.parametrize("heart_scale", [0.8, 1.0, 1.1])  # AP views have 1.1
def test_a_phantoms_ratio_is_that_of_its_anatomy(heart_scale):
    found = drawn(heart_scale=heart_scale)
    assert found["cardiothoracic_ratio"] == pytest.approx(true_ratio(heart_scale), abs=0.006)
    assert found["thoracic_width"] == pytest.approx(BODY.lung_width, abs=0.006)


def test_drawn_phantoms_have_hearts_of_the_sizes_that_are_drawn():
    """Turned by up to 4 degrees; the range is that of the anatomy, with AP views."""
    for patient in range(12):
        phantom = drawing.draw(seed=0, patient=patient, image=0, size=128)
        found = measure(phantom.image / 255, Structures.of(phantom.masks))
        low = true_ratio(0.88 / BODY.heart_size) * BODY.lung_width / 0.74
        high = true_ratio(1.1 * 1.08 / BODY.heart_size) * BODY.lung_width / 0.64
        assert 0.9 * low < found["cardiothoracic_ratio"] < 1.1 * high
        assert not missing(found)
        assert found["left_right_area_ratio"] < 1  # the heart lies in front of the left lung
