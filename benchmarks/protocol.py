"""What a worker process is told to do, and what it gives the harness to run.

A worker reads one JSON object a line and answers each with one: first a job, then {"do": "run",
"calls": 3} as often as wanted, and {"do": "finish"} once. See `benchmarks.worker` and
`benchmarks.harness.Worker`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Job:
    """A function that a worker process calls.

    Attributes:
        function: "module:name"; called with the case's folder and the arguments.
        arguments: by name; what JSON can say.
        needs: what it cannot run without: 'torch', 'torchvision', 'efficientnet_lite_pytorch',
            'a GPU', 'simulated devices', 'a C++ compiler'.
        keep_freed: whether its process keeps freed memory, as those of jaxcxr do, see
            `jaxcxr.cpu.host_memory`.
    """

    function: str
    arguments: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    needs: tuple[str, ...] = ()
    keep_freed: bool = False


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A side that is ready to run.

    Attributes:
        run: one call, of which a repetition makes one or more; returns when the device has
            finished it.
        outputs: arrays by name that all sides of the case must agree on; asked for once, after the
            last repetition.
        measures: 'flops' and 'bytes' of a call, 'device_bytes' at the peak: those that are
            known; in the same form.
    """

    run: Callable[[], object]
    outputs: Callable[[], Mapping[str, np.ndarray]] = dict
    measures: Callable[[], Mapping[str, float]] = dict
