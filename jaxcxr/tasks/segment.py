"""Segmentation of the lungs (paper 2.1): one softmax over background and structures per pixel.

With `model.outputs = "sigmoid"` a network has one logit z a pixel, of the only structure (COVID-CXNet's U-Net). As
sigmoid(z) is the structure's share in softmax([0, z]), background gets the logit 0 and everything else stays the same:
the cross-entropy is the binary one, and the larger logit the structure's where sigmoid(z) > 0.5.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from jaxcxr import losses, models
from jaxcxr.metrics import Mean, Overlap
from jaxcxr.models.initialise import initialise
from jaxcxr.tasks.network import OUTPUTS
from jaxcxr.tasks.task import Batch, Prediction, Task
from jaxcxr.types import InputError


def build(config: ConfigDict, *, axis_name: str | None) -> Task:
    """The segmentation task of a config; class 0 is background, 1.. are `masks.structures` in their order."""
    structures = tuple(config.masks.structures)
    binary = _is_binary(config.model.outputs, structures)
    module = models.build(
        config.model.name,
        num_classes=1 if binary else len(structures) + 1,
        axis_name=axis_name,
        width=config.model.width,
        depth=config.model.depth,
        in_channels=config.model.in_channels,
    )
    class_weights = jnp.asarray([config.loss.background_weight] + [1.0] * len(structures))

    def to_network(images: jax.Array) -> jax.Array:
        """uint8 [B, S, S] or [B, S, S, channels], enhanced by the store -> [B, S, S, channels] in [-1, 1]."""
        pixels = images.astype(jnp.float32) / 127.5 - 1.0
        return pixels if pixels.ndim == 4 else jnp.repeat(pixels[..., None], config.model.in_channels, axis=-1)

    def over_classes(logits: jax.Array) -> jax.Array:
        """Network output -> logits [B, S, S, 1 + structures]."""
        return jnp.pad(logits, ((0, 0),) * 3 + ((1, 0),)) if binary else logits

    def init(seed: int | None) -> Any:
        side = config.data.image_size
        return initialise(module, seed, jax.ShapeDtypeStruct((1, side, side, config.model.in_channels), jnp.float32))

    def loss(
        params: Any, model_state: Any, batch: Batch, key: jax.Array, *, axis_name: str
    ) -> tuple[jax.Array, Any]:
        dropout_key = jax.random.fold_in(key, jax.lax.axis_index(axis_name))
        (logits, _), updated = module.apply(
            {"params": params, **model_state},
            to_network(batch["image"]),
            train=True,
            mutable=["batch_stats"],
            rngs={"dropout": dropout_key},
        )
        per_image = losses.pixel_cross_entropy(
            over_classes(logits), batch["mask"].astype(jnp.int32), class_weights=class_weights
        )
        return per_image, dict(updated)

    def predict(variables: Any, batch: Batch, key: jax.Array) -> Prediction:
        """`mask` uint8 [B, S, S] of structure ids and, when the batch has a mask, its `loss` [B]."""
        del key  # nothing is drawn
        logits, _ = module.apply(variables, to_network(batch["image"]), train=False)
        logits = over_classes(logits)
        result = {"mask": logits.argmax(-1).astype(jnp.uint8)}
        if "mask" in batch:
            result["loss"] = losses.pixel_cross_entropy(
                logits, batch["mask"].astype(jnp.int32), class_weights=class_weights
            )
        return result

    def metrics(batch: Batch, prediction: Prediction) -> Any:
        return {
            "overlap": Overlap.from_batch(
                jnp.asarray(prediction["mask"]),
                jnp.asarray(batch["mask"]),
                jnp.asarray(batch["weight"]),
                structures=structures,
            ),
            "loss": Mean.from_batch(jnp.asarray(prediction["loss"]), jnp.asarray(batch["weight"])),
        }

    return Task(
        init=init,
        loss=loss,
        predict=predict,
        metrics=metrics,
        inputs=("image", "mask", "label"),
        monitor=config.train.monitor,
        mode="min" if config.train.monitor == "loss" else "max",
    )


def _is_binary(outputs: str, structures: tuple[str, ...]) -> bool:
    if outputs not in OUTPUTS:
        raise InputError(f"model.outputs={outputs!r} is unknown; known: {', '.join(OUTPUTS)}")
    if outputs == "sigmoid" and len(structures) != 1:
        raise InputError(
            "model.outputs='sigmoid' tells one structure from background, and masks.structures has "
            f"{len(structures)}: {', '.join(structures)}"
        )
    return outputs == "sigmoid"
