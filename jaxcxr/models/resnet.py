"""ResNet (He et al., 2016) and ResNeXt (Xie et al., 2017), as in torchvision's `models/resnet.py`.

"v1.5": the stride sits in the 3x3 convolution. Initialisation: convolutions Kaiming-normal (fan
out), head PyTorch's default. The parameter tree has torchvision's names: layer1/0/conv1/kernel,
layer1/0/downsample/0/kernel.
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
from jaxcxr.models.initialise import zeros


class Downsample(nn.Module):
    """Strided 1x1 convolution and norm on the shortcut."""

    features: int
    stride: int
    norm: Any
    conv: Any

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, H, W, C] -> [B, H / stride, W / stride, features]."""
        x = self.conv(self.features, 1, strides=self.stride, name="0")(x)
        return self.norm(name="1")(x)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    inner: int
    features: int
    stride: int
    groups: int
    norm: Any
    conv: Any

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, H, W, C] -> [B, H / stride, W / stride, features]."""
        shortcut = x
        x = self.conv(self.features, 3, strides=self.stride, padding=1, name="conv1")(x)
        x = nn.relu(self.norm(name="bn1")(x))
        x = self.conv(self.features, 3, padding=1, name="conv2")(x)
        x = self.norm(scale_init=zeros(), name="bn2")(x)
        if shortcut.shape != x.shape:
            shortcut = Downsample(
                self.features, self.stride, self.norm, self.conv, name="downsample"
            )(shortcut)
        return layers.relu_of_sum(x, shortcut)


class Bottleneck(nn.Module):
    """1x1 to `inner` channels, (grouped) 3x3, 1x1 to `features`, and a shortcut."""

    inner: int
    features: int
    stride: int
    groups: int
    norm: Any
    conv: Any

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, H, W, C] -> [B, H / stride, W / stride, features]."""
        shortcut = x
        x = nn.relu(self.norm(name="bn1")(self.conv(self.inner, 1, name="conv1")(x)))
        x = self.conv(
            self.inner, 3, strides=self.stride, padding=1, groups=self.groups, name="conv2"
        )(x)
        x = nn.relu(self.norm(name="bn2")(x))
        x = self.conv(self.features, 1, name="conv3")(x)
        x = self.norm(scale_init=zeros(), name="bn3")(x)
        if shortcut.shape != x.shape:
            shortcut = Downsample(
                self.features, self.stride, self.norm, self.conv, name="downsample"
            )(shortcut)
        return layers.relu_of_sum(x, shortcut)


class Stage(nn.Module):
    """Blocks "0", "1", ...; the first one strides."""

    block: type[BasicBlock | Bottleneck]
    num_blocks: int
    inner: int
    features: int
    stride: int
    groups: int
    norm: Any
    conv: Any

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, H, W, C] -> [B, H / stride, W / stride, features]."""
        for i in range(self.num_blocks):
            x = self.block(
                inner=self.inner,
                features=self.features,
                stride=self.stride if i == 0 else 1,
                groups=self.groups,
                norm=self.norm,
                conv=self.conv,
                name=str(i),
            )(x)
        return x


class ResNet(nn.Module):
    """A ResNet or ResNeXt classifier; at `width=depth=1` the published network.

    Call with `x` [B, H, W, in_channels] float, any H and W, and `train` (then batch statistics,
    and the "dropout" rng if `dropout` or `head_dropout` > 0).

    Returns:
        logits [B, num_classes] float32, and {"stage1" ... "stage4": stage outputs,
        "features": [B, h, w, c], the last of them, averaged for the classifier, "pooled": [B, c],
        its average}.

    The last BatchNorm of a block starts at scale 0, so an untrained block is its shortcut (Goyal et
    al., 2017, 5.1; torchvision's `zero_init_residual`): from random values 152 layers learn sooner.

    Attributes:
        blocks: blocks in each stage; `groups` and `group_width` are ResNeXt's 32x8d.
        width, depth: factors on the channels (of ResNeXt's 3x3: on the groups) and on `blocks`.
        dropout: rate after the average; None is the published 0.
        head_hidden, head_dropout: as in `DenseNet`.
        axis_name: device axis over which batch statistics are averaged.
        norm_tuning: of its batch norms.
        dtype: of the computation; parameters, batch statistics and logits stay float32.
    """

    num_classes: int
    block: type[BasicBlock | Bottleneck]
    blocks: Sequence[int]
    groups: int = 1
    group_width: int = 64
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
            nn.Dropout(self.dropout or 0.0, deterministic=not train)(pooled),
            self.num_classes,
            hidden=self.head_hidden,
            dropout=self.head_dropout,
            train=train,
            name="fc",
        )
        return logits, {**out, "pooled": pooled}

    def _maps(self, x: jax.Array, train: bool) -> dict[str, jax.Array]:
        layers.check_input(x, in_channels=self.in_channels, min_size=1, model="ResNet")
        norm = layers.batch_norm(
            train=train, axis_name=self.axis_name, dtype=self.dtype, tuning=self.norm_tuning
        )
        conv = functools.partial(layers.Conv, dtype=self.dtype)
        groups = layers.scaled(self.groups, self.width) if self.groups > 1 else 1

        x = conv(layers.scaled(64, self.width), 7, strides=2, padding=3, name="conv1")(x)
        x = layers.max_pool(nn.relu(norm(name="bn1")(x)), 3, stride=2, padding=1)
        out = {}
        for i, num_blocks in enumerate(self.blocks):
            planes = 64 * 2**i
            if self.groups > 1:
                inner = groups * (planes * self.group_width // 64)
            else:
                inner = layers.scaled(planes, self.width)
            expansion = 4 if self.block is Bottleneck else 1
            out[f"stage{i + 1}"] = x = Stage(
                block=self.block,
                num_blocks=layers.scaled(num_blocks, self.depth),
                inner=inner,
                features=layers.scaled(planes * expansion, self.width),
                stride=1 if i == 0 else 2,
                groups=groups,
                norm=norm,
                conv=conv,
                name=f"layer{i + 1}",
            )(x)
        return {**out, "features": x}
