"""`python -m benchmarks.worker`: one side of a case in a process of its own, which runs when it is
told to.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

from jaxcxr.cpu import host_memory


def main() -> None:
    # What libraries print goes to the log; the answers have standard output to themselves.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def answer(**fields: Any) -> None:
        print(json.dumps(fields), file=answers, flush=True)

    started = time.perf_counter()
    job = json.loads(sys.stdin.readline())
    if job["keep_freed"]:
        host_memory.keep_freed()  # before NumPy starts threads
    from benchmarks.files import write_arrays
    from benchmarks.protocol import Prepared

    module, _, name = job["function"].partition(":")
    side = getattr(importlib.import_module(module), name)(Path(job["folder"]), **job["arguments"])
    if not isinstance(side, Prepared):
        answer(says=side)
        return
    answer(prepare_seconds=time.perf_counter() - started)
    idle = _Idle()
    for line in sys.stdin:
        told = json.loads(line)
        if told["do"] == "finish":
            break
        gc.collect()
        idle.ends()
        started = time.perf_counter()
        for _ in range(told["calls"]):
            side.run()
        seconds = time.perf_counter() - started
        idle.begins()
        answer(seconds=seconds)
    peak = _peak_host_bytes()  # before the outputs and the costs, which may need more
    write_arrays(Path(job["outputs"]), side.outputs())
    answer(idle_cpu=idle.share, host_bytes=peak, **side.measures())


class _Idle:
    """CPU seconds, as a share of the time, that this process used while it was another one's
    turn.
    """

    def __init__(self) -> None:
        self._cpu = self._wall = 0.0
        self._since: tuple[float, float] | None = None

    def begins(self) -> None:
        self._since = time.process_time(), time.perf_counter()

    def ends(self) -> None:
        if self._since is not None:
            self._cpu += time.process_time() - self._since[0]
            self._wall += time.perf_counter() - self._since[1]

    @property
    def share(self) -> float:
        return self._cpu / self._wall if self._wall else 0.0


def _peak_host_bytes() -> int:
    """Of this process, or of the largest one that it has run."""
    peaks = [
        resource.getrusage(who).ru_maxrss
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    ]
    return max(peaks) * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    main()
