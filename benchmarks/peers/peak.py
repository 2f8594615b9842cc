"""The most that PyTorch gets out of the machine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from benchmarks.peers import device
from benchmarks.protocol import Prepared


def matmul(folder: Path, *, side: int, where: str) -> Prepared:
    """A square float32 matrix product."""
    del folder
    torch.set_float32_matmul_precision("high")  # TF32 on a GPU, as JAX's default
    a, b = (
        torch.from_numpy(x).to(where)
        for x in np.random.default_rng(0).standard_normal((2, side, side), np.float32)
    )

    def run() -> None:
        torch.matmul(a, b)
        device.wait(where)

    return Prepared(
        run,
        lambda: {"corner": torch.matmul(a, b)[:8, :8].cpu().numpy()},
        lambda: {"flops": 2 * side**3, **device.measures(where)},
    )


def copy(folder: Path, *, numbers: int, where: str) -> Prepared:
    """Each float32 read and written once, in place."""
    del folder
    x = torch.ones(numbers, device=where)

    def run() -> None:
        x.neg_()
        device.wait(where)

    return Prepared(run, measures=lambda: {"bytes": 8 * numbers, **device.measures(where)})
