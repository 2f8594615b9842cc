"""The lung module's growth and box: the same as those in JAX."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage

from jaxcxr.data import lung_crop
from jaxcxr.errors import InputError

SHAPE = (9, 12)  # one shape, so that JAX compiles once
MASKS = arrays.arrays(
    np.uint8, SHAPE, elements=st.sampled_from([0, 0, 0, 0, 0, 0, 1, 2, 255]), fill=st.just(0)
)


@pytest.fixture
def mask() -> np.ndarray:
    """Two lungs in rows 20 to 39, columns 15 to 19 and 27 to 32."""
    mask = np.zeros((60, 50), np.uint8)
    mask[20:40, 15:20] = 1
    mask[22:38, 27:33] = 2
    return mask


@settings(deadline=None, max_examples=60)
@given(mask=MASKS, amount=st.sampled_from([0, 1, 6]))
def test_growing_and_boxes_are_scipys(mask, amount):
    lungs = (mask > 0) & (mask != 255)
    square = np.ones((2 * amount + 1,) * 2, bool)
    np.testing.assert_array_equal(
        lung_crop.dilate(mask, radius=amount), ndimage.binary_dilation(lungs, square)
    )
    rows, columns = ndimage.find_objects(lungs.astype(int) if lungs.any() else lungs + 1)[0]
    height, width = mask.shape
    expected = (
        max(rows.start - amount, 0),
        max(columns.start - amount, 0),
        min(rows.stop + amount, height),
        min(columns.stop + amount, width),
    )
    assert lung_crop.lung_box(mask, margin=amount) == expected


def test_the_default_growth_is_a_square_of_five_three_times(mask):
    thrice = cv2.dilate((mask > 0).astype(np.uint8), np.ones((5, 5)), iterations=3)
    np.testing.assert_array_equal(lung_crop.dilate(mask, radius=lung_crop.DILATION), thrice)


@pytest.mark.parametrize(
    "margin, box", [(0, (14, 9, 46, 39)), (10, (4, 0, 56, 49)), (100, (0, 0, 60, 50))]
)
def test_the_box_of_the_grown_lungs(mask, margin, box):
    grown = lung_crop.dilate(mask, radius=lung_crop.DILATION)
    assert lung_crop.lung_box(grown, margin=margin) == box


@pytest.mark.parametrize("nothing", [0, 255])
def test_without_lungs_the_box_is_the_whole_image(nothing):
    assert lung_crop.lung_box(np.full((60, 50), nothing, np.uint8)) == (0, 0, 60, 50)


def test_ignored_pixels_are_no_lung(mask):
    marked = np.where(mask == 0, np.uint8(255), mask)
    np.testing.assert_array_equal(
        lung_crop.dilate(marked, radius=6), lung_crop.dilate(mask, radius=6)
    )


def test_what_does_not_fit_is_refused(mask):
    with pytest.raises(InputError, match="threshold"):
        lung_crop.dilate(mask.astype(np.float32), radius=6)
    with pytest.raises(InputError, match="margin"):
        lung_crop.lung_box(mask, margin=-1)
    with pytest.raises(InputError, match="grow by -1"):
        lung_crop.dilate(mask, radius=-1)
