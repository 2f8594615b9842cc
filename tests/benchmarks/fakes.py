"""Jobs of a moment for the harness, which runs them in real worker processes."""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path

import numpy as np

from benchmarks.protocol import Prepared


def note(
    folder: Path, *, name: str, turns: str, seconds: float = 0.0, value: float = 1.0
) -> Prepared:
    """A side that writes its name at every turn, sleeps, and computes one number."""
    del folder

    def run() -> None:
        print("what a library prints does not get between the answers")
        time.sleep(seconds)
        with Path(turns).open("a") as file:
            file.write(name)

    return Prepared(
        run, lambda: {"x": np.array([1.0, value])}, lambda: {"flops": 100.0} if name == "B" else {}
    )


def write(folder: Path, *, value: float) -> None:
    """A preparation."""
    np.savez(folder / "given.npz", x=np.array([1.0, value]))


def read(folder: Path) -> Prepared:
    """A side that gives what `write` wrote."""
    with np.load(folder / "given.npz") as file:
        x = file["x"]
    return Prepared(lambda: None, lambda: {"x": x})


def broken(folder: Path) -> Prepared:
    """Fails before its first turn."""
    raise ValueError(f"nothing fits in {folder.name[:10]}")


def dies(folder: Path) -> Prepared:
    """Ends without a word at its first turn."""
    del folder
    return Prepared(lambda: os._exit(9))


def page_faults(folder: Path) -> int:
    """Of ten arrays of 64 MiB, of which one is there at a time, after a first one."""
    del folder
    for turn in range(11):
        if turn == 1:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        _ = bytearray(b"1") * (64 << 20)
        del _
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
