"""Random views: the image itself, exact turns, and SciPy's resampling."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from jaxcxr.ops import augment, geometry

CXNET = {"max_rotation": 170.0, "zoom": (0.8, 1.5), "shift": 0.2, "hflip": 0.5, "vflip": 0.5}


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).random((21, 16)).astype(np.float32)


@pytest.fixture
def square() -> np.ndarray:
    return np.random.default_rng(1).random((14, 14)).astype(np.float32)


def by_scipy(image, *, angle, zoom, shift, flip, fill, mode):
    """The same map written as SciPy's: output (row, column) -> matrix @ it + offset."""
    turn = np.deg2rad(angle)
    turn = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    matrix = turn @ np.diag(np.where(flip, -1, 1) * np.asarray(zoom))
    middle = (np.array(image.shape[:2]) - 1) / 2
    offset = middle + turn @ (np.asarray(shift) * image.shape[:2]) - matrix @ middle
    return ndimage.affine_transform(image, matrix, offset, order=1, mode=mode, cval=fill), (
        matrix,
        offset,
    )


@pytest.mark.parametrize("channels", [(), (3,)])
def test_with_the_default_ranges_the_image_stays_bit_for_bit(channels):
    image = np.random.default_rng(2).random((21, 16, *channels)).astype(np.float32)
    key = jax.random.key(0)
    random_affine = jax.jit(augment.random_affine)
    np.testing.assert_array_equal(random_affine(key, image), image)
    np.testing.assert_array_equal(augment.random_brightness(key, image, low=1.0, high=1.0), image)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_quarter_turns_are_counter_clockwise_and_exact(square, turns):
    turned = augment.affine(square, angle=90.0 * turns)
    np.testing.assert_allclose(turned, np.rot90(square, turns), atol=2e-5)


def test_a_turn_is_that_of_a_rotated_crop(square):
    crop = geometry.rotate_crop(square, np.array([7, 7]), 25.0, size=14)
    np.testing.assert_allclose(augment.affine(square, angle=25.0), crop, atol=1e-6)


@pytest.mark.parametrize(
    "flip, axes", [((True, False), 0), ((False, True), 1), ((True, True), (0, 1))]
)
def test_mirroring_is_exact(image, flip, axes):
    np.testing.assert_array_equal(augment.affine(image, flip=flip), np.flip(image, axes))


def test_a_shift_moves_up_and_left_and_fills(image):
    moved = augment.affine(image, shift=(2 / 21, 0.25), fill=7.0)
    expected = np.full(image.shape, 7.0)
    expected[:19, :12] = image[2:, 4:]
    np.testing.assert_allclose(moved, expected, atol=1e-5)


def test_zoom_tells_how_much_is_shown_in_each_direction():
    rows, columns = np.mgrid[:21, :41].astype(np.float32)
    shown = augment.affine(rows / 20, zoom=(0.5, 1.0))
    np.testing.assert_allclose(shown[[0, 10, 20], 5], [0.25, 0.5, 0.75], atol=1e-6)
    shown = augment.affine(columns / 40, zoom=(1.0, 2.0), fill=-1.0)
    np.testing.assert_allclose(shown[5, [9, 10, 20, 30, 31]], [-1, 0, 0.5, 1, -1], atol=1e-6)


@pytest.mark.parametrize(
    "angle, zoom, shift, flip",
    [
        (5.0, (1.0, 1.0), (0.0, 0.0), (False, False)),
        (-170.0, (0.8, 1.5), (0.2, -0.13), (True, False)),
        (63.0, (1.3, 0.9), (-0.1, 0.2), (True, True)),
    ],
)
def test_all_at_once_equals_scipy(image, angle, zoom, shift, flip):
    parameters = {"angle": angle, "zoom": zoom, "shift": shift, "flip": flip, "fill": 0.25}
    ours = np.asarray(augment.affine(image, **parameters))
    everywhere, (matrix, offset) = by_scipy(image, **parameters, mode="grid-constant")
    np.testing.assert_allclose(ours, everywhere, atol=1e-4)
    # Mode "constant" breaks off at the border, where ours fades over one pixel; elsewhere they
    # agree.
    broken_off, _ = by_scipy(image, **parameters, mode="constant")
    places = np.moveaxis(np.indices(image.shape), 0, -1) @ matrix.T + offset
    beyond = np.maximum(-places, places - (np.array(image.shape) - 1)).max(axis=-1)
    away = (beyond < -1e-3) | (beyond > 1)
    assert away.mean() > 0.8
    np.testing.assert_allclose(ours[away], broken_off[away], atol=1e-4)


def test_channels_move_together(image):
    stacked = np.stack([image, 1 - image, image**2], axis=-1)
    key = jax.random.key(3)
    together = augment.random_affine(key, stacked, **CXNET)
    for channel in range(3):
        apart = augment.random_affine(key, stacked[..., channel], **CXNET)
        np.testing.assert_allclose(together[..., channel], apart, atol=1e-6)


def test_the_same_key_gives_the_same_view_in_any_batch(image):
    view = functools.partial(augment.random_affine, **CXNET)
    keys = jax.random.split(jax.random.key(4), 5)
    batch = jnp.stack([image] * 5)
    views = np.asarray(jax.jit(jax.vmap(view))(keys, batch))
    np.testing.assert_allclose(views[2], view(keys[2], image), atol=1e-5)
    np.testing.assert_allclose(jax.vmap(view)(keys[1:3], batch[:2])[1], views[2], atol=1e-5)
    assert all(np.abs(views[i] - views[j]).mean() > 0.05 for i in range(5) for j in range(i))


def test_views_keep_shape_type_and_the_range_of_image_and_fill(image):
    view = functools.partial(augment.random_affine, **CXNET, fill=-0.5)
    keys = jax.random.split(jax.random.key(5), 16)
    views = jax.jit(jax.vmap(view, in_axes=(0, None)))(keys, 0.25 + 0.5 * image)
    assert views.shape == (16, *image.shape) and views.dtype == jnp.float32
    assert views.min() == pytest.approx(-0.5, abs=1e-6) and views.max() <= 0.75 + 1e-6
    assert view(keys[0], image.astype(np.float16)).dtype == jnp.float16


def test_draws_are_uniform_over_their_ranges_and_apart_for_the_axes():
    """Read off what an image of its own coordinates becomes at its centre and around it."""
    rows, columns = np.mgrid[:41, :61].astype(np.float32)
    wide = {"zoom": (0.8, 1.2), "shift": 0.1}
    keys = jax.random.split(jax.random.key(6), 400)
    where = jnp.stack([jnp.asarray(rows), jnp.asarray(columns)], axis=-1)
    views = np.asarray(
        jax.jit(jax.vmap(lambda key: augment.random_affine(key, where, **wide)))(keys)
    )
    shift = (views[:, 20, 30] - [20, 30]) / [41, 61]
    zoom = np.stack(
        [views[:, 21, 30, 0] - views[:, 20, 30, 0], views[:, 20, 31, 1] - views[:, 20, 30, 1]], -1
    )
    for drawn, low, high in ((shift, -0.1, 0.1), (zoom, 0.8, 1.2)):
        assert (drawn >= low - 1e-4).all() and (drawn <= high + 1e-4).all()
        np.testing.assert_allclose(drawn.mean(axis=0), (low + high) / 2, atol=0.1 * (high - low))
        np.testing.assert_allclose(drawn.std(axis=0), (high - low) / 12**0.5, rtol=0.15)
        assert abs(np.corrcoef(drawn.T)[0, 1]) < 0.2
    assert abs(np.corrcoef(shift[:, 0], zoom[:, 0])[0, 1]) < 0.2


def test_angles_and_flips_follow_their_ranges():
    rows, columns = np.mgrid[:9, :9].astype(np.float32) - 4
    where = jnp.stack([jnp.asarray(rows), jnp.asarray(columns)], axis=-1)
    keys = jax.random.split(jax.random.key(7), 400)

    def middle(**ranges):
        view = jax.jit(jax.vmap(lambda key: augment.random_affine(key, where, **ranges)[3:6, 3:6]))
        return np.asarray(view(keys))

    turned = middle(max_rotation=30.0)
    angles = np.rad2deg(np.arctan2(turned[:, 1, 2, 0], turned[:, 1, 2, 1]))
    assert abs(angles).max() <= 30.001 and abs(angles.mean()) < 3
    assert angles.std() == pytest.approx(60 / 12**0.5, rel=0.15)
    flipped = middle(hflip=0.25, vflip=1.0)
    assert (flipped[:, 0, 1, 0] == 1).all()
    assert (flipped[:, 1, 2, 1] == -1).mean() == pytest.approx(0.25, abs=0.06)
    assert set(np.unique(flipped[:, 1, 2, 1])) == {-1.0, 1.0}


def test_brightness_multiplies_by_one_factor_and_cuts_off_at_white(image):
    dim = 0.5 * image + 0.1
    keys = jax.random.split(jax.random.key(8), 300)
    brighter = functools.partial(augment.random_brightness, low=0.5, high=1.3)
    bright = np.asarray(jax.jit(jax.vmap(brighter, in_axes=(0, None)))(keys, dim))
    factors = bright[:, 0, 0] / dim[0, 0]
    np.testing.assert_allclose(bright, factors[:, None, None] * dim, atol=1e-6)
    assert factors.min() >= 0.5 and factors.max() <= 1.3
    assert factors.mean() == pytest.approx(0.9, abs=0.05)
    twice = augment.random_brightness(keys[0], image, low=2.0, high=2.0)
    np.testing.assert_allclose(twice, np.minimum(2 * image, 1), atol=1e-6)


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"zoom": (1.5, 0.8)}, "zoom"),
        ({"zoom": (0.0, 1.0)}, "zoom"),
        ({"max_rotation": -1.0}, "max_rotation=-1.0"),
        ({"shift": -0.1}, "shift=-0.1"),
        ({"hflip": 2.0}, "hflip=2.0"),
    ],
)
def test_impossible_ranges_are_refused(image, wrong, message):
    with pytest.raises(ValueError, match=message):
        augment.random_affine(jax.random.key(0), image, **wrong)


def test_bytes_and_dark_factors_are_refused(image):
    key = jax.random.key(0)
    with pytest.raises(AssertionError):
        augment.random_affine(key, (255 * image).astype(np.uint8))
    with pytest.raises(ValueError, match=r"brightness from 1.3 to 0.5"):
        augment.random_brightness(key, image, low=1.3, high=0.5)


LOOKS = augment.Looks(
    brightness=(0.6, 1.4),
    contrast=(0.6, 1.4),
    gamma=(0.6, 1.67),
    noise=0.05,
    objects=3,
    borders=0.2,
    inverted=0.3,
)


@pytest.mark.parametrize("channels", [(), (3,)])
def test_looks_stay_in_range_and_say_what_a_border_hides(channels):
    image = np.random.default_rng(2).random((21, 16, *channels)).astype(np.float32)
    keys = jax.random.split(jax.random.key(0), 20)
    looks, hidden = jax.jit(jax.vmap(lambda key: LOOKS(key, image)))(keys)
    assert looks.shape == (20, *image.shape) and hidden.shape == (20, 21, 16)
    assert looks.min() >= 0 and looks.max() <= 1
    assert not np.asarray(looks)[np.asarray(hidden)].any()
    assert 0 < hidden.mean() < 0.3
    assert len(np.unique(np.asarray(looks).mean((1, 2)).round(6), axis=0)) == 20  # all differ


def test_looks_change_nothing_by_default_and_brightness_alone_is_as_before(image):
    key = jax.random.key(3)
    same, hidden = augment.Looks()(key, image)
    np.testing.assert_array_equal(same, image)
    assert not hidden.any()
    bright, _ = augment.Looks(brightness=(0.5, 1.3))(key, image)
    before = augment.random_brightness(key, image, low=0.5, high=1.3)
    np.testing.assert_array_equal(bright, before)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"contrast": (0.5, 0.5)}, lambda x: (x - x.mean()) * 0.5 + x.mean()),
        ({"gamma": (2.0, 2.0)}, lambda x: x**2),
        ({"inverted": 1.0}, lambda x: 1 - x),
    ],
)
def test_each_look_is_its_formula(image, options, expected):
    looks, hidden = augment.Looks(**options)(jax.random.key(0), image)
    np.testing.assert_allclose(looks, expected(image), atol=1e-6)
    assert not hidden.any()


def test_quarter_turns_are_exact_and_as_frequent_as_asked(square):
    for turns in range(4):
        turned = augment.quarter_turned(jnp.asarray(square), jnp.asarray(turns))
        np.testing.assert_array_equal(turned, np.rot90(square, turns))
    keys = jax.random.split(jax.random.key(0), 4000)
    drawn = jax.vmap(lambda key: augment.random_quarter_turns(key, 0.3))(keys)
    shares = np.bincount(np.asarray(drawn), minlength=4) / 4000
    np.testing.assert_allclose(shares, [0.7, 0.1, 0.1, 0.1], atol=0.02)
