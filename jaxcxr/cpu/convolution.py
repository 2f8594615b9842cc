"""Convolutions for XLA:CPU, mostly as matrix products; the first case that applies is taken.

XLA:CPU has no fast path for grouped convolutions, for maps of few pixels, and for some gradients.
Times: docs/PERFORMANCE.md, "Choices in the code".
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcxr.cpu import gradients
from jaxcxr.cpu.depthwise import depthwise
from jaxcxr.cpu.windows import strips_of_rows, taps
from jaxcxr.ops.convolution import at_least_float32, native_convolve, output_size

# Measured limits, on two cores.
_FEW_PIXELS = 4
_NARROW_GROUP = 16  # channels
_NARROWING = 4  # times as many channels in as out
_VECTOR = 8  # images whose gradients XLA:CPU computes at a time
_SMALL_BATCH = 16


class Convolution(NamedTuple):
    """One convolution: [B, H, W, cin] by [kh, kw, cin / groups, cout]."""

    x: tuple[int, ...]
    kernel: tuple[int, ...]
    strides: tuple[int, int]
    padding: tuple[int, int]
    groups: int

    @property
    def is_pointwise(self) -> bool:
        """One pixel in, one out."""
        return self.groups == 1 and self.kernel[:2] == (1, 1) and self.padding == (0, 0)

    @property
    def is_depthwise(self) -> bool:
        """Each channel by itself."""
        return 1 < self.groups == self.x[-1] == self.kernel[-1]

    @property
    def makes_few_pixels(self) -> bool:
        """Maps of at most 2x2, of which XLA:CPU's gradients are slowest."""
        return (
            math.prod(output_size(self.x, self.kernel, self.strides, self.padding)) <= _FEW_PIXELS
        )

    @property
    def has_narrow_groups(self) -> bool:
        """Groups of few channels, without strides."""
        return self.groups > 1 and self.kernel[2] <= _NARROW_GROUP and self.strides == (1, 1)

    @property
    def has_groups(self) -> bool:
        """Several groups of any kind."""
        return self.groups > 1

    @property
    def narrows(self) -> bool:
        """A quarter of the channels or fewer, as in a dense layer, each from at least one pixel."""
        covered = self.padding[0] < self.kernel[0] and self.padding[1] < self.kernel[1]
        return self.strides == (1, 1) and covered and self.x[-1] >= _NARROWING * self.kernel[-1]

    @property
    def strips(self) -> int:
        """Strips of rows that make the batch a multiple of what is computed at a time."""
        return _VECTOR // math.gcd(_VECTOR, self.x[0])

    @property
    def has_small_batch(self) -> bool:
        """Few images, and enough rows to divide each into strips."""
        height, _ = output_size(self.x, self.kernel, self.strides, self.padding)
        return self.x[0] < _SMALL_BATCH and 1 < self.strips <= height // 2


def convolve(
    x: jax.Array,
    kernel: jax.Array,
    *,
    strides: tuple[int, int],
    padding: tuple[int, int],
    groups: int,
) -> jax.Array:
    """`ops.convolution.native_convolve`, forwards or backwards faster on CPUs."""
    this = Convolution(x.shape, kernel.shape, strides, padding, groups)
    return next(lowering for applies, lowering in _LOWERINGS if applies(this))(x, kernel, this)


def _native(x: jax.Array, kernel: jax.Array, this: Convolution) -> jax.Array:
    return native_convolve(
        x, kernel, strides=this.strides, padding=this.padding, groups=this.groups
    )


def _pointwise(x: jax.Array, kernel: jax.Array, this: Convolution) -> jax.Array:
    """One matrix product.

    Of a matrix: the kernel's gradient is then a product, too, of operands that need not be
    transposed first.
    """
    x = x[:, :: this.strides[0], :: this.strides[1]]
    return jnp.dot(x.reshape(-1, x.shape[-1]), kernel[0, 0]).reshape(*x.shape[:3], -1)


def _depthwise(x: jax.Array, kernel: jax.Array, this: Convolution) -> jax.Array:
    return depthwise(x, kernel, this.strides, this.padding)


def _gathered(x: jax.Array, kernel: jax.Array, this: Convolution) -> jax.Array:
    """Gather the taps, then one product [G, pixels, taps cin/G] x [G, taps cin/G, cout/G]."""
    _, _, group_in, cout = kernel.shape
    groups, strides, padding = this.groups, this.strides, this.padding
    batch, height, width, _ = x.shape
    out_height, out_width = output_size(x.shape, kernel.shape, strides, padding)
    x = x.reshape(batch, height, width, groups, group_in).transpose(3, 0, 1, 2, 4)
    seen = taps(x, kernel.shape, strides=strides, padding=padding)
    pixels = jnp.concatenate(seen, axis=-1).reshape(groups, batch * out_height * out_width, -1)
    kernel = kernel.reshape(-1, groups, cout // groups).transpose(1, 0, 2)
    out = jnp.matmul(pixels, kernel).reshape(groups, batch, out_height, out_width, -1)
    return out.transpose(1, 2, 3, 0, 4).reshape(batch, out_height, out_width, cout)


def _narrow_groups(x: jax.Array, kernel: jax.Array, this: Convolution) -> jax.Array:
    """XLA's own convolution of each group's channels.

    Groups are joined up to 16 channels, with zeros between them. For narrow groups this is faster
    than the loop of `_wide_groups`; for all groups of a ResNeXt it would compile too long.
    """
    groups = this.groups
    rows, columns, cin, cout = *kernel.shape[:3], kernel.shape[3] // groups
    joined = next(n for n in range(max(1, _NARROW_GROUP // cin), 0, -1) if groups % n == 0)
    kernel = kernel.reshape(rows, columns, cin, groups // joined, joined, cout)
    kernel = jnp.einsum("hwigjo,jk->hwkigjo", kernel, jnp.eye(joined, dtype=kernel.dtype))
    kernel = kernel.reshape(rows, columns, joined * cin, groups // joined, joined * cout)
    parts = jnp.split(x, groups // joined, axis=-1)
    outs = [
        native_convolve(part, kernel[:, :, :, i], strides=(1, 1), padding=this.padding, groups=1)
        for i, part in enumerate(parts)
    ]
    return jnp.concatenate(outs, axis=-1)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _wide_groups(x: jax.Array, kernel: jax.Array, this: Convolution) -> jax.Array:
    """A loop over the groups, each with XLA's own convolution, compiled once.

    Its gradients are such loops, too: those that JAX derives are slow inside a loop. Faster than a
    product of gathered pixels; without the loop a little faster still, but slow to compile.
    """
    padding = (this.padding, this.padding)
    return _loop_over_groups(x, kernel, this.groups, axis=3, strides=this.strides, padding=padding)


def _wide_groups_backward(
    this: Convolution, residuals: Any, cotangent: jax.Array
) -> tuple[jax.Array, jax.Array]:
    x, kernel = residuals
    strides, padding, groups = this.strides, this.padding, this.groups
    rows, columns, cin, _ = kernel.shape
    size, taps = x.shape[1:3], (rows, columns)
    # Of the gradient, strides apart.
    spread = [(cotangent.shape[1 + i] - 1) * strides[i] + 1 for i in (0, 1)]

    # By x: the gradient, spread out, convolved with the turned kernel, outputs for inputs in each
    # group.
    turned = kernel[::-1, ::-1].reshape(rows, columns, cin, groups, -1).transpose(0, 1, 4, 3, 2)
    low = [taps[i] - 1 - padding[i] for i in (0, 1)]
    high = [size[i] + padding[i] - spread[i] for i in (0, 1)]
    dx = _loop_over_groups(
        cotangent,
        turned.reshape(rows, columns, -1, groups * cin),
        groups,
        axis=3,
        padding=(low, high),
        lhs_dilation=strides,
    )

    # By the kernel: x convolved with the spread gradient, as a batch of channels whose channels are
    # the images.
    high = [taps[i] + spread[i] - 1 - size[i] - padding[i] for i in (0, 1)]
    dkernel = _loop_over_groups(
        x.transpose(3, 1, 2, 0),
        cotangent.transpose(1, 2, 0, 3),
        groups,
        axis=0,
        padding=(padding, high),
        rhs_dilation=strides,
    )
    return dx, dkernel.transpose(1, 2, 0, 3)


_wide_groups.defvjp(gradients.with_operands(_wide_groups), _wide_groups_backward)


def _loop_over_groups(
    x: jax.Array,
    kernel: jax.Array,
    groups: int,
    *,
    axis: Literal[0, 3],
    padding: tuple[Sequence[int], Sequence[int]],
    strides: tuple[int, int] = (1, 1),
    lhs_dilation: tuple[int, int] = (1, 1),
    rhs_dilation: tuple[int, int] = (1, 1),
) -> jax.Array:
    """Convolutions by group: a part of `x` along `axis`, a part of the kernel's outputs.

    The outputs are joined along the last axis. `padding` is (before, after), each of (rows,
    columns).
    """
    part, features = x.shape[axis] // groups, kernel.shape[3] // groups

    def group_output(i: Any) -> jax.Array:
        return jax.lax.conv_general_dilated(
            jax.lax.dynamic_slice_in_dim(x, i * part, part, axis),
            jax.lax.dynamic_slice_in_dim(kernel, i * features, features, 3),
            window_strides=strides,
            padding=list(zip(*padding, strict=True)),
            lhs_dilation=lhs_dilation,
            rhs_dilation=rhs_dilation,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )

    def step(i: Any, out: jax.Array) -> jax.Array:
        return jax.lax.dynamic_update_slice_in_dim(out, group_output(i), i * features, 3)

    shape = jax.eval_shape(group_output, 0).shape
    return jax.lax.fori_loop(0, groups, step, jnp.zeros((*shape[:3], groups * features), x.dtype))


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _in_strips(x: jax.Array, kernel: jax.Array, this: Convolution) -> jax.Array:
    """A convolution whose gradient by the kernel is computed from strips of rows.

    Each strip is an image of its own.

    That gradient is a convolution whose channels are the images, and XLA:CPU computes with eight of
    them at a time: a small batch would leave most of them idle.
    """
    return _native(x, kernel, this)


def _strips_backward(
    this: Convolution, residuals: Any, cotangent: jax.Array
) -> tuple[jax.Array, jax.Array]:
    x, kernel = residuals
    strides, padding, strips = this.strides, this.padding, this.strips
    cotangent = gradients.computed_once(cotangent)
    native = functools.partial(native_convolve, strides=strides, groups=1)
    (dx,) = jax.vjp(lambda x: native(x, kernel, padding=padding), x)[1](cotangent)

    parts, cotangent = strips_of_rows(
        x, cotangent, strips=strips, window=kernel.shape[0], stride=strides[0], above=padding[0]
    )
    (dkernel,) = jax.vjp(lambda kernel: native(parts, kernel, padding=(0, padding[1])), kernel)[1](
        cotangent
    )
    return dx, dkernel


_in_strips.defvjp(gradients.with_operands(_in_strips), _strips_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _narrowing(x: jax.Array, kernel: jax.Array, this: Convolution) -> jax.Array:
    """A convolution to few channels, such as a dense layer's.

    Its kernel's gradient is one product [cin, pixels] x [pixels, taps cout] with the gathered taps
    of the few, faster than XLA's own and than strips, and with less memory.
    """
    return _native(x, kernel, this)


def _narrowing_backward(
    this: Convolution, residuals: Any, cotangent: jax.Array
) -> tuple[jax.Array, jax.Array]:
    x, kernel = residuals
    cotangent = gradients.computed_once(cotangent)
    (dx,) = jax.vjp(lambda x: _native(x, kernel, this), x)[1](cotangent)
    rows, columns, cin, cout = kernel.shape
    # By one gather, which compiles faster than joined slices.
    margins = rows - 1 - this.padding[0], columns - 1 - this.padding[1]
    padded = jnp.pad(cotangent, [(0, 0), *((m, m) for m in margins), (0, 0)])
    row = np.arange(x.shape[1]).reshape(-1, 1, 1, 1) + np.arange(rows).reshape(-1, 1)
    column = np.arange(x.shape[2]).reshape(-1, 1, 1) + np.arange(columns)
    taps = padded.at[:, row, column].get(mode="promise_in_bounds")  # [B, H, W, rows, columns, cout]
    dkernel = jax.lax.dot_general(
        x.reshape(-1, cin),
        taps.reshape(-1, rows * columns * cout),
        (((0,), (0,)), ((), ())),
        preferred_element_type=at_least_float32(x).dtype,
    )
    dkernel = dkernel.reshape(cin, rows, columns, cout).transpose(1, 2, 0, 3)[::-1, ::-1]
    return dx, dkernel.astype(kernel.dtype)


_narrowing.defvjp(gradients.with_operands(_narrowing), _narrowing_backward)


_LOWERINGS: tuple[tuple[Callable[[Convolution], bool], Callable[..., Any]], ...] = (
    (lambda this: this.is_pointwise, _pointwise),
    (lambda this: this.is_depthwise, _depthwise),
    (lambda this: this.makes_few_pixels, _gathered),
    (lambda this: this.has_narrow_groups, _narrow_groups),
    (lambda this: this.has_groups, _wide_groups),
    (lambda this: this.narrows, _narrowing),
    (lambda this: this.has_small_batch, _in_strips),
    (lambda _: True, _native),
)
