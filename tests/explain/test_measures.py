"""The share of the heat inside the lungs."""

import numpy as np

from jaxcxr.explain.measures import share_inside
from jaxcxr.ops.masks import IGNORE


def test_share_inside():
    mask = np.zeros((3, 4, 4), np.uint8)
    mask[:, :2] = 1
    mask[:, 0, 0] = IGNORE
    heat = np.ones((3, 4, 4))
    heat[1, 2:] = -5
    heat[2] = -1
    np.testing.assert_allclose(share_inside(heat, mask), [7 / 16, 7 / 8, np.nan])


def test_a_constant_factor_changes_nothing():
    rng = np.random.default_rng(0)
    heat, mask = rng.uniform(size=(5, 8, 8)), rng.integers(0, 3, size=(5, 8, 8))
    np.testing.assert_allclose(share_inside(heat, mask), share_inside(1e-6 * heat, mask), rtol=1e-5)
