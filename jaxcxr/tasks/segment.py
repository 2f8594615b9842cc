"""Segmentation of the lungs (paper 2.1): one softmax over background and structures per pixel.

With `model.outputs = "sigmoid"` a network has one logit z a pixel and structure. Background gets
the logit 0, so that the largest logit is a structure's where its sigmoid(z) > 0.5, and `masks_at`
takes another threshold. The loss may be

- cross_entropy, for a single structure (COVID-CXNet's U-Net): as sigmoid(z) is its probability
  in softmax([0, z]), the cross-entropy is the binary one;
- binary_cross_entropy (Zhang, section 4): of each structure against the rest.

With `masks.by_source` the structures are conventions of what a lung is (air-filled fields, or with
the heart and opaque parts inside). They overlap, and an image's mask shows one of them: the
structure that it has pixels of is the one that scores count, and the loss but for what
`masks.within` lets a mask say of the others: in training a structure is wherever one within it is,
and predictions leave no pixel of it outside.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from jaxcxr import losses, models
from jaxcxr.data.mask_sources import IGNORE, lung_ids
from jaxcxr.errors import InputError
from jaxcxr.metrics import Mean, SegmentationOverlap
from jaxcxr.metrics.segmentation_overlap import SCORES
from jaxcxr.models.initialise import initialise
from jaxcxr.models.unet import UNet
from jaxcxr.ops import augment
from jaxcxr.ops.geometry import unit_float
from jaxcxr.ops.pieces import largest_pieces
from jaxcxr.tasks.monitor import LAST, monitor
from jaxcxr.tasks.network import dtype, norm_tuning, normalisation
from jaxcxr.tasks.task import Batch, Prediction

NEVER = -30.0  # log-odds of a structure that an image is not given


class Segment:
    """The segmentation task of a config; see `jaxcxr.tasks.task.Task`.

    Class 0 is background, 1.. are `masks.structures` in their order.
    """

    reads_xrays: ClassVar[bool] = True
    has_classes: ClassVar[bool] = False
    train_scores: ClassVar[tuple[str, ...]] = ()

    def __init__(self, config: ConfigDict, *, axis_name: str | None) -> None:
        """Builds the network; see `jaxcxr.schema` for the config."""
        self._structures = tuple(config.masks.structures)
        _check(config, self._structures)
        scores = [*SCORES, *(f"{score}_{name}" for score in SCORES for name in self._structures)]
        if config.train.monitor not in (*scores, "loss", LAST):
            raise InputError(
                f"train.monitor={config.train.monitor!r} is unknown; known: {', '.join(scores)}, "
                f"loss, {LAST}"
            )
        self.inputs = ("image", "mask", "label")
        self.monitor, self.mode = monitor(config)
        self._config, self._augmented = config, _augmented(config.augment)
        self._sigmoid = config.model.outputs == "sigmoid"
        outputs = len(self._structures) + (not self._sigmoid)
        self._module = _network(config, outputs, axis_name)
        self._by_source = bool(config.masks.by_source)
        self._within = _within(config.masks, self._structures)
        self._mean, self._std = normalisation(config.model, segmenter=True)
        background = config.loss.background_weight
        self._class_weights = jnp.asarray([background] + [1.0] * len(self._structures))

    @staticmethod
    def needs_lungs(config: ConfigDict) -> bool:
        """See `Task.needs_lungs`: it finds them."""
        del config
        return False

    @staticmethod
    def check_prediction(config: ConfigDict) -> None:
        """See `Task.check_prediction`: the threshold, and the structure."""
        check_threshold(config.predict.threshold, sigmoid=config.model.outputs == "sigmoid")
        wanted_structure(config)

    def init(self, seed: int | None) -> Any:
        """See `Task.init`."""
        side = self._config.data.image_size
        return initialise(
            self._module,
            seed,
            jax.ShapeDtypeStruct((1, side, side, self._config.model.in_channels), jnp.float32),
        )

    def loss(
        self, params: Any, model_state: Any, batch: Batch, key: jax.Array, *, axis_name: str
    ) -> tuple[jax.Array, Any]:
        """See `Task.loss`."""
        dropout_key = jax.random.fold_in(key, jax.lax.axis_index(axis_name))
        images, mask = batch["image"], batch["mask"]
        if self._augmented is not None:
            keys = jax.vmap(lambda index: jax.random.fold_in(key, index))(batch["index"])
            images, mask = self._augmented(keys, images, mask)
        (logits, _), updated = self._module.apply(
            {"params": params, **model_state},
            self._to_network(images),
            train=True,
            mutable=["batch_stats"],
            rngs={"dropout": dropout_key},
        )
        # Of the mask before it was moved: an image may have lost its lungs on the way.
        each = self._image_losses(logits, mask, shown_by=batch["mask"])
        if self._within:
            each += losses.implied_binary_cross_entropy(
                logits,
                mask,
                labelled=self._labelled(batch["mask"]),
                within=self._within,
                hull_margin=self._config.masks.hull_margin,
                background_weight=self._config.loss.background_weight,
            )
        return each, dict(updated)

    def loss_and_scores(
        self, params: Any, model_state: Any, batch: Batch, key: jax.Array, *, axis_name: str
    ) -> tuple[jax.Array, Any, dict[str, jax.Array]]:
        """See `Task.loss_and_scores`: there are none."""
        return *self.loss(params, model_state, batch, key, axis_name=axis_name), {}

    def predict(
        self, variables: Any, batch: Batch, key: jax.Array, *, count: int = 0
    ) -> Prediction:
        """Segmentation of images [B, S, S].

        `mask`: uint8 structure ids; `log_odds`: [B, S, S, structures] of a network with sigmoids,
        else `lung_log_odds`: [B, S, S];
        `loss`: [B] of the network's outputs, when the batch has a mask. With `masks.by_source` an
        image that has a mask is given the structure which that shows; see `structure_alone` for
        others.
        """
        del key, count  # nothing is drawn
        logits, _ = self._module.apply(variables, self._to_network(batch["image"]), train=False)
        result = {}
        if "mask" in batch:
            result["loss"] = self._image_losses(logits, batch["mask"], shown_by=batch["mask"])
        for inner, outer in self._within:
            logits = logits.at[..., inner].min(logits[..., outer])
        if self._by_source and "mask" in batch:
            logits = jnp.where(self._labelled(batch["mask"])[:, None, None], logits, NEVER)
        result["mask"] = self._over_classes(logits).argmax(-1).astype(jnp.uint8)
        if self._sigmoid:
            result["log_odds"] = logits
        else:
            result["lung_log_odds"] = _lung_log_odds(logits, self._structures)
        return result

    def metrics(self, batch: Batch, prediction: Prediction) -> Any:
        """See `Task.metrics`."""
        return {
            "overlap": SegmentationOverlap.from_batch(
                jnp.asarray(prediction["mask"]),
                jnp.asarray(batch["mask"]),
                jnp.asarray(batch["weight"]),
                structures=self._structures,
                labelled=labelled(batch["mask"], self._structures) if self._by_source else None,
            ),
            "loss": Mean.from_batch(jnp.asarray(prediction["loss"]), jnp.asarray(batch["weight"])),
        }

    def _to_network(self, images: jax.Array) -> jax.Array:
        """Network input [B, S, S, channels], normalised, of pixels 0 to 255.

        The pixels are [B, S, S] or [B, S, S, channels], enhanced by the store.
        """
        pixels = images.astype(jnp.float32)
        if pixels.ndim == 3:
            pixels = jnp.repeat(pixels[..., None], self._config.model.in_channels, axis=-1)
        if (self._mean == 0.5).all() and (self._std == 0.5).all():
            return pixels / 127.5 - 1.0  # the digits of earlier runs
        return (pixels / 255 - self._mean) / self._std

    def _labelled(self, mask: jax.Array) -> jax.Array:
        """`labelled` on the device."""
        numbers = jnp.arange(1, len(self._structures) + 1).reshape(1, 1, 1, -1)
        return (mask[..., None] == numbers.astype(mask.dtype)).any((1, 2))

    def _over_classes(self, logits: jax.Array) -> jax.Array:
        """Network output -> logits [B, S, S, 1 + structures]."""
        return jnp.pad(logits, ((0, 0),) * 3 + ((1, 0),)) if self._sigmoid else logits

    def _image_losses(
        self, logits: jax.Array, mask: jax.Array, *, shown_by: jax.Array
    ) -> jax.Array:
        """Network output and ids [B, S, S] -> losses [B].

        `shown_by`: ids that say which structures an image is labelled for, with masks.by_source.
        """
        mask = mask.astype(jnp.int32)
        if self._config.loss.name == "binary_cross_entropy":
            weight = self._config.loss.background_weight
            which = self._labelled(shown_by) if self._by_source else None
            loss = losses.pixel_binary_cross_entropy(
                logits, mask, background_weight=weight, labelled=which
            )
            if dice := self._config.loss.dice:
                each = losses.soft_dice(logits, mask)
                loss += dice * (
                    each.mean(axis=-1) if which is None else losses.mean_of_labelled(each, which)
                )
            return loss
        return losses.pixel_cross_entropy(
            self._over_classes(logits), mask, class_weights=self._class_weights
        )


def wanted_structure(config: ConfigDict) -> str:
    """The structure that X-rays without masks are given, '' for each of them.

    Raises:
        InputError: `predict.structure` is none of them, or there is nothing to choose from.
    """
    wanted, structures = config.predict.structure, tuple(config.masks.structures)
    if not config.masks.by_source:
        if wanted:
            raise InputError(
                f"predict.structure={wanted!r} chooses between structures that overlap, which go "
                "with masks.by_source: leave it out"
            )
        return ""
    if wanted and wanted not in structures:
        raise InputError(f"predict.structure is {wanted!r}: choose {' or '.join(structures)}")
    return wanted or structures[-1]


def shown_structure(config: ConfigDict) -> str:
    """The structure that the lung masks of X-rays show: `wanted_structure`, or all lungs' names.

    Where a network tells several lungs apart, such as a left and a right one, their names are
    joined by '+': a mask is all of them together.
    """
    lungs = [name for name in config.masks.structures if "lung" in name]
    return wanted_structure(config) or "+".join(lungs)


def structure_alone(prediction: Prediction, number: int) -> Prediction:
    """A prediction without masks in its batch, of one of several structures that overlap.

    Args:
        prediction: arrays of `Task.predict`, with log-odds.
        number: its place among the structures, from 0.
    """
    log_odds = prediction["log_odds"]
    xp = jnp if isinstance(log_odds, jax.Array) else np  # within an exported program, or after one
    wanted = np.arange(log_odds.shape[-1]).reshape(1, 1, 1, -1) == number
    log_odds = xp.where(wanted, log_odds, NEVER)
    mask = xp.where(log_odds[..., number] > 0, number + 1, 0).astype(np.uint8)
    return prediction | {"log_odds": log_odds, "mask": mask}


def labelled(mask: Any, structures: Sequence[str]) -> np.ndarray:
    """[B, S] bool of structure ids [B, H, W]: which structures an image has pixels of."""
    mask = np.asarray(mask)
    return np.stack([(mask == n).any((1, 2)) for n in range(1, len(structures) + 1)], axis=-1)


def masks_at(prediction: Prediction, threshold: float, *, largest: int = 0) -> np.ndarray:
    """Structure ids [B, S, S] uint8 of probabilities above a threshold.

    Of several structures the likeliest. At 0.5 these are the pixels of the prediction's `mask`, the
    only one that a softmax has.

    Args:
        prediction: host arrays of `Task.predict`.
        threshold: in (0, 1).
        largest: of each structure, as many connected pieces as are kept; 0: all.

    Raises:
        InputError: another threshold than 0.5, and the network has no sigmoids.
    """
    if threshold == 0.5:
        ids = np.asarray(prediction["mask"])
    else:
        check_threshold(threshold, sigmoid="log_odds" in prediction)
        # Log-odds, not probabilities: these round to 0 and 1.
        log_odds = np.asarray(prediction["log_odds"])
        inside = log_odds.max(-1) > np.log(threshold / (1 - threshold))
        ids = np.where(inside, log_odds.argmax(-1) + 1, 0).astype(np.uint8)
    return largest_pieces(ids, largest) if largest else ids


def lung_log_odds(prediction: Prediction, structures: Sequence[str]) -> np.ndarray:
    """Log-odds [B, S, S] that a pixel is lung, of host arrays of `Task.predict`.

    Sigmoids know nothing of each other: of several lungs the likeliest. A softmax's are added.
    """
    if "lung_log_odds" in prediction:
        return np.asarray(prediction["lung_log_odds"])
    channels = [number - 1 for number in lung_ids(structures)]
    return np.asarray(prediction["log_odds"])[..., channels].max(-1, initial=NEVER)


def check_threshold(threshold: float, *, sigmoid: bool) -> None:
    """Raises InputError for a `predict.threshold` that does not go with the network's outputs."""
    if not 0 < threshold < 1:
        raise InputError(
            f"predict.threshold is {threshold}: give a probability above 0 and below 1"
        )
    if threshold != 0.5 and not sigmoid:
        raise InputError(
            f"predict.threshold={threshold} needs a probability for each structure "
            "(model.outputs='sigmoid'); with 'softmax' a pixel is what is likeliest there, and "
            "the threshold stays 0.5"
        )


def _lung_log_odds(logits: jax.Array, structures: Sequence[str]) -> jax.Array:
    """Log-odds [B, S, S] of the lungs in a softmax of logits [B, S, S, 1 + structures]."""
    logits = logits.astype(jnp.float32)
    is_lung = np.isin(np.arange(logits.shape[-1]), lung_ids(structures)).reshape(1, 1, 1, -1)
    lungs, others = (jax.nn.logsumexp(logits, axis=-1, where=w) for w in (is_lung, ~is_lung))
    return lungs - others


def _augmented(a: ConfigDict) -> Callable[..., tuple[jax.Array, jax.Array]] | None:
    """(keys [B], images, masks [B, S, S]) -> augmented images and masks, moved alike.

    Images are float32 in [0, 255]. None: as they are.
    """
    looks = augment.Looks(
        brightness=tuple(a.brightness),
        contrast=tuple(a.contrast),
        gamma=tuple(a.gamma),
        noise=a.noise,
        objects=a.objects,
        borders=a.borders,
        inverted=a.inverted,
    )
    moves = a.max_rotation or a.shift or a.hflip or tuple(a.zoom) != (1.0, 1.0) or a.quarter_turns
    if not moves and looks == augment.Looks():
        return None
    move = functools.partial(
        augment.random_affine,
        max_rotation=a.max_rotation,
        zoom=tuple(a.zoom),
        shift=a.shift,
        hflip=0.5 if a.hflip else 0.0,
    )

    def augment_one(
        key: jax.Array, image: jax.Array, mask: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        affine_key, looks_key = jax.random.split(key)
        image, hidden = looks(looks_key, move(affine_key, unit_float(image)))
        mask = move(affine_key, mask.astype(jnp.float32), order=0).astype(mask.dtype)
        mask = jnp.where(hidden, IGNORE, mask).astype(mask.dtype)
        if a.quarter_turns:
            turns = augment.random_quarter_turns(jax.random.fold_in(key, 1), a.quarter_turns)
            image, mask = (augment.quarter_turned(array, turns) for array in (image, mask))
        return 255 * image, mask

    return jax.vmap(augment_one)


def _network(config: ConfigDict, outputs: int, axis_name: str | None) -> nn.Module:
    m = config.model
    module = models.build(
        m.name,
        num_classes=outputs,
        axis_name=axis_name,
        width=m.width,
        depth=m.depth,
        in_channels=m.in_channels,
        dtype=dtype(m),
        norm_tuning=norm_tuning(m),
        **(
            {"remat": True} if m.remat else {}
        ),  # an option of some networks; unknown ones are refused
    )
    if isinstance(module, UNet):
        return module.clone(narrow=m.narrow)
    if m.narrow:
        raise InputError(
            f"model.narrow={m.narrow} is for U-Nets; {m.name} has no such layer: set it to 0"
        )
    return module


def _within(masks: ConfigDict, structures: tuple[str, ...]) -> list[tuple[int, int]]:
    """Places of the structures that `masks.within` names, the inner of a pair first."""
    if masks.within and not masks.by_source:
        raise InputError(
            f"masks.within={tuple(masks.within)} says what an image labelled for one structure "
            "teaches another: it goes with masks.by_source"
        )
    if masks.hull_margin and not masks.within:
        raise InputError(
            f"masks.hull_margin={masks.hull_margin} is of structures that masks.within names, and "
            "it names none: set --config.masks.hull_margin=0.0"
        )
    found: set[tuple[int, int]] = set()
    for text in masks.within:
        inner, _, outer = text.partition("=")
        if inner == outer or not {inner, outer} <= {*structures}:
            raise InputError(
                f"masks.within has '{text}': write 'one=another' of {', '.join(structures)}, the "
                "one that lies within the other first"
            )
        found.add((structures.index(inner), structures.index(outer)))
    for middle in range(len(structures)):  # what lies within one lies within what that lies in
        found |= {(a, d) for a, b in found for c, d in found if b == c == middle}
    if any(a == b for a, b in found):
        raise InputError(f"masks.within={tuple(masks.within)} has structures within each other")
    return sorted(found)


def _check(config: ConfigDict, structures: tuple[str, ...]) -> None:
    outputs, loss = config.model.outputs, config.loss.name
    if any(config.data.cut):
        raise InputError(
            f"data.cut={tuple(config.data.cut)} is for classifiers; masks are of whole images"
        )
    if config.augment.hflip and any(name.startswith(("left_", "right_")) for name in structures):
        raise InputError(
            "augment.hflip=True makes a left lung of a right one, and masks.structures has "
            f"{', '.join(structures)}: set it to False"
        )
    if loss == "binary_cross_entropy" and outputs != "sigmoid":
        raise InputError(
            f"loss.name='binary_cross_entropy' needs model.outputs='sigmoid', not {outputs!r}"
        )
    if loss == "cross_entropy" and (config.loss.dice or config.masks.by_source):
        field = "loss.dice" if config.loss.dice else "masks.by_source"
        raise InputError(
            f"{field} needs a sigmoid for each structure: set model.outputs='sigmoid' and "
            "loss.name='binary_cross_entropy'"
        )
    if loss == "cross_entropy" and outputs == "sigmoid" and len(structures) != 1:
        raise InputError(
            "model.outputs='sigmoid' tells one structure from background, and masks.structures "
            f"has {len(structures)}: {', '.join(structures)}. For several add "
            "--config.loss.name=binary_cross_entropy"
        )
