"""EfficientNet (Tan and Le, 2019) as torchvision has it, and Lite as TensorFlow's TPU models do.

EfficientNet-Lite (TensorFlow's TPU repository, 2020) is made for small processors: ReLU6 for SiLU,
no squeeze and excitation, and a stem, a last convolution and first and last stages that do not grow
with the network.

Initialisation: convolutions Kaiming-normal (fan out), their biases 0, the head PyTorch's default
with bias 0 (torchvision's own U(+-1/sqrt(classes)) is made for a thousand classes). The parameter
tree has torchvision's names: features/2/0/block/1/0/kernel, features/2/0/block/2/fc1/kernel,
classifier/1/kernel.
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

# Of each stage, for all sizes of the network (Tan and Le, table 1).
EXPANSIONS = (1, 6, 6, 6, 6, 6, 6)
WINDOWS = (3, 3, 5, 3, 5, 5, 3)
STRIDES = (1, 2, 2, 2, 1, 2, 1)


# TensorFlow's BatchNorm: epsilon, and the fraction of the running statistics that stays.
LITE_NORM = {"epsilon": 1e-3, "momentum": 0.99}


class Unit(nn.Module):
    """Convolution "0", BatchNorm "1", SiLU (`lite`: ReLU6) unless `linear`.

    Padded so that stride 1 keeps the size; `lite` as TensorFlow does.
    """

    features: int
    window: int
    norm: Any
    conv: Any
    stride: int = 1
    groups: int = 1
    linear: bool = False
    lite: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, H, W, C] -> [B, H / stride, W / stride, features]."""
        x = self.conv(
            self.features,
            self.window,
            strides=self.stride,
            # With stride 1 they are the same.
            padding="same" if self.lite and self.stride > 1 else (self.window - 1) // 2,
            groups=self.groups,
            name="0",
        )(x)
        x = self.norm(name="1")(x)
        if self.linear:
            return x
        return nn.relu6(x) if self.lite else nn.silu(x)


class SqueezeExcitation(nn.Module):
    """Scales each channel by a gate that sees the averages of all (Hu et al., 2018)."""

    squeezed: int
    conv: Any

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, H, W, C] -> [B, H, W, C]."""
        gate = x.mean((1, 2), keepdims=True)
        gate = nn.silu(self.conv(self.squeezed, 1, use_bias=True, name="fc1")(gate))
        return x * nn.sigmoid(self.conv(x.shape[-1], 1, use_bias=True, name="fc2")(gate))


class Branch(nn.Module):
    """The inverted bottleneck.

    1x1 to `expansion` times the channels (unless 1), depthwise, squeeze and excitation (unless
    `lite`), 1x1 to `features`.
    """

    features: int
    expansion: int
    window: int
    stride: int
    norm: Any
    conv: Any
    lite: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, H, W, C] -> [B, H / stride, W / stride, features]."""
        unit = functools.partial(Unit, norm=self.norm, conv=self.conv, lite=self.lite)
        inner, squeezed = x.shape[-1] * self.expansion, max(1, x.shape[-1] // 4)
        parts: list[Any] = [] if self.expansion == 1 else [functools.partial(unit, inner, 1)]
        parts += [
            functools.partial(unit, inner, self.window, stride=self.stride, groups=inner),
        ]
        if not self.lite:
            parts.append(functools.partial(SqueezeExcitation, squeezed, self.conv))
        parts.append(functools.partial(unit, self.features, 1, linear=True))
        for i, part in enumerate(parts):
            x = part(name=str(i))(x)
        return x


class MBConv(nn.Module):
    """A branch and, where it keeps size and channels, the shortcut.

    `drop`: fraction of images without the branch.
    """

    drop: float
    branch: Any
    stride: int

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """[B, H, W, C] -> [B, H / stride, W / stride, features]."""
        y = self.branch(stride=self.stride, name="block")(x)
        if self.stride > 1 or x.shape[-1] != y.shape[-1]:
            return y
        return x + nn.Dropout(self.drop, broadcast_dims=(1, 2, 3), deterministic=not train)(y)


class Stage(nn.Module):
    """Blocks "0", "1", ...; the first one strides. `drops`: of each block."""

    drops: Sequence[float]
    stride: int
    branch: Any

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """[B, H, W, C] -> [B, H / stride, W / stride, features]."""
        for i, drop in enumerate(self.drops):
            stride = self.stride if i == 0 else 1
            x = MBConv(drop, self.branch, stride, name=str(i))(x, train=train)
        return x


class Features(nn.Module):
    """Stem "0", stages "1" ... "7", 1x1 convolution "8", unless `last` is 0.

    Of fewer `channels` than there are stages, the first ones.
    """

    stem: int
    channels: Sequence[int]
    last: int
    blocks: Sequence[int]
    stochastic_depth: float
    norm: Any
    conv: Any
    lite: bool

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> dict[str, jax.Array]:
        """[B, H, W, channels] -> {"stage1", ..., "features"}, each [B, h, w, c]."""
        common: dict[str, Any] = dict(norm=self.norm, conv=self.conv, lite=self.lite)
        total, before = sum(self.blocks), 0
        x = Unit(self.stem, 3, **common, stride=2, name="0")(x)
        out = {}
        for i, blocks in enumerate(self.blocks):
            branch = functools.partial(
                Branch, self.channels[i], EXPANSIONS[i], WINDOWS[i], **common
            )
            drops = [self.stochastic_depth * (before + j) / total for j in range(blocks)]
            before += blocks
            out[f"stage{i + 1}"] = x = Stage(drops, STRIDES[i], branch, name=str(i + 1))(
                x, train=train
            )
        if self.last:
            out["features"] = Unit(self.last, 1, **common, name=str(len(self.blocks) + 1))(x)
        return out


class Classifier(nn.Module):
    """Dropout "0", dense "1"."""

    num_classes: int
    dropout: float

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """[B, C] -> logits [B, num_classes]."""
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        return layers.linear(
            self.num_classes, fan_in=x.shape[-1], bias_init=nn.initializers.zeros, name="1"
        )(x)


class EfficientNet(nn.Module):
    """An EfficientNet classifier.

    At `width=depth=1` the published network, whose images have 380 px for B4; 224, 240 and 260 for
    Lite0 to Lite2.

    Call with `x` [B, H, W, in_channels] float, any H and W, and `train` (then batch statistics, and
    the "dropout" rng if `dropout` or `stochastic_depth` > 0).

    Returns:
        logits [B, num_classes] float32, and {"stage1" ... "stage7": stage outputs, "features": [B,
        h, w, c], the map that is averaged for the classifier, "pooled": [B, c], its average}.

    Attributes:
        stem, channels, last: channels of the first convolution, of the stages and of the last
            convolution.
        blocks: blocks in each stage.
        rate: of the dropout before the classifier, which grows with the network.
        lite: an EfficientNet-Lite.
        stochastic_depth: fraction of images, drawn for each block, that pass a block by its
            shortcut alone while training: 0 in the first block, and growing linearly to this (which
            a block after the last would have).
        width, depth: factors on the channels and on `blocks`.
        dropout: None is `rate`, or `head_dropout`; stochastic depth has its own field.
        head_hidden, head_dropout: as in `DenseNet`; 0 hidden units: its own classifier.
        axis_name: device axis over which batch statistics are averaged.
        norm_tuning: of its batch norms.
        dtype: of the computation; parameters, batch statistics and logits stay float32.
    """

    num_classes: int
    stem: int
    channels: Sequence[int]
    last: int
    blocks: Sequence[int]
    rate: float
    lite: bool = False
    stochastic_depth: float = 0.2
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
        rate = self.head_dropout if self.head_hidden else self.rate
        rate = rate if self.dropout is None else self.dropout
        if self.head_hidden:
            logits = classifier(
                pooled,
                self.num_classes,
                hidden=self.head_hidden,
                dropout=rate,
                train=train,
                name="classifier",
            )
        else:
            logits = Classifier(self.num_classes, rate, name="classifier")(pooled, train=train)
        return logits, {**out, "pooled": pooled}

    def _maps(self, x: jax.Array, train: bool) -> dict[str, jax.Array]:
        layers.check_input(x, in_channels=self.in_channels, min_size=1, model="EfficientNet")
        return Features(
            stem=layers.scaled(self.stem, self.width),
            channels=[layers.scaled(c, self.width) for c in self.channels],
            last=layers.scaled(self.last, self.width),
            blocks=[layers.scaled(n, self.depth) for n in self.blocks],
            stochastic_depth=self.stochastic_depth,
            norm=layers.batch_norm(
                train=train,
                axis_name=self.axis_name,
                dtype=self.dtype,
                tuning=self.norm_tuning,
                **(LITE_NORM if self.lite else {}),
            ),
            conv=functools.partial(layers.Conv, dtype=self.dtype),
            lite=self.lite,
            name="features",
        )(x, train=train)
