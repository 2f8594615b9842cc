"""The lung module's box and mask: the same as those in JAX, and the published cut."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from jaxcxr.data import lung_crop
from jaxcxr.ops import masks
from jaxcxr.types import InputError

SHAPE = (9, 12)  # one shape, so that JAX compiles once
MASKS = arrays.arrays(
    np.uint8, SHAPE, elements=st.sampled_from([0, 0, 0, 0, 0, 0, 1, 2, 255]), fill=st.just(0)
)


@pytest.fixture
def image() -> np.ndarray:
    return np.arange(60 * 50, dtype=np.uint16).reshape(60, 50)


@pytest.fixture
def mask() -> np.ndarray:
    """Two lungs in rows 20 to 39, columns 15 to 19 and 27 to 32."""
    mask = np.zeros((60, 50), np.uint8)
    mask[20:40, 15:20] = 1
    mask[22:38, 27:33] = 2
    return mask


@settings(deadline=None, max_examples=60)
@given(mask=MASKS, amount=st.sampled_from([0, 1, 6]))
def test_growing_and_boxes_are_those_of_jax(mask, amount):
    np.testing.assert_array_equal(
        lung_crop.dilate(mask, radius=amount), masks.dilate(mask, radius=amount)
    )
    assert (
        list(lung_crop.lung_box(mask, margin=amount))
        == masks.bounding_box(mask, margin=amount).tolist()
    )


def test_the_default_growth_is_a_square_of_five_three_times(mask):
    thrice = cv2.dilate((mask > 0).astype(np.uint8), np.ones((5, 5)), iterations=3)
    np.testing.assert_array_equal(lung_crop.dilate(mask, radius=lung_crop.DILATION), thrice)


@pytest.mark.parametrize(
    "margin, box", [(0, (14, 9, 46, 39)), (10, (4, 0, 56, 49)), (100, (0, 0, 60, 50))]
)
def test_the_crop_is_the_box_around_the_grown_lungs(image, mask, margin, box):
    view = lung_crop.crop_to_lungs(image, mask, margin=margin)
    top, left, bottom, right = box
    assert view.box == box and not view.empty
    np.testing.assert_array_equal(view.image, image[top:bottom, left:right])
    assert view.image.dtype == image.dtype


@pytest.mark.parametrize("margin", [0, 8])
def test_the_published_crop_is_the_published_slice(image, mask, margin):
    grown = cv2.dilate((mask > 0).astype(np.float32), np.ones((5, 5)), iterations=3)
    rows, columns = np.where(grown == 1)
    expected = image[
        rows.min() - margin : rows.max() + margin, columns.min() - margin : columns.max() + margin
    ]
    view = lung_crop.crop_to_lungs(image, mask, margin=margin, form="published")
    np.testing.assert_array_equal(view.image, expected)


def test_the_published_slice_that_starts_below_0_is_cut_at_the_border(image, mask):
    """There the published code counts from the other end and crops nothing at all."""
    view = lung_crop.crop_to_lungs(image, mask, margin=20, form="published")
    assert view.box == (0, 0, 60, 50)


@pytest.mark.parametrize("form", ["sound", "published"])
def test_a_single_pixel_is_enough_for_a_crop(image, form):
    mask = np.zeros(image.shape, bool)
    mask[30, 49] = True
    view = lung_crop.crop_to_lungs(image, mask, dilation=0, form=form)
    assert view.box == (30, 49, 31, 50) and view.image.tolist() == [[30 * 50 + 49]]


def test_outside_the_grown_lungs_the_image_is_black(image, mask):
    view = lung_crop.keep_lungs(image + 1, mask)
    grown = masks.dilate(mask, radius=6)
    np.testing.assert_array_equal(view.image, masks.apply_mask(image + 1, grown))
    assert view.image.dtype == image.dtype and view.box == (0, 0, 60, 50) and not view.empty


@pytest.mark.parametrize("nothing", [0, 255])
@pytest.mark.parametrize("function", [lung_crop.crop_to_lungs, lung_crop.keep_lungs])
def test_without_lungs_the_whole_image_is_left_and_said_so(image, function, nothing):
    view = function(image, np.full(image.shape, nothing, np.uint8))
    assert view.empty and view.box == (0, 0, 60, 50)
    np.testing.assert_array_equal(view.image, image)


def test_ignored_pixels_are_no_lung(image, mask):
    marked = np.where(mask == 0, np.uint8(255), mask)
    np.testing.assert_array_equal(
        lung_crop.keep_lungs(image, marked).image, lung_crop.keep_lungs(image, mask).image
    )


def test_what_does_not_fit_is_refused(image, mask):
    with pytest.raises(InputError, match=r"image is \(60, 50\), its lung mask \(59, 50\)"):
        lung_crop.crop_to_lungs(image, mask[1:])
    with pytest.raises(InputError, match="threshold"):
        lung_crop.keep_lungs(image, mask.astype(np.float32))
    with pytest.raises(InputError, match="sound or published"):
        lung_crop.crop_to_lungs(image, mask, form="x")  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match="margin"):
        lung_crop.crop_to_lungs(image, mask, margin=-1)
    with pytest.raises(InputError, match="grow by -1"):
        lung_crop.keep_lungs(image, mask, dilation=-1)
