"""PyTorch, and the devices that it sees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch


def describe(folder: Path) -> dict[str, Any]:
    """What PyTorch sees."""
    del folder
    return {
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "",
        "threads": torch.get_num_threads(),
        "mkldnn": torch.backends.mkldnn.is_available(),
    }


def wait(device: str) -> None:
    """Until the device has nothing left to do."""
    if device == "cuda":
        torch.cuda.synchronize()


def measures(device: str) -> dict[str, float]:
    """`Prepared.measures`: the memory only; the operations are counted on jaxcxr's side."""
    return {"device_bytes": torch.cuda.max_memory_allocated()} if device == "cuda" else {}
