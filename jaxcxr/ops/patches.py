"""Random patches inside the lungs (paper 2.2), and FLANNEL's crops of the whole image.

An image's patches depend on its own key alone: the batch around it changes none of them.
"""

from __future__ import annotations

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxcxr.ops import geometry, masks
from jaxcxr.ops.geometry import box_origin, unit_float

SAMPLINGS = ("joint", "rows_and_columns")


@functools.partial(jax.jit, static_argnames=("count", "sampling"))
def sample_centres(
    key: chex.PRNGKey,
    mask: jax.Array | np.ndarray,
    *,
    count: int,
    sampling: str = "joint",
) -> jax.Array:
    """Random patch centres in the lungs.

    Args:
        key: of this image.
        mask: [H, W] structure ids, see `jaxcxr.ops.masks`. An empty mask stands for the whole
            image; `masks.is_empty` tells which images those are.
        count: K.
        sampling: "joint" takes each pixel of the lungs equally often. "rows_and_columns" draws the
            row of one pixel and the column of another, as the published code does: they may lie off
            the lungs.

    Returns:
        [K, 2] int32, (row, column).
    """
    chex.assert_rank(mask, 2)
    if sampling not in SAMPLINGS:
        raise ValueError(f"sampling={sampling!r} is unknown; known: {', '.join(SAMPLINGS)}")
    inside = masks.structure_union(mask)
    inside = inside | ~inside.any()
    # Counting pixels by row first leaves only K rows to search, instead of a cumulative sum over
    # the image. int32 is exact up to 2^31 pixels; float32 would merge neighbours above 2^24.
    per_row = inside.sum(axis=1, dtype=jnp.int32)
    row_ends = jnp.cumsum(per_row)

    def pixel(number: jax.Array) -> tuple[jax.Array, jax.Array]:
        row = jnp.searchsorted(row_ends, number, side="right")
        number_in_row = number - (row_ends[row] - per_row[row])
        column = jnp.searchsorted(
            jnp.cumsum(inside[row], dtype=jnp.int32), number_in_row, side="right"
        )
        return row, column

    if sampling == "joint":
        numbers = jax.random.randint(key, (count,), 0, row_ends[-1])
        rows, columns = jax.vmap(pixel)(numbers)
    else:
        numbers = jax.random.randint(key, (2, count), 0, row_ends[-1])
        rows, columns = jax.vmap(lambda one, other: (pixel(one)[0], pixel(other)[1]))(*numbers)
    return jnp.stack([rows, columns], axis=-1).astype(jnp.int32)


def crop(image: jax.Array | np.ndarray, centres: jax.Array | np.ndarray, *, size: int) -> jax.Array:
    """Upright patches [K, P, P] of an image [H, W] around centres [K, 2], in the image's type."""
    chex.assert_rank(image, 2)
    chex.assert_shape(centres, (None, 2))
    origins = box_origin(centres, size=size, shape=image.shape)
    image = jnp.asarray(image)
    return jax.vmap(lambda origin: jax.lax.dynamic_slice(image, origin, (size, size)))(origins)


@functools.partial(
    jax.jit, static_argnames=("count", "size", "sampling", "flip", "max_rotation", "apply_mask")
)
def extract(
    key: chex.PRNGKey,
    image: jax.Array | np.ndarray,
    mask: jax.Array | np.ndarray,
    *,
    count: int,
    size: int,
    sampling: str = "joint",
    flip: float = 0.0,
    max_rotation: float = 0.0,
    apply_mask: bool = True,
) -> jax.Array:
    """Patches of one image.

    Args:
        key: of this image.
        image: [H, W] uint8, or float in [0, 1].
        mask: [H, W] structure ids.
        count: K.
        size: P.
        sampling: as in `sample_centres`.
        flip: probability of mirroring a patch left and right.
        max_rotation: degrees; a patch turns by a uniform angle up to this, either way, see
            `geometry.rotate_crop`. The published code turns by whole degrees up to 5.
        apply_mask: zero outside the lungs, before cropping.

    Returns:
        [K, P, P] float32 in [0, 1].
    """
    chex.assert_rank(image, 2)
    chex.assert_equal_shape([image, mask])
    centre_key, angle_key, flip_key = _parts(key)
    centres = sample_centres(centre_key, mask, count=count, sampling=sampling)
    if apply_mask:
        image = masks.apply_mask(image, mask)
    if max_rotation:
        turn = functools.partial(geometry.rotate_crop, unit_float(image), size=size)
        angles = jax.random.uniform(angle_key, (count,), minval=-max_rotation, maxval=max_rotation)
        patches = jax.vmap(turn)(centres, angles)
    else:
        patches = unit_float(crop(image, centres, size=size))
    if flip:
        mirrored = jax.random.bernoulli(flip_key, flip, (count, 1, 1))
        patches = jnp.where(mirrored, patches[:, :, ::-1], patches)
    return patches


def extract_batch(
    keys: chex.PRNGKey,
    images: jax.Array | np.ndarray,
    lung_masks: jax.Array | np.ndarray,
    *,
    count: int,
    size: int,
    sampling: str = "joint",
    flip: float = 0.0,
    max_rotation: float = 0.0,
    apply_mask: bool = True,
) -> jax.Array:
    """`extract` for keys [B], images and masks [B, H, W]: float32 [B, K, P, P] in [0, 1]."""
    chex.assert_rank(images, 3)
    chex.assert_equal_shape_prefix([keys, images, lung_masks], 1)

    def extract_one(key: jax.Array, image: jax.Array, mask: jax.Array) -> jax.Array:
        return extract(
            key,
            image,
            mask,
            count=count,
            size=size,
            sampling=sampling,
            flip=flip,
            max_rotation=max_rotation,
            apply_mask=apply_mask,
        )

    return jax.vmap(extract_one)(keys, jnp.asarray(images), jnp.asarray(lung_masks))


def evaluation_centres(
    keys: chex.PRNGKey, lung_masks: jax.Array | np.ndarray, *, count: int, sampling: str = "joint"
) -> jax.Array:
    """Centres of the patches of `extract_batch`: [B, K, 2] (row, column).

    For these keys [B] and masks [B, H, W].
    """

    def sample_one(key: jax.Array, mask: jax.Array) -> jax.Array:
        return sample_centres(_parts(key)[0], mask, count=count, sampling=sampling)

    return jax.vmap(sample_one)(keys, jnp.asarray(lung_masks))


def _parts(key: chex.PRNGKey) -> chex.PRNGKey:
    """An image's keys of its centres, angles and flips."""
    return jax.random.split(key, 3)


def random_crop_flip(
    key: chex.PRNGKey,
    image: jax.Array | np.ndarray,
    *,
    size: int | tuple[int, int],
    flip: float = 0.5,
) -> jax.Array:
    """FLANNEL's training view of a whole image: a random box, mirrored with a probability.

    Args:
        key: of this image.
        image: [H, W] or [H, W, C], uint8, or float in [0, 1].
        size: S, side of the box (FLANNEL: 224 of 336), or its (height, width).
        flip: probability of mirroring left and right.

    Returns:
        [S, S] or [S, S, C] float32 in [0, 1].
    """
    size = _fitting(size, image)
    height, width, *channels = image.shape
    box_key, flip_key = jax.random.split(key)
    bounds = jnp.asarray([height - size[0] + 1, width - size[1] + 1])
    origin = jax.random.randint(box_key, (2,), jnp.zeros_like(bounds), bounds)
    corner = (*origin, *(0 for _ in channels))
    box = unit_float(jax.lax.dynamic_slice(jnp.asarray(image), corner, (*size, *channels)))
    return jnp.where(jax.random.bernoulli(flip_key, flip), geometry.flip(box), box)


def centre_crop(image: jax.Array | np.ndarray, *, size: int | tuple[int, int]) -> jax.Array:
    """FLANNEL's evaluation view: the middle [S, S, ...] of an image.

    The image is [H, W] or [H, W, C]; the crop float32 in [0, 1].

    `size` is S or (height, width).
    """
    size = _fitting(size, image)
    top, left = ((whole - side) // 2 for whole, side in zip(image.shape, size, strict=False))
    return unit_float(jnp.asarray(image)[top : top + size[0], left : left + size[1]])


def _fitting(size: int | tuple[int, int], image: jax.Array | np.ndarray) -> tuple[int, int]:
    chex.assert_rank(image, {2, 3})
    height, width = (size, size) if isinstance(size, int) else size
    if height > image.shape[0] or width > image.shape[1]:
        raise ValueError(
            f"a box of {height} x {width} pixels does not fit an image of {image.shape[:2]}"
        )
    return height, width


def aggregate(logits: jax.Array | np.ndarray) -> dict[str, jax.Array]:
    """Scores per image from the logits of its patches.

    Args:
        logits: [B, K, C] of a learner.

    Returns:
        Each [B, C]: `vote_fraction`, the fraction of patches whose largest logit is the class
        (paper 2.2; of equal logits the first class gets the vote); `mean_softmax`, the mean
        probability; `mean_sigmoid`, the mean of sigmoids, which the published code passes on and
        which does not sum to 1.
    """
    chex.assert_rank(logits, 3)
    logits = jnp.asarray(logits, jnp.float32)
    votes = jax.nn.one_hot(logits.argmax(axis=-1), logits.shape[-1])
    return {
        "vote_fraction": votes.mean(axis=1),
        "mean_softmax": jax.nn.softmax(logits).mean(axis=1),
        "mean_sigmoid": jax.nn.sigmoid(logits).mean(axis=1),
    }
