from __future__ import annotations

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcxr.cpu import gradients
from jaxcxr.models.convolution import convolve, convolve_transposed
from tests.models.variables import normal, quick_jit

CASES = {
    "1x1": {"shape": (2, 5, 4, 6), "kernel": (1, 1, 6, 3)},
    "1x1 stride 2": {"shape": (2, 5, 4, 6), "kernel": (1, 1, 6, 3), "strides": (2, 2)},
    "3x3": {"shape": (2, 5, 4, 6), "kernel": (3, 3, 6, 3), "padding": (1, 1)},
    "grouped 3x3": {"shape": (2, 5, 4, 6), "kernel": (3, 3, 2, 9), "padding": (1, 1), "groups": 3},
    "grouped 3x3, groups joined by two": {
        "shape": (2, 5, 4, 32),
        "kernel": (3, 3, 8, 12),
        "padding": (1, 1),
        "groups": 4,
    },
    "grouped 3x3, joined by three": {
        "shape": (2, 5, 4, 24),
        "kernel": (3, 3, 4, 6),
        "padding": (1, 0),
        "groups": 6,
    },
    "grouped 1x2 of 17 channels": {
        "shape": (2, 5, 4, 34),
        "kernel": (1, 2, 17, 4),
        "padding": (0, 1),
        "groups": 2,
    },
    "grouped 3x3 stride 2": {
        "shape": (2, 7, 6, 8),
        "kernel": (3, 3, 2, 8),
        "padding": (1, 1),
        "strides": (2, 2),
        "groups": 4,
    },
    "grouped 1x1 stride 2, which leaves out the last row": {
        "shape": (3, 6, 7, 6),
        "kernel": (1, 1, 2, 9),
        "strides": (2, 2),
        "groups": 3,
    },
    "grouped 4x3 stride (2, 1), not padded alike": {
        "shape": (2, 7, 5, 4),
        "kernel": (4, 3, 2, 6),
        "strides": (2, 1),
        "padding": (2, 0),
        "groups": 2,
    },
    "grouped 1x3 stride (1, 3)": {
        "shape": (2, 3, 8, 4),
        "kernel": (1, 3, 2, 2),
        "padding": (0, 2),
        "strides": (1, 3),
        "groups": 2,
    },
    "3x3 to a map of 2x2": {
        "shape": (2, 4, 3, 6),
        "kernel": (3, 3, 6, 3),
        "padding": (1, 1),
        "strides": (2, 2),
    },
    "7x1 of a map of 1x2": {"shape": (2, 1, 2, 6), "kernel": (7, 1, 6, 3), "padding": (3, 0)},
    "3x3 to a quarter of the channels": {
        "shape": (2, 5, 4, 8),
        "kernel": (3, 3, 8, 2),
        "padding": (1, 1),
    },
    "1x1 to a quarter, padded": {"shape": (2, 5, 4, 8), "kernel": (1, 1, 8, 2), "padding": (1, 1)},
    "3x2 to a quarter, not padded alike": {
        "shape": (2, 5, 4, 8),
        "kernel": (3, 2, 8, 1),
        "padding": (0, 1),
    },
    "3x3 in four strips, the last of zeros": {
        "shape": (2, 9, 5, 6),
        "kernel": (3, 3, 6, 5),
        "padding": (1, 1),
    },
    "5x3 stride (2, 1) in four strips, not padded alike": {
        "shape": (2, 19, 5, 3),
        "kernel": (5, 3, 3, 6),
        "strides": (2, 1),
        "padding": (2, 0),
    },
    "2x2 stride 3 in four strips, which leaves out rows": {
        "shape": (6, 27, 5, 3),
        "kernel": (2, 2, 3, 4),
        "strides": (3, 3),
    },
    "7x7 of one image in eight strips": {
        "shape": (1, 17, 8, 3),
        "kernel": (7, 7, 3, 4),
        "padding": (3, 3),
    },
    "depthwise, two filters a channel": {
        "shape": (1, 4, 4, 4),
        "kernel": (2, 2, 1, 8),
        "groups": 4,
    },
    "depthwise 3x3": {
        "shape": (2, 5, 4, 6),
        "kernel": (3, 3, 1, 6),
        "padding": (1, 1),
        "groups": 6,
    },
    "depthwise 5x5 stride 2": {
        "shape": (2, 9, 6, 4),
        "kernel": (5, 5, 1, 4),
        "padding": (2, 2),
        "strides": (2, 2),
        "groups": 4,
    },
    "depthwise 1x3 stride (1, 3)": {
        "shape": (2, 3, 8, 4),
        "kernel": (1, 3, 1, 4),
        "padding": (0, 2),
        "strides": (1, 3),
        "groups": 4,
    },
    "depthwise 3x3 of three strips of rows": {
        "shape": (2, 37, 4, 3),
        "kernel": (3, 3, 1, 3),
        "padding": (1, 1),
        "groups": 3,
    },
    "depthwise 5x5 stride 2 of two strips of rows": {
        "shape": (2, 42, 5, 3),
        "kernel": (5, 5, 1, 3),
        "padding": (2, 2),
        "strides": (2, 2),
        "groups": 3,
    },
    "depthwise 3x3 stride 3 that leaves rows over": {
        "shape": (1, 56, 7, 3),
        "kernel": (3, 3, 1, 3),
        "strides": (3, 3),
        "groups": 3,
    },
    "depthwise 3x3 of a map of 1x2": {
        "shape": (2, 1, 2, 6),
        "kernel": (3, 3, 1, 6),
        "padding": (1, 1),
        "groups": 6,
    },
}


@pytest.mark.parametrize("case", CASES)
def test_lowerings_have_equal_values_and_gradients(case):
    case = {"strides": (1, 1), "padding": (0, 0), "groups": 1, **CASES[case]}
    x, kernel = normal(*case.pop("shape")), normal(*case.pop("kernel"), seed=2)

    def value_and_gradients(lowering):
        def loss(x, kernel):
            y = convolve(x, kernel, lowering=lowering, **case)
            return jnp.sin(y).sum(), y

        return quick_jit(jax.value_and_grad(loss, (0, 1), has_aux=True))(x, kernel)

    (_, native), native_gradients = value_and_gradients("native")
    (_, matmul), matmul_gradients = value_and_gradients("matmul")
    assert native.shape == matmul.shape
    np.testing.assert_allclose(matmul, native, rtol=1e-5, atol=1e-5)
    for ours, theirs in zip(matmul_gradients, native_gradients, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("lowering", ["native", "matmul"])
@pytest.mark.parametrize("size", [(2, 5, 4), (2, 16, 3)], ids=["few rows", "rows for strips"])
def test_a_transposed_convolution_has_jaxs_values_and_gradients(lowering, size):
    x, kernel = normal(*size, 6), normal(3, 3, 5, 6, seed=2)

    def value_and_gradients(transposed):
        def loss(x, kernel):
            y = transposed(x, kernel)
            return jnp.sin(y).sum(), y

        return quick_jit(jax.value_and_grad(loss, (0, 1), has_aux=True))(x, kernel)

    (_, ours), our_gradients = value_and_gradients(
        lambda x, k: convolve_transposed(x, k, (2, 2), lowering)
    )
    (_, jaxs), jax_gradients = value_and_gradients(
        lambda x, k: jax.lax.conv_transpose(x, k, (2, 2), "VALID", transpose_kernel=True)
    )
    np.testing.assert_array_equal(ours, jaxs)
    for got, expected in zip(our_gradients, jax_gradients, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def test_the_second_gradient_of_a_depthwise_convolution_at_a_kernel_of_zeros():
    x, kernel = normal(1, 4, 5, 2), jnp.zeros((3, 3, 1, 2))

    def second(lowering):
        def by_x(kernel):
            def loss(x):
                y = convolve(x, kernel, strides=(1, 1), padding=(1, 1), groups=2, lowering=lowering)
                return y.sum()

            return (jax.grad(loss)(x) * x).sum()

        return jax.grad(by_x)(kernel)

    np.testing.assert_allclose(second("matmul"), second("native"), rtol=1e-5, atol=1e-5)
    assert np.abs(second("matmul")).max() > 0.1


def test_no_images_have_depthwise_gradients_of_0():
    def loss(x, kernel):
        return convolve(
            x, kernel, strides=(1, 1), padding=(1, 1), groups=2, lowering="matmul"
        ).sum()

    by_x, by_kernel = jax.grad(loss, (0, 1))(jnp.ones((0, 4, 4, 2)), jnp.ones((3, 3, 1, 2)))
    assert by_x.shape == (0, 4, 4, 2)
    np.testing.assert_array_equal(by_kernel, np.zeros((3, 3, 1, 2)))


def test_a_depthwise_sum_is_kept_in_float32():
    """In half precision, like XLA's own: 25 products of 1 and 1/256 are lost one by one beside a
    sum of 2 and more.
    """
    x = jnp.ones((1, 5, 5, 2), jnp.bfloat16)
    kernel = jnp.full((5, 5, 1, 2), 2.0**-8, jnp.bfloat16).at[0, 0].set(2.0)
    out = convolve(x, kernel, strides=(1, 1), padding=(0, 0), groups=2, lowering="matmul")
    assert out.dtype == jnp.bfloat16
    np.testing.assert_allclose(np.asarray(out, np.float32), 2 + 24 / 256, rtol=2**-8)


@pytest.mark.parametrize(
    ("channels", "features", "groups"), [(4, 1, 1), (34, 2, 2)], ids=["narrowing", "wide groups"]
)
def test_gradients_in_half_precision_have_its_type_and_sums_of_float32(channels, features, groups):
    """A kernel's gradient is a sum over all pixels: 4096 ones are not 256 in bfloat16."""
    x = jnp.ones((1, 64, 64, channels), jnp.bfloat16)
    kernel = jnp.ones((3, 3, channels // groups, features), jnp.bfloat16)

    def total(x, kernel):
        out = convolve(x, kernel, strides=(1, 1), padding=(1, 1), groups=groups, lowering="matmul")
        return out.astype(jnp.float32).sum()

    of_x, of_kernel = jax.grad(total, (0, 1))(x, kernel)
    assert of_x.dtype == of_kernel.dtype == jnp.bfloat16
    np.testing.assert_array_equal(of_kernel[1, 1].astype(jnp.float32), 4096)
    # This CPU adds in float32 either way; what others are asked for, of products, stands in the
    # program.
    program = str(jax.make_jaxpr(jax.grad(total, 1))(x, kernel))
    assert (
        program.count("preferred_element_type=float32")
        == program.count("dot_general[")
        == (groups == 1)
    )


BACK = {
    "narrowing": ((2, 32, 32, 64), (3, 3, 64, 16)),
    "strips": ((2, 32, 32, 32), (3, 3, 32, 24)),
    "transposed": ((2, 16, 16, 24), (3, 3, 32, 24)),
}


@pytest.mark.parametrize("kind", BACK)
def test_what_makes_a_gradient_is_computed_once(kind, monkeypatch):
    """XLA:CPU would add up the gradient in the convolution by the input, and once more in what
    gathers its pixels.
    """
    x, kernel = (jnp.ones(shape) for shape in BACK[kind])

    def forward(x, kernel):
        if kind == "transposed":
            return convolve_transposed(x, kernel, (2, 2), "matmul")
        return convolve(x, kernel, strides=(1, 1), padding=(1, 1), lowering="matmul")

    made = jax.eval_shape(forward, x, kernel)

    def additions():
        def gradients(x, kernel, one, other):
            return jax.vjp(forward, x, kernel)[1](2 * (one + other))

        program = jax.jit(gradients).lower(x, kernel, made, made).compile().as_text()
        return len(re.findall(r" = f32\[[\d,]*\]\S* add\(", program))

    assert additions() == 1
    monkeypatch.setattr(gradients, "computed_once", lambda x: x)
    assert additions() == 2


def test_a_depthwise_kernel_of_zeros_learns():
    x, kernel = normal(2, 5, 4, 6), jnp.zeros((3, 3, 1, 6))

    def both(lowering):
        def total(x, kernel):
            return (
                convolve(x, kernel, strides=(1, 1), padding=(1, 1), groups=6, lowering=lowering) + x
            ).sum()

        return jax.value_and_grad(total, (0, 1))(x, kernel)

    for ours, natives in zip(
        jax.tree.leaves(both("matmul")), jax.tree.leaves(both("native")), strict=True
    ):
        np.testing.assert_allclose(ours, natives, rtol=1e-5, atol=1e-6)
