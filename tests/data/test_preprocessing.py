"""What happens to the pixels of an X-ray before the network."""

import cv2
import numpy as np
import pytest
from PIL import Image

from jaxcxr.data import Preprocessing, contrast, preprocessing
from jaxcxr.data.preprocessing import grey_range, prepare
from jaxcxr.errors import InputError

PLAIN = {"equalise": False, "gamma": 1.0}


def noise(seed: int, shape=(24, 32)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def prepared(pixels, mask, *, negative_tail=0, reference=None, fill_empty=False, **settings):
    return prepare(
        pixels,
        mask,
        Preprocessing(**{**PLAIN, **settings}),
        name="image of noise",
        negative_tail=negative_tail,
        reference=reference,
        fill_empty=fill_empty,
    )


def image(pixels, **settings):
    return prepared(pixels, None, **settings).image


def test_plain_eight_bit_images_keep_their_values():
    pixels = noise(0, (16, 16))
    np.testing.assert_array_equal(image(pixels, image_size=16), pixels)


def test_gamma_one_half_maps_a_quarter_to_a_half():
    # facts 7.4: 63.75 -> 127.5
    pixels = np.full((4, 4), 64, np.uint8)
    assert image(pixels, image_size=2, gamma=0.5)[0, 0] == 128


def test_sixteen_bits_are_stretched_before_they_become_eight():
    pixels = np.linspace(100, 4000, 64).reshape(8, 8).astype(np.uint16)
    result = image(pixels, image_size=8)
    assert result.min() == 0 and result.max() == 255 and len(np.unique(result)) == 64


def test_equalised_grey_levels_are_spread_evenly():
    dark = (noise(0, (64, 64)) // 8).astype(np.uint8)
    result = image(dark, image_size=64, equalise=True)
    assert result.min() == 0 and result.max() == 255
    assert result.mean() == pytest.approx(127.5, abs=8)


def test_equalisation_happens_at_native_depth():
    # Fine steps that eight bits could not tell apart.
    deep = (1000 + np.arange(64).reshape(8, 8)).astype(np.uint16)
    result = image(deep, image_size=8, equalise=True)
    assert len(np.unique(result)) == 64


def test_the_tail_of_a_negative_saturates_its_darkest_pixels_which_are_bright_here():
    pixels = np.arange(1000, 1000 + 4096).reshape(64, 64).astype(np.uint16)
    plain = image(pixels, image_size=64, equalise=True).astype(int)
    tail = image(pixels, image_size=64, equalise=True, negative_tail=410).astype(int)
    assert (tail == 255).sum() == pytest.approx(418, abs=2)  # half a grey level more, by rounding
    np.testing.assert_allclose(tail[:32].mean(), plain[:32].mean() / 0.9, rtol=0.01)


LUNGS = np.zeros((320, 320), np.uint8)
LUNGS[100:200, 60:120] = 1
LUNGS[100:200, 200:260] = 1


def test_the_box_of_the_grown_lungs_is_what_is_seen():
    """Grown by 6 pixels of 320, and a margin in the same unit; the mask is cut alike."""
    pixels = noise(1, (320, 320))
    found = prepared(pixels, LUNGS, image_size=112, lungs="box")
    rows, columns = slice(94, 206), slice(54, 266)
    expected = Image.fromarray(pixels[rows, columns].astype(np.float32)).resize(
        (112, 112), Image.Resampling.BILINEAR
    )
    np.testing.assert_allclose(found.image.astype(float), np.asarray(expected), atol=0.51)
    nearest = Image.fromarray(LUNGS[rows, columns]).resize((112, 112), Image.Resampling.NEAREST)
    np.testing.assert_array_equal(found.mask, np.asarray(nearest))
    wider = prepared(pixels, LUNGS, image_size=112, lungs="box", lung_margin=10)
    assert (wider.mask > 0).mean() < (found.mask > 0).mean()


def test_twice_the_size_gives_the_same_box():
    small = noise(2, (320, 320))
    large, mask = (
        np.kron(small, np.ones((2, 2), np.uint8)),
        np.kron(LUNGS, np.ones((2, 2), np.uint8)),
    )
    one, two = (
        prepared(p, m, image_size=56, lungs="box") for p, m in ((small, LUNGS), (large, mask))
    )
    np.testing.assert_allclose(one.image.astype(int), two.image.astype(int), atol=2)


def test_outside_the_grown_lungs_there_is_nothing():
    pixels = np.maximum(noise(3, (320, 320)), 1)
    found = prepared(pixels, LUNGS, image_size=320, lungs="pixels").image
    seen = np.zeros((320, 320), bool)
    seen[94:206, 54:126] = seen[94:206, 194:266] = True
    np.testing.assert_array_equal(found, np.where(seen, pixels, 0))


def test_controls_see_all_but_the_grown_lungs_or_their_shape_alone():
    pixels = np.maximum(noise(3, (320, 320)), 1)
    inside, rest = (
        prepared(pixels, LUNGS, image_size=320, lungs=lungs).image
        for lungs in ("pixels", "removed")
    )
    np.testing.assert_array_equal(inside.astype(int) + rest, pixels)
    assert not (inside & rest).any()
    shape = prepared(pixels, LUNGS, image_size=320, lungs="shape").image
    np.testing.assert_array_equal(shape, 255 * (LUNGS > 0))


@pytest.mark.parametrize("lungs", ["removed", "shape"])
@pytest.mark.parametrize("fill_empty", [False, True])
def test_a_control_sees_nothing_where_no_lungs_were_found(lungs, fill_empty):
    pixels, nothing = noise(4, (64, 64)), np.zeros((64, 64), np.uint8)
    found = prepared(pixels, nothing, image_size=64, lungs=lungs, fill_empty=fill_empty)
    assert found.empty and not found.image.any()


def test_what_is_left_tells_nothing_of_the_lungs_that_were_removed():
    """Equalisation would, by the share of dark pixels in the whole image."""
    clear, grown = noise(3, (320, 320)), np.zeros((320, 320), bool)
    grown[94:206, 54:126] = grown[94:206, 194:266] = True
    opaque = np.where(grown, 200 + clear // 8, clear).astype(np.uint8)
    one, other = (
        prepared(p, LUNGS, image_size=320, lungs="removed", equalise=True).image
        for p in (clear, opaque)
    )
    np.testing.assert_array_equal(one, other)
    assert one.any()


@pytest.mark.parametrize("lungs", ["pixels", "removed", "shape"])
def test_histograms_are_not_matched_to_the_black_of_hidden_parts(lungs):
    with pytest.raises(
        InputError, match=rf"data\.match='first' would match the black of .*{lungs}"
    ):
        prepared(noise(4, (64, 64)), LUNGS[:64, :64], image_size=64, lungs=lungs, match="first")


def test_an_image_without_lungs_is_seen_whole():
    pixels = noise(4, (64, 64))
    for lungs in ("box", "pixels"):
        found = prepared(pixels, np.zeros((64, 64), np.uint8), image_size=64, lungs=lungs)
        np.testing.assert_array_equal(found.image, pixels)
        assert found.empty


def test_lungs_need_a_mask():
    with pytest.raises(
        InputError, match="data.lungs='box' needs lung masks: add --config.masks.source=dataset"
    ):
        image(noise(5), image_size=16, lungs="box")


def test_enhancements_are_the_channels_in_their_order():
    pixels = noise(6, (64, 64))
    names = ("beasf", "clahe", "original")
    found = image(pixels, image_size=64, enhance=names)
    np.testing.assert_array_equal(found, contrast.stack_channels(pixels, names))
    np.testing.assert_array_equal(
        image(pixels, image_size=64, enhance=("clahe",)), contrast.clahe(pixels)
    )


def test_opencv_resizes_as_published():
    pixels = noise(7, (96, 64))
    expected = cv2.resize(pixels, (40, 40), interpolation=cv2.INTER_CUBIC)
    np.testing.assert_array_equal(image(pixels, image_size=40, resize="opencv_cubic"), expected)


def test_the_histogram_becomes_the_references():
    reference = np.sort(noise(8, (64, 64)).ravel() // 4).reshape(64, 64)
    found = image(noise(9, (64, 64)), image_size=64, match="first", reference=reference)
    np.testing.assert_allclose(np.sort(found.ravel()), np.sort(reference.ravel()), atol=1)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("image_size", 0, "data.image_size 0"),
        ("gamma", 0.0, "must be positive"),
        ("lung_margin", -1, "data.lung_margin -1"),
        ("resize", "cubic", "data.resize='cubic' is unknown; known: bilinear, bicubic, opencv"),
        ("lungs", "mask", "data.lungs='mask' is unknown; known: whole, box, pixels"),
        ("match", "last", "data.match='last' is unknown; known: none, first"),
        ("enhance", ("clahe", "claha"), "data.enhance names claha; known: original, equalise"),
    ],
)
def test_unknown_values_are_named(field, value, message):
    with pytest.raises(InputError, match=message):
        Preprocessing(**{"image_size": 16, **PLAIN, field: value})


def test_margins_are_cut_off_the_resized_image_and_its_mask():
    """V7 diagnosis: 10 pixels off the top, left and right of 256 x 256 leave 246 x 236."""
    pixels, mask = noise(0, (512, 512)), (noise(1, (512, 512)) > 128).astype(np.uint8)
    whole = prepared(pixels, mask, image_size=256, enhance=("original", "clahe"))
    cut = prepared(pixels, mask, image_size=256, enhance=("original", "clahe"), cut=(10, 10, 0, 10))
    assert cut.image.shape == (246, 236, 2)
    np.testing.assert_array_equal(cut.image, whole.image[10:, 10:-10])
    np.testing.assert_array_equal(cut.mask, whole.mask[10:, 10:-10])


@pytest.mark.parametrize("cut", [(10, 10, 10), (-1, 0, 0, 0), (8, 0, 8, 0)])
def test_margins_that_make_no_sense_are_refused(cut):
    with pytest.raises(InputError, match=r"data\.cut=.* is not \(top, left, bottom, right\)"):
        image(noise(0), image_size=16, cut=cut)


def wide(shape=(256, 256)) -> np.ndarray:
    """An image of 12 bits with tails: [*shape] uint16 from about 1000 to 3000."""
    rows, columns = np.mgrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j]
    smooth = 2000 + 700 * np.cos(3 * rows) * np.cos(4 * columns)
    return (smooth + np.random.default_rng(0).normal(0, 40, shape)).astype(np.uint16)


def hot(pixels: np.ndarray, *values: int) -> np.ndarray:
    pixels = pixels.copy()
    pixels[5, 5 : 5 + len(values)] = values
    return pixels


def bordered(pixels: np.ndarray, value: int, width: int, noise: int = 0) -> np.ndarray:
    pixels = pixels.copy()
    pixels[:, :width] = value + np.random.default_rng(1).integers(
        0, noise + 1, (len(pixels), width)
    )
    return pixels


def lettered(pixels: np.ndarray, value: int) -> np.ndarray:
    pixels = pixels.copy()
    pixels[20:50:3, 200:240] = value
    return pixels


@pytest.mark.parametrize(
    "pixels",
    [
        hot(wide(), 65535),
        hot(wide(), 65535, 64000, 30000, 9000),
        hot(wide() + 30000, 0),
        hot(wide() + 20000, 0, 65535, 3),
        bordered(wide() + 30000, 0, 100),
        bordered(wide() + 30000, 0, 100, noise=9),
        bordered(wide(), 65535, 30),
        hot(np.fliplr(bordered(np.fliplr(bordered(wide() + 20000, 0, 60)), 65535, 40)), 60000),
        lettered(wide(), 65535),
    ],
    ids=[
        "hot pixel", "hot pixels", "dead pixel", "hot and dead", "padding", "noisy padding",
        "white padding", "two paddings and a hot pixel", "letters",
    ],
)  # fmt: skip
def test_what_is_no_x_ray_leaves_the_grey_levels_to_it(pixels):
    """Stretched from minimum to maximum, these have 9 to 60 levels left."""
    whole = len(np.unique(image(wide(), image_size=224)))
    kept = prepared(pixels, None, image_size=224)
    assert len(np.unique(kept.image)) > 0.9 * whole > 200 and not kept.few_levels


def test_scattered_pixels_of_any_value_leave_most_grey_levels():
    pixels, rng = wide(), np.random.default_rng(2)
    pixels.ravel()[rng.choice(pixels.size, 300, replace=False)] = rng.integers(4000, 65536, 300)
    assert len(np.unique(image(pixels, image_size=224))) > 128


@pytest.mark.parametrize(
    "pixels",
    [
        wide(),
        np.minimum(wide(), 2400),
        wide() // 128 * 128,
        np.kron([[100, 900], [3000, 3900]], np.ones((40, 40))).astype(np.uint16),
    ],
    ids=["with tails", "saturated", "of few levels", "of four levels"],
)
def test_a_range_that_is_the_images_own_is_kept_whole(pixels):
    histogram = np.bincount(pixels.ravel(), minlength=65536)
    assert grey_range(histogram) == (pixels.min(), pixels.max())


def test_an_image_of_one_level_is_black():
    assert not image(np.full((40, 40), 700, np.uint16), image_size=16).any()


@pytest.mark.parametrize("resize", ["bilinear", "bicubic", "opencv_cubic"])
@pytest.mark.parametrize("equalise", [True, False])
def test_large_plates_are_resized_in_parts_to_the_same_pixels(monkeypatch, resize, equalise):
    pixels = noise(0, (300, 400))
    settings = {"image_size": 64, "resize": resize, "equalise": equalise}
    whole = image(pixels, **settings)
    monkeypatch.setattr(preprocessing, "_LARGE", 1000)
    monkeypatch.setattr(preprocessing, "_BAND", 4000)
    np.testing.assert_array_equal(image(pixels, **settings), whole)


def test_the_published_form_is_that_of_each_step():
    pixels, reference = noise(0, (50, 40)), noise(1, (30, 30)) // 2
    settings = {"image_size": 30, "resize": "opencv_cubic", "match": "first", "equalise": False}
    names = ("beasf", "clahe", "original")
    small = contrast.resize_opencv(pixels, size=(30, 30), form="published")
    matched = contrast.match_histogram(small, reference, form="published")
    expected = contrast.stack_channels(matched, names, form="published")
    found = image(pixels, enhance=names, form="published", reference=reference, **settings)
    np.testing.assert_array_equal(found, expected)
    sound = image(pixels, enhance=names, reference=reference, **settings)
    assert (found != sound).any(axis=(0, 1)).all()  # of every channel


def test_a_view_of_few_grey_levels_is_known():
    few = noise(0, (64, 64)) // 8
    assert prepared(few, None, image_size=64).few_levels
    assert not prepared(noise(0, (64, 64)), None, image_size=64).few_levels
    assert not prepared(noise(0, (64, 64)), None, image_size=8).few_levels
