"""Resizing against Pillow, and rotated crops against exact turns."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from jaxcxr.ops import geometry

PILLOW = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "cubic": Image.Resampling.BICUBIC,
}


@pytest.fixture
def image() -> np.ndarray:
    # Odd sides, so that "nearest" has no ties, which Pillow breaks by its rounding errors.
    return np.random.default_rng(0).random((47, 35)).astype(np.float32)


@pytest.mark.parametrize("method", geometry.RESIZE_METHODS)
@pytest.mark.parametrize("size", [(96, 72), (20, 31), (17, 50), (47, 35)])
def test_resize_equals_pillow(image, method, size):
    expected = np.asarray(Image.fromarray(image).resize(size[::-1], PILLOW[method]))
    np.testing.assert_allclose(
        geometry.resize(image, size=size, method=method), expected, atol=1e-5
    )


def test_nearest_keeps_structure_ids(image):
    ids = (image * 4).astype(np.uint8)
    resized = geometry.resize(ids, size=(100, 100), method="nearest")
    assert resized.dtype == np.uint8
    assert set(np.unique(resized)) == {0, 1, 2, 3}


def test_interpolating_integers_or_an_unknown_method_is_refused(image):
    with pytest.raises(AssertionError):
        geometry.resize((image * 255).astype(np.uint8), size=(9, 9))
    with pytest.raises(ValueError, match="lanczos.*nearest, bilinear, cubic"):
        geometry.resize(image, size=(9, 9), method="lanczos")


def test_flip_mirrors_left_and_right():
    np.testing.assert_array_equal(geometry.flip(np.array([[1, 2, 3]])), [[3, 2, 1]])


def test_unit_float_divides_bytes_and_passes_floats():
    np.testing.assert_allclose(
        geometry.unit_float(np.array([0, 51, 255], np.uint8)), [0.0, 0.2, 1.0], rtol=1e-6
    )
    np.testing.assert_array_equal(geometry.unit_float(np.array([0.25])), np.float32([0.25]))
    with pytest.raises(AssertionError):
        geometry.unit_float(np.array([3], np.int32))


@pytest.mark.parametrize(
    "centre, origin",
    [((10, 15), (6, 11)), ((0, 0), (0, 0)), ((19, 29), (12, 22)), ((2, 29), (0, 22))],
)
def test_boxes_at_the_border_are_shifted_inside(centre, origin):
    box = geometry.box_origin(np.array(centre), size=8, shape=(20, 30))
    assert tuple(box.tolist()) == origin


def test_a_box_larger_than_the_image_is_refused():
    with pytest.raises(ValueError, match="21 pixels does not fit an image of 20 x 30"):
        geometry.box_origin(np.array([3, 3]), size=21, shape=(20, 30))


@pytest.mark.parametrize("size", [8, 9])
@pytest.mark.parametrize("centre", [(20, 17), (0, 34), (46, 0)])
def test_angle_zero_is_the_plain_crop(image, size, centre):
    top, left = geometry.box_origin(np.array(centre), size=size, shape=image.shape)
    patch = geometry.rotate_crop(image, np.array(centre), 0.0, size=size)
    np.testing.assert_array_equal(patch, image[top : top + size, left : left + size])


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_quarter_turns_are_counter_clockwise_and_exact(image, turns):
    centre = np.array([24, 18])
    plain = geometry.rotate_crop(image, centre, 0.0, size=12)
    turned = geometry.rotate_crop(image, centre, 90.0 * turns, size=12)
    np.testing.assert_allclose(turned, np.rot90(plain, turns), atol=1e-5)


def test_a_small_angle_equals_scipy_on_the_surrounding_image():
    image = np.random.default_rng(1).random((41, 41)).astype(np.float32)
    expected = ndimage.rotate(image, 5, reshape=False, order=1)[14:27, 14:27]
    patch = geometry.rotate_crop(image, np.array([20, 20]), 5.0, size=13)
    np.testing.assert_allclose(patch, expected, atol=1e-5)


def test_rotation_brings_in_the_image_and_black_only_beyond_its_border():
    ones = np.ones((60, 60), np.float32)
    inside = geometry.rotate_crop(ones, np.array([30, 30]), 45.0, size=16)
    np.testing.assert_allclose(inside, 1.0, atol=1e-6)
    corner = geometry.rotate_crop(ones, np.array([0, 0]), 45.0, size=16)
    assert float(corner[0, 0]) == 0.0
    assert float(corner[8, 8]) == pytest.approx(1.0)


def test_rotated_crops_run_under_jit_and_vmap(image):
    centres, angles = jnp.array([[10, 10], [30, 20]]), jnp.array([3.0, -7.0])

    def crop(centre, angle):
        return geometry.rotate_crop(jnp.asarray(image), centre, angle, size=8)

    batch = jax.jit(jax.vmap(crop))(centres, angles)
    loop = np.stack([crop(c, a) for c, a in zip(centres, angles, strict=True)])
    np.testing.assert_allclose(batch, loop, atol=1e-6)
