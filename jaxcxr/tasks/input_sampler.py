"""Inputs of a classifier: patches in the lungs (paper 2.2) or the whole image.

The latter as in FLANNEL and COVID-CXNet.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from jaxcxr.data.preprocessing import Preprocessing
from jaxcxr.errors import InputError
from jaxcxr.explain import patch_saliency as heat_of_patches
from jaxcxr.ops import augment, patches
from jaxcxr.tasks.task import Batch


@dataclasses.dataclass(frozen=True)
class InputSampler:
    """Maps images to the network's inputs, and saliency on these back to the images.

    Attributes:
        inputs: names of the per-example arrays that it reads.
        draw: (batch, key, *, count, train) -> [B, K, P, P] or, of images with channels, [B, K, P,
            P, C], float32 in [0, 1]. Each image's draw depends on its own index alone, never on its
            batch.
        place: (batch, key, heat [B, K, P, P], probability [B, K], votes [B, K]) -> {"heat" [B, H,
            W], and for patches "votes" [B, H, W]}, for the evaluation draw of that key; see
            `Task.explain`. `probability` is that of the explained class, `votes` whether it is the
            largest.
    """

    inputs: tuple[str, ...]
    draw: Callable[..., jax.Array]
    place: Callable[..., dict[str, jax.Array]]


def build(config: ConfigDict) -> InputSampler:
    """The input sampler of a classifier's config: patches where `patches.enabled`.

    Raises:
        InputError: patches or crops are larger than the prepared image.
    """
    sides, image = input_size(config), Preprocessing.of(config.data).shape[:2]
    if any(side > most for side, most in zip(sides, image, strict=True)):
        raise InputError(
            f"patches.size={config.patches.size} does not fit a prepared image of {image[0]} x "
            f"{image[1]} pixels (data.image_size={config.data.image_size}, less data.cut): lower "
            "it, or set 0 for the whole image"
        )
    return _patches(config) if config.patches.enabled else _whole_image(config)


def input_size(config: ConfigDict) -> tuple[int, int]:
    """(height, width) in pixels of a patch or crop.

    `patches.size` 0 is the whole prepared image.
    """
    if side := config.patches.size:
        return side, side
    height, width, *_ = Preprocessing.of(config.data).shape
    return height, width


def _keys(batch: Batch, key: jax.Array) -> jax.Array:
    """One key per image, of its own index."""
    return jax.vmap(lambda index: jax.random.fold_in(key, index))(batch["index"])


def _patches(config: ConfigDict) -> InputSampler:
    p = config.patches

    def draw(batch: Batch, key: jax.Array, *, count: int, train: bool) -> jax.Array:
        return patches.extract_batch(
            _keys(batch, key),
            batch["image"],
            batch["mask"],
            count=count,
            size=p.size,
            sampling=p.sampling,
            flip=0.5 if train and p.flip else 0.0,
            max_rotation=p.max_rotation if train else 0.0,
            apply_mask=p.apply_mask,
        )

    def place(
        batch: Batch, key: jax.Array, heat: jax.Array, probability: jax.Array, votes: jax.Array
    ) -> dict[str, jax.Array]:
        shape = batch["image"].shape[1:3]
        centres = patches.evaluation_centres(
            _keys(batch, key), batch["mask"], count=heat.shape[1], sampling=p.sampling
        )
        whole = functools.partial(heat_of_patches.probabilistic, shape=shape)
        votes_at = functools.partial(heat_of_patches.vote_map, size=p.size, shape=shape)
        return {
            "heat": jax.vmap(whole)(heat, probability, centres),
            "votes": jax.vmap(votes_at)(votes, centres),
        }

    return InputSampler(("image", "mask", "label"), draw, place)


def _whole_image(config: ConfigDict) -> InputSampler:
    size, a = input_size(config), config.augment
    turn = functools.partial(
        augment.random_affine,
        max_rotation=a.max_rotation,
        zoom=tuple(a.zoom),
        shift=a.shift,
        vflip=0.5 if a.vflip else 0.0,  # the crop flips left and right
    )
    low, high = a.brightness
    moves = a.max_rotation > 0 or a.shift > 0 or a.vflip or tuple(a.zoom) != (1.0, 1.0)

    def augment_one(key: jax.Array, image: jax.Array) -> jax.Array:
        crop_key, affine_key, light_key = (
            key,
            jax.random.fold_in(key, 1),
            jax.random.fold_in(key, 2),
        )
        crop = patches.random_crop_flip(
            crop_key, image, size=size, flip=0.5 if config.patches.flip else 0.0
        )
        if moves:
            crop = turn(affine_key, crop)
        if (low, high) != (1.0, 1.0):
            crop = augment.random_brightness(light_key, crop, low=low, high=high)
        return crop

    def draw(batch: Batch, key: jax.Array, *, count: int, train: bool) -> jax.Array:
        del count  # the centre crop is one and the same
        if train:
            return jax.vmap(augment_one)(_keys(batch, key), batch["image"])[:, None]
        return jax.vmap(lambda image: patches.centre_crop(image, size=size))(batch["image"])[
            :, None
        ]

    def place(
        batch: Batch, key: jax.Array, heat: jax.Array, probability: jax.Array, votes: jax.Array
    ) -> dict[str, jax.Array]:
        del key, probability, votes
        height, width = (
            whole - side for whole, side in zip(batch["image"].shape[1:3], size, strict=True)
        )
        around = ((0, 0), (height // 2, height - height // 2), (width // 2, width - width // 2))
        return {"heat": jnp.pad(heat[:, 0], around)}

    return InputSampler(("image", "label"), draw, place)
