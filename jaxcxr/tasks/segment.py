"""Segmentation of the lungs (paper 2.1): one softmax over background and structures per pixel.

With `model.outputs = "sigmoid"` a network has one logit z a pixel and structure. Background gets
the logit 0, so that the largest logit is a structure's where its sigmoid(z) > 0.5, and `masks_at`
takes another threshold. The loss may be

- cross_entropy, for a single structure (COVID-CXNet's U-Net): as sigmoid(z) is its probability
  in softmax([0, z]), the cross-entropy is the binary one;
- binary_cross_entropy (Zhang, section 4): of each structure against the rest.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from jaxcxr import losses, models
from jaxcxr.errors import InputError
from jaxcxr.metrics import Mean, SegmentationOverlap
from jaxcxr.metrics.segmentation_overlap import SCORES
from jaxcxr.models.initialise import initialise
from jaxcxr.models.unet import UNet
from jaxcxr.ops import augment
from jaxcxr.ops.geometry import unit_float
from jaxcxr.tasks.monitor import monitor
from jaxcxr.tasks.network import dtype, norm_tuning
from jaxcxr.tasks.task import Batch, Prediction


class Segment:
    """The segmentation task of a config; see `jaxcxr.tasks.task.Task`.

    Class 0 is background, 1.. are `masks.structures` in their order.
    """

    reads_xrays: ClassVar[bool] = True
    has_classes: ClassVar[bool] = False

    def __init__(self, config: ConfigDict, *, axis_name: str | None) -> None:
        """Builds the network; see `jaxcxr.schema` for the config."""
        self._structures = tuple(config.masks.structures)
        _check(config, self._structures)
        scores = [*SCORES, *(f"{score}_{name}" for score in SCORES for name in self._structures)]
        if config.train.monitor not in (*scores, "loss"):
            raise InputError(
                f"train.monitor={config.train.monitor!r} is unknown; known: {', '.join(scores)}, "
                "loss"
            )
        self.inputs = ("image", "mask", "label")
        self.monitor, self.mode = monitor(config)
        self._config, self._augmented = config, _augmented(config.augment)
        self._sigmoid = config.model.outputs == "sigmoid"
        outputs = len(self._structures) + (not self._sigmoid)
        self._module = _network(config, outputs, axis_name)
        background = config.loss.background_weight
        self._class_weights = jnp.asarray([background] + [1.0] * len(self._structures))

    @staticmethod
    def needs_lungs(config: ConfigDict) -> bool:
        """See `Task.needs_lungs`: it finds them."""
        del config
        return False

    @staticmethod
    def check_prediction(config: ConfigDict) -> None:
        """See `Task.check_prediction`: the threshold."""
        check_threshold(config.predict.threshold, sigmoid=config.model.outputs == "sigmoid")

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
        return self._image_losses(logits, mask), dict(updated)

    def predict(
        self, variables: Any, batch: Batch, key: jax.Array, *, count: int = 0
    ) -> Prediction:
        """Segmentation of images [B, S, S].

        `mask`: uint8 structure ids; `log_odds`: [B, S, S, structures] of a network with sigmoids;
        `loss`: [B] when the batch has a mask.
        """
        del key, count  # nothing is drawn
        logits, _ = self._module.apply(variables, self._to_network(batch["image"]), train=False)
        result = {"mask": self._over_classes(logits).argmax(-1).astype(jnp.uint8)}
        if self._sigmoid:
            result["log_odds"] = logits
        if "mask" in batch:
            result["loss"] = self._image_losses(logits, batch["mask"])
        return result

    def metrics(self, batch: Batch, prediction: Prediction) -> Any:
        """See `Task.metrics`."""
        return {
            "overlap": SegmentationOverlap.from_batch(
                jnp.asarray(prediction["mask"]),
                jnp.asarray(batch["mask"]),
                jnp.asarray(batch["weight"]),
                structures=self._structures,
            ),
            "loss": Mean.from_batch(jnp.asarray(prediction["loss"]), jnp.asarray(batch["weight"])),
        }

    def _to_network(self, images: jax.Array) -> jax.Array:
        """Network input [B, S, S, channels] in [-1, 1] of pixels 0 to 255.

        The pixels are [B, S, S] or [B, S, S, channels], enhanced by the store.
        """
        pixels = images.astype(jnp.float32) / 127.5 - 1.0
        return (
            pixels
            if pixels.ndim == 4
            else jnp.repeat(pixels[..., None], self._config.model.in_channels, axis=-1)
        )

    def _over_classes(self, logits: jax.Array) -> jax.Array:
        """Network output -> logits [B, S, S, 1 + structures]."""
        return jnp.pad(logits, ((0, 0),) * 3 + ((1, 0),)) if self._sigmoid else logits

    def _image_losses(self, logits: jax.Array, mask: jax.Array) -> jax.Array:
        """Network output and ids [B, S, S] -> losses [B]."""
        mask = mask.astype(jnp.int32)
        if self._config.loss.name == "binary_cross_entropy":
            weight = self._config.loss.background_weight
            return losses.pixel_binary_cross_entropy(logits, mask, background_weight=weight)
        return losses.pixel_cross_entropy(
            self._over_classes(logits), mask, class_weights=self._class_weights
        )


def masks_at(prediction: Prediction, threshold: float) -> np.ndarray:
    """Structure ids [B, S, S] uint8 of probabilities above a threshold.

    Of several structures the likeliest.

    At 0.5 this is the prediction's `mask`, the only one that a softmax has.

    Args:
        prediction: host arrays of `Task.predict`.
        threshold: in (0, 1).

    Raises:
        InputError: another threshold than 0.5, and the network has no sigmoids.
    """
    if threshold == 0.5:
        return np.asarray(prediction["mask"])
    check_threshold(threshold, sigmoid="log_odds" in prediction)
    # Log-odds, not probabilities: these round to 0 and 1.
    log_odds = np.asarray(prediction["log_odds"])
    inside = log_odds.max(-1) > np.log(threshold / (1 - threshold))
    return np.where(inside, log_odds.argmax(-1) + 1, 0).astype(np.uint8)


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


def _augmented(a: ConfigDict) -> Callable[..., tuple[jax.Array, jax.Array]] | None:
    """(keys [B], images, masks [B, S, S]) -> augmented images and masks, moved alike.

    Images are float32 in [0, 255]. None: as they are.
    """
    low, high = a.brightness
    if not (a.max_rotation or a.shift or a.hflip) and (*a.zoom, low, high) == (1.0,) * 4:
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
        affine_key, light_key = jax.random.split(key)
        brightened = augment.random_brightness(
            light_key, move(affine_key, unit_float(image)), low=low, high=high
        )
        return 255 * brightened, move(affine_key, mask.astype(jnp.float32), order=0).astype(
            mask.dtype
        )

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
    if loss == "cross_entropy" and outputs == "sigmoid" and len(structures) != 1:
        raise InputError(
            "model.outputs='sigmoid' tells one structure from background, and masks.structures "
            f"has {len(structures)}: {', '.join(structures)}. For several add "
            "--config.loss.name=binary_cross_entropy"
        )
