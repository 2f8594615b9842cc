"""Convolutions, lowered at trace time by the platform.

XLA's own, or on CPUs mostly matrix products.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

Lowering = Literal["native", "matmul"]


def platform_lowering() -> Lowering:
    """The lowering for the default backend: "matmul" on CPU, "native" on GPU and TPU."""
    return "matmul" if jax.default_backend() == "cpu" else "native"


def at_least_float32(x: jax.Array) -> jax.Array:
    """Half precision becomes float32; statistics, dense layers and logits are computed in that."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


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
    a convolution for each group, a depthwise one a sum of shifted products. (XLA:CPU has no fast
    path for grouped convolutions and their gradients.) One that makes maps of at most 2x2
    pixels, of which XLA:CPU's gradients are slowest, becomes one product, too. Everything else, and
    everything under "native", is `lax.conv_general_dilated`; on CPUs with gradients by the kernel
    of its own, where XLA's are slow: for small batches, and for the few channels that a dense layer
    makes. Times: docs/PERFORMANCE.md, "Choices in the code".

    Returns:
        [B, H', W', cout].
    """
    if lowering == "matmul":
        if groups == 1 and kernel.shape[:2] == (1, 1) and padding == (0, 0):
            x = x[:, :: strides[0], :: strides[1]]
            # Of a matrix: the kernel's gradient is then a product, too, of operands that need not
            # be transposed first.
            return jnp.dot(x.reshape(-1, x.shape[-1]), kernel[0, 0]).reshape(*x.shape[:3], -1)
        if 1 < groups == x.shape[-1] == kernel.shape[-1]:
            return _depthwise_convolve(x, kernel, strides=strides, padding=padding)
        height, width = _output_size(x.shape, kernel.shape, strides, padding)
        if height * width <= 4:
            return _gathered_convolve(x, kernel, strides=strides, padding=padding, groups=groups)
        if groups > 1 and kernel.shape[2] <= 16 and strides == (1, 1):
            return _convolve_narrow_groups(x, kernel, padding=padding, groups=groups)
        if groups > 1:
            return _convolve_wide_groups(x, kernel, strides, padding, groups)
        # Each output position covers at least one pixel.
        inside = padding[0] < kernel.shape[0] and padding[1] < kernel.shape[1]
        if strides == (1, 1) and inside and x.shape[-1] >= 4 * kernel.shape[-1]:
            return _narrowing_convolve(x, kernel, padding)
        strips = 8 // math.gcd(8, len(x))
        if len(x) < 16 and 1 < strips <= height // 2:
            return _convolve_in_strips(x, kernel, strides, padding, strips)
    return _native_convolve(x, kernel, strides=strides, padding=padding, groups=groups)


def _with_operands(convolution: Callable[..., Any]) -> Callable[..., tuple[Any, Any]]:
    """The forward pass of a custom gradient: (`convolution(x, kernel, *options)`, (x, kernel))."""

    def forward(x: jax.Array, kernel: jax.Array, *options: Any) -> tuple[Any, Any]:
        return convolution(x, kernel, *options), (x, kernel)

    return forward


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def convolve_transposed(
    x: jax.Array, kernel: jax.Array, strides: tuple[int, int], lowering: Lowering
) -> jax.Array:
    """The transpose of `convolve` without padding.

    `x` [B, H, W, cin] and `kernel` [kh, kw, cout, cin] -> [B, (H - 1) strides + kh, (W - 1)
    strides + kw, cout].

    Equals `torch.nn.functional.conv_transpose2d`. Its gradients are those of `convolve`: JAX
    would take the one by the kernel from a map with zeros between its pixels, which is slow.
    """
    del lowering
    return jax.lax.conv_transpose(x, kernel, strides, "VALID", transpose_kernel=True)


def _transposed_backward(
    strides: tuple[int, int], lowering: Lowering, residuals: Any, cotangent: jax.Array
) -> tuple[jax.Array, jax.Array]:
    x, kernel = residuals
    if lowering == "matmul":
        cotangent = _computed_once(cotangent)
    back = functools.partial(
        convolve, cotangent, strides=strides, padding=(0, 0), lowering=lowering
    )
    dx, kernel_vjp = jax.vjp(back, kernel)
    return dx, *kernel_vjp(x)


convolve_transposed.defvjp(_with_operands(convolve_transposed), _transposed_backward)


def _native_convolve(
    x: jax.Array,
    kernel: jax.Array,
    *,
    strides: tuple[int, int],
    padding: tuple[int, int],
    groups: int,
) -> jax.Array:
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


def _convolve_narrow_groups(
    x: jax.Array, kernel: jax.Array, *, padding: tuple[int, int], groups: int
) -> jax.Array:
    """XLA's own convolution of each group's channels.

    Groups are joined up to 16 channels, with zeros between them. For narrow groups this is faster
    than the loop of `_convolve_wide_groups`; for all groups of a ResNeXt it would compile too long.
    """
    rows, columns, cin, cout = *kernel.shape[:3], kernel.shape[3] // groups
    joined = next(n for n in range(max(1, 16 // cin), 0, -1) if groups % n == 0)
    kernel = kernel.reshape(rows, columns, cin, groups // joined, joined, cout)
    kernel = jnp.einsum("hwigjo,jk->hwkigjo", kernel, jnp.eye(joined, dtype=kernel.dtype))
    kernel = kernel.reshape(rows, columns, joined * cin, groups // joined, joined * cout)
    parts = jnp.split(x, groups // joined, axis=-1)
    outs = [
        _native_convolve(part, kernel[:, :, :, i], strides=(1, 1), padding=padding, groups=1)
        for i, part in enumerate(parts)
    ]
    return jnp.concatenate(outs, axis=-1)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def _convolve_wide_groups(
    x: jax.Array, kernel: jax.Array, strides: tuple[int, int], padding: tuple[int, int], groups: int
) -> jax.Array:
    """A loop over the groups, each with XLA's own convolution, compiled once.

    Its gradients are such loops, too: those that JAX derives are slow inside a loop. Faster than a
    product of gathered pixels; without the loop a little faster still, but slow to compile.
    """
    return _loop_over_groups(x, kernel, groups, axis=3, strides=strides, padding=(padding, padding))


def _wide_groups_backward(
    strides: tuple[int, int],
    padding: tuple[int, int],
    groups: int,
    residuals: Any,
    cotangent: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    x, kernel = residuals
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


_convolve_wide_groups.defvjp(_with_operands(_convolve_wide_groups), _wide_groups_backward)


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


def _gathered_convolve(
    x: jax.Array,
    kernel: jax.Array,
    *,
    strides: tuple[int, int],
    padding: tuple[int, int],
    groups: int,
) -> jax.Array:
    """Gather the taps, then one product [G, pixels, taps cin/G] x [G, taps cin/G, cout/G]."""
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
    """The sum over the taps of x, shifted, times the tap's weight of each channel.

    XLA fuses it into one loop.

    The barriers keep what comes before and after, in the gradient too, out of that loop, where it
    would be computed again for each tap, and compile for minutes.
    """
    x = jax.lax.optimization_barrier(x)
    taps = _taps(x, kernel.shape, strides=strides, padding=padding)
    weights = at_least_float32(kernel).reshape(len(taps), 1, 1, 1, -1)
    out = functools.reduce(jnp.add, (tap * weights[i] for i, tap in enumerate(taps)))
    return jax.lax.optimization_barrier(out.astype(x.dtype))


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def _convolve_in_strips(
    x: jax.Array, kernel: jax.Array, strides: tuple[int, int], padding: tuple[int, int], strips: int
) -> jax.Array:
    """A convolution whose gradient by the kernel is computed from strips of rows.

    Each strip is an image of its own.

    That gradient is a convolution whose channels are the images, and XLA:CPU computes with eight of
    them at a time: a small batch would leave most of them idle.
    """
    del strips
    return _native_convolve(x, kernel, strides=strides, padding=padding, groups=1)


def _strips_backward(
    strides: tuple[int, int],
    padding: tuple[int, int],
    strips: int,
    residuals: Any,
    cotangent: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    x, kernel = residuals
    cotangent = _computed_once(cotangent)
    native = functools.partial(_native_convolve, strides=strides, groups=1)
    (dx,) = jax.vjp(lambda x: native(x, kernel, padding=padding), x)[1](cotangent)

    # Rows that a strip makes, and those that it sees; missing ones are zeros.
    made = -(-cotangent.shape[1] // strips)
    read = (made - 1) * strides[0] + kernel.shape[0]
    below = max(0, (strips * made - 1) * strides[0] + kernel.shape[0] - padding[0] - x.shape[1])
    rows = np.arange(strides[0] * made * strips, step=strides[0] * made)[:, None] + np.arange(read)
    padded = jnp.pad(x, [(0, 0), (padding[0], below), (0, 0), (0, 0)])
    parts = padded.at[:, rows].get(mode="promise_in_bounds").reshape(-1, read, *x.shape[2:])
    cotangent = jnp.pad(
        cotangent, [(0, 0), (0, strips * made - cotangent.shape[1]), (0, 0), (0, 0)]
    )
    cotangent = cotangent.reshape(-1, made, *cotangent.shape[2:])
    (dkernel,) = jax.vjp(lambda kernel: native(parts, kernel, padding=(0, padding[1])), kernel)[1](
        cotangent
    )
    return dx, dkernel


_convolve_in_strips.defvjp(_with_operands(_convolve_in_strips), _strips_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _narrowing_convolve(x: jax.Array, kernel: jax.Array, padding: tuple[int, int]) -> jax.Array:
    """A convolution to few channels, such as a dense layer's.

    Its kernel's gradient is one product [cin, pixels] x [pixels, taps cout] with the gathered taps
    of the few, faster than XLA's own and than strips, and with less memory.
    """
    return _native_convolve(x, kernel, strides=(1, 1), padding=padding, groups=1)


def _narrowing_backward(
    padding: tuple[int, int], residuals: Any, cotangent: jax.Array
) -> tuple[jax.Array, jax.Array]:
    x, kernel = residuals
    cotangent = _computed_once(cotangent)
    native = functools.partial(_native_convolve, strides=(1, 1), padding=padding, groups=1)
    (dx,) = jax.vjp(lambda x: native(x, kernel), x)[1](cotangent)
    rows, columns, cin, cout = kernel.shape
    # By one gather, which compiles faster than joined slices.
    margins = rows - 1 - padding[0], columns - 1 - padding[1]
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


_narrowing_convolve.defvjp(_with_operands(_narrowing_convolve), _narrowing_backward)


def _computed_once(x: jax.Array) -> jax.Array:
    """`x`, which XLA:CPU must not recompute for each of its users.

    They go through it in this order.

    It does so with operations of one large operand (see `layers.relu_of_sum`), and through them
    with all before them.
    """
    return jnp.where(jnp.isnan(x), jnp.nan, x)


def _taps(
    x: jax.Array, kernel: Sequence[int], *, strides: tuple[int, int], padding: tuple[int, int]
) -> list[jax.Array]:
    """Shifted views of `x`, one for each tap of a kernel, row by row.

    `x` [..., H, W, C], padded and cut -> [..., H', W', C].
    """
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
