"""The focal-loss ensemble (paper 2.3).

Learners' predictions -> weights of the learners -> one prediction.
"""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from jaxcxr import losses, models
from jaxcxr.metrics import ConfusionMatrix, Mean
from jaxcxr.models.initialise import initialise
from jaxcxr.tasks.monitor import monitor
from jaxcxr.tasks.task import Batch, Prediction


class Ensemble:
    """The ensemble task of a config; see `jaxcxr.tasks.task.Task`."""

    reads_xrays: ClassVar[bool] = False
    has_classes: ClassVar[bool] = True
    train_scores: ClassVar[tuple[str, ...]] = ("accuracy",)

    def __init__(
        self,
        config: ConfigDict,
        *,
        axis_name: str | None,
        learners: int,
        class_counts: np.ndarray,
    ) -> None:
        """Builds the module.

        Args:
            config: see `jaxcxr.schema`.
            axis_name: not used by the module, which has no BatchNorm.
            learners: L, how many learners' predictions [B, L, C] come in.
            class_counts: [C] training images per class; alpha is their inverse, or that of their
                mean (`loss.alpha`).
        """
        self.inputs = ("inputs", "label")
        self.monitor, self.mode = monitor(config)
        self._config = config
        self._classes, self._learners = len(class_counts), learners
        self._module = models.build(
            config.model.name,
            num_classes=self._classes,
            axis_name=axis_name,
            activation=config.model.activation,
        )
        if config.loss.alpha == "equal":
            class_counts = np.full(self._classes, np.mean(class_counts))
        self._alpha = losses.inverse_frequency(class_counts, scale=config.loss.alpha_scale)

    @staticmethod
    def needs_lungs(config: ConfigDict) -> bool:
        """See `Task.needs_lungs`: it reads predictions."""
        del config
        return False

    @staticmethod
    def check_prediction(config: ConfigDict) -> None:
        """See `Task.check_prediction`: nothing to check."""

    def init(self, seed: int | None) -> Any:
        """See `Task.init`."""
        return initialise(
            self._module,
            seed,
            jax.ShapeDtypeStruct((1, self._learners, self._classes), jnp.float32),
        )

    def loss(
        self, params: Any, model_state: Any, batch: Batch, key: jax.Array, *, axis_name: str
    ) -> tuple[jax.Array, Any]:
        """See `Task.loss`."""
        return self.loss_and_scores(params, model_state, batch, key, axis_name=axis_name)[:2]

    def loss_and_scores(
        self, params: Any, model_state: Any, batch: Batch, key: jax.Array, *, axis_name: str
    ) -> tuple[jax.Array, Any, dict[str, jax.Array]]:
        """See `Task.loss_and_scores`."""
        del key, axis_name
        logits, _ = self._module.apply(
            {"params": params, **model_state}, batch["inputs"], train=True
        )
        per_example = self._focal(logits, batch["label"])
        # The step averages; the published loss is the sum of its batch.
        if self._config.loss.reduction == "sum":
            per_example = per_example * self._config.train.batch_size
        accuracy = (logits.argmax(axis=-1) == batch["label"]).astype(jnp.float32)
        return per_example, model_state, {"accuracy": accuracy}

    def predict(
        self, variables: Any, batch: Batch, key: jax.Array, *, count: int = 0
    ) -> Prediction:
        """Probabilities [B, C], the learners' weights [B, L] and the focal loss [B].

        The probabilities are the softmax of the weighted sum.
        """
        del key, count
        logits, out = self._module.apply(variables, batch["inputs"], train=False)
        return {
            "probabilities": jax.nn.softmax(logits),
            "weights": out["weights"],
            "loss": self._focal(logits, batch["label"]),
        }

    def metrics(self, batch: Batch, prediction: Prediction) -> Any:
        """See `Task.metrics`."""
        weight = jnp.asarray(batch["weight"])
        return {
            "confusion": ConfusionMatrix.from_batch(
                jnp.asarray(batch["label"]),
                jnp.asarray(prediction["probabilities"]).argmax(-1),
                weight,
                num_classes=self._classes,
            ),
            "loss": Mean.from_batch(jnp.asarray(prediction["loss"]), weight),
        }

    def _focal(self, logits: jax.Array, labels: jax.Array) -> jax.Array:
        return losses.multiclass_focal(
            logits, labels, alpha=self._alpha, gamma=self._config.loss.gamma
        )
