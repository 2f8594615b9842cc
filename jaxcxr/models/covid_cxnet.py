"""COVID-CXNet's own small network, its "base model", as published in Keras.

Haghanifar et al., 2020, section 3.3.

Initialisation: Glorot uniform, biases 0, Keras's defaults. The parameter tree has the published
names: conv_layer1/kernel, fc_layer2/kernel, output_layer/kernel.
"""

from __future__ import annotations

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxcxr.models import layers
from jaxcxr.models.initialise import glorot_uniform


class CovidCXNetBase(nn.Module):
    """Five strided convolutions and three dense layers: 60,035 parameters at 300 px and 3 channels.

    Call with `x` [B, H, W, in_channels] float, H and W at least 65, the same as in training (the
    dense layers see every pixel of the last map: 60,035 parameters are for 300 or 320 px), and
    `train`, which changes nothing.

    Returns:
        logits [B, num_classes] float32 (the published network has one, before its sigmoid), and
        {"stage1" ... "stage5": the convolutions' outputs, "features": the last of them}.

    Attributes:
        width, depth: factors on the channels, and on the number of convolutions.
        dtype: of the convolutions; parameters and dense layers stay float32.
    """

    num_classes: int
    in_channels: int = 3
    width: float = 1.0
    depth: float = 1.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> tuple[jax.Array, dict[str, jax.Array]]:
        """`x` [B, H, W, in_channels] -> logits [B, num_classes] and named maps; see the class."""
        layers.check_input(
            x, in_channels=self.in_channels, min_size=65, model="COVID-CXNet's base model"
        )
        init = glorot_uniform()
        conv = functools.partial(
            layers.Conv, strides=2, use_bias=True, kernel_init=init, dtype=self.dtype
        )
        out = {}
        windows = (5, 3, 3, 3, 3)
        for i, size in enumerate(windows[: layers.scaled(len(windows), self.depth)], start=1):
            x = nn.relu(conv(layers.scaled(32, self.width), size, name=f"conv_layer{i}")(x))
            out[f"stage{i}"] = out["features"] = x
        x = layers.at_least_float32(x).reshape(x.shape[0], -1)
        for name in ("fc_layer1", "fc_layer2"):
            x = nn.relu(nn.Dense(10, kernel_init=init, name=name)(x))
        return nn.Dense(self.num_classes, kernel_init=init, name="output_layer")(x), out
