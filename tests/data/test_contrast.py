"""Enhancement against closed forms, OpenCV's and scikit-image's own, and the published code's
pixels.
"""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image
from skimage import exposure, filters, morphology

from jaxcxr.data import contrast
from jaxcxr.errors import InputError
from jaxcxr.ops import enhance

IMAGES = arrays.arrays(np.uint8, arrays.array_shapes(min_dims=2, max_dims=2, max_side=9))
GAMMAS = st.floats(0.01, 60)
LEVELS = np.arange(256)


@pytest.fixture
def image() -> np.ndarray:
    """Two hills of grey between 20 and 240, noisy, with odd sides."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:91, :75]
    hills = 60 + 120 * np.exp(-((rows - 40) ** 2 + (columns - 30) ** 2) / 600) + columns / 2
    return (hills + rng.normal(0, 9, hills.shape)).clip(20, 240).astype(np.uint8)


def flat(level: int, side: int = 5) -> np.ndarray:
    return np.full((side, side), level, np.uint8)


# --- BEASF, sound ---------------------------------------------------------------------------------


def test_a_known_table():
    # Mean (0 + 100 + 100 + 200) / 4 = 100; medians of {0, 100, 100} and {100, 100, 200}: both 100.
    lut = contrast.beasf_lut(np.array([[0, 100], [100, 200]], np.uint8), gamma=1.5)

    def rise(units):
        return 1 / (1 + np.exp(-1.5 * units))

    below = (rise(5 * (50 - 100) / 100) - rise(-5)) / (rise(0) - rise(-5))
    above = (rise(5 * (200 - 100) / 155) - rise(0)) / (rise(5) - rise(0))
    assert lut[50] == round(100 * below) == 4
    assert lut[200] == round(100 + 155 * above) == 253
    assert lut[[0, 100, 255]].tolist() == [0, 100, 255]


@settings(deadline=None, max_examples=150)
@given(image=IMAGES, gamma=GAMMAS)
def test_the_table_is_monotone_and_each_part_keeps_its_ends(image, gamma):
    lut = contrast.beasf_lut(image, gamma=gamma).astype(int)
    mean = int(image.mean(dtype=np.float64) + 1e-9)
    assert (np.diff(lut) >= 0).all()
    assert lut[[0, mean, 255]].tolist() == [0, mean, 255]
    result = contrast.beasf(image, gamma=gamma)
    assert result.dtype == np.uint8 and result.shape == image.shape
    assert (result[image <= mean] <= mean).all() and (result[image >= mean] >= mean).all()


@pytest.mark.parametrize("form", contrast.FORMS)
def test_an_image_of_one_level_stays(form):
    """The published form cuts decimals off, so that a few levels come out one too low."""
    changed = [
        level for level in range(256) if (contrast.beasf(flat(level), form=form) != level).any()
    ]
    assert all((contrast.beasf(flat(level), form=form) == level - 1).all() for level in changed)
    assert len(changed) < {"sound": 1, "published": 20}[form]


@pytest.mark.parametrize("form", contrast.FORMS)
@pytest.mark.parametrize(
    "levels", [(0, 0, 0, 3), (255, 255, 254, 255), (0, 255), (1, 1, 2), (253, 254)]
)
def test_means_at_the_ends_and_parts_of_few_levels_are_guarded(levels, form):
    """Where the mean is 0, 254 or between neighbours a part is too short to rise in."""
    image = np.array([levels], np.uint8)
    lut = contrast.beasf_lut(image, form=form).astype(int)
    assert (np.diff(lut) >= 0).all() and lut[255] == 255
    assert contrast.beasf(image, form=form).tolist()[0][0] in (levels[0], levels[0] - 1)


def test_gamma_steepens_the_middle_and_towards_0_changes_nothing(image):
    np.testing.assert_array_equal(contrast.beasf_lut(image, gamma=1e-3), LEVELS)
    np.testing.assert_array_equal(contrast.beasf_lut(image, gamma=1e-300), LEVELS)
    mean = int(image.mean())
    middle = int(np.median(image[image >= mean]))
    slopes = [
        int(lut[middle + 10]) - int(lut[middle - 10])
        for lut in (contrast.beasf_lut(image, gamma=gamma) for gamma in (0.5, 1.5, 3.0))
    ]
    assert 20 < slopes[0] < slopes[1] < slopes[2]
    assert np.unique(contrast.beasf_lut(image, gamma=1e4)).size <= 7  # two steps, and no overflow


@pytest.mark.parametrize("gamma", [0, -1.5, float("nan"), float("inf")])
def test_a_gamma_that_is_no_slope_is_refused(image, gamma):
    with pytest.raises(InputError, match=r"gamma .* above 0"):
        contrast.beasf(image, gamma=gamma)


# --- BEASF, published -----------------------------------------------------------------------------


def published_lut(image: np.ndarray, gamma: float) -> np.ndarray:
    """The published table, a level a time in Python floats; ZeroDivisionError where that code has
    none.
    """
    share = np.histogram(image, bins=256)[0] / image.size
    mean = sum(image.ravel().tolist()) // image.size

    def cumulative(first, last):
        total = 0.0
        for level in range(first, last + 1):
            total += share[level]
        found, reached = [], 0.0
        for level in range(first, last + 1):
            reached += share[level] / total
            found.append(reached)
        return found

    def sigmoid(level, half, length):
        return 1 / (1 + np.exp(-gamma * (5.0 * (level - half) / length)))

    below, above = cumulative(0, mean), cumulative(mean, 255)
    half = next(level for level in range(mean + 1) if below[level] > 0.5)
    low = [int(mean * sigmoid(level, half, mean)) for level in range(mean + 1)]
    low = [int(mean / (low[-1] - low[0]) * (value - low[0])) for value in low]
    half = next(level for level in range(mean, 255) if above[level + 1 - mean] > 0.5)
    up = [
        int(mean + (255 - mean) * sigmoid(level - 1, half, 255 - mean))
        for level in range(mean + 1, 256)
    ]
    up = [(255 - mean) * (value - up[0]) / (up[-1] - up[0]) + mean for value in up]
    return np.array([*low, *map(int, up)])


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("gamma", [0.3, 1.5, 4.0])
def test_the_published_form_is_the_published_algorithm(seed, gamma):
    rng = np.random.default_rng(seed)
    centre, spread = rng.uniform(30, 220), rng.uniform(5, 80)
    image = rng.normal(centre, spread, (17, 23)).clip(0, 255).astype(np.uint8)
    np.testing.assert_array_equal(
        contrast.beasf_lut(image, gamma=gamma, form="published"), published_lut(image, gamma)
    )


def test_the_published_form_gives_the_pixels_that_the_published_code_gave():
    """Written down from a run of COVID-CXNet's BEASF.py (commit 3ade488) on this image."""
    rows, columns = np.mgrid[:64, :64]
    image = ((rows * 37 + columns * columns) % 211 + 20).astype(np.uint8)
    lut = contrast.beasf_lut(image, form="published")
    assert lut[[20, 60, 90, 121, 130, 160, 200, 230]].tolist() == [
        7,
        58,
        106,
        122,
        125,
        140,
        208,
        245,
    ]
    np.testing.assert_array_equal(contrast.beasf(image, form="published"), lut[image])


def test_the_forms_differ_by_the_published_shifts_alone_if_the_image_fills_the_range():
    image = np.tile(LEVELS.astype(np.uint8), (2, 1))
    sound, published = (contrast.beasf_lut(image, form=form).astype(int) for form in contrast.FORMS)
    assert 0 < abs(sound - published).max() <= 4


# --- OpenCV and scikit-image ----------------------------------------------------------------------


def test_the_disk_of_local_equalisation_grows_with_the_image():
    large = np.random.default_rng(0).integers(0, 256, (320, 200), np.uint8)
    np.testing.assert_array_equal(
        contrast.local_equalization(large), contrast.local_equalization(large, radius=40)
    )


def test_the_library_functions_are_the_libraries(image):
    expected = {
        "original": image,
        "equalise": cv2.equalizeHist(image),
        "adaptive": cv2.createCLAHE(0.0, (8, 8)).apply(image),
        "local": filters.rank.equalize(image, morphology.disk(round(max(image.shape) / 8))),
        "clahe": cv2.createCLAHE(2.0, (8, 8)).apply(image),
        "beasf": contrast.beasf(image, gamma=1.5),
    }
    assert list(expected) == list(contrast.ENHANCEMENTS)
    for name, picture in expected.items():
        np.testing.assert_array_equal(contrast.ENHANCEMENTS[name](image), picture, err_msg=name)


def test_equalisation_is_the_one_that_runs_in_jit_rounded(image):
    np.testing.assert_allclose(
        contrast.equalise(image), 255 * np.asarray(enhance.equalize(image)), atol=0.5001
    )


def test_adaptive_equalisation_is_scikit_images_without_a_clip_limit():
    rng = np.random.default_rng(3)
    smooth = cv2.GaussianBlur(rng.normal(0, 1, (160, 160)), (0, 0), 9)
    image = np.rint(255 * (smooth - smooth.min()) / np.ptp(smooth)).astype(np.uint8)
    theirs = 255 * exposure.equalize_adapthist(image, kernel_size=20, clip_limit=1.0)
    ours = contrast.adaptive_equalization(image)
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.999
    assert np.abs(ours - theirs).mean() < 3
    assert np.std(contrast.clahe(image)) < np.std(ours)  # the limit holds contrast back


def test_one_tile_of_adaptive_equalisation_is_the_cumulative_histogram(image):
    square = image[:64, :64]
    reached = np.cumsum(np.bincount(square.ravel(), minlength=256)) / square.size
    np.testing.assert_allclose(
        contrast.adaptive_equalization(square, tiles=(1, 1)), 255 * reached[square], atol=0.5001
    )


def test_a_clip_limit_that_never_binds_is_none(image):
    np.testing.assert_array_equal(
        contrast.clahe(image, clip_limit=1e6), contrast.adaptive_equalization(image)
    )
    with pytest.raises(InputError, match="clip limit"):
        contrast.clahe(image, clip_limit=0)


def test_local_equalisation_is_the_rank_within_the_disk():
    image = np.random.default_rng(5).integers(0, 256, (9, 9)).astype(np.uint8)
    rows, columns = np.mgrid[:9, :9]
    near = image[(rows - 4) ** 2 + (columns - 4) ** 2 <= 9]
    assert contrast.local_equalization(image, radius=3)[4, 4] == int(
        255 * (near <= image[4, 4]).mean()
    )


@settings(deadline=None, max_examples=25)
@given(image=IMAGES, name=st.sampled_from(list(contrast.ENHANCEMENTS)))
def test_every_enhancement_takes_images_of_any_size_and_leaves_them_alone(image, name):
    before = image.copy()
    result = contrast.ENHANCEMENTS[name](image)
    assert result.dtype == np.uint8 and result.shape == image.shape
    assert not np.shares_memory(result, image)
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("name", contrast.ENHANCEMENTS)
@pytest.mark.parametrize("level", [0, 77, 255])
def test_an_image_of_one_level_stays_of_one_level(name, level):
    values = np.unique(contrast.ENHANCEMENTS[name](flat(level, 16)))
    assert values.size == 1
    if name in ("original", "equalise", "beasf"):
        assert values.item() == level


@pytest.mark.parametrize("name", contrast.ENHANCEMENTS)
def test_read_only_and_strided_images_are_taken(name, image):
    frozen = image.copy()
    frozen.setflags(write=False)
    expected = contrast.ENHANCEMENTS[name](image)
    np.testing.assert_array_equal(contrast.ENHANCEMENTS[name](frozen), expected)
    strided = np.asfortranarray(np.repeat(image, 2, axis=1))[:, ::2]
    np.testing.assert_array_equal(contrast.ENHANCEMENTS[name](strided), expected)


@pytest.mark.parametrize(
    "wrong", [np.zeros((4, 4)), np.zeros((4, 4, 1), np.uint8), np.zeros((0, 4), np.uint8)]
)
def test_only_grey_bytes_are_enhanced(wrong):
    for enhancement in contrast.ENHANCEMENTS.values():
        with pytest.raises(InputError, match=r"grey images \[H, W\] of uint8"):
            enhancement(wrong)


# --- Stacks, histogram matching, resizing ---------------------------------------------------------


@pytest.mark.parametrize("names", [contrast.MAIN_STACK, contrast.NOTEBOOK_STACK, ("local",)])
def test_a_stack_has_its_channels_in_the_order_named(image, names):
    stacked = contrast.stack_channels(image, names)
    assert stacked.dtype == np.uint8 and stacked.shape == (*image.shape, len(names))
    for channel, name in enumerate(names):
        np.testing.assert_array_equal(stacked[..., channel], contrast.ENHANCEMENTS[name](image))


@pytest.mark.parametrize("names", [(), ("beasf", "sharpen")])
def test_an_unknown_or_empty_stack_is_refused(image, names):
    with pytest.raises(InputError, match="original, equalise, adaptive, local, clahe, beasf"):
        contrast.stack_channels(image, names)


def quantile_match(image: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """The published interpolation between quantiles, before it becomes whole levels."""
    _, which, counts = np.unique(image.ravel(), return_inverse=True, return_counts=True)
    wanted, wanted_counts = np.unique(reference.ravel(), return_counts=True)
    ours, theirs = (np.cumsum(c) / c.sum() for c in (counts, wanted_counts))
    return np.interp(ours, theirs, wanted)[which].reshape(image.shape)


@settings(deadline=None, max_examples=150)
@given(image=IMAGES, reference=IMAGES)
def test_matching_by_scikit_image_is_the_published_interpolation(image, reference):
    expected = quantile_match(image, reference)
    published = contrast.match_histogram(image, reference, form="published")
    np.testing.assert_array_equal(published, expected.astype(np.uint8))
    sound = contrast.match_histogram(image, reference)
    np.testing.assert_array_equal(sound, np.rint(expected))
    assert reference.min() <= sound.min() and sound.max() == reference.max()


def test_matching_an_image_to_itself_or_to_its_affine_copy(image):
    for form in contrast.FORMS:
        np.testing.assert_array_equal(contrast.match_histogram(image, image, form=form), image)
    darker = (image // 2 + 3).astype(np.uint8)
    np.testing.assert_array_equal(contrast.match_histogram(image // 2, darker), darker)
    np.testing.assert_array_equal(contrast.match_histogram(image, flat(9)), np.full(image.shape, 9))


def keys_matrix(wanted: int, given: int, a: float) -> np.ndarray:
    """[wanted, given] weights of Keys' cubic without antialiasing, borders repeated."""
    weights = np.zeros((wanted, given))
    for row in range(wanted):
        place = (row + 0.5) * given / wanted - 0.5
        for tap in range(int(np.floor(place)) - 1, int(np.floor(place)) + 3):
            t = abs(place - tap)
            near = (a + 2) * t**3 - (a + 3) * t**2 + 1
            far = a * (t**3 - 5 * t**2 + 8 * t - 4)
            weights[row, np.clip(tap, 0, given - 1)] += near if t <= 1 else far
    return weights


@pytest.mark.parametrize("size", [(32, 40), (91, 75), (150, 33)])
def test_resizing_is_keys_cubic_with_minus_three_quarters(image, size):
    rows, columns = (keys_matrix(w, g, -0.75) for w, g in zip(size, image.shape, strict=True))
    exact = rows @ image @ columns.T
    sound = contrast.resize_opencv(image, size=size)
    assert sound.shape == size and sound.dtype == np.uint8
    np.testing.assert_allclose(sound, exact.clip(0, 255), atol=0.52)
    published = contrast.resize_opencv(image, size=size, form="published")
    inside = (exact > 0) & (exact < 255)
    assert ((exact - published)[inside] > -1e-3).all() and (
        (exact - published)[inside] < 1 + 1e-3
    ).all()


def test_the_published_resizing_wraps_where_the_kernel_overshoots():
    edge = np.repeat(np.array([[0, 255]], np.uint8), 8, axis=1)
    sound = contrast.resize_opencv(edge, size=(1, 64)).astype(int)[0]
    published = contrast.resize_opencv(edge, size=(1, 64), form="published").astype(int)[0]
    assert (np.abs(sound - published) > 200).any()
    assert (np.diff(np.flatnonzero(sound > 127)) == 1).all()  # one edge, no false ones
    assert (np.abs(np.diff(published)) > 200).sum() > 1


def test_resizing_to_the_same_size_changes_nothing_and_pillows_blurs_more(image):
    for form in contrast.FORMS:
        np.testing.assert_array_equal(
            contrast.resize_opencv(image, size=image.shape, form=form), image
        )
    small = contrast.resize_opencv(image, size=(25, 20))
    pillow = np.asarray(Image.fromarray(image).resize((20, 25), Image.Resampling.BICUBIC))
    # Its noise of 9 levels is averaged away there.
    assert 1 < np.abs(small.astype(int) - pillow).mean() < 8
    assert np.std(cv2.Laplacian(small, cv2.CV_64F)) > np.std(cv2.Laplacian(pillow, cv2.CV_64F))


def test_a_size_or_a_form_that_does_not_exist_is_refused(image):
    with pytest.raises(InputError, match="0 x 10"):
        contrast.resize_opencv(image, size=(0, 10))
    for function in (
        lambda: contrast.beasf(image, form="as published"),  # pyright: ignore[reportArgumentType]
        lambda: contrast.match_histogram(image, image, form="x"),  # pyright: ignore[reportArgumentType]
        lambda: contrast.resize_opencv(image, size=(3, 3), form="x"),  # pyright: ignore[reportArgumentType]
    ):
        with pytest.raises(InputError, match="choose sound or published"):
            function()
