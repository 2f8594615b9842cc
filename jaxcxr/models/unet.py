"""The U-Net (Ronneberger et al., 2015) in two published sizes, for lung masks.

`unet_cxnet` is COVID-CXNet's lung module (armiro/COVID-CXNet), `unet` the one of zhixuhao/unet;
both are Keras networks with padded convolutions and no norms. Initialisation: see `UNet.relu_init`,
biases 0.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxcxr.errors import InputError
from jaxcxr.models import layers
from jaxcxr.models.initialise import glorot_uniform, kaiming_normal

RELU_INITS = {"glorot": glorot_uniform(), "he": kaiming_normal("fan_in")}


class Block(nn.Module):
    """3x3 convolutions, each followed by a ReLU."""

    features: int
    num_convs: int
    conv: Any

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, H, W, C] -> [B, H, W, features]."""
        for i in range(1, self.num_convs + 1):
            x = nn.relu(self.conv(self.features, 3, padding=1, name=f"conv{i}")(x))
        return x


class TransposedUp(nn.Module):
    """Transposed 2x2 convolution, stride 2: [B, H, W, C] -> [B, 2 H, 2 W, features].

    The kernel [2, 2, features, C] is in torch's and Keras's orientation. As the 2x2 windows do not
    overlap it is one matrix product, on any platform.
    """

    features: int
    dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, H, W, C] -> [B, 2 H, 2 W, features]."""
        b, h, w, c = x.shape
        kernel = self.param("kernel", glorot_uniform(), (2, 2, self.features, c)).astype(self.dtype)
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        x = jnp.einsum("bhwc,ijfc->bhiwjf", x.astype(self.dtype), kernel)
        return layers.add_bias(x.reshape(b, 2 * h, 2 * w, self.features), bias)


class RepeatedUp(nn.Module):
    """Each pixel becomes 2x2, then a 2x2 convolution and a ReLU.

    [B, H, W, C] -> [B, 2 H, 2 W, features].
    """

    features: int
    conv: Any

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, H, W, C] -> [B, 2 H, 2 W, features]."""
        b, h, w, c = x.shape
        x = jnp.broadcast_to(x[:, :, None, :, None], (b, h, 2, w, 2, c)).reshape(b, 2 * h, 2 * w, c)
        x = jnp.pad(x, ((0, 0), (0, 1), (0, 1), (0, 0)))  # Keras's "same" for an even kernel
        return nn.relu(self.conv(self.features, 2, name="conv")(x))


class UNet(nn.Module):
    """A U-Net for segmentation; at `width=depth=1` the network of its row in MODELS.

    Call with `x` [B, H, W, in_channels] float, H and W at least 16 (2 to the number of poolings),
    and `train` (then the "dropout" rng if there is any). Where 16 does not divide H or W the last
    row and column are repeated up to the next multiple, and the logits cropped: the intermediates
    keep the padded size.

    Returns:
        logits [B, H, W, num_classes] float32 (the published networks have one, before its sigmoid),
        and {"stage1" ... "stage4": the skip connections, "bottleneck", "features": [B, h, w, c],
        the map under the last 1x1 convolution}.

    Attributes:
        channels: of each level; the last is the bottleneck.
        up: "transpose": transposed 2x2 convolution; "repeat": pixels are doubled, then a 2x2
            convolution and a ReLU. What comes up stands before the skip connection's channels (in
            zhixuhao/unet after them).
        relu_init: of convolutions before a ReLU: "glorot" uniform or "he" (Keras's he_normal, but
            not truncated); all further ones are Glorot uniform.
        deep_dropout: published rate after the last skip connection's block and after the
            bottleneck.
        narrow: channels of one more 3x3 convolution and ReLU before the last; 0: none.
            zhixuhao/unet has 2. If both their ReLUs die, every pixel gets the same logit and
            nothing is learned any more (zhixuhao/unet#148).
        width, depth: factors on `channels`, and on the two convolutions of each block.
        dropout: takes the place of `deep_dropout`; None is the published rate.
        dtype: of the computation; parameters and logits stay float32.
    """

    num_classes: int
    channels: Sequence[int]
    up: Literal["transpose", "repeat"] = "transpose"
    relu_init: Literal["glorot", "he"] = "glorot"
    deep_dropout: float = 0.0
    narrow: int = 0
    in_channels: int = 1
    width: float = 1.0
    depth: float = 1.0
    dtype: Any = jnp.float32
    dropout: float | None = None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> tuple[jax.Array, dict[str, jax.Array]]:
        """`x` [B, H, W, in_channels] -> logits [B, H, W, num_classes] and named maps."""
        self._check_options()
        poolings = len(self.channels) - 1
        layers.check_input(x, in_channels=self.in_channels, min_size=2**poolings, model="U-Net")
        conv = functools.partial(
            layers.Conv, use_bias=True, dtype=self.dtype, kernel_init=RELU_INITS[self.relu_init]
        )
        block = functools.partial(Block, num_convs=layers.scaled(2, self.depth), conv=conv)
        channels = [layers.scaled(c, self.width) for c in self.channels]
        rate = self.deep_dropout if self.dropout is None else self.dropout

        out = {}
        height, width = x.shape[1:3]
        x = layers.pad_to_multiple(x, 2**poolings)
        for i in range(1, poolings + 1):
            x = block(channels[i - 1], name=f"down{i}")(x)
            if i == poolings:
                x = nn.Dropout(rate, deterministic=not train)(x)
            out[f"stage{i}"] = x
            x = layers.max_pool(x, 2, stride=2)
        x = nn.Dropout(rate, deterministic=not train)(block(channels[-1], name="bottleneck")(x))
        out["bottleneck"] = x
        for i in range(poolings, 0, -1):
            x = self._upsample(channels[i - 1], conv, name=f"upsample{i}")(x)
            x = jnp.concatenate([x, out[f"stage{i}"]], axis=-1)
            x = block(channels[i - 1], name=f"up{i}")(x)
        if self.narrow:
            x = nn.relu(conv(self.narrow, 3, padding=1, name="narrow")(x))
        out["features"] = x
        x = layers.at_least_float32(x)
        head = conv(self.num_classes, 1, kernel_init=glorot_uniform(), dtype=x.dtype, name="head")
        return head(x)[:, :height, :width], out

    def _upsample(self, features: int, conv: Any, *, name: str) -> nn.Module:
        if self.up == "transpose":
            return TransposedUp(features, self.dtype, name=name)
        return RepeatedUp(features, conv, name=name)

    def _check_options(self) -> None:
        for name, allowed in (("up", ("transpose", "repeat")), ("relu_init", tuple(RELU_INITS))):
            if getattr(self, name) not in allowed:
                raise InputError(
                    f"U-Net: {name}={getattr(self, name)!r}; known: {', '.join(allowed)}."
                )
