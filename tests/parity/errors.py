"""How far apart two arrays are."""

from __future__ import annotations

import numpy as np


def relative(found: np.ndarray, expected: np.ndarray, *, floor: float = 1e-30) -> float:
    """max |found - expected| / max(max |expected|, floor)."""
    assert found.shape == expected.shape, (found.shape, expected.shape)
    scale = float(np.abs(expected).max())
    return float(np.abs(np.asarray(found, np.float64) - expected).max()) / max(scale, floor)
