"""Patches are put back where they came from, and pixels get the mean of what covers them."""

import numpy as np
import pytest

from jaxcxr.explain import patch_saliency
from jaxcxr.ops import patches as sampling
from tests.ops.coverage import coverage

SHAPE, SIZE = (20, 24), 7


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def centres(rng):
    return rng.integers(0, SHAPE, size=(9, 2))


def test_paste_is_the_inverse_of_crop(rng, centres):
    image = rng.normal(size=SHAPE).astype(np.float32)
    values = sampling.crop(image, centres, size=SIZE)
    sums, counts = patch_saliency.paste(values, centres, shape=SHAPE)
    covered = np.asarray(counts) > 0
    assert 0 < covered.sum() < covered.size
    np.testing.assert_array_equal(counts, coverage(centres, size=SIZE, shape=SHAPE))
    np.testing.assert_allclose(
        (sums / np.maximum(counts, 1))[covered], image[covered], rtol=1e-5, atol=1e-6
    )
    assert not np.asarray(sums)[~covered].any()


def test_even_heat_of_certain_patches_is_one_where_they_are(centres):
    ones = np.ones((len(centres), SIZE, SIZE))
    found = patch_saliency.probabilistic(ones, np.ones(len(centres)), centres, shape=SHAPE)
    np.testing.assert_array_equal(found, coverage(centres, size=SIZE, shape=SHAPE) > 0)


def test_heat_counts_as_much_as_the_patch_is_certain(rng, centres):
    heat, probabilities = (
        rng.uniform(size=(len(centres), SIZE, SIZE)),
        rng.uniform(size=len(centres)),
    )
    sums, counts = np.zeros(SHAPE), np.zeros(SHAPE)
    for values, p, (y, x) in zip(heat, probabilities, centres, strict=True):
        top, left = (
            np.clip(y - SIZE // 2, 0, SHAPE[0] - SIZE),
            np.clip(x - SIZE // 2, 0, SHAPE[1] - SIZE),
        )
        sums[top : top + SIZE, left : left + SIZE] += p * values
        counts[top : top + SIZE, left : left + SIZE] += 1
    found = patch_saliency.probabilistic(heat, probabilities, centres, shape=SHAPE)
    np.testing.assert_allclose(found, sums / np.maximum(counts, 1), rtol=1e-5, atol=1e-7)


def test_votes():
    centres = np.asarray([(3, 3), (3, 5), (15, 15)])
    found = np.asarray(
        patch_saliency.vote_map(np.asarray([1, 0, 1]), centres, size=SIZE, shape=SHAPE)
    )
    assert found[3, 0] == 1
    assert found[3, 4] == 0.5
    assert found[3, 8] == 0
    assert found[15, 15] == 1
    assert np.isnan(found[0, 20])
