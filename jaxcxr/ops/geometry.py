"""Resizing, flipping and rotated crops."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp
import numpy as np

RESIZE_METHODS = ("nearest", "bilinear", "cubic")


def resize(
    image: jax.Array | np.ndarray,
    *,
    size: tuple[int, int],
    method: str = "bilinear",
    antialias: bool = True,
) -> jax.Array:
    """Resizes as Pillow does on float images, to 1e-5; "nearest" may differ where pixel edges meet.

    Args:
        image: [H, W] or [H, W, C]; "nearest" keeps any type, the others need floats.
        size: (height, width) wanted; the aspect ratio is not kept.
        method: one of RESIZE_METHODS; cubic is Keys' with a = -0.5 (OpenCV's has -0.75) and may
            overshoot.
        antialias: widen the kernel when shrinking, as Pillow always does.

    Returns:
        [*size] or [*size, C].
    """
    chex.assert_rank(image, {2, 3})
    if method not in RESIZE_METHODS:
        raise ValueError(f"method={method!r} is unknown; known: {', '.join(RESIZE_METHODS)}")
    if method != "nearest":
        chex.assert_type(image, float)
    shape = (*size, *image.shape[2:])
    return jax.image.resize(jnp.asarray(image), shape, method, antialias=antialias)


def flip(image: jax.Array | np.ndarray) -> jax.Array:
    """Mirrors left and right: [H, W, ...] -> [H, W, ...]."""
    return jnp.asarray(image)[:, ::-1]


def unit_float(image: jax.Array | np.ndarray) -> jax.Array:
    """float32 in [0, 1] of uint8 pixels (over 255) or of floats that are in [0, 1] already."""
    image = jnp.asarray(image)
    if image.dtype == jnp.uint8:
        return image.astype(jnp.float32) / 255
    chex.assert_type(image, float)
    return image.astype(jnp.float32)


def box_origin(centres: jax.Array | np.ndarray, *, size: int, shape: tuple[int, ...]) -> jax.Array:
    """Upper left corners of boxes around centres, shifted inside at the border, never stretched.

    Args:
        centres: [..., 2] integers, (row, column); with an even size the centre is the lower right
            of the four middle pixels, as in Oh, Park and Ye's code.
        size: side of the boxes.
        shape: (height, width) of the image.

    Returns:
        [..., 2] int32.

    Raises:
        ValueError: the box is larger than the image.
    """
    height, width = shape
    if not 0 < size <= min(height, width):
        raise ValueError(f"a box of {size} pixels does not fit an image of {height} x {width}")
    chex.assert_axis_dimension(centres, -1, 2)
    corners = jnp.asarray(centres, jnp.int32) - size // 2
    bound = jnp.asarray([height - size, width - size], jnp.int32)
    return jnp.clip(corners, 0, jnp.broadcast_to(bound, corners.shape))


def rotate_crop(
    image: jax.Array | np.ndarray, centre: jax.Array | np.ndarray, angle: chex.Numeric, *, size: int
) -> jax.Array:
    """A square patch around a point, turned about the patch's own centre.

    The pixels that turn in come from the image, not from a cut patch, so corners are black only
    beyond the image's border. The box is that of `box_origin`; angle 0 gives its pixels unchanged.

    Args:
        image: [H, W] float.
        centre: [2] integers, (row, column).
        angle: degrees, counter-clockwise as in Pillow.
        size: P, side of the patch.

    Returns:
        [P, P] float, bilinear, 0 outside the image.
    """
    chex.assert_rank(image, 2)
    chex.assert_type(image, float)
    chex.assert_shape(centre, (2,))
    origin = box_origin(centre, size=size, shape=image.shape).astype(jnp.float32)
    half = (size - 1) / 2
    dy, dx = jnp.meshgrid(jnp.arange(size) - half, jnp.arange(size) - half, indexing="ij")
    radians = jnp.deg2rad(angle)
    cos, sin = jnp.cos(radians), jnp.sin(radians)
    rows = origin[0] + half + sin * dx + cos * dy
    columns = origin[1] + half + cos * dx - sin * dy
    return jax.scipy.ndimage.map_coordinates(jnp.asarray(image), [rows, columns], order=1, cval=0.0)
