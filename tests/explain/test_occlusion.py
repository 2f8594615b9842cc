"""Occlusion against a classifier whose answer is a formula."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcxr.explain.occlusion import occlusion

SHAPE = (12, 10)


def corner_bright(images):
    """Probability of class 1: mean brightness of the upper left 4x4."""
    p = jnp.asarray(images, jnp.float32)[:, :4, :4].mean((1, 2)) / 255
    return jnp.stack([1 - p, p], axis=-1)


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(1, 256, size=(2, *SHAPE), dtype=np.uint8)


def test_the_fall_is_what_the_square_covers(images):
    """Squares of 4 pixels side by side: each pixel is under one square."""
    found = np.asarray(occlusion(corner_bright, images[:, :8, :8], np.asarray([1, 0]), size=4, stride=4, fill=0))
    lost = images[:, :4, :4].mean((1, 2)) / 255
    np.testing.assert_allclose(found[0, :4, :4], lost[0], rtol=1e-5)
    np.testing.assert_allclose(found[1, :4, :4], -lost[1], rtol=1e-5)  # covering it helps class 0
    np.testing.assert_allclose(found[:, 4:, 4:], 0, atol=1e-6)


def test_each_pixel_gets_the_mean_of_the_squares_over_it(images):
    size, stride, fill = 5, 3, 7
    classes = np.asarray([1, 1])
    found = jax.jit(lambda x: occlusion(corner_bright, x, classes, size=size, stride=stride, fill=fill))(images)
    sums, counts = np.zeros(images.shape), np.zeros(SHAPE)
    whole = np.asarray(corner_bright(images))[:, 1]
    for y in (0, 3, 6, 7):
        for x in (0, 3, 5):
            covered = images.copy()
            covered[:, y : y + size, x : x + size] = fill
            fall = whole - np.asarray(corner_bright(covered))[:, 1]
            sums[:, y : y + size, x : x + size] += fall[:, None, None]
            counts[y : y + size, x : x + size] += 1
    assert counts.min() > 0
    np.testing.assert_allclose(found, sums / counts, rtol=1e-4, atol=1e-6)


def test_a_square_larger_than_the_image_is_refused(images):
    with pytest.raises(ValueError, match="squares of 11 pixels every 2 do not fit an image of 12 x 10"):
        occlusion(corner_bright, images, np.zeros(2, int), size=11, stride=2, fill=0)
