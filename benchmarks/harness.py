"""Runs the sides of a case in turn, each in a process of its own, and compares what they computed.

In every round each side runs once, A B C, then C B A: a machine that slows down slows all of them.
The sides' times are compared round by round.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.files import read_arrays
from benchmarks.protocol import Job

ROOT = Path(__file__).resolve().parents[1]

# Before each turn. The threads of GNU's OpenMP spin for some milliseconds after their last work,
# Intel's for 200, and would take a core from the side that follows. OMP_WAIT_POLICY=passive would
# end that, too, but makes PyTorch wake its threads at every operation; so its own setting stays,
# and `idle_cpu` shows that nobody was disturbed.
PAUSE = 0.25

# A turn of a side lasts at least so long, by as many calls as that takes: the first call after
# other processes had the cores finds cold caches and sleeping threads, which costs up to half of a
# call of 40 ms and is no part of a user's hundredth batch.
TURN_SECONDS = 0.5

Tolerance = float | Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class Side:
    """One way of computing a case.

    Attributes:
        name: what the table calls it.
        job: gives a `Prepared`.
        tolerance: of this side, instead of the case's.
        size: what the case varies (images, patches, pixels), where it is one point of a curve.
    """

    name: str
    job: Job
    tolerance: Tolerance | None = None
    size: float | None = None


@dataclasses.dataclass(frozen=True)
class Case:
    """What is measured.

    Attributes:
        name: 'patched/densenet161'.
        sides: run in this order.
        prepare: run first, one after the other: they write the files in the case's folder that all
            sides read.
        reference: name of the side that the others are compared with.
        tolerance: largest relative difference of any output from the reference's, or of each by
            name.
        warmups: rounds that do not count; the first one compiles.
        at_most: repetitions, where many would take hours; None: as asked for.
        exponent: of the time against `Side.size`, as it should be.
    """

    name: str
    sides: tuple[Side, ...]
    prepare: tuple[Job, ...] = ()
    reference: str = "jaxcxr"
    tolerance: Tolerance = 1e-3
    warmups: int = 2
    at_most: int | None = None
    exponent: float | None = None


@dataclasses.dataclass
class SideResult:
    """What came out of a side; the fields of a side that did not run keep their defaults.

    Attributes:
        seconds: of each counted repetition, the mean of its calls.
        ratios: this side's seconds over the reference's, round by round: 2 where the reference is
            twice as fast.
        prepare_seconds: imports, weights, everything before the first repetition.
        first_seconds: the first repetition, which compiles.
        last_seconds: a call in the latest turn.
        idle_cpu: CPU seconds a second that its process used while it was another side's turn.
        host_bytes, device_bytes: memory at the peak.
        flops, bytes: of a repetition.
        difference: largest |output - reference's|, as a share of the largest |reference's| of the
            same array.
        skipped: why it could not run here.
        failed: what went wrong.
    """

    name: str
    size: float | None = None
    seconds: list[float] = dataclasses.field(default_factory=list)
    ratios: list[float] = dataclasses.field(default_factory=list)
    prepare_seconds: float | None = None
    first_seconds: float | None = None
    last_seconds: float | None = None
    idle_cpu: float | None = None
    host_bytes: float | None = None
    device_bytes: float | None = None
    flops: float | None = None
    bytes: float | None = None
    difference: float | None = None
    skipped: str = ""
    failed: str = ""

    @property
    def median(self) -> float | None:
        return float(np.median(self.seconds)) if self.seconds else None


@dataclasses.dataclass
class CaseResult:
    """The sides of a case, in its order.

    Attributes:
        expected_exponent: as it should be, where the case is a curve.
        exponents: of the time against the size, a fit for each round.
    """

    name: str
    sides: list[SideResult]
    expected_exponent: float | None = None
    exponents: list[float] = dataclasses.field(default_factory=list)

    @property
    def failed(self) -> bool:
        return any(side.failed for side in self.sides)


class WorkerError(Exception):
    """A worker ended before it answered; says its last words."""


class Worker(contextlib.AbstractContextManager["Worker"]):
    """A worker process; it has been told its job, and answers once it has done it."""

    def __init__(self, job: Job, folder: Path, *, number: int = 0):
        self._log = folder / f"worker{number}.log"
        self.outputs = folder / f"outputs{number}.npz"
        with self._log.open("w", encoding="utf-8") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.worker"],
                cwd=ROOT,
                env=environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                encoding="utf-8",
            )
        told = {"function": job.function, "arguments": dict(job.arguments)}
        ours = job.function.startswith("benchmarks.ours.")  # as under main.py
        self.tell(
            {
                **told,
                "keep_freed": ours or job.keep_freed,
                "folder": str(folder),
                "outputs": str(self.outputs),
            }
        )

    def tell(self, message: Mapping[str, Any]) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # `answer` says why
            print(json.dumps(message), file=self._process.stdin, flush=True)

    def answer(self) -> dict[str, Any]:
        """Waits for the next answer.

        Raises:
            WorkerError: the process has ended instead.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if line:
            return json.loads(line)
        status = self._process.wait()
        words = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        raise WorkerError(f"exit status {status}: {words[-1].strip() if words else 'no word'}")

    def ask(self, do: str, **told: Any) -> dict[str, Any]:
        self.tell({"do": do, **told})
        return self.answer()

    def __exit__(self, *unused: object) -> None:
        self._process.kill()
        self._process.communicate()


def environment() -> dict[str, str]:
    """Of every worker: one device, whose memory JAX takes as it needs it, since others need some,
    too.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "0").partition(",")[0]
    flags = [flag for flag in os.environ.get("XLA_FLAGS", "").split() if "device_count" not in flag]
    return {
        **os.environ,
        "CUDA_VISIBLE_DEVICES": visible,
        "XLA_FLAGS": " ".join(flags),
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    }


def call(job: Job, folder: Path) -> Any:
    """What a job that prepares nothing to run says, from a process of its own."""
    with Worker(job, folder) as worker:
        return worker.answer()["says"]


def measure(case: Case, *, repeats: int, missing: Mapping[str, str]) -> CaseResult:
    """Runs a case.

    Args:
        case: what to run.
        repeats: counted rounds.
        missing: what this machine lacks, of `Job.needs` -> why; sides that need it are skipped.
    """
    results = [SideResult(side.name, side.size) for side in case.sides]
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        try:
            for job in case.prepare:
                if not any(need in missing for need in job.needs):
                    call(job, folder)
        except WorkerError as error:
            for result in results:
                result.failed = f"preparation: {error}"
            return CaseResult(case.name, results)
        running: dict[int, Worker] = {}
        for i, side in enumerate(case.sides):
            results[i].skipped = "; ".join(
                missing[need] for need in side.job.needs if need in missing
            )
            if not results[i].skipped:
                running[i] = stack.enter_context(Worker(side.job, folder, number=i))
                _try(running, i, results[i], lambda i=i: _ready(running[i], results[i]))
        counted = min(repeats, case.at_most or repeats)
        rounds = [
            _round(running, results, backwards=bool(n % 2)) for n in range(case.warmups + counted)
        ]
        for i in list(running):
            _try(running, i, results[i], lambda i=i: _finish(running[i], results[i]))
        _compare(case, running, results)
        return summarise(case, results, rounds[case.warmups :])


def _try(running: dict[int, Worker], i: int, result: SideResult, step: Any) -> None:
    """Takes a side that fails out of the rounds."""
    try:
        step()
    except WorkerError as error:
        result.failed = str(error)
        del running[i]


def _ready(worker: Worker, result: SideResult) -> None:
    result.prepare_seconds = worker.answer()["prepare_seconds"]


def _round(
    running: dict[int, Worker], results: Sequence[SideResult], *, backwards: bool
) -> dict[int, float]:
    """Every side once: its number -> seconds."""
    seconds: dict[int, float] = {}

    def turn(i: int) -> None:
        if len(running) > 1:
            time.sleep(PAUSE)
        result = results[i]
        calls = _calls(result.last_seconds)
        seconds[i] = running[i].ask("run", calls=calls)["seconds"] / calls
        result.last_seconds = seconds[i]
        if result.first_seconds is None:
            result.first_seconds = seconds[i]

    for i in sorted(running, reverse=backwards):
        _try(running, i, results[i], lambda i=i: turn(i))
    return seconds


def _calls(seconds: float | None) -> int:
    """Of a turn, from how long a call took before; None: the first one, which compiles."""
    if seconds is None:
        return 1
    return max(1, math.ceil(TURN_SECONDS / max(seconds, 1e-3)))


def _finish(worker: Worker, result: SideResult) -> None:
    for name, value in worker.ask("finish").items():
        setattr(result, name, value)


def _compare(case: Case, running: Mapping[int, Worker], results: Sequence[SideResult]) -> None:
    """Fills in the differences from the reference, or from the first side that ran; too large ones
    fail.
    """
    outputs = {i: read_arrays(worker.outputs) for i, worker in running.items()}
    if not outputs:
        return
    names = {case.sides[i].name: i for i in outputs}
    reference = names.get(case.reference, min(outputs))
    for i, found in outputs.items():
        side, result, expected = case.sides[i], results[i], outputs[reference]
        if i == reference:
            continue
        if found.keys() != expected.keys():
            result.failed = (
                f"gives {sorted(found)} where {case.sides[reference].name} gives {sorted(expected)}"
            )
        elif found:
            tolerance = case.tolerance if side.tolerance is None else side.tolerance
            apart = {name: relative(found[name], expected[name]) for name in expected}
            result.difference = max(apart.values())
            for name, difference in apart.items():
                limit = tolerance[name] if isinstance(tolerance, Mapping) else tolerance
                if not difference <= limit:
                    result.failed = (
                        f"{name} differs from that of {case.sides[reference].name} by "
                        f"{difference:.2g}, above {limit}"
                    )


def relative(found: np.ndarray, expected: np.ndarray) -> float:
    """max |found - expected| / max |expected|; infinite where one is not finite or the shapes
    differ.
    """
    if found.shape != expected.shape or not (
        np.isfinite(found).all() and np.isfinite(expected).all()
    ):
        return float("inf")
    scale = float(np.abs(expected).max(initial=0.0))
    apart = float(np.abs(found.astype(np.float64) - expected).max(initial=0.0))
    return apart / scale if scale else apart


def summarise(
    case: Case, results: list[SideResult], rounds: Sequence[Mapping[int, float]]
) -> CaseResult:
    """Fills in what follows from the counted rounds: number of a side -> its seconds."""
    names = [side.name for side in case.sides]
    reference = names.index(case.reference) if case.reference in names else None
    for i, result in enumerate(results):
        result.seconds = [times[i] for times in rounds if i in times]
        if reference is not None and result.flops is None and result.seconds:
            # The same mathematics; what this side moves in memory nobody has counted.
            result.flops = results[reference].flops
        if reference is not None and i != reference:
            result.ratios = [
                times[i] / times[reference] for times in rounds if i in times and reference in times
            ]
    sizes = {i: side.size for i, side in enumerate(case.sides) if side.size is not None}
    exponents = [
        exponent([sizes[i] for i in sizes if i in times], [times[i] for i in sizes if i in times])
        for times in rounds
        if len(times.keys() & sizes.keys()) > 1
    ]
    return CaseResult(case.name, results, case.exponent, exponents)


def exponent(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """b of seconds = a size^b, by least squares in logarithms."""
    slope, _ = np.polyfit(np.log(sizes), np.log(seconds), 1)
    return float(slope)
