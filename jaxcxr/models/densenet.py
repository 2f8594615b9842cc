"""DenseNet (Huang et al., 2017), as in torchvision's `models/densenet.py`.

Initialisation: convolutions Kaiming-normal (fan in), classifier PyTorch's default with bias 0.
The parameter tree has torchvision's names: features/denseblock1/denselayer1/conv1/kernel.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxcxr.models import layers
from jaxcxr.models.head import classifier

Conv = functools.partial(layers.Conv, kernel_init=layers.kaiming_normal_fan_in)


class DenseLayer(nn.Module):
    """BN-ReLU-conv1x1 (4 x growth) -> BN-ReLU-conv3x3 (growth); returns the new features only."""

    growth: int
    dropout: float
    norm: Any
    conv: Any

    @nn.compact
    def __call__(self, x: jax.Array, moments: layers.Moments | None, *, train: bool) -> jax.Array:
        """`x` [B, H, W, C] and its moments, if known -> [B, H, W, growth]."""
        x = nn.relu(self.norm(name="norm1")(x, moments))
        x = self.conv(4 * self.growth, 1, name="conv1")(x)
        x = nn.relu(self.norm(name="norm2")(x))
        x = self.conv(self.growth, 3, padding=1, name="conv2")(x)
        return nn.Dropout(self.dropout, deterministic=not train)(x)


class DenseBlock(nn.Module):
    """Layers that each see all the features before them."""

    num_layers: int
    growth: int
    dropout: float
    norm: Any
    conv: Any

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """[B, H, W, C] -> [B, H, W, C + num_layers growth]."""
        moments = layers.moments(x) if train else None
        for i in range(1, self.num_layers + 1):
            layer = DenseLayer(
                self.growth, self.dropout, self.norm, self.conv, name=f"denselayer{i}"
            )
            x, moments = layers.append(x, moments, layer(x, moments, train=train))
        return x


class Transition(nn.Module):
    """BN-ReLU-conv1x1 to half the channels, then a 2x2 average."""

    norm: Any
    conv: Any

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, H, W, C] -> [B, H / 2, W / 2, C / 2]."""
        half = x.shape[-1] // 2
        x = self.conv(half, 1, name="conv")(nn.relu(self.norm(name="norm")(x)))
        return layers.avg_pool(x, 2, stride=2)


class Features(nn.Module):
    """Stem, dense blocks and transitions, final norm."""

    stem: int
    growth: int
    blocks: Sequence[int]
    dropout: float
    norm: Any
    conv: Any

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> dict[str, jax.Array]:
        """[B, H, W, channels] -> {"stage1", ..., "features"}, each [B, h, w, c]."""
        maps = {}
        x = self.conv(self.stem, 7, strides=2, padding=3, name="conv0")(x)
        x = nn.relu(self.norm(name="norm0")(x))
        x = layers.max_pool(x, 3, stride=2, padding=1)
        for i, num_layers in enumerate(self.blocks, start=1):
            block = DenseBlock(
                num_layers, self.growth, self.dropout, self.norm, self.conv, name=f"denseblock{i}"
            )
            maps[f"stage{i}"] = x = block(x, train=train)
            if i < len(self.blocks):
                x = Transition(self.norm, self.conv, name=f"transition{i}")(x)
        maps["features"] = nn.relu(self.norm(name="norm5")(x))
        return maps


class DenseNet(nn.Module):
    """A DenseNet-BC classifier; at `width=depth=1` the published network.

    Call with `x` [B, H, W, in_channels] float, H and W at least 29, and `train` (then batch
    statistics, and the "dropout" rng if `dropout` or `head_dropout` > 0).

    Returns:
        logits [B, num_classes] float32, and {"stage1" ... "stage4": block outputs,
        "features": [B, h, w, c], the map that is averaged for the classifier, "pooled": [B, c], its
        average}.

    Attributes:
        width, depth: factors on the channels and on the layers of each block.
        dropout: rate after each dense layer; None is the published 0.
        head_hidden: units of a ReLU layer between average and logits, whatever `width` is; 0: none,
            as published. COVID-CXNet has 10, and then both dense layers start as in Keras.
        head_dropout: rate before the logits; COVID-CXNet has .2.
        axis_name: device axis over which batch statistics are averaged.
        norm_tuning: of its batch norms.
        dtype: of the computation; parameters, batch statistics and logits stay float32.
    """

    num_classes: int
    stem: int
    growth: int
    blocks: Sequence[int]
    in_channels: int = 3
    axis_name: str | None = None
    norm_tuning: layers.NormTuning = layers.AS_PUBLISHED
    width: float = 1.0
    depth: float = 1.0
    dtype: Any = jnp.float32
    dropout: float | None = None
    head_hidden: int = 0
    head_dropout: float = 0.0

    @nn.compact
    def __call__(
        self, x: jax.Array | None, train: bool, pooled: jax.Array | None = None
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """`x` [B, H, W, in_channels] -> logits [B, num_classes] and named maps; see the class.

        `pooled`: out["pooled"] of an earlier call, which takes the place of `x`.
        """
        out = {} if x is None else self._maps(x, train)
        if pooled is None:
            pooled = layers.at_least_float32(out["features"]).mean((1, 2))
        logits = classifier(
            pooled,
            self.num_classes,
            hidden=self.head_hidden,
            dropout=self.head_dropout,
            train=train,
            bias_init=nn.initializers.zeros,
            name="classifier",
        )
        return logits, {**out, "pooled": pooled}

    def _maps(self, x: jax.Array, train: bool) -> dict[str, jax.Array]:
        layers.check_input(x, in_channels=self.in_channels, min_size=29, model="DenseNet")
        return Features(
            stem=layers.scaled(self.stem, self.width),
            growth=layers.scaled(self.growth, self.width),
            blocks=[layers.scaled(n, self.depth) for n in self.blocks],
            dropout=self.dropout or 0.0,
            norm=layers.batch_norm(
                train=train, axis_name=self.axis_name, dtype=self.dtype, tuning=self.norm_tuning
            ),
            conv=functools.partial(Conv, dtype=self.dtype),
            name="features",
        )(x, train=train)
