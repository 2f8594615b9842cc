"""Contrast: histogram equalisation by look-up table, and gamma."""

from __future__ import annotations

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np


@functools.partial(jax.jit, static_argnames=("tail", "invert", "form"))
def equalisation_lut(
    histogram: jax.Array | np.ndarray,
    *,
    tail: int = 0,
    invert: bool = False,
    form: str = "sound",
) -> jax.Array:
    """The look-up table of Oh, Park and Ye's equalisation.

    The cumulative histogram, stretched so that the darkest level becomes 0 and the brightest 1;
    with tail = 0 that is OpenCV's `equalizeHist`. Their JSRT images have tail = 10 and invert.
    Their table gives the levels below the tail 0 even when inverted, a few black pixels in the
    brightest part; in the sound form they stay monotone.

    Args:
        histogram: [L] pixels per grey level, of fewer than 2^31 pixels.
        tail: number of pixels above the darkest level that saturate, too.
        invert: bright becomes dark (JSRT is stored as the negative of the display).
        form: "sound" | "published".

    Returns:
        [L] float32 in [0, 1], monotone but for the published form's black tail; an image of a
        single level becomes 0 (inverted: 1).
    """
    chex.assert_rank(histogram, 1)
    cumulative = jnp.cumsum(jnp.asarray(histogram, jnp.int32))
    total = cumulative[-1]
    darkest = jnp.min(jnp.where(cumulative > 0, cumulative, total))
    low = jnp.min(jnp.where(cumulative >= darkest + tail, cumulative, total))
    # Subtracting integers is exact; floats of millions of pixels would lose the small counts.
    lut = (cumulative - low).astype(jnp.float32) / jnp.maximum(total - low, 1).astype(jnp.float32)
    lut = jnp.clip(lut, 0, 1)
    if not invert:
        return lut
    return jnp.where((cumulative < low) & (form == "published"), 0, 1 - lut)


def histogram(image: jax.Array | np.ndarray) -> jax.Array:
    """Pixels per grey level of an image [H, W] uint8 or uint16: int32 [256] or [65536]."""
    return jnp.bincount(jnp.asarray(image).ravel().astype(jnp.int32), length=_levels(image))


def apply_lut(image: jax.Array | np.ndarray, lut: jax.Array | np.ndarray) -> jax.Array:
    """Looks up every pixel: integers [H, W] below L, table [L] -> [H, W] in the table's type."""
    chex.assert_type(image, int)
    chex.assert_rank(lut, 1)
    return jnp.asarray(lut)[jnp.asarray(image, jnp.int32)]


def equalize(image: jax.Array | np.ndarray, *, tail: int = 0, invert: bool = False) -> jax.Array:
    """Equalises an image by its own `equalisation_lut`.

    Args:
        image: [H, W] uint8 or uint16.
        tail: as in `equalisation_lut`.
        invert: as in `equalisation_lut`.

    Returns:
        [H, W] float32 in [0, 1].
    """
    return apply_lut(image, equalisation_lut(histogram(image), tail=tail, invert=invert))


def gamma(image: jax.Array | np.ndarray, *, exponent: float) -> jax.Array:
    """Raises an image in [0, 1] to a power; below 1 brightens.

    Oh, Park and Ye's segmentation uses 0.5. Equals `skimage.exposure.adjust_gamma` to 1e-6.
    """
    chex.assert_type(image, float)
    return jnp.asarray(image) ** exponent


def _levels(image: jax.Array | np.ndarray) -> int:
    if image.dtype not in (jnp.uint8, jnp.uint16):
        raise ValueError(f"histograms are of uint8 or uint16 images, not of {image.dtype}")
    return 1 << (8 * image.dtype.itemsize)
