"""The focal-loss ensemble (paper 2.3).

Learners' predictions -> weights of the learners -> one prediction.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from jaxcxr import losses, models
from jaxcxr.metrics import ConfusionMatrix, Mean
from jaxcxr.models.initialise import initialise
from jaxcxr.tasks.task import Batch, Prediction, Task


def build(
    config: ConfigDict, *, axis_name: str | None, learners: int, class_counts: np.ndarray
) -> Task:
    """The ensemble task of a config.

    Args:
        config: see configs/common.py.
        axis_name: not used by the module, which has no BatchNorm.
        learners: L, how many learners' predictions [B, L, C] come in.
        class_counts: [C] training images per class; alpha is their inverse.
    """
    classes = len(class_counts)
    module = models.build(
        config.model.name,
        num_classes=classes,
        axis_name=axis_name,
        activation=config.model.activation,
    )
    alpha = losses.inverse_frequency(class_counts, scale=config.loss.alpha_scale)

    def focal(logits: jax.Array, labels: jax.Array) -> jax.Array:
        return losses.multiclass_focal(logits, labels, alpha=alpha, gamma=config.loss.gamma)

    def init(seed: int | None) -> Any:
        return initialise(module, seed, jax.ShapeDtypeStruct((1, learners, classes), jnp.float32))

    def loss(
        params: Any, model_state: Any, batch: Batch, key: jax.Array, *, axis_name: str
    ) -> tuple[jax.Array, Any]:
        del key, axis_name
        logits, _ = module.apply({"params": params, **model_state}, batch["inputs"], train=True)
        per_example = focal(logits, batch["label"])
        # The step averages; the published loss is the sum of its batch.
        if config.loss.reduction == "sum":
            per_example = per_example * config.train.batch_size
        return per_example, model_state

    def predict(variables: Any, batch: Batch, key: jax.Array) -> Prediction:
        """Probabilities [B, C], the learners' weights [B, L] and the focal loss [B].

        The probabilities are the softmax of the weighted sum.
        """
        del key
        logits, out = module.apply(variables, batch["inputs"], train=False)
        return {
            "probabilities": jax.nn.softmax(logits),
            "weights": out["weights"],
            "loss": focal(logits, batch["label"]),
        }

    def metrics(batch: Batch, prediction: Prediction) -> Any:
        weight = jnp.asarray(batch["weight"])
        return {
            "confusion": ConfusionMatrix.from_batch(
                jnp.asarray(batch["label"]),
                jnp.asarray(prediction["probabilities"]).argmax(-1),
                weight,
                num_classes=classes,
            ),
            "loss": Mean.from_batch(jnp.asarray(prediction["loss"]), weight),
        }

    return Task(
        init=init,
        loss=loss,
        predict=predict,
        metrics=metrics,
        inputs=("inputs", "label"),
        monitor=config.train.monitor,
        mode="min" if config.train.monitor == "loss" else "max",
    )
