"""Numbers for the arrays of a network, from their names alone: what is stored are results, not
weights.
"""

from __future__ import annotations

import zlib

import numpy as np


def draw(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Float32 values of one array of a torchvision state dict.

    Kernels are uniform with the variance that keeps activations' size, the rest near its usual
    value.
    """
    if name.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    uniform = np.random.default_rng(zlib.crc32(name.encode())).random(shape) * 2 - 1
    if len(shape) > 1:
        uniform *= np.sqrt(6 / np.prod(shape[1:]))
    elif name.endswith(("weight", "running_var")):
        uniform = 1 + uniform / 2
    else:
        uniform /= 5
    return uniform.astype(np.float32)


def image(batch: int, side: int) -> np.ndarray:
    """[batch, side, side, 3] float32 in [-1, 1]."""
    rng = np.random.default_rng(zlib.crc32(b"image"))
    return (rng.random((batch, side, side, 3)) * 2 - 1).astype(np.float32)


def head_weight(batch: int, classes: int) -> np.ndarray:
    """[batch, classes] float32: gradients are those of sum(logits * this)."""
    rng = np.random.default_rng(zlib.crc32(b"head"))
    return (rng.random((batch, classes)) * 2 - 1).astype(np.float32)
