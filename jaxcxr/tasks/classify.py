"""Classification of an X-ray from patches or from the whole image.

Patches inside the lungs (paper 2.2); the whole image (FLANNEL).
"""

from __future__ import annotations

from typing import Any, ClassVar

import chex
import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from jaxcxr import losses
from jaxcxr.explain import gradcam
from jaxcxr.metrics import ConfusionMatrix, Mean
from jaxcxr.ops import patches
from jaxcxr.state import Variables
from jaxcxr.tasks import input_sampler
from jaxcxr.tasks.monitor import monitor
from jaxcxr.tasks.network import Network
from jaxcxr.tasks.task import Batch, Prediction


class Classify:
    """The classification task of a config; see `jaxcxr.tasks.task.ExplainableTask`."""

    reads_xrays: ClassVar[bool] = True
    has_classes: ClassVar[bool] = True
    train_scores: ClassVar[tuple[str, ...]] = ("accuracy",)

    def __init__(
        self,
        config: ConfigDict,
        *,
        axis_name: str | None,
        class_weights: np.ndarray | None = None,
    ) -> None:
        """Builds the network.

        Args:
            config: see `jaxcxr.schema`; `patches.enabled` chooses patches or the whole image.
            axis_name: axis over which BatchNorm is synchronised in training; None: it is not.
            class_weights: [C] weights of the loss per class; None: 1. Predictions do not depend on
                them.
        """
        self.monitor, self.mode = monitor(config)
        self._config = config
        self._network = Network(config, axis_name=axis_name)
        self._sampler = input_sampler.build(config)
        self.inputs = self._sampler.inputs
        ones = np.ones(self._network.classes) if class_weights is None else class_weights
        self.class_weights = jnp.asarray(ones, jnp.float32)

    @staticmethod
    def needs_lungs(config: ConfigDict) -> bool:
        """See `Task.needs_lungs`: for patches, and where the lungs are cut out."""
        return config.patches.enabled or config.data.lungs != "whole"

    @staticmethod
    def check_prediction(config: ConfigDict) -> None:
        """See `Task.check_prediction`: nothing to check."""

    def init(self, seed: int | None) -> Variables:
        """See `Task.init`."""
        return self._network.init(seed)

    def loss(
        self, params: Any, model_state: Any, batch: Batch, key: jax.Array, *, axis_name: str
    ) -> tuple[jax.Array, Any]:
        """See `Task.loss`."""
        return self.loss_and_scores(params, model_state, batch, key, axis_name=axis_name)[:2]

    def loss_and_scores(
        self, params: Any, model_state: Any, batch: Batch, key: jax.Array, *, axis_name: str
    ) -> tuple[jax.Array, Any, dict[str, jax.Array]]:
        """See `Task.loss_and_scores`."""
        draw_key, dropout_key = jax.random.split(key)
        dropout_key = jax.random.fold_in(dropout_key, jax.lax.axis_index(axis_name))
        pixels = self._sampler.draw(
            batch, draw_key, count=self._config.patches.train_count, train=True
        )
        b, k = pixels.shape[:2]
        # Patches join the batch axis: BatchNorm must see their statistics together, not per patch
        # slot.
        (logits, out), updated = self._network.module.apply(
            {"params": params, **model_state},
            self._network.to_input(pixels.reshape(b * k, *pixels.shape[2:])),
            train=True,
            mutable=["batch_stats"],
            rngs={"dropout": dropout_key},
        )
        labels = batch["label"]
        return self._losses(logits, out, labels), dict(updated), self._scores(logits, labels)

    def _losses(self, logits: jax.Array, out: Any, labels: jax.Array) -> jax.Array:
        """[B], of the logits [B k, classes] of k patches of each image."""
        b, k = len(labels), len(logits) // len(labels)
        labels = jnp.repeat(labels, k)

        def classification_loss(logits: jax.Array) -> jax.Array:
            return losses.weighted_cross_entropy(
                self._network.as_classes(logits),
                labels,
                class_weights=self.class_weights,
                label_smoothing=self._config.loss.label_smoothing,
            )

        per_patch = classification_loss(logits)
        if "aux_logits" in out:
            per_patch += self._config.loss.aux_weight * classification_loss(out["aux_logits"])
        return per_patch.reshape(b, k).mean(axis=1)

    def _scores(self, logits: jax.Array, labels: jax.Array) -> dict[str, jax.Array]:
        """{"accuracy": [B] 0 or 1} of the logits of `_losses`, by the aggregate of predictions."""
        of_patches = self._network.as_classes(logits).reshape(
            len(labels), -1, self._network.classes
        )
        predicted = self._aggregated(of_patches)["probabilities"].argmax(axis=-1)
        return {"accuracy": (predicted == labels).astype(jnp.float32)}

    def predict(
        self, variables: Any, batch: Batch, key: jax.Array, *, count: int = 0
    ) -> Prediction:
        """Votes and mean probabilities [B, C] of `count` patches per image.

        The patches depend on the seed only.
        """
        pixels = self._sampler.draw(batch, key, count=count, train=False)
        b, k = pixels.shape[:2]
        logits = self._network.in_chunks(
            lambda pixels: self._network.logits(variables, pixels),
            pixels.reshape(b * k, *pixels.shape[2:]),
        )
        chex.assert_shape(logits, (b * k, self._network.classes))
        return self._aggregated(logits.reshape(b, k, self._network.classes))

    def _aggregated(self, logits: jax.Array) -> Prediction:
        """Of logits [B, K, C] of patches."""
        result = patches.aggregate(logits)
        return {**result, "probabilities": result[self._config.patches.aggregate]}

    def explain(
        self,
        variables: Any,
        batch: Batch,
        key: jax.Array,
        *,
        count: int,
        of: str,
        layer: str,
        form: str,
    ) -> Prediction:
        """Grad-CAM of the patches or the crop that `predict` sees, on the image.

        See `ExplainableTask.explain`.
        """
        predicted = self.predict(variables, batch, key, count=count)["probabilities"]
        explained = batch["label"] if of == "true" else predicted.argmax(axis=-1)
        pixels = self._sampler.draw(batch, key, count=count, train=False)
        b, k, height, width = pixels.shape[:4]

        def forward(pixels: jax.Array, explained_classes: jax.Array) -> tuple[jax.Array, jax.Array]:
            heat, logits = gradcam.grad_cam(
                self._network.module,
                variables,
                self._network.to_input(pixels),
                explained_classes,
                layer=layer,
                form=form,
            )
            return jax.image.resize(
                heat, (len(heat), height, width), "bilinear"
            ), self._network.as_classes(logits)

        heat, logits = self._network.in_chunks(
            forward, pixels.reshape(b * k, *pixels.shape[2:]), jnp.repeat(explained, k)
        )
        logits = logits.reshape(b, k, self._network.classes)
        probability = jnp.take_along_axis(
            jax.nn.softmax(logits), explained[:, None, None], axis=-1
        )[..., 0]
        votes = logits.argmax(-1) == explained[:, None]
        placed = self._sampler.place(
            batch, key, heat.reshape(b, k, height, width), probability, votes
        )
        return {"explained": explained, "probabilities": predicted, **placed}

    def find_layer(self, layer: str) -> tuple[str, tuple[int, ...]]:
        """See `ExplainableTask.find_layer`."""
        x = jax.ShapeDtypeStruct((1, *self._network.shape), jnp.float32)
        name, shape = gradcam.find_layer(self._network.module, self._network.init(None), x, layer)
        return name, shape[1:]

    def metrics(self, batch: Batch, prediction: Prediction) -> Any:
        """See `Task.metrics`."""
        probabilities = jnp.asarray(prediction["probabilities"])
        labels = jnp.asarray(batch["label"])
        weight = jnp.asarray(batch["weight"])
        # Sigmoid means need not sum to one; the loss is that of the normalised vector.
        normalised = probabilities / probabilities.sum(axis=-1, keepdims=True)
        nll = -jnp.log(jnp.take_along_axis(normalised, labels[:, None], axis=-1)[:, 0] + 1e-7)
        return {
            "confusion": ConfusionMatrix.from_batch(
                labels, probabilities.argmax(-1), weight, num_classes=self._network.classes
            ),
            "loss": Mean.from_batch(nll, weight),
        }
