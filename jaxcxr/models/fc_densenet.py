"""FC-DenseNet103 (Jegou et al., 2017), as adapted by Oh, Park and Ye (2020) for lung masks.

Layer order and counts follow bfortuner/pytorch_tiramisu, which they used. It returns logits: the
published code applies log-softmax and then a cross-entropy that applies it again (idempotent).
Initialisation: convolutions Kaiming-uniform (fan in), transposed ones PyTorch's default, biases 0.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxcxr.models import layers
from jaxcxr.models.convolution import convolve_transposed
from jaxcxr.models.initialise import kaiming_uniform, torch_uniform
from jaxcxr.ops.convolution import platform_lowering

kaiming_uniform_fan_in = kaiming_uniform("fan_in")
Conv = functools.partial(layers.Conv, use_bias=True, kernel_init=kaiming_uniform_fan_in)


class ConvUnit(nn.Module):
    """BN -> ReLU -> conv -> dropout of whole channels (torch's Dropout2d)."""

    features: int
    kernel_size: int
    dropout: float
    norm: Any
    conv: Any

    @nn.compact
    def __call__(
        self, x: jax.Array, moments: layers.Moments | None = None, *, train: bool
    ) -> jax.Array:
        """`x` [B, H, W, C] and its moments, if known -> [B, H', W', features]."""
        x = nn.relu(self.norm(name="norm")(x, moments))
        x = self.conv(self.features, self.kernel_size, padding=self.kernel_size // 2, name="conv")(
            x
        )
        return nn.Dropout(self.dropout, broadcast_dims=(1, 2), deterministic=not train)(x)


class DenseBlock(nn.Module):
    """`num_layers` units of `growth` channels, each on everything before it.

    Returns all features, input included, or with `new_only` what the units made.
    """

    num_layers: int
    growth: int
    dropout: float
    norm: Any
    conv: Any
    new_only: bool

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """[B, H, W, C] -> [B, H, W, C']; `new_only`: without those of `x`."""
        inputs = x.shape[-1]
        moments = layers.moments(x) if train else None
        for i in range(1, self.num_layers + 1):
            unit = ConvUnit(self.growth, 3, self.dropout, self.norm, self.conv, name=f"layer{i}")
            x, moments = layers.append(x, moments, unit(x, moments, train=train))
        return x[..., inputs:] if self.new_only else x


class TransposedConv(nn.Module):
    """Transposed 3x3 convolution, stride 2, as many channels out as in.

    [B, H, W, C] -> [B, 2 H + 1, 2 W + 1, C].

    Parameters as of `flax.linen.ConvTranspose(transpose_kernel=True)`: torch's orientation, kernel
    [3, 3, cout, cin].
    """

    dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, H, W, C] -> [B, 2 H + 1, 2 W + 1, C]."""
        features = x.shape[-1]
        # torch draws from U(-b, b), b = 1/sqrt(9 features), for a transposed kernel.
        kernel = self.param("kernel", torch_uniform(9 * features), (3, 3, features, features))
        bias = self.param("bias", nn.initializers.zeros, (features,))
        x = convolve_transposed(
            x.astype(self.dtype), kernel.astype(self.dtype), (2, 2), platform_lowering()
        )
        return layers.add_bias(x, bias)


class TransitionUp(nn.Module):
    """Transposed 3x3 convolution, stride 2, no padding; cropped to `skip`, then joined with it."""

    dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array, skip: jax.Array) -> jax.Array:
        """`x` [B, h, w, C], `skip` [B, H, W, K] -> [B, H, W, C + K]."""
        x = TransposedConv(self.dtype, name="conv")(x)
        height, width = skip.shape[1:3]
        top, left = (x.shape[1] - height) // 2, (x.shape[2] - width) // 2
        x = x[:, top : top + height, left : left + width]
        return jnp.concatenate([x, skip], axis=-1)


class FCDenseNet(nn.Module):
    """FC-DenseNet for segmentation; at `width=depth=1` the published FC-DenseNet103.

    Call with `x` [B, H, W, in_channels] float, H and W at least 32 (any size: the way up crops),
    and `train` (then batch statistics, and the "dropout" rng).

    Returns:
        logits [B, H, W, num_classes] float32, and {"stage1" ... "stage5": the skip connections,
        "bottleneck", "features": [B, H, W, c], the map under the last 1x1 convolution}.

    Attributes:
        width, depth: factors on the channels and on the layers of each block.
        dropout: rate of whole-channel dropout; None is the published .2.
        remat: recompute the dense blocks in the backward pass (less memory, more time).
        axis_name: device axis over which batch statistics are averaged.
        norm_tuning: of its batch norms.
        dtype: of the computation; parameters, batch statistics and logits stay float32.
    """

    num_classes: int
    stem: int = 48
    growth: int = 16
    down: Sequence[int] = (4, 5, 7, 10, 12)
    bottleneck: int = 15
    in_channels: int = 1
    axis_name: str | None = None
    norm_tuning: layers.NormTuning = layers.AS_PUBLISHED
    width: float = 1.0
    depth: float = 1.0
    dtype: Any = jnp.float32
    dropout: float | None = None
    remat: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> tuple[jax.Array, dict[str, jax.Array]]:
        """`x` [B, H, W, in_channels] -> logits [B, H, W, num_classes] and named maps."""
        layers.check_input(x, in_channels=self.in_channels, min_size=32, model="FC-DenseNet")
        dropout = 0.2 if self.dropout is None else self.dropout
        norm = layers.batch_norm(
            train=train, axis_name=self.axis_name, dtype=self.dtype, tuning=self.norm_tuning
        )
        conv = functools.partial(Conv, dtype=self.dtype)
        growth = layers.scaled(self.growth, self.width)
        down = [layers.scaled(n, self.depth) for n in self.down]
        block_class = nn.remat(DenseBlock, static_argnums=(2,)) if self.remat else DenseBlock

        def block(num_layers: int, name: str, new_only: bool) -> Any:
            return block_class(num_layers, growth, dropout, norm, conv, new_only, name=name)

        out = {}
        x = conv(layers.scaled(self.stem, self.width), 3, padding=1, name="stem")(x)
        for i, num_layers in enumerate(down, start=1):
            out[f"stage{i}"] = x = block(num_layers, f"down{i}", new_only=False)(x, train)
            transition = ConvUnit(x.shape[-1], 1, dropout, norm, conv, name=f"transition_down{i}")
            x = layers.max_pool(transition(x, train=train), 2, stride=2)
        x = block(layers.scaled(self.bottleneck, self.depth), "bottleneck", new_only=True)(x, train)
        out["bottleneck"] = x
        for i in range(len(down), 0, -1):
            x = TransitionUp(self.dtype, name=f"transition_up{i}")(x, out[f"stage{i}"])
            # Only new features travel up, except out of the last block (256 channels).
            x = block(down[i - 1], f"up{i}", new_only=i > 1)(x, train)
        out["features"] = x
        x = layers.at_least_float32(x)
        return conv(self.num_classes, 1, dtype=x.dtype, name="head")(x), out
