"""The most that JAX gets out of the machine."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np

from benchmarks.ours import device
from benchmarks.protocol import Prepared
from jaxcxr import schema


def matmul(folder: Path, *, side: int) -> Prepared:
    """A square float32 matrix product."""
    del folder
    device.start(schema.config("classify"))
    a, b = (
        jax.device_put(x)
        for x in np.random.default_rng(0).standard_normal((2, side, side), np.float32)
    )
    product = jax.jit(lambda a, b: a @ b)
    return Prepared(
        lambda: jax.block_until_ready(product(a, b)),
        lambda: {"corner": np.asarray(product(a, b)[:8, :8])},
        lambda: {"flops": 2 * side**3},
    )


def copy(folder: Path, *, numbers: int) -> Prepared:
    """Each float32 read and written once, in place."""
    del folder
    device.start(schema.config("classify"))
    x = jax.device_put(np.ones(numbers, np.float32))
    negate = jax.jit(lambda x: -x, donate_argnums=0)

    def run() -> None:
        nonlocal x
        x = jax.block_until_ready(negate(x))

    return Prepared(run, measures=lambda: {"bytes": 8 * numbers})
