"""FLANNEL's ensemble: a neural weight module over the base learners' probabilities."""

from __future__ import annotations

from typing import Any, Literal

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxcxr.errors import InputError
from jaxcxr.models import layers


class NeuralWeightModule(nn.Module):
    """Weigh L learners by one linear layer on the outer product of their probabilities.

    f = vec(p) in R^(L C); w = activation(W vec(f f^T) + b) in R^L; v = sum_i w_i p_i in R^C.
    Source: qxiaobu/FLANNEL `ensemble_learning.py` (class GENet, tanh; FlannelNet, softmax). With
    tanh a weight may be negative and the weights do not sum to one. L=5, C=4: 2,005 parameters,
    drawn as PyTorch's Linear does, U(-1/(L C), 1/(L C)).

    Call with `x` [B, L, C] float probabilities in [0, 1]; `train` changes nothing.

    Returns:
        v [B, C], used as logits (the published probability is softmax(v)), and
        {"weights": [B, L]}.
    """

    num_classes: int
    activation: Literal["tanh", "softmax"] = "tanh"
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> tuple[jax.Array, dict[str, jax.Array]]:
        """`x` [B, L, C] probabilities -> weighted sum and the weights; see the class."""
        del train
        chex.assert_rank(x, 3)
        activations = {"tanh": jnp.tanh, "softmax": nn.softmax}
        if self.activation not in activations:
            raise InputError(
                f"neural_weight_module: activation={self.activation!r}; known: tanh, softmax."
            )
        batch, learners, classes = x.shape
        if classes != self.num_classes:
            raise InputError(
                f"neural_weight_module: num_classes={self.num_classes}, but the probabilities have "
                f"{classes} classes, shape {tuple(x.shape)}."
            )
        flat = x.reshape(batch, learners * classes)
        outer = (flat[:, :, None] * flat[:, None, :]).reshape(batch, -1)
        scores = layers.linear(learners, fan_in=outer.shape[-1], dtype=self.dtype, name="fc")(outer)
        weights = activations[self.activation](scores).astype(jnp.float32)
        return jnp.einsum("bl,blc->bc", weights, x.astype(jnp.float32)), {"weights": weights}
