"""The task: pure functions that define what is learned, independent of how it is run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

import jax
from ml_collections import ConfigDict

from jaxcxr.state import Variables

Batch = Mapping[str, Any]
Prediction = dict[str, Any]


class Task(Protocol):
    """Pure functions of one learning task.

    A batch is a dict of arrays with a leading example axis: "index" int32 (row of the data set, the
    seed of all draws for that example), "weight" float32 (0 for padding), "label" int32, and the
    task's inputs.

    Attributes:
        reads_xrays: its inputs are X-rays, so that it can predict those of others.
        has_classes: it predicts one of several classes; else structures of the image.
        inputs: names of the per-example arrays that a batch of this task carries.
        monitor: name of the metric that early stopping and the best checkpoint follow.
        mode: "max" or "min".
        train_scores: names of the scores of a training step besides its loss.
    """

    reads_xrays: ClassVar[bool]
    has_classes: ClassVar[bool]
    inputs: tuple[str, ...]
    monitor: str
    mode: str
    train_scores: ClassVar[tuple[str, ...]]

    @staticmethod
    def needs_lungs(config: ConfigDict) -> bool:
        """Whether networks of this config cannot do without lung masks of their images."""
        ...

    @staticmethod
    def check_prediction(config: ConfigDict) -> None:
        """Raises InputError for settings of prediction that do not go with the network."""
        ...

    def init(self, seed: int | None) -> Variables:
        """{"params": ..., "batch_stats": ...} as host arrays; of None their shapes."""
        ...

    def loss(
        self, params: Any, model_state: Any, batch: Batch, key: jax.Array, *, axis_name: str
    ) -> tuple[jax.Array, Variables]:
        """(losses [B], model state), in training mode."""
        ...

    def loss_and_scores(
        self, params: Any, model_state: Any, batch: Batch, key: jax.Array, *, axis_name: str
    ) -> tuple[jax.Array, Variables, dict[str, jax.Array]]:
        """What `loss` gives, and of the same outputs each of `train_scores` [B], in [0, 1]."""
        ...

    def predict(
        self, variables: Any, batch: Batch, key: jax.Array, *, count: int = 0
    ) -> Prediction:
        """Per-example arrays [B, ...], in evaluation mode.

        Args:
            variables: of the network.
            batch: its examples.
            key: of all draws.
            count: patches per image; 0 where the task draws none.
        """
        ...

    def metrics(self, batch: Batch, prediction: Prediction) -> dict[str, Any]:
        """Sums with `merge` and `scalars`, on the host, of host arrays."""
        ...


class ExplainableTask(Task, Protocol):
    """A task whose predictions can be explained by the network's feature maps."""

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
        """Saliency of the class that is predicted or, with `of="true"`, of the label.

        Returns:
            "heat" [B, H, W], "explained" [B] class, "probabilities" [B, C], and for patches "votes"
            [B, H, W], the fraction of a pixel's patches that chose the class, NaN where there is
            none.
        """
        ...

    def find_layer(self, layer: str) -> tuple[str, tuple[int, ...]]:
        """Name, '' for the default, -> (name, (height, width, channels)) of a feature map.

        It is the one that `explain` takes; no variables are needed.
        """
        ...
