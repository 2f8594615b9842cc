"""COVID-Net, from the paper's figure 2.

Wang, Lin and Wong, arXiv:2003.09871v3 and Scientific Reports 10, 2020.

What the figure gives: a 7x7 convolution of 64 channels, stride 2; four stages of 3, 4, 6 and 3 PEPX
modules with 256, 512, 1024 and 2048 channels at a quarter, an eighth, ... of the image's side; a
1x1 convolution past each stage; two dense layers of 1024; the layers of a PEPX module (1x1
projection, 1x1 expansion, 3x3 depthwise, 1x1 projection, 1x1 extension) and the long-range
connections. A module sees the sum of its stage's 1x1 convolution and of all modules before it in
the stage; that sum over a whole stage goes into the next stage's first module and 1x1 convolution.
So all connections together are a residual stream, to which each module adds its output.

What neither paper nor figure gives, and is this project's choice: channels inside a module
(`projection`, `expansion`, below), BatchNorm and ReLU after each convolution (no ReLU on what is
added to the stream), 2x2 max pools before each stage. The networks were found by machine, so that
the published ones differ from module to module; of those that were released only the sizes are
known (github.com/lindawangg/COVID-Net, docs/models.md). Parameters here with 3 classes, in
millions:

  covid_net        11.96, flattened at 224 px 112.62; published: 11.7 (CXR4-B), 9.2 (CXR4-C),
                   8.8 (CXR-2), and 117.4 (CXR Small, 224 px)
  covid_net_large  39.95, flattened at 224 px 140.62; published: 40.2 (CXR4-A), 29.2 (CXR-3),
                   and 127.4 (CXR Large, 224 px)

The first networks flatten the last map, 100,352 numbers at 224 px. The later ones take 480 px,
where the first dense layer alone would have 472 million parameters: they must average, and that is
the default here.

Initialisation: convolutions Kaiming-normal (fan out), dense layers PyTorch's default.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxcxr.models import layers

STAGES = ((256, 3), (512, 4), (1024, 6), (2048, 3))  # channels, modules


class Unit(nn.Module):
    """Convolution "conv" (without bias), BatchNorm "bn", ReLU unless `linear`."""

    features: int
    window: int
    norm: Any
    conv: Any
    stride: int = 1
    groups: int = 1
    linear: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, H, W, C] -> [B, H / stride, W / stride, features]."""
        options = dict(strides=self.stride, padding=self.window // 2, groups=self.groups)
        x = self.norm(name="bn")(self.conv(self.features, self.window, **options, name="conv")(x))
        return x if self.linear else nn.relu(x)


class PEPX(nn.Module):
    """Projection, expansion, depthwise 3x3, projection, extension to `features` channels."""

    projection: float
    expansion: float
    unit: Any
    features: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, H, W, C] -> [B, H, W, features]."""
        projected, expanded = (
            layers.scaled(self.features, fraction) for fraction in (self.projection, self.expansion)
        )
        x = self.unit(projected, 1, name="projection1")(x)
        x = self.unit(expanded, 1, name="expansion")(x)
        x = self.unit(expanded, 3, groups=expanded, name="depthwise")(x)
        x = self.unit(projected, 1, name="projection2")(x)
        return self.unit(self.features, 1, linear=True, name="extension")(x)


class Stage(nn.Module):
    """The stream, halved in size.

    A 1x1 convolution of it, to which each of `modules` modules adds its output.

    The first module sees what the 1x1 convolution sees, each later one the stream so far.
    """

    modules: int
    features: int
    pepx: Any
    unit: Any

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, H, W, C] -> [B, H / 2, W / 2, features]."""
        x = layers.max_pool(x, 2, stride=2)
        stream = self.unit(self.features, 1, linear=True, name="long_range")(x)
        for i in range(1, self.modules + 1):
            stream = stream + self.pepx(features=self.features, name=f"pepx{i}")(
                x if i == 1 else stream
            )
        return stream


class CovidNet(nn.Module):
    """COVID-Net's classifier; see the module for what is published of it.

    Call with `x` [B, H, W, in_channels] float, H and W at least 31 (published: 224, later 480), and
    `train` (then batch statistics, and the "dropout" rng if `dropout` > 0).

    Returns:
        logits [B, num_classes] float32, and {"stage1" ... "stage4": the stream after each stage,
        "features": [B, h, w, c], its ReLU after the last, which is averaged or flattened}.

    Attributes:
        projection, expansion: channels between the 1x1 convolutions of a module, and of its
            depthwise one, as fractions of its output's.
        hidden: units of the dense layers.
        flatten: whether the dense layers see every place of the last map; then H and W must be the
            same as in training.
        width, depth: factors on the channels (the dense layers too) and on the modules of each
            stage.
        dropout: rate before each dense layer; None is the published 0.
        axis_name: device axis over which batch statistics are averaged.
        norm_tuning: of its batch norms.
        dtype: of the convolutions; parameters, batch statistics and dense layers stay float32.
    """

    num_classes: int
    projection: float
    expansion: float
    hidden: Sequence[int] = (1024, 1024)
    flatten: bool = False
    in_channels: int = 3
    axis_name: str | None = None
    norm_tuning: layers.NormTuning = layers.AS_PUBLISHED
    width: float = 1.0
    depth: float = 1.0
    dtype: Any = jnp.float32
    dropout: float | None = None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> tuple[jax.Array, dict[str, jax.Array]]:
        """`x` [B, H, W, in_channels] -> logits [B, num_classes] and named maps; see the class."""
        layers.check_input(x, in_channels=self.in_channels, min_size=31, model="COVID-Net")
        norm = layers.batch_norm(
            train=train, axis_name=self.axis_name, dtype=self.dtype, tuning=self.norm_tuning
        )
        unit = functools.partial(
            Unit, norm=norm, conv=functools.partial(layers.Conv, dtype=self.dtype)
        )

        x = unit(layers.scaled(64, self.width), 7, stride=2, name="stem")(x)
        out = {}
        for stage, (channels, modules) in enumerate(STAGES, start=1):
            out[f"stage{stage}"] = x = Stage(
                modules=layers.scaled(modules, self.depth),
                features=layers.scaled(channels, self.width),
                pepx=functools.partial(PEPX, self.projection, self.expansion, unit),
                unit=unit,
                name=f"stage{stage}",
            )(x)
        out["features"] = nn.relu(x)
        x = layers.at_least_float32(out["features"])
        x = x.reshape(x.shape[0], -1) if self.flatten else x.mean((1, 2))
        drop = functools.partial(nn.Dropout, self.dropout or 0.0, deterministic=not train)
        for i, units in enumerate(self.hidden, start=1):
            dense = layers.linear(
                layers.scaled(units, self.width), fan_in=x.shape[-1], name=f"dense{i}"
            )
            x = nn.relu(dense(drop()(x)))
        return layers.linear(self.num_classes, fan_in=x.shape[-1], name="classifier")(
            drop()(x)
        ), out
