"""Fresh processes, as a user starts them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import harness
from benchmarks.files import read_arrays
from benchmarks.protocol import Job, Prepared


def imports(folder: Path, *, modules: str) -> Prepared:
    """`python -c "import ..."`."""
    del folder
    command = [sys.executable, "-c", f"import {modules}"]
    return Prepared(
        lambda: subprocess.run(command, cwd=harness.ROOT, env=harness.environment(), check=True)
    )


def first_step(
    folder: Path, *, job: Mapping[str, Any], number: int, cache: str = "", keep: bool = False
) -> Prepared:
    """A process from its start to the end of its first training step.

    Args:
        folder: of the case.
        job: of the training step, the fields of a `Job`.
        number: of the process, in its case.
        cache: name of a folder in the case's for JAX's compiled programs, put into the job's
            config; '': the job has no such cache.
        keep: the cache keeps what earlier repetitions compiled; else each begins with an empty one.
    """
    arguments = dict(job["arguments"])
    if cache:
        arguments["fields"] = {
            **arguments["fields"],
            "parallel.compilation_cache": str(folder / cache),
        }

    def start() -> harness.Worker:
        return harness.Worker(Job(job["function"], arguments), folder, number=number)

    def run() -> None:
        if cache and not keep:
            shutil.rmtree(folder / cache, ignore_errors=True)
        with start() as worker:
            worker.answer()
            worker.ask("run")

    def outputs() -> dict[str, np.ndarray]:
        """Of one more process, since they are asked for when no time is taken."""
        with start() as worker:
            worker.answer()
            worker.ask("run")
            worker.ask("finish")
            return read_arrays(worker.outputs)

    return Prepared(run, outputs)
