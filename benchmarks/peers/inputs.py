"""PyTorch's way of the images from memory-mapped arrays to the device."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from benchmarks import experiments
from benchmarks.files import ROWS
from benchmarks.peers import device
from benchmarks.protocol import Prepared


class Rows(Dataset[tuple[Any, ...]]):
    """The rows of memory-mapped arrays."""

    def __init__(self, folder: Path):
        self._arrays = [np.load(folder / f"{name}.npy", mmap_mode="r") for name in ROWS]

    def __len__(self) -> int:
        return len(self._arrays[0])

    def __getitem__(self, row: int) -> tuple[Any, ...]:
        return tuple(np.array(array[row]) for array in self._arrays)


def epoch(folder: Path, *, config: str, fields: Mapping[str, Any], where: str) -> Prepared:
    """The batches of an epoch by a DataLoader with as many workers as grain has threads, kept
    alive.
    """
    c = experiments.load(config, fields)
    loader = DataLoader(
        Rows(folder),
        batch_size=c.train.batch_size,
        shuffle=True,
        num_workers=2,
        persistent_workers=True,
        pin_memory=where == "cuda",
        drop_last=True,
        generator=torch.Generator().manual_seed(c.seed),
    )
    found: dict[str, np.ndarray] = {}

    def run() -> None:
        labels = 0
        for batch in loader:
            _, _, label = (part.to(where, non_blocking=True) for part in batch)
            labels += int(label.sum())
        device.wait(where)
        found["labels"] = np.asarray(labels)

    return Prepared(run, lambda: found, lambda: device.measures(where))
