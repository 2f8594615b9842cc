"""The files of a case's folder, which its preparation writes and its sides read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

INPUTS = "inputs.npz"  # images, masks, labels and what is drawn from them
WEIGHTS = "weights.safetensors"  # torchvision's numbers, under its names
NUMBERS = "numbers.npz"  # ours
ROWS = ("image", "mask", "label")  # <name>.npy: what a store of preprocessed images holds


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """An .npz."""
    keywords: dict[str, Any] = dict(arrays)
    np.savez(path, **keywords)


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """All arrays of an .npz."""
    with np.load(path) as file:
        return {name: file[name] for name in file.files}
