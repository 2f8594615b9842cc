from __future__ import annotations

import jax
import numpy as np
import pytest

from jaxcxr.cpu.reductions import channel_sums


@pytest.mark.parametrize("shape", [(2, 16, 8, 3), (3, 5, 7, 3), (16, 2), (1, 4)])
def test_a_channels_pixels_are_summed(shape):
    x = np.random.default_rng(0).normal(3, 1, shape).astype(np.float32)
    expected = x.astype(np.float64).reshape(-1, shape[-1]).sum(0)
    np.testing.assert_allclose(jax.jit(channel_sums)(x), expected, rtol=1e-6)


def test_many_pixels_round_little():
    """XLA:CPU's own sum is off by 4e-5."""
    x = np.random.default_rng(0).normal(3, 1, (1 << 20, 8)).astype(np.float32)
    expected = x.astype(np.float64).sum(0)
    np.testing.assert_allclose(jax.jit(channel_sums)(x), expected, rtol=2e-6)
