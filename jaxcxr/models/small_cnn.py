"""Small networks that two papers made in Keras.

3x3 convolutions without padding, each with a max pool, dense layers.

`qatar_cnn`: Agarwal and Srivastava, section 3.3.1, layer by layer. Their dropout rates are not
given: .2 is this project's choice. Nor is the weight of the "regularizers" on the convolutions,
which belong to the loss. `v7_diagnosis`: the classifier for the V7 data set's images cut to 246 x
236 pixels ("Diagnosis on COVID-19 Chest X-ray Images", section 5.1): two convolutions and a dense
layer of 64. The convolutions' channels are not given; 32 and 64, as in the usual first example, are
this project's choice, and so is Keras's default of no padding.

Initialisation: Glorot uniform, biases 0, Keras's defaults. The parameter tree has the names that
Keras gives and that Agarwal and Srivastava's table shows: conv2d/kernel, conv2d_1/kernel, ...,
dense/kernel, dense_1/kernel, ...
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxcxr.models import layers
from jaxcxr.models.initialise import glorot_uniform


class SmallCNN(nn.Module):
    """Stages of conv3x3, ReLU, 2x2 max pool and dropout; dense ReLU layers; logits.

    Call with `x` [B, H, W, in_channels] float, H and W the same as in training (the dense layers
    see every place of the last map) and at least 22 for three convolutions, 10 for two, and `train`
    (then the "dropout" rng, if the rate is not 0).

    Returns:
        logits [B, num_classes] float32, and {"stage1", ...: the convolutions' outputs after the
        ReLU, "features": [B, h, w, c], the last pool's output, which is flattened as [H, W, C]}.

    Attributes:
        channels: of the convolutions.
        hidden: units of the dense layers before the logits.
        rate: of the dropout after each pool.
        width, depth: factors on `channels` and `hidden`, and on the number of convolutions.
        dropout: None is `rate`.
        dtype: of the convolutions; parameters and dense layers stay float32.
    """

    num_classes: int
    channels: Sequence[int]
    hidden: Sequence[int]
    rate: float = 0.0
    in_channels: int = 3
    width: float = 1.0
    depth: float = 1.0
    dtype: Any = jnp.float32
    dropout: float | None = None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> tuple[jax.Array, dict[str, jax.Array]]:
        """`x` [B, H, W, in_channels] -> logits [B, num_classes] and named maps; see the class."""
        channels = self.channels[: layers.scaled(len(self.channels), self.depth)]
        smallest = 3 * 2 ** len(channels) - 2  # leaves one place: n = 2 m + 2 pixels make m
        layers.check_input(x, in_channels=self.in_channels, min_size=smallest, model="SmallCNN")
        init, rate = glorot_uniform(), self.rate if self.dropout is None else self.dropout
        out = {}
        for i, features in enumerate(channels):
            features = layers.scaled(features, self.width)
            conv = layers.Conv(
                features,
                3,
                use_bias=True,
                kernel_init=init,
                dtype=self.dtype,
                name=_keras("conv2d", i),
            )
            out[f"stage{i + 1}"] = x = nn.relu(conv(x))
            out["features"] = x = layers.max_pool(x, 2, stride=2)
            x = nn.Dropout(rate, deterministic=not train, name=_keras("dropout", i))(x)
        x = layers.at_least_float32(x).reshape(x.shape[0], -1)
        for i, units in enumerate(self.hidden):
            units = layers.scaled(units, self.width)
            x = nn.relu(nn.Dense(units, kernel_init=init, name=_keras("dense", i))(x))
        last = _keras("dense", len(self.hidden))
        return nn.Dense(self.num_classes, kernel_init=init, name=last)(x), out


def _keras(layer: str, number: int) -> str:
    return f"{layer}_{number}" if number else layer
