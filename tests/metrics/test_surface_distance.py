"""HD95: against distances between all pairs of outline pixels, and by shapes of known distance."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from jaxcxr.metrics.surface_distance import hd95


def brute_force(one, other):
    """Outlines by looking at four neighbours, distances by comparing all pairs of pixels."""

    def outline(mask):
        height, width = mask.shape
        return np.array(
            [
                (y, x)
                for y, x in np.argwhere(mask).tolist()
                if any(
                    not (0 <= y + dy < height and 0 <= x + dx < width) or not mask[y + dy, x + dx]
                    for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0))
                )
            ]
        )

    a, b = outline(one), outline(other)
    pairs = np.sqrt(((a[:, None] - b[None]) ** 2).sum(-1))
    return max(np.percentile(pairs.min(1), 95), np.percentile(pairs.min(0), 95))


def blobs(seed, shape=(37, 52)):
    """Smooth random regions, some of which touch the border."""
    noise = np.random.default_rng(seed).normal(size=shape)
    return ndimage.gaussian_filter(noise, 3) > 0.02


@pytest.mark.parametrize("seed", range(8))
def test_it_is_what_all_pairs_of_outline_pixels_give(seed):
    one, other = blobs(seed), blobs(seed + 100)
    assert hd95(one, other) == pytest.approx(brute_force(one, other), abs=1e-12)
    assert hd95(other, one) == hd95(one, other)


def square(top, left, side=8, shape=(40, 40)):
    mask = np.zeros(shape, bool)
    mask[top : top + side, left : left + side] = True
    return mask


def test_shapes_of_known_distance():
    assert hd95(square(5, 5), square(5, 5)) == 0
    one, other = np.zeros((9, 30), bool), np.zeros((9, 30), bool)
    one[2, 4], other[5, 8] = True, True
    assert hd95(one, other) == 5  # 3, 4, 5
    # A speck is one of 29 outline pixels: less than 5 per cent of them.
    speck = square(5, 5)
    speck[35, 35] = True
    assert hd95(speck, square(5, 5)) == 0
    # Four specks are not.
    speck[35, 31], speck[31, 35], speck[31, 31] = True, True, True
    assert hd95(speck, square(5, 5)) > 26


def test_the_worse_direction_counts():
    """All of one outline lies on the other, most of which is far from it."""
    both = square(2, 2) | square(30, 30)
    assert hd95(square(2, 2), both) == hd95(both, square(2, 2)) > 25


def test_without_an_outline_it_is_undefined():
    empty = np.zeros((40, 40), bool)
    for one, other in ((empty, square(5, 5)), (square(5, 5), empty), (empty, empty)):
        assert np.isnan(hd95(one, other))


def test_a_mask_does_not_end_at_ignored_pixels():
    whole, ignored = square(10, 10, side=12), np.zeros((40, 40), bool)
    ignored[:, 16:] = True
    longer = square(10, 10, side=12) | square(10, 20, side=12)
    assert hd95(whole, longer) > 5
    assert hd95(whole, longer, ignored=ignored) == 0
    shorter = whole.copy()
    shorter[:, 13:] = False  # where pixels count
    # 2 of 22 outline pixels are 3 away, and none of those beside the ignored ones is one.
    assert hd95(whole, shorter, ignored=ignored) == pytest.approx(2.95)
    assert np.isnan(hd95(whole, longer, ignored=np.ones((40, 40), bool)))
