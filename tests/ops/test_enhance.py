"""Equalisation: analytic cases, OpenCV's formula and scikit-image."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from skimage import exposure

from jaxcxr.ops import enhance


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).normal(110, 25, (64, 48)).clip(3, 250).astype(np.uint8)


def table(histogram: np.ndarray, *, tail: int, invert: bool, form: str) -> np.ndarray:
    """The published table, 0..1, written with float64 for a level a time."""
    cumulative = np.cumsum(histogram).astype(np.float64)
    low = histogram[np.flatnonzero(histogram)[0]] + tail
    kept = cumulative >= low
    lut = (cumulative - cumulative[kept].min()) / (cumulative.max() - cumulative[kept].min())
    lut[~kept] = 0  # before inverting: the one deliberate difference of the sound form
    lut = 1 - lut if invert else lut
    if form == "published":
        lut[~kept] = 0
    return lut


def test_a_known_histogram():
    lut = enhance.equalisation_lut(np.array([0, 2, 1, 0, 4, 1, 0]))
    np.testing.assert_allclose(lut, [0, 0, 1 / 6, 1 / 6, 5 / 6, 1, 1], rtol=1e-6)


def test_the_tail_saturates():
    histogram = np.array([0, 2, 1, 0, 4, 1, 0])
    # Levels 1 and 2 hold fewer than 2 + 2 pixels, so level 4, of cumulative count 7, is the new
    # black.
    np.testing.assert_allclose(
        enhance.equalisation_lut(histogram, tail=2), [0, 0, 0, 0, 0, 1, 1], rtol=1e-6
    )


@pytest.mark.parametrize("tail, invert", [(0, False), (10, False), (10, True)])
@pytest.mark.parametrize("bins", [256, 4096, 65536])
@pytest.mark.parametrize("form", ["sound", "published"])
def test_the_lut_is_the_published_one(bins, tail, invert, form):
    histogram = np.random.default_rng(bins).poisson(3, bins)
    histogram[:5] = 0
    lut = enhance.equalisation_lut(histogram, tail=tail, invert=invert, form=form)
    assert lut.shape == (bins,)
    expected = table(histogram, tail=tail, invert=invert, form=form)
    np.testing.assert_allclose(lut, expected, atol=2e-7)
    if invert:
        assert ((np.asarray(lut) == 0).sum() > 2) == (form == "published")


@pytest.mark.parametrize("invert, sign", [(False, 1), (True, -1)])
def test_the_lut_is_monotone_from_end_to_end(image, invert, sign):
    lut = np.asarray(enhance.equalisation_lut(enhance.histogram(image), tail=10, invert=invert))
    assert (sign * np.diff(lut) >= 0).all()
    assert sorted([lut[0], lut[-1]]) == pytest.approx([0.0, 1.0], abs=1e-6)


def test_a_uniform_ramp_stays_a_ramp():
    ramp = np.arange(256, dtype=np.uint8)[None]
    np.testing.assert_allclose(enhance.equalize(ramp)[0], np.arange(256) / 255, atol=1e-6)


@pytest.mark.parametrize("invert, value", [(False, 0.0), (True, 1.0)])
def test_an_image_of_one_level_has_no_contrast_and_no_nan(invert, value):
    flat = np.full((8, 8), 90, np.uint8)
    np.testing.assert_array_equal(enhance.equalize(flat, invert=invert), np.full((8, 8), value))


def test_counts_above_the_precision_of_float32_stay_exact():
    histogram = np.array([1, 2**30, 1, 1])
    lut = np.asarray(enhance.equalisation_lut(histogram), np.float64)
    np.testing.assert_allclose(lut, [0, 2**30 / (2**30 + 2), 1, 1], rtol=2e-7)


def test_the_published_equalisation_is_the_plain_one_stretched(image):
    plain = exposure.equalize_hist(image)
    stretched = (plain - plain.min()) / (plain.max() - plain.min())
    np.testing.assert_allclose(enhance.equalize(image), stretched, atol=1e-6)


def test_gamma_equals_scikit_image_and_maps_a_quarter_to_a_half(image):
    pixels = image / np.float32(255)
    np.testing.assert_allclose(
        enhance.gamma(pixels, exponent=0.5), exposure.adjust_gamma(pixels, 0.5), atol=1e-6
    )
    assert float(enhance.gamma(np.array([63.75 / 255]), exponent=0.5)[0]) * 255 == pytest.approx(
        127.5
    )


def test_histograms_count_every_level(image):
    np.testing.assert_array_equal(
        enhance.histogram(image), np.bincount(image.ravel(), minlength=256)
    )
    with pytest.raises(ValueError, match="uint8 or uint16"):
        enhance.histogram(image.astype(np.float32))


def test_equalize_runs_under_jit_and_vmap(image):
    batch = np.stack([image, 255 - image])
    result = jax.jit(jax.vmap(enhance.equalize))(batch)
    np.testing.assert_allclose(result[1], enhance.equalize(batch[1]), atol=1e-7)
