"""Patches: where they lie, what they show, and what they do not depend on."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxcxr.ops import geometry, masks, patches
from tests.ops.coverage import coverage

KEY = jax.random.key(0)
OPTIONS = {"count": 300, "size": 12}  # the same throughout, so that few programs are compiled


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (40, 50), dtype=np.uint8)


@pytest.fixture
def lungs() -> np.ndarray:
    """Two lungs of unlike size, so that rows and columns are not independent."""
    mask = np.zeros((40, 50), np.uint8)
    mask[5:30, 4:16] = 1
    mask[20:38, 30:44] = 2
    return mask


def test_joint_centres_lie_on_the_lungs(lungs):
    rows, columns = patches.sample_centres(KEY, lungs, count=2000).T
    assert (lungs[rows, columns] > 0).all()


def test_published_centres_keep_to_lung_rows_and_columns_but_may_leave_the_lungs(lungs):
    centres = patches.sample_centres(KEY, lungs, count=2000, sampling="rows_and_columns")
    rows, columns = centres.T
    assert lungs.any(axis=1)[rows].all()
    assert lungs.any(axis=0)[columns].all()
    # Off the lungs: (left row, right column) + (right, left) minus the overlap, by the marginals.
    share_rows = (lungs > 0).sum(axis=1) / (lungs > 0).sum()
    share_columns = (lungs > 0).sum(axis=0) / (lungs > 0).sum()
    expected = np.outer(share_rows, share_columns)[lungs == 0].sum()
    assert (lungs[rows, columns] == 0).mean() == pytest.approx(expected, abs=0.04)


def test_joint_sampling_is_uniform_over_pixels():
    mask = np.zeros((40, 50), np.uint8)
    mask[7:10, 30:34] = [[1, 0, 1, 1], [0, 0, 0, 0], [1, 1, 0, 0]]
    rows, columns = patches.sample_centres(KEY, mask, count=2000).T
    counts = np.zeros(mask.shape)
    np.add.at(counts, (np.asarray(rows), np.asarray(columns)), 1)
    assert counts[mask == 0].sum() == 0
    assert stats.chisquare(counts[mask > 0]).pvalue > 0.01


def test_published_sampling_weighs_rows_by_their_pixels():
    mask = np.zeros((40, 50), np.uint8)
    mask[0, 0:4] = mask[1, 0] = 1
    centres = patches.sample_centres(KEY, mask, count=2000, sampling="rows_and_columns")
    rows, columns = np.asarray(centres).T
    assert stats.chisquare(np.bincount(rows), [1600, 400]).pvalue > 0.01
    assert stats.chisquare(np.bincount(columns), [800, 400, 400, 400]).pvalue > 0.01


@pytest.mark.parametrize("pixel", [(0, 0), (1023, 1023), (1023, 0), (517, 1022)])
def test_a_single_pixel_of_a_large_mask_is_found(pixel):
    mask = np.zeros((1024, 1024), np.uint8)
    mask[pixel] = 1
    centres = patches.sample_centres(KEY, mask, count=2000)
    assert (centres == jnp.broadcast_to(jnp.array(pixel), (2000, 2))).all()


def test_every_pixel_of_a_full_large_mask_can_be_drawn():
    rows, columns = np.asarray(
        patches.sample_centres(KEY, np.ones((1024, 1024), np.uint8), count=2000)
    ).T
    for coordinate in (rows, columns):
        assert coordinate.min() < 8 and coordinate.max() > 1015
        assert stats.kstest(coordinate / 1024, "uniform").pvalue > 0.01


@pytest.mark.parametrize("value", [0, masks.IGNORE])
def test_an_empty_mask_stands_for_the_whole_image_and_is_flagged(value):
    mask = np.full((40, 50), value, np.uint8)
    rows, columns = np.asarray(patches.sample_centres(KEY, mask, count=2000)).T
    assert bool(masks.is_empty(mask))
    assert (rows.min(), rows.max()) == (0, 39)
    assert (columns.min(), columns.max()) == (0, 49)


def test_an_unknown_sampling_names_the_known_ones(lungs):
    with pytest.raises(ValueError, match="'grid'.*joint, rows_and_columns"):
        patches.sample_centres(KEY, lungs, count=1, sampling="grid")


def test_crops_are_the_pixels_of_their_boxes(image):
    centres = np.array([[20, 20], [0, 0], [39, 49], [5, 47]])
    crops = patches.crop(image, centres, size=16)
    assert crops.dtype == np.uint8
    origins = patches.box_origin(centres, size=16, shape=image.shape)
    assert origins.tolist() == [[12, 12], [0, 0], [24, 34], [0, 34]]
    for patch, (top, left) in zip(crops, origins, strict=True):
        np.testing.assert_array_equal(patch, image[top : top + 16, left : left + 16])


def test_plain_patches_are_masked_crops_in_zero_to_one(image, lungs):
    found = patches.extract(KEY, image, lungs, **OPTIONS)
    assert (found.shape, found.dtype) == ((300, 12, 12), jnp.float32)
    centres = patches.sample_centres(jax.random.split(KEY, 3)[0], lungs, count=300)
    expected = patches.crop(np.where(lungs > 0, image, 0), centres, size=12) / 255
    np.testing.assert_allclose(found, expected, atol=1e-7)


def test_without_apply_mask_the_surroundings_show(image, lungs):
    bright = np.maximum(image, 1)
    assert (patches.extract(KEY, bright, lungs, **OPTIONS, apply_mask=False) > 0).all()
    assert (patches.extract(KEY, bright, lungs, **OPTIONS) == 0).any()


def test_flips_mirror_about_half_of_the_patches(image, lungs):
    plain = np.asarray(patches.extract(KEY, image, lungs, **OPTIONS))
    flipped = np.asarray(patches.extract(KEY, image, lungs, **OPTIONS, flip=0.5))
    same = (flipped == plain).all(axis=(1, 2))
    mirrored = (flipped == plain[:, :, ::-1]).all(axis=(1, 2))
    assert (same | mirrored).all()
    assert mirrored[~(same & mirrored)].mean() == pytest.approx(0.5, abs=0.08)


def test_rotations_stay_within_the_limit(lungs):
    # On a plane the value tells the coordinate, so a patch tells its own angle.
    columns = np.broadcast_to(np.arange(50, dtype=np.float32) / 50, (40, 50))
    turned = np.asarray(
        patches.extract(KEY, columns, lungs, **OPTIONS, max_rotation=5.0, apply_mask=False)
    )
    middle = turned[:, 4:8, 4:8] * 50  # corners may lie beyond the image
    angles = np.rad2deg(np.arcsin(-np.diff(middle, axis=1).mean(axis=(1, 2))))
    assert np.abs(angles).max() <= 5.001
    assert angles.min() < -4.5 and angles.max() > 4.5
    assert abs(angles.mean()) < 0.6


def test_a_vanishing_rotation_leaves_the_patches_as_they_are(image, lungs):
    nearly = patches.extract(KEY, image, lungs, max_rotation=1e-6, **OPTIONS)
    np.testing.assert_allclose(nearly, patches.extract(KEY, image, lungs, **OPTIONS), atol=1e-5)


@pytest.mark.parametrize("augment", [{}, {"flip": 0.5, "max_rotation": 5.0}])
def test_patches_depend_on_the_key_and_not_on_the_batch(image, lungs, augment):
    images = np.stack([255 - image, image, image])
    lung_masks = np.stack([np.ones_like(lungs), lungs, lungs])
    keys = jnp.stack([jax.random.key(7), KEY, jax.random.key(8)])
    options = {**OPTIONS, **augment}
    batch = jax.jit(functools.partial(patches.extract_batch, **options))(keys, images, lung_masks)
    alone = patches.extract(KEY, image, lungs, **options)
    assert batch.shape == (3, 300, 12, 12)
    np.testing.assert_allclose(batch[1], alone, atol=1e-6)
    assert not np.allclose(batch[2], alone)


def test_evaluation_centres_are_those_of_the_patches(image, lungs):
    keys = jax.random.split(jax.random.key(3), 2)
    images, masks = np.stack([image, image[::-1]]), np.stack([lungs, lungs[::-1]])
    centres = patches.evaluation_centres(keys, masks, count=5)
    found = patches.extract_batch(keys, images, masks, count=5, size=16, apply_mask=False)
    for n in range(2):
        expected = geometry.unit_float(patches.crop(images[n], centres[n], size=16))
        # A compiled division rounds otherwise in JAX 0.7.2.
        np.testing.assert_allclose(found[n], expected, rtol=1e-6)


def test_a_patch_larger_than_the_image_is_refused(image, lungs):
    with pytest.raises(ValueError, match="41 pixels does not fit"):
        patches.extract(KEY, image, lungs, count=1, size=41)


def test_coverage_counts_the_boxes(lungs):
    centres = patches.sample_centres(KEY, lungs, count=2000)
    expected = np.zeros(lungs.shape, int)
    for top, left in np.asarray(patches.box_origin(centres, size=11, shape=lungs.shape)):
        expected[top : top + 11, left : left + 11] += 1
    np.testing.assert_array_equal(coverage(centres, size=11, shape=lungs.shape), expected)


def test_a_hundred_patches_cover_the_lungs_many_times(lungs):
    centres = patches.sample_centres(KEY, lungs, count=2000)[:100]
    count = np.asarray(coverage(centres, size=11, shape=lungs.shape))
    assert (count[lungs > 0] > 0).all()
    assert count[lungs > 0].mean() > 10


def test_random_crops_reach_every_corner_and_flip():
    image = np.arange(81, dtype=np.uint8).reshape(9, 9)
    crops = jax.vmap(lambda key: patches.random_crop_flip(key, image, size=7))(
        jax.random.split(KEY, 200)
    )
    crops = np.rint(np.asarray(crops) * 255).astype(int)
    flipped = crops[:, 0, 0] > crops[:, 0, 1]
    corners = np.where(flipped, crops[:, 0, -1], crops[:, 0, 0])
    assert set(corners.tolist()) == {0, 1, 2, 9, 10, 11, 18, 19, 20}
    assert flipped.mean() == pytest.approx(0.5, abs=0.12)
    np.testing.assert_array_equal(crops[~flipped][0], crops[~flipped][0, 0, 0] + image[:7, :7])


def test_the_centre_crop_is_the_middle(image):
    view = patches.centre_crop(image, size=30)
    assert view.dtype == jnp.float32
    np.testing.assert_allclose(view, image[5:35, 10:40] / np.float32(255), atol=1e-7)


def test_a_view_of_the_whole_image_is_the_image(image):
    """Of an image that is not square, too: nothing is left to draw but the mirroring."""
    size = image.shape[:2]
    expected = np.asarray(image, np.float32) / 255
    np.testing.assert_allclose(patches.centre_crop(image, size=size), expected, atol=1e-6)
    drawn = patches.random_crop_flip(KEY, image, size=size, flip=1.0)
    np.testing.assert_allclose(drawn, expected[:, ::-1], atol=1e-6)


@pytest.mark.parametrize(
    "view", [patches.centre_crop, functools.partial(patches.random_crop_flip, KEY)]
)
def test_a_whole_image_view_larger_than_the_image_is_refused(image, view):
    with pytest.raises(ValueError, match="41 pixels does not fit"):
        view(image, size=41)


def test_aggregates_of_known_logits():
    logits = np.log([[[0.7, 0.2, 0.1], [0.4, 0.5, 0.1], [0.2, 0.7, 0.1], [0.1, 0.8, 0.1]]])
    result = patches.aggregate(logits)
    np.testing.assert_allclose(result["vote_fraction"], [[0.25, 0.75, 0.0]])
    np.testing.assert_allclose(result["mean_softmax"], [[0.35, 0.55, 0.1]], rtol=1e-5)
    sigmoid = np.exp(logits) / (1 + np.exp(logits))
    np.testing.assert_allclose(result["mean_sigmoid"], sigmoid.mean(axis=1), rtol=1e-5)


def test_equal_logits_vote_for_the_first_class():
    np.testing.assert_array_equal(
        patches.aggregate(np.zeros((1, 5, 4)))["vote_fraction"], [[1, 0, 0, 0]]
    )
