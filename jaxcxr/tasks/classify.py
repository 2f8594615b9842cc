"""Classification of an X-ray from patches or from the whole image.

Patches inside the lungs (paper 2.2); the whole image (FLANNEL).
"""

from __future__ import annotations

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from jaxcxr import losses
from jaxcxr.errors import InputError
from jaxcxr.explain import gradcam
from jaxcxr.metrics import ConfusionMatrix, Mean
from jaxcxr.ops import patches
from jaxcxr.tasks import input_sampler
from jaxcxr.tasks.network import Network
from jaxcxr.tasks.task import Batch, Prediction, Task

AGGREGATES = ("mean_softmax", "vote_fraction", "mean_sigmoid")


def build(
    config: ConfigDict, *, axis_name: str | None, class_weights: np.ndarray | None = None
) -> Task:
    """The classification task of a config.

    Args:
        config: see configs/common.py; `patches.enabled` chooses patches or the whole image.
        axis_name: axis over which BatchNorm is synchronised in training; None: it is not.
        class_weights: [C] weights of the loss per class; None: 1. Predictions do not depend on
            them.
    """
    if config.patches.aggregate not in AGGREGATES:
        raise InputError(
            f"patches.aggregate={config.patches.aggregate!r} is unknown; known: "
            f"{', '.join(AGGREGATES)}"
        )
    network, sampler = Network(config, axis_name=axis_name), input_sampler.build(config)
    classes = network.classes
    weights = (
        jnp.ones(classes) if class_weights is None else jnp.asarray(class_weights, jnp.float32)
    )

    def loss(
        params: Any, model_state: Any, batch: Batch, key: jax.Array, *, axis_name: str
    ) -> tuple[jax.Array, Any]:
        draw_key, dropout_key = jax.random.split(key)
        dropout_key = jax.random.fold_in(dropout_key, jax.lax.axis_index(axis_name))
        pixels = sampler.draw(batch, draw_key, count=config.patches.train_count, train=True)
        b, k = pixels.shape[:2]
        # Patches join the batch axis: BatchNorm must see their statistics together, not per patch
        # slot.
        (logits, out), updated = network.module.apply(
            {"params": params, **model_state},
            network.to_input(pixels.reshape(b * k, *pixels.shape[2:])),
            train=True,
            mutable=["batch_stats"],
            rngs={"dropout": dropout_key},
        )
        labels = jnp.repeat(batch["label"], k)

        def classification_loss(logits: jax.Array) -> jax.Array:
            return losses.weighted_cross_entropy(
                network.as_classes(logits),
                labels,
                class_weights=weights,
                label_smoothing=config.loss.label_smoothing,
            )

        per_patch = classification_loss(logits)
        if "aux_logits" in out:
            per_patch += config.loss.aux_weight * classification_loss(out["aux_logits"])
        return per_patch.reshape(b, k).mean(axis=1), dict(updated)

    def predict(variables: Any, batch: Batch, key: jax.Array, *, count: int) -> Prediction:
        """Votes and mean probabilities [B, C] of `count` patches per image.

        The patches depend on the seed only.
        """
        pixels = sampler.draw(batch, key, count=count, train=False)
        b, k = pixels.shape[:2]
        logits = network.in_chunks(
            lambda pixels: network.logits(variables, pixels),
            pixels.reshape(b * k, *pixels.shape[2:]),
        )
        chex.assert_shape(logits, (b * k, classes))
        result = patches.aggregate(logits.reshape(b, k, classes))
        return {**result, "probabilities": result[config.patches.aggregate]}

    def explain(
        variables: Any, batch: Batch, key: jax.Array, *, count: int, of: str, layer: str, form: str
    ) -> Prediction:
        """Grad-CAM of the patches or the crop that `predict` sees, on the image.

        See `Task.explain`.
        """
        predicted = predict(variables, batch, key, count=count)["probabilities"]
        explained = batch["label"] if of == "true" else predicted.argmax(axis=-1)
        pixels = sampler.draw(batch, key, count=count, train=False)
        b, k, height, width = pixels.shape[:4]

        def forward(pixels: jax.Array, explained_classes: jax.Array) -> tuple[jax.Array, jax.Array]:
            heat, logits = gradcam.grad_cam(
                network.module,
                variables,
                network.to_input(pixels),
                explained_classes,
                layer=layer,
                form=form,
            )
            return jax.image.resize(
                heat, (len(heat), height, width), "bilinear"
            ), network.as_classes(logits)

        heat, logits = network.in_chunks(
            forward, pixels.reshape(b * k, *pixels.shape[2:]), jnp.repeat(explained, k)
        )
        logits = logits.reshape(b, k, classes)
        probability = jnp.take_along_axis(
            jax.nn.softmax(logits), explained[:, None, None], axis=-1
        )[..., 0]
        votes = logits.argmax(-1) == explained[:, None]
        placed = sampler.place(batch, key, heat.reshape(b, k, height, width), probability, votes)
        return {"explained": explained, "probabilities": predicted, **placed}

    def find_layer(layer: str) -> tuple[str, tuple[int, ...]]:
        x = jax.ShapeDtypeStruct((1, *network.shape), jnp.float32)
        name, shape = gradcam.find_layer(network.module, network.init(None), x, layer)
        return name, shape[1:]

    def metrics(batch: Batch, prediction: Prediction) -> Any:
        probabilities = jnp.asarray(prediction["probabilities"])
        labels = jnp.asarray(batch["label"])
        weight = jnp.asarray(batch["weight"])
        # Sigmoid means need not sum to one; the loss is that of the normalised vector.
        normalised = probabilities / probabilities.sum(axis=-1, keepdims=True)
        nll = -jnp.log(jnp.take_along_axis(normalised, labels[:, None], axis=-1)[:, 0] + 1e-7)
        return {
            "confusion": ConfusionMatrix.from_batch(
                labels, probabilities.argmax(-1), weight, num_classes=classes
            ),
            "loss": Mean.from_batch(nll, weight),
        }

    return Task(
        init=network.init,
        loss=loss,
        predict=predict,
        metrics=metrics,
        explain=explain,
        find_layer=find_layer,
        inputs=sampler.inputs,
        monitor=config.train.monitor,
        mode="min" if config.train.monitor == "loss" else "max",
    )
