"""The share and the density of the heat in a region."""

import numpy as np

from jaxcxr.explain.measures import concentration, share_inside
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
    for measure in (share_inside, concentration):
        np.testing.assert_allclose(measure(heat, mask), measure(1e-6 * heat, mask), rtol=1e-5)


def test_concentration():
    """All of it on a letter of 2 of 64 pixels; spread evenly; none of it there; no letter; no
    heat.
    """
    letter = np.zeros((5, 8, 8), bool)
    letter[:, 0, 1:3] = True
    letter[3] = False
    heat = np.stack(
        [letter[0], np.ones((8, 8)), ~letter[0], np.ones((8, 8)), np.zeros((8, 8))]
    ).astype(float)
    np.testing.assert_allclose(concentration(heat, letter), [32, 1, 0, np.nan, np.nan], rtol=1e-6)
