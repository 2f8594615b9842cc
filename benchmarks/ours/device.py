"""JAX as main.py sets it up, and what it knows of a program."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from configs import common
from jaxcxr import parallel


def start(config: ConfigDict, *, devices: int = 1) -> None:
    """As main.py does, before anything touches a device; above 1, on so many simulated ones of a CPU."""
    if devices > 1:
        jax.config.update("jax_num_cpu_devices", devices)
    parallel.initialize(**config.parallel)


def describe(folder: Path) -> dict[str, Any]:
    """What JAX sees."""
    del folder
    config = common.base("classify")
    start(config)
    return {**parallel.describe(), "compilation_cache": config.parallel.compilation_cache}


def measures(program: Any, *arguments: Any, times: float = 1.0) -> dict[str, float]:
    """`Prepared.measures` of a compiled program.

    Args:
      program: of the device seam.
      *arguments: of a call.
      times: how often what XLA counts is done: it counts the body of a loop once.
    """
    cost: Any = program.lower(*arguments).compile().cost_analysis()
    known: Mapping[str, float] = (cost[0] if isinstance(cost, list) else cost) or {}
    found = {ours: known[theirs] * times for ours, theirs in _NAMES.items() if theirs in known}
    memory = jax.local_devices()[0].memory_stats() or {}  # a CPU has none
    if "peak_bytes_in_use" in memory:
        found["device_bytes"] = memory["peak_bytes_in_use"]
    return found


_NAMES = {"flops": "flops", "bytes": "bytes accessed"}
