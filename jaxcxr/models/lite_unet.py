"""A small U-Net for lungs whose encoder is the beginning of EfficientNet-Lite0.

No published network: what the ready-made lung masks are computed with. The encoder takes ImageNet
weights of EfficientNet-Lite0 (its stages 1 to 5, stride 16, under the same names). The decoders are
this project's own, one an output: where structures are conventions of what a lung is, each drawn
in other hospitals' images, one decoder for all learns which hospital an image is of.
Initialisation: as `EfficientNet`, the head's bias 0.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxcxr.models import layers
from jaxcxr.models.efficientnet import LITE_NORM, Features, Unit

_STRIDE = 16  # of the deepest map


class LiteUNet(nn.Module):
    """A U-Net of inverted bottlenecks for segmentation, one logit a pixel and output.

    Call with `x` [B, H, W, in_channels] float, H and W at least 16, and `train` (then batch
    statistics). Each level of an output's decoder doubles the map's side, lays the encoder's map
    of that side beside it and convolves (3x3, BatchNorm, ReLU6). The deepest map is given its own
    average, so that each place knows of the whole image. Where 16 does not divide H or W, the last
    row and column are repeated up to the next multiple, and the logits cropped.

    Returns:
        logits [B, H, W, num_classes] float32, enlarged bilinearly from half the side, and {"stage1"
        ... "stage5": the encoder's maps, "features": [B, h, w, num_classes * c], the decoders' maps
        side by side under the last 1x1 convolution}.

    Attributes:
        stem, channels, blocks: of the encoder's first convolution and of its five stages.
        decoder: a decoder's channels at the strides 16, 8, 4 and 2.
        width, depth: factors on all channels, and on `blocks`.
        axis_name: device axis over which batch statistics are averaged.
        norm_tuning: of its batch norms.
        dtype: of the computation; parameters, batch statistics and logits stay float32.
    """

    num_classes: int
    stem: int = 32
    channels: Sequence[int] = (16, 24, 40, 80, 112)
    blocks: Sequence[int] = (1, 2, 2, 3, 3)
    decoder: Sequence[int] = (64, 48, 32, 16)
    in_channels: int = 3
    axis_name: str | None = None
    norm_tuning: layers.NormTuning = layers.AS_PUBLISHED
    width: float = 1.0
    depth: float = 1.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> tuple[jax.Array, dict[str, jax.Array]]:
        """`x` [B, H, W, in_channels] -> logits [B, H, W, num_classes] and named maps."""
        layers.check_input(x, in_channels=self.in_channels, min_size=_STRIDE, model="Lite U-Net")
        norm = layers.batch_norm(
            train=train,
            axis_name=self.axis_name,
            dtype=self.dtype,
            tuning=self.norm_tuning,
            **LITE_NORM,
        )
        conv = functools.partial(layers.Conv, dtype=self.dtype)
        unit = functools.partial(Unit, norm=norm, conv=conv, lite=True)
        height, width = x.shape[1:3]
        x = layers.pad_to_multiple(x, _STRIDE)
        padded = x.shape
        out = Features(
            stem=layers.scaled(self.stem, self.width),
            channels=[layers.scaled(c, self.width) for c in self.channels],
            last=0,
            blocks=[layers.scaled(n, self.depth) for n in self.blocks],
            stochastic_depth=0.0,
            norm=norm,
            conv=conv,
            lite=True,
            name="features",
        )(x, train=train)
        decoder = functools.partial(
            Decoder, channels=[layers.scaled(c, self.width) for c in self.decoder], unit=unit
        )
        maps = [
            decoder(average=functools.partial(conv, use_bias=True), name=f"decoder{number}")(out)
            for number in range(1, self.num_classes + 1)
        ]
        x = layers.at_least_float32(jnp.concatenate(maps, axis=-1))
        # In groups, so that each logit is of its own decoder.
        groups = self.num_classes
        logits = conv(groups, 1, groups=groups, use_bias=True, dtype=x.dtype, name="head")(x)
        shape = (*padded[:3], self.num_classes)
        logits = jax.image.resize(logits, shape, "bilinear")[:, :height, :width]
        return logits, {**out, "features": x}


class Decoder(nn.Module):
    """The decoder of one output, from the encoder's maps to half the side of the image.

    Attributes:
        channels: at the strides 16, 8, 4 and 2.
        unit: of `efficientnet.Unit`, but for channels and window.
        average: the 1x1 convolution of the average, but for its channels.
    """

    channels: Sequence[int]
    unit: Any
    average: Any

    @nn.compact
    def __call__(self, maps: dict[str, jax.Array]) -> jax.Array:
        """The encoder's maps by stage -> [B, H / 2, W / 2, channels[-1]]."""
        deepest, *others = self.channels
        x = self.unit(deepest, 1, name="deepest")(maps["stage5"])
        everywhere = layers.at_least_float32(x).mean((1, 2), keepdims=True).astype(x.dtype)
        x = x + self.average(deepest, 1, name="average")(everywhere)
        for features, skip in zip(others, ("stage3", "stage2", "stage1"), strict=True):
            x = jnp.concatenate([_doubled(x), maps[skip]], axis=-1)
            x = self.unit(features, 3, name=f"up_{skip}")(x)
        return x


def _doubled(x: jax.Array) -> jax.Array:
    """Each pixel becomes 2x2: [B, H, W, C] -> [B, 2 H, 2 W, C]."""
    b, h, w, c = x.shape
    return jnp.broadcast_to(x[:, :, None, :, None], (b, h, 2, w, 2, c)).reshape(b, 2 * h, 2 * w, c)
