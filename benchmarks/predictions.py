"""A table of made-up predictions, which the cases of ensembles and metrics read."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.files import NUMBERS, read_arrays, write_arrays

_TABLE = "table.npz"


def draw(folder: Path, *, rows: int, learners: int = 5, classes: int = 4, seed: int = 0) -> None:
    """Writes a table of `rows` images and the first numbers of a neural weight module for it.

    inputs [N, L, C] float32: probabilities, right more often than not; probabilities [N, C]: their
    mean; labels [N] int32; patients [N] strings, about two images each. Numbers: weight [L, (L
    C)^2], bias [L].
    """
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=rows).astype(np.int32)
    scores = rng.normal(size=(rows, learners, classes)) + 1.5 * np.eye(classes)[labels][:, None]
    inputs = np.exp(scores) / np.exp(scores).sum(axis=-1, keepdims=True)
    table = {
        "inputs": inputs.astype(np.float32),
        "probabilities": inputs.mean(axis=1).astype(np.float32),
        "labels": labels,
        "patients": np.char.add("patient", rng.integers(max(1, rows // 2), size=rows).astype(str)),
    }
    write_arrays(folder / _TABLE, table)
    reach = 1 / (learners * classes)
    numbers = {
        "weight": rng.uniform(-reach, reach, (learners, (learners * classes) ** 2)).astype(
            np.float32
        ),
        "bias": rng.uniform(-reach, reach, learners).astype(np.float32),
    }
    write_arrays(folder / NUMBERS, numbers)


def load(folder: Path) -> dict[str, np.ndarray]:
    """The table, by column."""
    return read_arrays(folder / _TABLE)


def load_numbers(folder: Path) -> dict[str, np.ndarray]:
    """The numbers of the neural weight module, laid out as PyTorch's Linear."""
    return read_arrays(folder / NUMBERS)
