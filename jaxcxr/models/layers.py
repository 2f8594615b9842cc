"""Layers shared by the networks, with the semantics of their PyTorch originals.

Parameter names and shapes are those of `flax.linen` (kernel [kh, kw, cin / groups, cout], bias
[cout]); how a layer is computed is chosen at trace time, by the platform.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxcxr.cpu import reductions
from jaxcxr.errors import InputError
from jaxcxr.models.convolution import convolve
from jaxcxr.models.initialise import Initializer, kaiming_normal, torch_uniform
from jaxcxr.ops.convolution import Lowering, at_least_float32, platform_lowering

kaiming_normal_fan_in = kaiming_normal("fan_in")
kaiming_normal_fan_out = kaiming_normal("fan_out")


def scaled(count: int, factor: float) -> int:
    """`count` channels or layers scaled by `factor`, rounded, at least one."""
    return max(1, round(count * factor))


def add_bias(x: jax.Array, bias: jax.Array) -> jax.Array:
    """`x` [B, H, W, C] + `bias` [C], of x's type.

    Added in float32, for the bias's gradient is a sum over all pixels.
    """
    return (at_least_float32(x) + bias.reshape(1, 1, 1, -1)).astype(x.dtype)


def check_input(x: jax.Array, *, in_channels: int, min_size: int, model: str) -> None:
    """Raise unless `x` is a [B, H, W, in_channels] float batch, H and W at least `min_size`."""
    chex.assert_rank(x, 4)
    chex.assert_type(x, float)
    if x.shape[-1] != in_channels:
        raise InputError(
            f"{model}: in_channels={in_channels}, but the input has {x.shape[-1]} channel(s), "
            f"shape {tuple(x.shape)}. Set in_channels, or repeat the grey channel."
        )
    if min(x.shape[1:3]) < min_size:
        raise InputError(
            f"{model}: images of at least {min_size} x {min_size} pixels are needed, "
            f"got {x.shape[1]} x {x.shape[2]}."
        )


def _pair(value: int | Sequence[int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])


class Conv(nn.Module):
    """`torch.nn.Conv2d` with the parameters of `flax.linen.Conv`.

    Attributes:
        features: output channels.
        kernel_size: an int or (rows, columns); so are `strides` and `padding` (zeros on each side).
            `padding="same"` is TensorFlow's: ceil(size / stride) pixels, of missing zeros one more
            below and on the right.
        groups: channel groups (`feature_group_count`).
        lowering: None chooses by platform at trace time, see `convolve`.
    """

    features: int
    kernel_size: int | Sequence[int]
    strides: int | Sequence[int] = 1
    padding: int | Sequence[int] | Literal["same"] = 0
    groups: int = 1
    use_bias: bool = False
    dtype: Any = jnp.float32
    kernel_init: Initializer = kaiming_normal_fan_out
    bias_init: Initializer = nn.initializers.zeros
    lowering: Lowering | None = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, H, W, C] -> [B, H', W', features]."""
        shape = (*_pair(self.kernel_size), x.shape[-1] // self.groups, self.features)
        kernel = self.param("kernel", self.kernel_init, shape)
        padding = (0, 0)
        if self.padding == "same":
            x = pad_same(x, _pair(self.kernel_size), _pair(self.strides))
        else:
            padding = _pair(self.padding)
        x = convolve(
            x.astype(self.dtype),
            kernel.astype(self.dtype),
            strides=_pair(self.strides),
            padding=padding,
            groups=self.groups,
            lowering=self.lowering or platform_lowering(),
        )
        if self.use_bias:
            x = add_bias(x, self.param("bias", self.bias_init, (self.features,)))
        return x


def pad_same(x: jax.Array, window: tuple[int, int], strides: tuple[int, int]) -> jax.Array:
    """`x` [B, H, W, C] with the zeros of TensorFlow's "same" padding around it."""
    sides = []
    for size, taps, stride in zip(x.shape[1:3], window, strides, strict=True):
        missing = max(0, (-(-size // stride) - 1) * stride + taps - size)
        sides.append((missing // 2, missing - missing // 2))
    return jnp.pad(x, [(0, 0), *sides, (0, 0)]) if any(map(any, sides)) else x


def pad_to_multiple(x: jax.Array, multiple: int) -> jax.Array:
    """Repeats the last row and column until `multiple` divides H and W.

    `x` is [B, H, W, C], and itself where nothing is missing.
    """
    rows, columns = (-length % multiple for length in x.shape[1:3])
    if not rows and not columns:
        return x
    return jnp.pad(x, ((0, 0), (0, rows), (0, columns), (0, 0)), mode="edge")


def relu_of_sum(branch: jax.Array, shortcut: jax.Array) -> jax.Array:
    """`nn.relu` of the sum, the end of a residual block; NaN stays NaN.

    XLA:CPU repeats operations of one large operand for each of their users, so that with `maximum`
    every block would add up all blocks of its stage before it: a third of the time of ResNet-152's
    prediction. `select` has two.
    """
    total = branch + shortcut
    return jnp.where(total <= 0, 0, total)


# Of each channel, [C] float32: mean of the values, mean of their squares.
Moments = tuple[jax.Array, jax.Array]


def moments(x: jax.Array) -> Moments:
    """The moments of the channels of `x` [..., C]."""
    x = at_least_float32(x)
    count = x.size // x.shape[-1]
    return _channel_sums(x) / count, _channel_sums(jnp.square(x)) / count


def append(
    x: jax.Array, x_moments: Moments | None, new: jax.Array
) -> tuple[jax.Array, Moments | None]:
    """The channels of `x` and `new` [..., C] side by side.

    And their moments, if those of `x` are `known`.

    A dense block normalises the same channels again in every layer. Their moments stay what they
    are: a training step that keeps them reads each channel once for them and not once a layer.
    """
    if x_moments is not None:
        x_moments = tuple(
            jnp.concatenate(pair) for pair in zip(x_moments, moments(new), strict=True)
        )  # pyright: ignore
    return jnp.concatenate([x, new], axis=-1), x_moments


def _channel_sums(x: jax.Array) -> jax.Array:
    """[..., C] -> [C]."""
    if platform_lowering() == "native":
        return x.sum(tuple(range(x.ndim - 1)))
    return reductions.channel_sums(x)


@jax.custom_vjp
def _normalise(x: jax.Array, mean: jax.Array, factor: jax.Array, bias: jax.Array) -> jax.Array:
    """(`x` [..., C] - `mean`) `factor` + `bias` [C].

    The gradients are autodiff's, of two sums instead of three.
    """
    mean, factor, bias = (v.reshape((1,) * (x.ndim - 1) + v.shape) for v in (mean, factor, bias))
    return (x - mean) * factor + bias


def _normalise_forward(
    x: jax.Array, mean: jax.Array, factor: jax.Array, bias: jax.Array
) -> tuple[jax.Array, Any]:
    return _normalise(x, mean, factor, bias), (x, mean, factor)


def _normalise_backward(residuals: Any, cotangent: jax.Array) -> tuple[jax.Array, ...]:
    x, mean, factor = residuals
    wide = (1,) * (x.ndim - 1) + mean.shape
    dbias = _channel_sums(cotangent)
    dfactor = _channel_sums(cotangent * (x - mean.reshape(wide)))
    return (cotangent * factor.reshape(wide)).astype(x.dtype), -factor * dbias, dfactor, dbias


_normalise.defvjp(_normalise_forward, _normalise_backward)


class BatchNorm(nn.Module):
    """`torch.nn.BatchNorm2d` with the names of `flax.linen.BatchNorm`.

    scale, bias; batch_stats mean, var.

    Flax's own keeps the biased batch variance, PyTorch the unbiased one (n / (n - 1) of it), so
    that fine-tuned networks would drift apart in evaluation. Call with `x` [..., C] and, where they
    are known, its `moments`.

    Attributes:
        use_running_average: evaluation; else batch statistics, and the running ones move towards
            them.
        axis_name: device axis over which batch statistics are averaged (as many pixels on each).
        momentum: fraction of the old running statistics that stays; .9 is PyTorch's momentum .1.
        dtype: of the output; statistics are float32.
    """

    use_running_average: bool
    axis_name: str | None = None
    momentum: float = 0.9
    epsilon: float = 1e-5
    dtype: Any = jnp.float32
    scale_init: Initializer = nn.initializers.ones

    @nn.compact
    def __call__(self, x: jax.Array, x_moments: Moments | None = None) -> jax.Array:
        """Normalised `x` [..., C]; `known`: its moments, where they were computed before."""
        shape = (x.shape[-1],)
        scale = self.param("scale", self.scale_init, shape)
        bias = self.param("bias", nn.initializers.zeros, shape)
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, shape)
        running_var = self.variable("batch_stats", "var", jnp.ones, shape)
        if self.use_running_average:
            mean, var = running_mean.value, running_var.value
        else:
            mean, var, count = self._batch_statistics(x, x_moments)
            if not self.is_initializing():
                keep = self.momentum
                unbiased = var * (count / max(count - 1, 1))
                running_mean.value = keep * running_mean.value + (1 - keep) * mean
                running_var.value = keep * running_var.value + (1 - keep) * unbiased
        return _normalise(x, mean, jax.lax.rsqrt(var + self.epsilon) * scale, bias).astype(
            self.dtype
        )

    def _batch_statistics(
        self, x: jax.Array, x_moments: Moments | None
    ) -> tuple[jax.Array, jax.Array, int]:
        """(mean, biased variance, number of values of a channel), over all devices."""
        mean, square = x_moments or moments(x)
        count = x.size // x.shape[-1]
        if self.axis_name is not None and not self.is_initializing():
            mean, square = jax.lax.pmean((mean, square), self.axis_name)
            count *= jax.lax.psum(1, self.axis_name)
        return mean, jnp.maximum(square - jnp.square(mean), 0.0), count


class NormTuning(NamedTuple):
    """How the batch norms of a network are trained.

    Attributes:
        momentum: fraction of the running statistics that a step keeps; None: the network's own.
            Networks made for a million steps keep so much that after a few hundred steps of
            fine-tuning their statistics are still those of weights long gone.
        frozen: training, too, normalises with the running statistics, which stay as they are.
    """

    momentum: float | None = None
    frozen: bool = False


AS_PUBLISHED = NormTuning()


def batch_norm(
    *,
    train: bool,
    axis_name: str | None,
    dtype: Any = jnp.float32,
    tuning: NormTuning = AS_PUBLISHED,
    **options: float,
) -> Callable[..., BatchNorm]:
    """A `BatchNorm` partial; `options`: the network's own epsilon and momentum.

    With `axis_name` its statistics are averaged over the devices while training.
    """
    if tuning.momentum is not None:
        options["momentum"] = tuning.momentum
    return functools.partial(
        BatchNorm,
        use_running_average=not train or tuning.frozen,
        axis_name=axis_name,
        dtype=dtype,
        **options,
    )


def linear(features: int, *, fan_in: int, **options: Any) -> nn.Dense:
    """`torch.nn.Linear(fan_in, features)` with its default initialisation; `options` win."""
    uniform = torch_uniform(fan_in)
    return nn.Dense(features, **{"kernel_init": uniform, "bias_init": uniform, **options})


def max_pool(x: jax.Array, window: int, *, stride: int, padding: int = 0) -> jax.Array:
    """`torch.nn.MaxPool2d(window, stride, padding)`: the border counts as minus infinity."""
    if platform_lowering() == "native":
        sides: Any = ((padding, padding), (padding, padding))  # flax takes pairs, declares str
        return nn.max_pool(x, (window, window), (stride, stride), sides)
    return reductions.max_pool(x, window, stride=stride, padding=padding)


def avg_pool(x: jax.Array, window: int, *, stride: int, padding: int = 0) -> jax.Array:
    """`torch.nn.AvgPool2d(window, stride, padding)`: padded zeros count in the mean."""
    sides: Any = ((padding, padding), (padding, padding))  # flax takes pairs, declares str
    return nn.avg_pool(x, (window, window), (stride, stride), sides)


def adaptive_avg_pool(x: jax.Array, size: int) -> jax.Array:
    """`torch.nn.AdaptiveAvgPool2d(size)` of `x` [B, H, W, C] -> [B, size, size, C].

    Bin i averages the rows floor(i H / size) ... ceil((i + 1) H / size) - 1, so bins overlap when
    `size` does not divide H, and a 1x1 map is repeated. A bin's mean is separable: one averaging
    matrix for each axis.
    """
    chex.assert_rank(x, 4)
    if x.shape[1] != size:
        x = jnp.einsum("oh,bhwc->bowc", _bin_means(x.shape[1], size, x.dtype), x)
    if x.shape[2] != size:
        x = jnp.einsum("ow,bhwc->bhoc", _bin_means(x.shape[2], size, x.dtype), x)
    return x


def _bin_means(length: int, bins: int, dtype: Any) -> np.ndarray:
    """[bins, length]: row i holds 1 / n over the n positions of bin i."""
    means = np.zeros((bins, length), dtype)
    for i in range(bins):
        start, stop = i * length // bins, -(-(i + 1) * length // bins)
        means[i, start:stop] = 1.0 / (stop - start)
    return means


def pad_to_at_least(x: jax.Array, size: int) -> jax.Array:
    """Zero-pad `x` [B, H, W, C] evenly so that H and W are at least `size`; else `x` itself."""
    missing = [max(0, size - length) for length in x.shape[1:3]]
    if not any(missing):
        return x
    return jnp.pad(x, [(0, 0), *((m // 2, m - m // 2) for m in missing), (0, 0)])
