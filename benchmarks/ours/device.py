"""JAX as main.py sets it up, and what it knows of a program."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import jax
from ml_collections import ConfigDict

from jaxcxr import parallel, schema


def start(config: ConfigDict, *, devices: int = 1) -> None:
    """As main.py does, before anything touches a device; above 1, on simulated ones of a CPU."""
    if devices > 1:
        jax.config.update("jax_num_cpu_devices", devices)
    parallel.initialize(**config.parallel)


def describe(folder: Path) -> dict[str, Any]:
    """What JAX sees."""
    del folder
    config = schema.config("classify")
    start(config)
    return {**parallel.describe(), "compilation_cache": config.parallel.compilation_cache}


def measures(program: Any, *arguments: Any, times: float = 1.0) -> dict[str, float]:
    """`Prepared.measures` of a program, to be asked for after its last repetition.

    Args:
        program: of the device seam.
        *arguments: of a call.
        times: how often what XLA counts is done: it counts the body of a loop once.
    """
    known = _costs(program.lower(*arguments).compile())
    found = {"bytes": known["bytes accessed"] * times} if "bytes accessed" in known else {}
    jax.clear_caches()
    found["flops"] = flops(program, *arguments) * times
    memory = jax.local_devices()[0].memory_stats() or {}  # a CPU has none
    if "peak_bytes_in_use" in memory:
        found["device_bytes"] = memory["peak_bytes_in_use"]
    return found


def flops(program: Any, *arguments: Any) -> float:
    """Floating-point operations of a program that was not traced yet, as XLA counts them before it
    optimises.

    With its own convolutions everywhere: of those that are written as a loop over groups it would
    count one group.
    """
    with mock.patch("jaxcxr.models.layers.platform_lowering", return_value="native"):
        return _costs(program.lower(*arguments))["flops"]


def _costs(stage: Any) -> Mapping[str, float]:
    """Of a lowered or a compiled program; {} where XLA tells nothing."""
    cost = stage.cost_analysis()
    return (cost[0] if isinstance(cost, list) else cost) or {}
