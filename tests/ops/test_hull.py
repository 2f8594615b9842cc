"""What lies beyond a mask's convex hull, beside SciPy's."""

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial import ConvexHull

from jaxcxr.ops.hull import beyond_hull


@pytest.mark.parametrize("seed", range(4))
def test_beyond_is_outside_scipys_hull_and_nearly_all_of_it(seed):
    rng = np.random.default_rng(seed)
    mask = np.zeros((48, 64), bool)
    mask[tuple(rng.integers(10, 38, (2, 12)))] = True
    hull = ConvexHull(np.argwhere(mask))
    places = np.argwhere(np.ones_like(mask))
    outside = (places @ hull.equations[:, :2].T + hull.equations[:, 2]).max(1) > 1e-9
    distance = ndimage.distance_transform_edt(outside.reshape(mask.shape))  # to the next pixel
    for margin in (0.0, 3.0):
        beyond = np.asarray(beyond_hull(mask[None], margin)[0])
        assert not (beyond & (distance <= margin)).any()
        assert beyond[distance > margin + 2].all()


def test_all_of_an_empty_mask_is_beyond_and_nothing_of_a_full_one():
    masks = np.stack([np.zeros((8, 8), bool), np.ones((8, 8), bool)])
    beyond = np.asarray(beyond_hull(masks, 0.0))
    assert beyond[0].all() and not beyond[1].any()
