"""VGG (Simonyan and Zisserman, 2015), as in torchvision's `models/vgg.py`.

Initialisation: convolutions Kaiming-normal (fan out), linear layers N(0, .01), biases 0. The
parameter tree has torchvision's names and numbers: features/0/kernel, classifier/6/kernel.
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
from jaxcxr.models.initialise import normal


class Features(nn.Module):
    """3x3 convolutions (with or without norm) and a 2x2 max pool after each stage.

    Modules are numbered as in torch's Sequential, where ReLU and pool take a number too.
    """

    channels: Sequence[int]
    convolutions: Sequence[int]
    norm: Any
    conv: Any

    @nn.compact
    def __call__(self, x: jax.Array) -> dict[str, jax.Array]:
        """[B, H, W, channels] -> {"stage1", ..., "features"}, each [B, h, w, c]."""
        maps, number = {}, 0
        for stage, (channels, count) in enumerate(
            zip(self.channels, self.convolutions, strict=True), start=1
        ):
            for _ in range(count):
                x = self.conv(channels, 3, padding=1, name=str(number))(x)
                if self.norm is not None:
                    x = self.norm(name=str(number + 1))(x)
                x = nn.relu(x)
                number += 2 if self.norm is None else 3
            maps[f"stage{stage}"] = x
            x = layers.max_pool(x, 2, stride=2)
            number += 1
        maps["features"] = x
        return maps


class Classifier(nn.Module):
    """Linear-ReLU-dropout twice, then the head, in float32."""

    hidden: int
    num_classes: int
    dropout: float

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """[B, C] -> logits [B, num_classes]."""
        small = normal(0.01)
        for name in ("0", "3"):
            x = nn.relu(nn.Dense(self.hidden, kernel_init=small, name=name)(x))
            x = nn.Dropout(self.dropout, deterministic=not train)(x)
        return nn.Dense(self.num_classes, kernel_init=small, name="6")(x)


class VGG(nn.Module):
    """A VGG classifier; at `width=depth=1` the published network.

    Call with `x` [B, H, W, in_channels] float, H and W at least 32, and `train` (then the
    "dropout" rng, and batch statistics in the `batch_norm` variants). Maps of any size are
    averaged to 7x7 bins as by torch's AdaptiveAvgPool2d, so 224 px is not required.

    With `head_hidden` the features get another head (`qatar_vgg16`, after Agarwal and Srivastava,
    3.3.3): average pool, flatten, dense 128 and ReLU, dropout, logits. They do not say over what
    they pool, nor the dropout rate. Here it is the whole map, and .5. The 4x4 window that tutorials
    put here leaves one place of the 7x7 of 224 px as well, so the parameters are the same, but it
    does not see 33 of the 49; `head_pool=4` gives it.

    Returns:
        logits [B, num_classes] float32, and {"stage1" ... "stage5": maps before each max pool,
        "features": [B, h, w, c], the last pool's output, "pooled": [B, n], what the classifier
        reads}.

    Attributes:
        convolutions: number of convolutions in each of the five stages.
        batch_norm: whether a BatchNorm follows each convolution (`vgg19_bn`).
        width, depth: factors on the channels (the two hidden layers too) and on `convolutions`.
        dropout: rate in the classifier; None is the published .5, or `head_dropout`.
        head_hidden, head_dropout: as in `DenseNet`; 0 hidden units: VGG's own classifier.
        head_pool: window and stride of the average before `head_hidden` as by Keras's
            AveragePooling2D (what is left at the border falls away); 0, and on a smaller map, the
            whole map. What is left is flattened as [H, W, C].
        axis_name: device axis over which batch statistics are averaged.
        norm_tuning: of its batch norms.
        dtype: of the convolutions; parameters, batch statistics and the classifier stay float32.
    """

    num_classes: int
    convolutions: Sequence[int]
    batch_norm: bool
    in_channels: int = 3
    axis_name: str | None = None
    norm_tuning: layers.NormTuning = layers.AS_PUBLISHED
    width: float = 1.0
    depth: float = 1.0
    dtype: Any = jnp.float32
    dropout: float | None = None
    head_hidden: int = 0
    head_dropout: float = 0.0
    head_pool: int = 0

    @nn.compact
    def __call__(
        self, x: jax.Array | None, train: bool, pooled: jax.Array | None = None
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """`x` [B, H, W, in_channels] -> logits [B, num_classes] and named maps; see the class.

        `pooled`: out["pooled"] of an earlier call, which takes the place of `x`.
        """
        out = {} if x is None else self._maps(x, train)
        if pooled is None:
            pooled = self._pooled(layers.at_least_float32(out["features"]))
        if self.head_hidden:
            logits = classifier(
                pooled,
                self.num_classes,
                hidden=self.head_hidden,
                dropout=self.head_dropout if self.dropout is None else self.dropout,
                train=train,
                name="classifier",
            )
        else:
            logits = Classifier(
                hidden=layers.scaled(4096, self.width),
                num_classes=self.num_classes,
                dropout=0.5 if self.dropout is None else self.dropout,
                name="classifier",
            )(pooled, train=train)
        return logits, {**out, "pooled": pooled}

    def _maps(self, x: jax.Array, train: bool) -> dict[str, jax.Array]:
        layers.check_input(x, in_channels=self.in_channels, min_size=32, model="VGG")
        norm = layers.batch_norm(
            train=train, axis_name=self.axis_name, dtype=self.dtype, tuning=self.norm_tuning
        )
        return Features(
            channels=[layers.scaled(c, self.width) for c in (64, 128, 256, 512, 512)],
            convolutions=[layers.scaled(n, self.depth) for n in self.convolutions],
            norm=norm if self.batch_norm else None,
            conv=functools.partial(layers.Conv, use_bias=True, dtype=self.dtype),
            name="features",
        )(x)

    def _pooled(self, x: jax.Array) -> jax.Array:
        window = self.head_pool
        if not self.head_hidden:
            # Flattened as [C, H, W]: torch's order, so that its weights need no reshuffling.
            x = layers.adaptive_avg_pool(x, 7).transpose(0, 3, 1, 2)
            return x.reshape(x.shape[0], -1)
        if 0 < window <= min(x.shape[1:3]):
            return layers.avg_pool(x, window, stride=window).reshape(x.shape[0], -1)
        return x.mean((1, 2))
