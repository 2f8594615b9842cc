"""A classifier's network with the way its input is made from pixels.

And two classes from a single logit.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from jaxcxr import models
from jaxcxr import weights as pretrained
from jaxcxr.data import output_classes
from jaxcxr.errors import InputError
from jaxcxr.models.initialise import initialise
from jaxcxr.models.layers import NormTuning
from jaxcxr.storage.names import is_weights_file
from jaxcxr.tasks import input_sampler

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


class Network:
    """The network of a classifier's config.

    Attributes:
        module: the Linen module; with `model.outputs` = sigmoid it has one logit for two classes.
        classes: C.
        shape: (height, width, channels) of its input.
    """

    def __init__(self, config: ConfigDict, *, axis_name: str | None):
        m = config.model
        names = output_classes(config.data)
        self.classes = len(names)
        if m.outputs == "sigmoid" and self.classes != 2:
            raise InputError(
                f"model.outputs='sigmoid' tells two classes apart, and there are {self.classes}: "
                f"{', '.join(names)}"
            )
        channels = len(config.data.enhance) or 1
        if channels not in (1, m.in_channels):
            raise InputError(
                f"data.enhance makes {channels} channels, and model.in_channels is "
                f"{m.in_channels}; give one enhancement for each channel, or one for all"
            )
        self.module: nn.Module = models.build(
            m.name,
            num_classes=1 if m.outputs == "sigmoid" else self.classes,
            in_channels=m.in_channels,
            axis_name=axis_name,
            width=m.width,
            depth=m.depth,
            dtype=dtype(m),
            norm_tuning=norm_tuning(m),
        )
        size = (m.input_size, m.input_size) if m.input_size else input_sampler.input_size(config)
        self.shape = (*size, m.in_channels)
        self._mean, self._std = normalisation(m)
        self._chunk = config.patches.chunk

    def init(self, seed: int | None) -> Any:
        """Variables as host arrays; None: their shapes."""
        return initialise(self.module, seed, jax.ShapeDtypeStruct((1, *self.shape), jnp.float32))

    def to_input(self, pixels: jax.Array) -> jax.Array:
        """Normalised network input [N, S, S, channels] of pixels in [0, 1].

        The pixels are [N, P, P] or [N, P, P, c].
        """
        size = self.shape[:2]
        if pixels.ndim == 3:
            pixels = pixels[..., None]
        if pixels.shape[1:3] != size:
            pixels = jax.image.resize(pixels, (len(pixels), *size, pixels.shape[-1]), "bilinear")
        return self.normalise(pixels)

    def normalise(self, pixels: jax.Array) -> jax.Array:
        """Normalised pixels [N, H, W, channels], as the network wants them.

        From pixels [N, H, W, 1 or channels] in [0, 1].
        """
        if pixels.shape[-1] == 1:
            pixels = jnp.repeat(pixels, self.shape[-1], axis=-1)
        return (pixels - self._mean) / self._std

    def as_classes(self, logits: jax.Array) -> jax.Array:
        """Logits [N, C] of the classes.

        A single logit z stands for (0, z), whose softmax is (1 - sigmoid(z), sigmoid(z)).
        """
        return jnp.pad(logits, ((0, 0), (1, 0))) if logits.shape[-1] == 1 else logits

    def logits(self, variables: Any, pixels: jax.Array) -> jax.Array:
        """Logits [N, C] of pixels [N, P, P] or [N, P, P, c], in evaluation mode."""
        logits, _ = self.module.apply(variables, self.to_input(pixels), train=False)  # pyright: ignore
        return self.as_classes(logits)

    def pooled(self, variables: Any, pixels: jax.Array) -> jax.Array:
        """What the network's last layers read [N, D] of pixels as in `logits`, in evaluation mode.

        Of networks that `takes_pooled`.
        """
        _, out = self.module.apply(variables, self.to_input(pixels), train=False)  # pyright: ignore
        return out["pooled"]  # pyright: ignore

    @property
    def takes_pooled(self) -> bool:
        """Whether the network can be called with what its last layers read, instead of pixels."""
        return "pooled" in inspect.signature(type(self.module).__call__).parameters

    def in_chunks(self, function: Callable[..., Any], *arrays: jax.Array) -> Any:
        """function(*arrays [N, ...]) -> pytree of [N, ...], a chunk at a time.

        K = 100 patches must fit any memory.
        """
        n = arrays[0].shape[0]
        if n <= self._chunk:
            return function(*arrays)
        # Even ones: 100 patches at most 64 at a time are 2 x 50, not 64 + 36.
        chunk = -(-n // -(-n // self._chunk))
        padded = [jnp.pad(a, ((0, -n % chunk), *((0, 0),) * (a.ndim - 1))) for a in arrays]
        result = jax.lax.map(
            lambda a: function(*a), [a.reshape(-1, chunk, *a.shape[1:]) for a in padded]
        )
        return jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:])[:n], result)


def norm_tuning(model: ConfigDict) -> NormTuning:
    """How the batch norms of a network are trained, of a config's `model`."""
    return NormTuning(model.norm_momentum or None, frozen=model.norm_statistics == "running")


def dtype(model: ConfigDict) -> Any:
    """Type of the computation, `model.dtype`.

    Parameters, batch statistics, logits and losses are always float32.
    """
    return DTYPES[model.dtype]


def normalisation(model: ConfigDict, *, segmenter: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """(mean, std) of pixels in [0, 1], each [1, 1, 1, 1 or channels] float32.

    See `model.mean` of the config schema.

    Args:
        model: section of the config.
        segmenter: of one; its weights in a file are taken for this project's own, which has 0.5.

    Raises:
        InputError: the weights are a file, whose normalisation nothing tells; or not one number per
            channel.
    """
    numbers: dict[str, tuple[float, ...]] = {"mean": (0.5,), "std": (0.5,)}  # FLANNEL's
    if model.pretrained and not (model.mean and model.std):
        if not is_weights_file(model.pretrained):
            entry = pretrained.catalog.find(model.pretrained)
            numbers = {"mean": entry.mean, "std": entry.std}
        elif not segmenter:
            raise _unknown_normalisation(model)
    for name, configured in (("mean", model.mean), ("std", model.std)):
        values = tuple(configured) or numbers[name]
        if len(values) not in (1, model.in_channels):
            if configured:
                raise InputError(
                    f"model.{name} has {len(values)} numbers, and model.in_channels is "
                    f"{model.in_channels}"
                )
            values = (sum(values) / len(values),)  # a network of one channel gets the kernels' sum
        numbers[name] = values
    mean, std = (
        np.asarray(numbers[name], np.float32).reshape(1, 1, 1, -1) for name in ("mean", "std")
    )
    return mean, std


def _unknown_normalisation(model: ConfigDict) -> InputError:
    """The error of a file of weights without `model.mean` and `model.std`.

    Raises:
        InputError: there is more to say of the file itself.
    """
    with pretrained.from_config(model.pretrained):
        source = pretrained.find(model.pretrained)
        pretrained.check(source)
    name, *known = (
        (source.entry.name, source.entry.mean, source.entry.std)
        if source.entry
        else ("ImageNet", *pretrained.catalog.IMAGENET)
    )
    if model.in_channels == 1:
        known = [(round(sum(values) / len(values), 6),) for values in known]
    mean, std = known
    return InputError(
        f"model.pretrained={model.pretrained}: a file does not say how its input was normalised, "
        "and may be gone when the run is evaluated: set model.mean and model.std, of pixels in [0, "
        f"1]. Those of {name} are --config.model.mean='{mean}' --config.model.std='{std}'"
    )
