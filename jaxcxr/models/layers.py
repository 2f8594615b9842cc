"""Layers shared by the networks, with the semantics of their PyTorch originals.

Parameter names and shapes are those of `flax.linen` (kernel [kh, kw, cin / groups, cout], bias
[cout]); only the lowering of a convolution is chosen here, at trace time, by the platform.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, Literal

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxcxr.models.initialise import Initializer, kaiming_normal, torch_uniform
from jaxcxr.types import InputError

Lowering = Literal["native", "matmul"]

kaiming_normal_fan_in = kaiming_normal("fan_in")
kaiming_normal_fan_out = kaiming_normal("fan_out")


def platform_lowering() -> Lowering:
    """The lowering for the default backend: "matmul" on CPU, "native" on GPU and TPU."""
    return "matmul" if jax.default_backend() == "cpu" else "native"


def scaled(count: int, factor: float) -> int:
    """`count` channels or layers scaled by `factor`, rounded, at least one."""
    return max(1, round(count * factor))


def at_least_float32(x: jax.Array) -> jax.Array:
    """Half precision becomes float32; statistics, dense layers and logits are computed in that."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def add_bias(x: jax.Array, bias: jax.Array) -> jax.Array:
    """`x` [B, H, W, C] + `bias` [C], of x's type; in float32, for the bias's gradient is a sum over all pixels."""
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


def convolve(
    x: jax.Array,
    kernel: jax.Array,
    *,
    strides: tuple[int, int],
    padding: tuple[int, int],
    groups: int = 1,
    lowering: Lowering,
) -> jax.Array:
    """Cross-correlate `x` [B, H, W, cin] with `kernel` [kh, kw, cin / groups, cout].

    Equals `torch.nn.functional.conv2d` (zero padding, NHWC and HWIO layout).

    `lowering="matmul"` is for XLA:CPU: a 1x1 convolution becomes one matrix product, a grouped one
    one product batched over the groups, a depthwise one a sum of shifted products. (XLA:CPU has no
    fast path for grouped convolutions, and takes seconds for their gradients.) One that makes maps of
    at most 2x2 pixels, where XLA:CPU falls off a cliff, becomes one product, too: 399 ms against 19 ms
    for the gradient of 512 channels, 4x4 to 2x2.
    Everything else, and everything under "native", is `lax.conv_general_dilated`.

    Returns:
      [B, H', W', cout].
    """
    if lowering == "matmul":
        if groups == 1 and kernel.shape[:2] == (1, 1) and padding == (0, 0):
            return jnp.dot(x[:, :: strides[0], :: strides[1]], kernel[0, 0])
        if 1 < groups == x.shape[-1] == kernel.shape[-1]:
            return _depthwise_convolve(x, kernel, strides=strides, padding=padding)
        height, width = _output_size(x.shape, kernel.shape, strides, padding)
        if groups > 1 or height * width <= 4:
            return _gathered_convolve(x, kernel, strides=strides, padding=padding, groups=groups)
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        window_strides=strides,
        padding=[(p, p) for p in padding],
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


def _output_size(
    x: Sequence[int], kernel: Sequence[int], strides: tuple[int, int], padding: tuple[int, int]
) -> tuple[int, int]:
    """(H', W') of a convolution, from the shapes of its operands."""
    rows, columns = ((x[i + 1] + 2 * padding[i] - kernel[i]) // strides[i] + 1 for i in (0, 1))
    return rows, columns


def _gathered_convolve(
    x: jax.Array,
    kernel: jax.Array,
    *,
    strides: tuple[int, int],
    padding: tuple[int, int],
    groups: int,
) -> jax.Array:
    """Gather the taps, then one product [G, pixels, taps cin/G] x [G, taps cin/G, cout/G].

    Measured on two cores for ResNeXt's layers, forward and backward: as fast as or faster than a
    product for each tap, and a tenth of the compile time of a loop over groups.
    """
    _, _, group_in, cout = kernel.shape
    batch, height, width, _ = x.shape
    out_height, out_width = _output_size(x.shape, kernel.shape, strides, padding)
    x = x.reshape(batch, height, width, groups, group_in).transpose(3, 0, 1, 2, 4)
    taps = _taps(x, kernel.shape, strides=strides, padding=padding)
    pixels = jnp.concatenate(taps, axis=-1).reshape(groups, batch * out_height * out_width, -1)
    kernel = kernel.reshape(-1, groups, cout // groups).transpose(1, 0, 2)
    out = jnp.matmul(pixels, kernel).reshape(groups, batch, out_height, out_width, -1)
    return out.transpose(1, 2, 3, 0, 4).reshape(batch, out_height, out_width, cout)


def _depthwise_convolve(
    x: jax.Array, kernel: jax.Array, *, strides: tuple[int, int], padding: tuple[int, int]
) -> jax.Array:
    """The sum over the taps of x, shifted, times the tap's weight of each channel, which XLA fuses into one loop.

    The barriers keep what comes before and after, in the gradient too, out of that loop, where it would be computed
    anew for each tap, and compiled for minutes. Gradients of an EfficientNet of eight blocks, [4, 64, 64, 3], a quarter
    as wide: 27 ms of CPU time, 177 ms with the native convolution; compiled in 24 s and 17 s.
    """
    x = jax.lax.optimization_barrier(x)
    taps = _taps(x, kernel.shape, strides=strides, padding=padding)
    weights = at_least_float32(kernel).reshape(len(taps), 1, 1, 1, -1)
    out = functools.reduce(jnp.add, (tap * weights[i] for i, tap in enumerate(taps)))
    return jax.lax.optimization_barrier(out.astype(x.dtype))


def _taps(
    x: jax.Array, kernel: Sequence[int], *, strides: tuple[int, int], padding: tuple[int, int]
) -> list[jax.Array]:
    """For each tap of a kernel, row by row, what it sees: `x` [..., H, W, C], padded and cut -> [..., H', W', C]."""
    x = jnp.pad(x, [*[(0, 0)] * (x.ndim - 3), *((p, p) for p in padding), (0, 0)])
    height, width = _output_size((0, *x.shape[-3:]), kernel, strides, (0, 0))
    return [
        x[
            ...,
            row : row + (height - 1) * strides[0] + 1 : strides[0],
            column : column + (width - 1) * strides[1] + 1 : strides[1],
            :,
        ]
        for row in range(kernel[0])
        for column in range(kernel[1])
    ]


def _pair(value: int | Sequence[int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])


class Conv(nn.Module):
    """`torch.nn.Conv2d` with the parameters of `flax.linen.Conv`.

    Attributes:
      features: output channels.
      kernel_size: an int or (rows, columns); so are `strides` and `padding` (zeros on each side).
      groups: channel groups (`feature_group_count`).
      lowering: None chooses by platform at trace time, see `convolve`.
    """

    features: int
    kernel_size: int | Sequence[int]
    strides: int | Sequence[int] = 1
    padding: int | Sequence[int] = 0
    groups: int = 1
    use_bias: bool = False
    dtype: Any = jnp.float32
    kernel_init: Initializer = kaiming_normal_fan_out
    bias_init: Initializer = nn.initializers.zeros
    lowering: Lowering | None = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = (*_pair(self.kernel_size), x.shape[-1] // self.groups, self.features)
        kernel = self.param("kernel", self.kernel_init, shape)
        x = convolve(
            x.astype(self.dtype),
            kernel.astype(self.dtype),
            strides=_pair(self.strides),
            padding=_pair(self.padding),
            groups=self.groups,
            lowering=self.lowering or platform_lowering(),
        )
        if self.use_bias:
            x = add_bias(x, self.param("bias", self.bias_init, (self.features,)))
        return x


class BatchNorm(nn.Module):
    """`torch.nn.BatchNorm2d` with the names of `flax.linen.BatchNorm`: scale, bias; batch_stats mean, var.

    Flax's own keeps the biased batch variance, PyTorch the unbiased one (n / (n - 1) of it), so that fine-tuned
    networks would drift apart in evaluation.

    Attributes:
      use_running_average: evaluation; else batch statistics, and the running ones move towards them.
      axis_name: device axis over which batch statistics are averaged (as many pixels on each).
      momentum: share of the old running statistics that stays (PyTorch's momentum .1 is .9 here).
      dtype: of the output; statistics are float32.
    """

    use_running_average: bool
    axis_name: str | None = None
    momentum: float = 0.9
    epsilon: float = 1e-5
    dtype: Any = jnp.float32
    scale_init: Initializer = nn.initializers.ones

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = (x.shape[-1],)
        scale = self.param("scale", self.scale_init, shape)
        bias = self.param("bias", nn.initializers.zeros, shape)
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, shape)
        running_var = self.variable("batch_stats", "var", jnp.ones, shape)
        if self.use_running_average:
            mean, var = running_mean.value, running_var.value
        else:
            mean, var, count = self._batch_statistics(at_least_float32(x))
            if not self.is_initializing():
                keep = self.momentum
                unbiased = var * (count / max(count - 1, 1))
                running_mean.value = keep * running_mean.value + (1 - keep) * mean
                running_var.value = keep * running_var.value + (1 - keep) * unbiased
        wide = (1,) * (x.ndim - 1) + shape
        factor = (jax.lax.rsqrt(var + self.epsilon) * scale).reshape(wide)
        return ((x - mean.reshape(wide)) * factor + bias.reshape(wide)).astype(self.dtype)

    def _batch_statistics(self, x: jax.Array) -> tuple[jax.Array, jax.Array, int]:
        """(mean, biased variance, number of values of a channel), over all devices."""
        axes = tuple(range(x.ndim - 1))
        mean, square = x.mean(axes), jnp.square(x).mean(axes)
        count = x.size // x.shape[-1]
        if self.axis_name is not None and not self.is_initializing():
            mean, square = jax.lax.pmean((mean, square), self.axis_name)
            count *= jax.lax.psum(1, self.axis_name)
        return mean, jnp.maximum(square - jnp.square(mean), 0.0), count


def batch_norm(
    *, train: bool, axis_name: str | None, dtype: Any = jnp.float32, epsilon: float = 1e-5
) -> Callable[..., BatchNorm]:
    """A `BatchNorm` partial; with `axis_name` its statistics are averaged over the devices while training."""
    return functools.partial(
        BatchNorm, use_running_average=not train, axis_name=axis_name, dtype=dtype, epsilon=epsilon
    )


def linear(features: int, *, fan_in: int, **options: Any) -> nn.Dense:
    """`torch.nn.Linear(fan_in, features)` with its default initialisation; `options` win."""
    uniform = torch_uniform(fan_in)
    return nn.Dense(features, **{"kernel_init": uniform, "bias_init": uniform, **options})


def max_pool(x: jax.Array, window: int, *, stride: int, padding: int = 0) -> jax.Array:
    """`torch.nn.MaxPool2d(window, stride, padding)`: the border counts as minus infinity."""
    if window == stride and not padding and platform_lowering() == "matmul":
        # XLA:CPU scatters the gradient of a pool one window at a time: 480 ms for [4, 96, 96, 192], 85 ms so.
        # Two at a time and not `.max`, whose gradient asks where x equals the maximum: a fused program may compute
        # x anew, rounded otherwise, find it nowhere and divide by 0. Equal maxima share the gradient.
        b, h, w, c = x.shape
        x = x[:, : h // window * window, : w // window * window]
        x = x.reshape(b, h // window, window, w // window, window, c)
        x = functools.reduce(jnp.maximum, (x[:, :, i] for i in range(window)))
        return functools.reduce(jnp.maximum, (x[:, :, :, i] for i in range(window)))
    sides: Any = ((padding, padding), (padding, padding))  # flax takes pairs, declares str
    return nn.max_pool(x, (window, window), (stride, stride), sides)


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
