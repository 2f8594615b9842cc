"""Inception v3 (Szegedy et al., 2016), as in torchvision's `models/inception.py`.

Initialisation: kernels N(0, .1), the auxiliary head's N(0, .001) (torchvision truncates at +-2,
which is 20 standard deviations out), biases and the main head PyTorch's default, which is what a
new head gets in FLANNEL (torchvision's own N(0, .1) starts with logits of size 3). torchvision also
means to draw the auxiliary conv1 with .01, but sets that on the wrong object, so that .1 is what it
draws. BatchNorm has epsilon 1e-3. The parameter tree has torchvision's names:
Mixed_5b/branch1x1/conv/kernel.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxcxr.models import layers
from jaxcxr.models.initialise import normal

Conv = functools.partial(layers.Conv, kernel_init=normal(0.1))


class ConvUnit(nn.Module):
    """conv -> BN -> ReLU (torchvision's BasicConv2d), `features` scaled by `width`."""

    features: int
    kernel_size: int | Sequence[int]
    strides: int = 1
    padding: int | Sequence[int] = 0
    width: float = 1.0
    norm: Any = None
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, H, W, C] -> [B, H', W', features]."""
        x = Conv(
            layers.scaled(self.features, self.width),
            self.kernel_size,
            strides=self.strides,
            padding=self.padding,
            dtype=self.dtype,
            name="conv",
        )(x)
        return nn.relu(self.norm(name="bn")(x))


class MixedA(nn.Module):
    """35x35 block: 1x1, 5x5, double 3x3, pool."""

    pool_features: int
    unit: Any

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, H, W, C] -> [B, H, W, C']."""
        unit = self.unit
        single = unit(64, 1, name="branch1x1")(x)
        five = unit(48, 1, name="branch5x5_1")(x)
        five = unit(64, 5, padding=2, name="branch5x5_2")(five)
        double = unit(64, 1, name="branch3x3dbl_1")(x)
        double = unit(96, 3, padding=1, name="branch3x3dbl_2")(double)
        double = unit(96, 3, padding=1, name="branch3x3dbl_3")(double)
        pool = layers.avg_pool(x, 3, stride=1, padding=1)
        pool = unit(self.pool_features, 1, name="branch_pool")(pool)
        return jnp.concatenate([single, five, double, pool], axis=-1)


class MixedB(nn.Module):
    """Reduction 35x35 -> 17x17."""

    unit: Any

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, H, W, C] -> [B, (H - 1) // 2, (W - 1) // 2, C']."""
        unit = self.unit
        x = layers.pad_to_at_least(x, 3)
        three = unit(384, 3, strides=2, name="branch3x3")(x)
        double = unit(64, 1, name="branch3x3dbl_1")(x)
        double = unit(96, 3, padding=1, name="branch3x3dbl_2")(double)
        double = unit(96, 3, strides=2, name="branch3x3dbl_3")(double)
        return jnp.concatenate([three, double, layers.max_pool(x, 3, stride=2)], axis=-1)


class MixedC(nn.Module):
    """17x17 block: 7x7 convolutions factorised into 1x7 and 7x1."""

    inner: int
    unit: Any

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, H, W, C] -> [B, H, W, C']."""
        unit, inner = self.unit, self.inner
        row: dict[str, Any] = {"kernel_size": (1, 7), "padding": (0, 3)}
        column: dict[str, Any] = {"kernel_size": (7, 1), "padding": (3, 0)}
        single = unit(192, 1, name="branch1x1")(x)
        seven = unit(inner, 1, name="branch7x7_1")(x)
        seven = unit(inner, **row, name="branch7x7_2")(seven)
        seven = unit(192, **column, name="branch7x7_3")(seven)
        double = unit(inner, 1, name="branch7x7dbl_1")(x)
        double = unit(inner, **column, name="branch7x7dbl_2")(double)
        double = unit(inner, **row, name="branch7x7dbl_3")(double)
        double = unit(inner, **column, name="branch7x7dbl_4")(double)
        double = unit(192, **row, name="branch7x7dbl_5")(double)
        pool = layers.avg_pool(x, 3, stride=1, padding=1)
        pool = unit(192, 1, name="branch_pool")(pool)
        return jnp.concatenate([single, seven, double, pool], axis=-1)


class MixedD(nn.Module):
    """Reduction 17x17 -> 8x8."""

    unit: Any

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, H, W, C] -> [B, (H - 1) // 2, (W - 1) // 2, C']."""
        unit = self.unit
        x = layers.pad_to_at_least(x, 3)
        three = unit(192, 1, name="branch3x3_1")(x)
        three = unit(320, 3, strides=2, name="branch3x3_2")(three)
        seven = unit(192, 1, name="branch7x7x3_1")(x)
        seven = unit(192, (1, 7), padding=(0, 3), name="branch7x7x3_2")(seven)
        seven = unit(192, (7, 1), padding=(3, 0), name="branch7x7x3_3")(seven)
        seven = unit(192, 3, strides=2, name="branch7x7x3_4")(seven)
        return jnp.concatenate([three, seven, layers.max_pool(x, 3, stride=2)], axis=-1)


class MixedE(nn.Module):
    """8x8 block: 3x3 convolutions spread into 1x3 beside 3x1."""

    unit: Any

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, H, W, C] -> [B, H, W, C']."""
        unit = self.unit
        row: dict[str, Any] = {"kernel_size": (1, 3), "padding": (0, 1)}
        column: dict[str, Any] = {"kernel_size": (3, 1), "padding": (1, 0)}
        single = unit(320, 1, name="branch1x1")(x)
        three = unit(384, 1, name="branch3x3_1")(x)
        three = [
            unit(384, **row, name="branch3x3_2a")(three),
            unit(384, **column, name="branch3x3_2b")(three),
        ]
        double = unit(448, 1, name="branch3x3dbl_1")(x)
        double = unit(384, 3, padding=1, name="branch3x3dbl_2")(double)
        double = [
            unit(384, **row, name="branch3x3dbl_3a")(double),
            unit(384, **column, name="branch3x3dbl_3b")(double),
        ]
        pool = layers.avg_pool(x, 3, stride=1, padding=1)
        pool = unit(192, 1, name="branch_pool")(pool)
        return jnp.concatenate([single, *three, *double, pool], axis=-1)


class AuxiliaryHead(nn.Module):
    """A second classifier on the 17x17 map; smaller maps are zero-padded to what it needs."""

    num_classes: int
    unit: Any

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, H, W, C] -> logits [B, num_classes]."""
        x = layers.avg_pool(layers.pad_to_at_least(x, 5), 5, stride=3)
        x = self.unit(128, 1, name="conv0")(x)
        x = self.unit(768, 5, name="conv1")(layers.pad_to_at_least(x, 5))
        x = layers.at_least_float32(x).mean((1, 2))
        head = layers.linear(
            self.num_classes,
            fan_in=x.shape[-1],
            kernel_init=normal(0.001),
            name="fc",
        )
        return head(x)


class InceptionV3(nn.Module):
    """An Inception v3 classifier; at `width=depth=1` the published network.

    Call with `x` [B, H, W, in_channels] float, H and W at least 27, and `train` (then batch
    statistics and the "dropout" rng). The published size is 299 px. Maps that have become smaller
    than a window (under 75 px in the trunk, under 299 px possibly in the auxiliary head) are
    zero-padded to it; wherever torchvision's network runs, the two are the same.

    Returns:
        logits [B, num_classes] float32, and {"stage1", "stage2", "stage3": the maps at 35, 17 and 8
        px of the published size, "features": [B, h, w, c], the last of them, averaged for the
        classifier; in training also "aux_logits" [B, num_classes] float32}. FLANNEL does not say
        how it weighs the auxiliary loss; .4 is customary (TF-Slim, PyTorch's fine-tuning tutorial).

    Attributes:
        width, depth: factors on the channels and on the blocks of each stage (3 A, 4 C, 2 E).
        dropout: rate before the classifier; None is the published .5.
        axis_name: device axis over which batch statistics are averaged.
        norm_tuning: of its batch norms.
        dtype: of the computation; parameters, batch statistics and logits stay float32.
    """

    num_classes: int
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
        layers.check_input(x, in_channels=self.in_channels, min_size=27, model="Inception v3")
        norm = layers.batch_norm(
            train=train,
            axis_name=self.axis_name,
            dtype=self.dtype,
            tuning=self.norm_tuning,
            epsilon=1e-3,
        )
        unit = functools.partial(ConvUnit, width=self.width, norm=norm, dtype=self.dtype)

        def first_blocks(blocks: dict[str, int]) -> list[tuple[str, int]]:
            return list(blocks.items())[: layers.scaled(len(blocks), self.depth)]

        out = {}
        x = unit(32, 3, strides=2, name="Conv2d_1a_3x3")(x)
        x = unit(32, 3, name="Conv2d_2a_3x3")(x)
        x = unit(64, 3, padding=1, name="Conv2d_2b_3x3")(x)
        x = layers.max_pool(x, 3, stride=2)
        x = unit(80, 1, name="Conv2d_3b_1x1")(x)
        x = unit(192, 3, name="Conv2d_4a_3x3")(x)
        x = layers.max_pool(x, 3, stride=2)
        for name, pool_features in first_blocks({"Mixed_5b": 32, "Mixed_5c": 64, "Mixed_5d": 64}):
            x = MixedA(pool_features, unit, name=name)(x)
        out["stage1"] = x
        x = MixedB(unit, name="Mixed_6a")(x)
        for name, inner in first_blocks(
            {"Mixed_6b": 128, "Mixed_6c": 160, "Mixed_6d": 160, "Mixed_6e": 192}
        ):
            x = MixedC(inner, unit, name=name)(x)
        out["stage2"] = x
        if train or self.is_initializing():  # an init in evaluation mode makes its parameters, too
            aux_logits = AuxiliaryHead(self.num_classes, unit, name="AuxLogits")(x)
            if train:
                out["aux_logits"] = aux_logits
        x = MixedD(unit, name="Mixed_7a")(x)
        for name, _ in first_blocks({"Mixed_7b": 0, "Mixed_7c": 0}):
            x = MixedE(unit, name=name)(x)
        out["stage3"] = out["features"] = x
        x = layers.at_least_float32(x).mean((1, 2))
        x = nn.Dropout(0.5 if self.dropout is None else self.dropout, deterministic=not train)(x)
        return layers.linear(self.num_classes, fan_in=x.shape[-1], name="fc")(x), out
