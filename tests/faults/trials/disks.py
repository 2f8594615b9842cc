"""Disks that are full when a file is about to be written."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults import scenarios
from tests.faults.promises import Context, promise

# Scenario, and the file (or folder) at whose creation the disk is full.
MOMENTS = (
    ("train", r"run/\.config\.json\."),
    ("train", r"run/\.manifest\.json\."),
    ("train", r"run/metrics\.jsonl$"),
    ("train", r"run/tensorboard$"),
    ("train", r"run/\.training\.json\."),
    ("train", r"run/\.predictions\.npz\."),
    ("train", r"run/\.report\.md\."),
    ("train", r"run/plots/\."),
    ("train", r"preprocessed/.*\.u8$|preprocessed/\.building"),
    ("train", r"data/.*incomplete\."),
    ("xrays", r"run/xrays/.*\.(csv|jsonl)"),
    ("export", r"run/export/\."),
)
UNNOTICED = (r"run/tensorboard$",)  # what a run goes on without
_BYTES = 128 << 20


class Disk:
    """A small file system of its own, where one may be mounted, which can be filled; else one that
    says it is full.
    """

    def __init__(self, folder: Path):
        folder.mkdir()
        self.folder = folder
        self._filler = folder / "filler"
        libc = ctypes.CDLL(None, use_errno=True)
        self._libc = libc
        self.mounted = not libc.mount(
            b"tmpfs", os.fsencode(folder), b"tmpfs", 0, b"size=%d" % _BYTES
        )

    def fill(self) -> None:
        with contextlib.suppress(OSError), open(self._filler, "wb", buffering=0) as file:
            size = 1 << 20
            while size:
                try:
                    file.write(bytes(size))
                except OSError:
                    size //= 2

    def free(self) -> None:
        self._filler.unlink(missing_ok=True)

    def close(self) -> None:
        if self.mounted:
            self._libc.umount2(os.fsencode(self.folder), 2)


class _Trap:
    """Calls back when this process creates a file or folder whose path has a pattern; one hook for
    all trials.
    """

    def __init__(self) -> None:
        self.pattern: re.Pattern[str] | None = None
        self.spring: Any = None
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.pattern is None or event not in ("open", "os.mkdir"):
            return
        path = arguments[0]
        writes = event == "os.mkdir" or (
            isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        )
        if (
            isinstance(path, (str, bytes, os.PathLike))
            and writes
            and self.pattern.search(os.fsdecode(path))
        ):
            self.pattern, spring = None, self.spring
            spring()


_trap: list[_Trap] = []


def _full(disk: Disk) -> None:
    if disk.mounted:
        disk.fill()
    else:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _command(scenario: str, folder: Path) -> str:
    """What a command says as it ends: '' where it ends well."""
    try:
        with contextlib.redirect_stdout(None), pytest.MonkeyPatch.context() as patch:
            scenarios.prepare(patch)
            scenarios.SCENARIOS[scenario].command(folder)
    except SystemExit as left:
        return str(left.code)
    except Exception as error:  # what a user would meet as a traceback
        return f"{type(error).__name__}: {error}"
    return ""


def _trial(whole: Path, disk: Disk, scenario: str, pattern: str) -> str:
    folder = disk.folder / "trial"
    before = scenarios.SCENARIOS[scenario].before
    if before:
        shutil.copytree(whole / before, folder)
    else:
        folder.mkdir()
    trap = _trap[0]
    trap.pattern, trap.spring = re.compile(pattern), lambda: _full(disk)
    said = _command(scenario, folder)
    sprung, trap.pattern = trap.pattern is None, None
    disk.free()
    where = f"{scenario}, full at {pattern!r}: "
    if not sprung:
        return where + "that file was never written"
    if not said and pattern not in UNNOTICED:
        return where + "the command ended as if nothing had been"
    if said and not (
        said.startswith("error: ") and "full" in said and "start the same command again" in said
    ):
        return where + said[:400]
    if said and "\n" in said.strip():
        return where + f"more than a line: {said[:400]}"
    if said and (again := _command(scenario, folder)):
        return where + f"started again: {again[:400]}"
    expected, found = (scenarios.digests(scenario, root) for root in (whole / scenario, folder))
    differing = sorted(n for n in {*expected, *found} if expected.get(n) != found.get(n))
    if differing:
        return where + f"other bits in {', '.join(differing[:5])}"
    shutil.rmtree(folder)
    return ""


@promise(
    "disks/full",
    "a full disk is one line; the same command then ends as if it had never been",
    full=12,
    quick=0,
)
def full(context: Context) -> Iterator[str]:
    if not _trap:
        _trap.append(_Trap())
    whole, disk = context.folder / "whole", Disk(context.folder / "disk")
    try:
        for n in range(context.trials):
            scenario, pattern = MOMENTS[n % len(MOMENTS)]
            for name in (scenarios.SCENARIOS[scenario].before, scenario):
                if name and not (whole / name).exists():
                    before = scenarios.SCENARIOS[name].before
                    if before:
                        shutil.copytree(whole / before, whole / name)
                    if problem := _command(name, whole / name):
                        raise RuntimeError(f"{name} fails undisturbed: {problem}")
            shutil.rmtree(disk.folder / "trial", ignore_errors=True)
            yield _trial(whole, disk, scenario, pattern)
    finally:
        disk.close()
