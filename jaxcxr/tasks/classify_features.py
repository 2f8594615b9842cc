"""Classification of an X-ray from what a frozen network has made of it."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from jaxcxr import optim
from jaxcxr.data.preprocessing import Preprocessing
from jaxcxr.errors import InputError
from jaxcxr.tasks import input_sampler
from jaxcxr.tasks.classify import Classify
from jaxcxr.tasks.network import Network
from jaxcxr.tasks.task import Batch, Prediction

POOLED = "pooled"  # array [N, D] float32


class ClassifyFeatures(Classify):
    """`Classify` of whole images of which the features are known, for the layers after them.

    Its variables are those of the whole network. Of the same variables and images it has the losses
    and predictions of `Classify`, without its augmentation and with the features in evaluation
    mode.
    """

    def __init__(
        self,
        config: ConfigDict,
        *,
        axis_name: str | None,
        class_weights: np.ndarray | None = None,
    ) -> None:
        """See `Classify`.

        Raises:
            InputError: the features of an image are not the same at each step, or the network
                cannot be called with them.
        """
        super().__init__(config, axis_name=axis_name, class_weights=class_weights)
        _check(config, self._network)
        self.inputs: tuple[str, ...] = (POOLED, "label")

    def pooled(self, variables: Any, batch: Batch, key: jax.Array) -> Prediction:
        """{"pooled": [B, D]} of images, what the last layers read, in evaluation mode."""
        pixels = self._sampler.draw(batch, key, count=1, train=False)[:, 0]
        return {
            POOLED: self._network.in_chunks(
                lambda pixels: self._network.pooled(variables, pixels), pixels
            )
        }

    @functools.cache  # noqa: B019 (as long as the task)
    def trained(self) -> frozenset[str]:
        """Names of the parameters of the layers after the features."""
        network, shapes = self._network, self.init(None)
        pixels = jax.ShapeDtypeStruct((1, *network.shape), jnp.float32)
        pooled = jax.eval_shape(network.pooled, shapes, pixels)

        def variables() -> Any:
            keys = {"params": jax.random.key(0), "dropout": jax.random.key(0)}
            return network.module.init(keys, None, train=False, pooled=jnp.zeros(pooled.shape))

        return frozenset(optim.names(jax.eval_shape(variables)["params"]))

    def loss_and_scores(
        self, params: Any, model_state: Any, batch: Batch, key: jax.Array, *, axis_name: str
    ) -> tuple[jax.Array, Any, dict[str, jax.Array]]:
        """See `Task.loss_and_scores`."""
        _, dropout_key = jax.random.split(key)
        dropout_key = jax.random.fold_in(dropout_key, jax.lax.axis_index(axis_name))
        logits, out = self._network.module.apply(
            {"params": params, **model_state},
            None,
            train=True,
            pooled=batch[POOLED],
            rngs={"dropout": dropout_key},
        )
        labels = batch["label"]
        return self._losses(logits, out, labels), model_state, self._scores(logits, labels)

    def predict(
        self, variables: Any, batch: Batch, key: jax.Array, *, count: int = 0
    ) -> Prediction:
        """See `Task.predict`; nothing is drawn."""
        del key, count
        logits, _ = self._network.module.apply(variables, None, train=False, pooled=batch[POOLED])
        return self._aggregated(self._network.as_classes(logits)[:, None])


def _check(config: ConfigDict, network: Network) -> None:
    """Raises InputError where one computation of an image's features does not do for all steps."""
    p, a = config.patches, config.augment
    is_crop = input_sampler.input_size(config) != Preprocessing.of(config.data).shape[:2]
    changes = {
        "patches.enabled": p.enabled,
        "patches.size": is_crop and not p.enabled,
        "patches.flip": p.flip,
        "augment.max_rotation": a.max_rotation > 0,
        "augment.zoom": tuple(a.zoom) != (1.0, 1.0),
        "augment.shift": a.shift > 0,
        "augment.vflip": a.vflip,
        "augment.brightness": tuple(a.brightness) != (1.0, 1.0),
    }
    off = "set --config.train.cache_features=False"
    if changing := [name for name, changes_pixels in changes.items() if changes_pixels]:
        whole = " (patches.size=0 is the whole image)" if "patches.size" in changing else ""
        raise InputError(
            "train.cache_features computes the features of each image once, but these fields show "
            f"the network other pixels of it at each step: {', '.join(changing)}. Turn them off"
            f"{whole}, or {off}"
        )
    if not network.takes_pooled:
        raise InputError(
            f"train.cache_features: {config.model.name} cannot be called with its features; {off}"
        )
    if config.model.norm_statistics != "running" and network.init(None).get("batch_stats"):
        raise InputError(
            "train.cache_features takes each image's features alone, without statistics of a "
            f"batch: set --config.model.norm_statistics=running, or {off}"
        )
