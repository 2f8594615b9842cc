"""Masks of structure ids."""

from __future__ import annotations

import numpy as np
import pytest

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
