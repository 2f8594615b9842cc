"""Masks of structure ids."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from scipy import ndimage

from jaxcxr.ops import masks

IDS = np.array([[0, 1, 2], [255, 3, 0]], np.uint8)


def test_union_of_all_structures_leaves_out_background_and_ignored_pixels():
    np.testing.assert_array_equal(masks.structure_union(IDS), [[0, 1, 1], [0, 1, 0]])


def test_union_of_chosen_structures():
    np.testing.assert_array_equal(masks.structure_union(IDS, ids=(2, 3)), [[0, 0, 1], [0, 1, 0]])


def test_a_boolean_mask_is_one_structure():
    mask = np.array([[True, False]])
    np.testing.assert_array_equal(masks.structure_union(mask), mask)


def test_apply_mask_zeroes_outside_and_keeps_the_type():
    image = np.full((2, 3), 7, np.uint8)
    masked = masks.apply_mask(image, IDS)
    assert masked.dtype == np.uint8
    np.testing.assert_array_equal(masked, [[0, 7, 7], [0, 7, 0]])


@pytest.mark.parametrize("value, empty", [(0, True), (255, True), (1, False)])
def test_a_mask_without_structure_is_empty(value, empty):
    mask = np.zeros((4, 4), np.uint8)
    mask[2, 2] = value
    assert bool(masks.is_empty(mask)) is empty


@pytest.mark.parametrize("radius", [0, 1, 6])
def test_dilation_equals_scipy(radius):
    mask = np.random.default_rng(0).random((40, 30)) > 0.98
    expected = ndimage.binary_dilation(mask, np.ones((2 * radius + 1,) * 2)) if radius else mask
    np.testing.assert_array_equal(masks.dilate(mask, radius=radius), expected)


def test_three_dilations_by_two_are_one_by_six():
    mask = np.random.default_rng(1).random((40, 30)) > 0.99
    thrice = masks.dilate(masks.dilate(masks.dilate(mask, radius=2), radius=2), radius=2)
    np.testing.assert_array_equal(masks.dilate(mask, radius=6), thrice)


def test_bounding_box_cuts_out_the_structure():
    mask = np.zeros((20, 30), np.uint8)
    mask[4:9, 11] = 1
    mask[6, 8:15] = 2
    assert masks.bounding_box(mask).tolist() == [4, 8, 9, 15]
    assert masks.bounding_box(mask, margin=5).tolist() == [0, 3, 14, 20]


def test_the_box_of_an_empty_mask_is_the_image():
    assert masks.bounding_box(np.zeros((20, 30), np.uint8)).tolist() == [0, 0, 20, 30]


def test_all_run_under_jit_and_vmap():
    batch = np.stack([IDS, IDS.clip(0, 1)])
    boxes = jax.jit(jax.vmap(masks.bounding_box))(batch)
    assert boxes.tolist() == [[0, 1, 2, 3], [0, 0, 2, 3]]
