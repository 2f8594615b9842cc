"""How long a reader takes and how much memory it takes for it, against what is promised."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from jaxcxr.errors import InputError
from tests.faults.mutations import mutant
from tests.faults.promises import Context

SECONDS = 1.0
BYTES = 256 << 20
TRIES = 4


def reading(read: Callable[[], Any]) -> str:
    """Reads once; '' where it gave a value or an InputError in time and memory, else what it did.

    Memory is the peak above what was resident before, of this process and its children. A reading
    that was too slow is repeated, since another program may have had the processor.
    """
    for attempt in range(TRIES):
        before, started = _begin(), time.perf_counter()
        try:
            read()
        except InputError as error:
            if not str(error).strip() or " at 0x" in str(error):
                return f"an error that says nothing or an address: {str(error)[:200]!r}"
        except Exception as error:  # what is promised is that there is no other
            return f"{type(error).__name__}: {str(error)[:200]}"
        seconds, memory = time.perf_counter() - started, _peak() - before
        if memory > BYTES:
            return f"{memory >> 20} MiB more memory"
        if seconds <= SECONDS:
            return ""
        if attempt == TRIES - 1:
            return f"{seconds:.1f} s"
    raise AssertionError


def mutants(context: Context, samples: list[bytes], read: Callable[[bytes], Any]) -> Iterator[str]:
    """Trials of `reading` with mutants of sound files; a failure keeps its mutant in the folder."""
    for sample in samples:
        read(sample)  # sound, and what is loaded at first is loaded
    for n in range(context.trials):
        sample = samples[n % len(samples)]
        content = mutant(context.rng, sample, others=samples)
        problem = reading(lambda content=content: read(content))
        if problem:
            path = context.folder / f"mutant{n}"
            path.write_bytes(content)
            problem = f"mutant {n} ({path}): {problem}"
        yield problem


def _begin() -> int:
    """Resets the peaks of resident memory; returns what is resident now."""
    total = 0
    for process in _processes():
        try:
            Path(f"/proc/{process}/clear_refs").write_text("5")
            total += _status(process, "VmRSS")
        except OSError:
            continue
    return total


def _peak() -> int:
    return sum(_status(process, "VmHWM") for process in _processes())


def _processes() -> list[int]:
    own = os.getpid()
    children = []
    for task in Path(f"/proc/{own}/task").glob("*/children"):
        try:
            children += map(int, task.read_text().split())
        except OSError:
            continue
    return [own, *children]


def _status(process: int, field: str) -> int:
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(field)), 0)
