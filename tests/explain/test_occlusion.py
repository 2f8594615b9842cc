"""Occlusion against classifiers whose answer is a formula."""

import numpy as np
import pytest

from jaxcxr.explain.occlusion import corners, occlusion

SHAPE = (12, 10)


def corner_bright(images):
    """Probability of class 1: mean brightness of the upper left 4x4."""
    p = images[:, :4, :4].mean((1, 2)) / 255
    return np.stack([1 - p, p], axis=-1)


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(1, 256, size=SHAPE, dtype=np.uint8)


@pytest.mark.parametrize("explained", [1, 0])
def test_the_fall_is_what_the_square_covers(image, explained):
    """Squares of 4 pixels side by side: each pixel is under one square."""
    found = occlusion(
        corner_bright, image[:8, :8], explained, size=4, stride=4, fill=0, batch_size=3
    )
    lost = image[:4, :4].mean() / 255
    # Covering it helps class 0.
    np.testing.assert_allclose(found[:4, :4], lost if explained else -lost, rtol=1e-5)
    found[:4, :4] = 0
    np.testing.assert_allclose(found, 0, atol=1e-6)


@pytest.mark.parametrize("batch_size", [1, 5, 100])
def test_of_a_linear_function_it_is_the_mean_of_what_the_squares_take(image, batch_size):
    size, stride, fill = 5, 3, 7
    weights = np.random.default_rng(1).normal(size=SHAPE) / 1e4
    sizes = []

    def predict(images):
        sizes.append(len(images))
        p = (images * weights).sum((1, 2))
        return np.stack([p, 1 - p], axis=-1)

    found = occlusion(predict, image, 0, size=size, stride=stride, fill=fill, batch_size=batch_size)
    sums, counts = np.zeros(SHAPE), np.zeros(SHAPE)
    taken = weights * (image.astype(float) - fill)
    for y in (0, 3, 6, 7):
        for x in (0, 3, 5):
            sums[y : y + size, x : x + size] += taken[y : y + size, x : x + size].sum()
            counts[y : y + size, x : x + size] += 1
    assert counts.min() > 0
    np.testing.assert_allclose(found, sums / counts, rtol=1e-4, atol=1e-7)
    assert max(sizes) <= batch_size
    assert sum(sizes) == 1 + len(corners(SHAPE, size=size, stride=stride)) == 13


def test_a_square_covers_all_channels(image):
    channels = np.stack([image, 255 - image], axis=-1)
    options = dict(size=4, stride=2, fill=0, batch_size=8)
    found = occlusion(lambda x: corner_bright(x[..., 1]), channels, 1, **options)
    np.testing.assert_allclose(
        found, occlusion(corner_bright, 255 - image, 1, **options), rtol=1e-5, atol=1e-7
    )


def test_a_square_larger_than_the_image_is_refused(image):
    with pytest.raises(
        ValueError, match="squares of 11 pixels every 2 do not fit an image of 12 x 10"
    ):
        occlusion(corner_bright, image, 0, size=11, stride=2, fill=0, batch_size=8)
