"""Output of a run in progress: metrics.jsonl, TensorBoard and the progress bar."""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self, TextIO

import numpy as np
from tqdm import tqdm

from jaxcxr.errors import InputError
from jaxcxr.storage import files
from jaxcxr.storage.event_files import EventFiles
from jaxcxr.storage.run_files import is_number

METRICS, TENSORBOARD = "metrics.jsonl", "tensorboard"


class MetricWriter:
    """Appends metrics to `metrics.jsonl` and to TensorBoard.

    One row {"step": ..., name: value} a call.

    A row is on its way to the disk when the call returns. NaN and infinities are null in the file.
    """

    def __init__(self, workdir: str | os.PathLike[str], *, active: bool = True):
        """Opens the files for appending.

        Args:
            workdir: the run folder; TensorBoard's files go below `tensorboard/`.
            active: False does nothing at all: for all processes but one.

        Raises:
            InputError: metrics.jsonl is damaged.
        """
        self._workdir = Path(workdir)
        self._active = active
        self._file: int | None = None
        self._events = EventFiles(self._workdir / TENSORBOARD)
        if active:
            self._workdir.mkdir(parents=True, exist_ok=True)
            # Here only for its repair of a last row that a kill cut short.
            self._keep_rows(lambda row: True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def scalars(self, step: int, values: Mapping[str, Any]) -> None:
        """Writes one row of numbers; a name such as 'valid/macro_f1' groups it in TensorBoard.

        Raises:
            InputError: the disk is full; the rows before are intact.
        """
        if not self._active:
            return
        numbers = {name: float(value) for name, value in values.items()}
        row = files.jsonable({"step": int(step), **numbers})
        self._append(f"{json.dumps(row, allow_nan=False)}\n".encode())
        for name, value in numbers.items():
            if math.isfinite(value):
                self._events.scalar(name, value, int(step))

    def image(self, step: int, tag: str, image: np.ndarray) -> None:
        """Writes a uint8 image [H, W, C], C = 1 or 3 (or [H, W]), to TensorBoard."""
        if not self._active:
            return
        image = np.asarray(image)
        if image.dtype != np.uint8:
            raise TypeError(f"image {tag!r} is {image.dtype}, not uint8")
        self._events.image(tag, image, int(step))

    def text(self, step: int, tag: str, text: str) -> None:
        """Writes Markdown to TensorBoard."""
        if self._active:
            self._events.text(tag, text, int(step))

    def truncate_after(self, step: int) -> None:
        """Forgets all rows after `step`, so that a resumed run does not write them twice.

        Call it before the first row of a resumed run, with the step that was restored, or -1 where
        none was. TensorBoard hides what it was given after that step (images of step 0 stay).
        """
        if not self._active:
            return
        self.close()
        self._keep_rows(lambda row: row["step"] <= step)
        self._events.hide_from(max(step + 1, 1))

    def close(self) -> None:
        """Writes out and closes the files."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
        self._events.close()

    def _append(self, row: bytes) -> None:
        """The whole row, or nothing of it."""
        path = self._workdir / METRICS
        try:
            if self._file is None:
                self._file = os.open(
                    path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666
                )
            before = os.fstat(self._file).st_size
            try:
                rest = memoryview(row)
                while rest:
                    rest = rest[os.write(self._file, rest) :]
            except OSError:
                os.ftruncate(self._file, before)
                raise
        except OSError as error:
            if files.is_disk_full(error):
                intact = "the rows before this one, and the checkpoints, are intact"
                raise InputError(files.disk_full(path, intact)) from error
            raise InputError(f"{path} cannot be written: {error.strerror}.") from error

    def _keep_rows(self, predicate: Any) -> None:
        path = self._workdir / METRICS
        if not path.exists():
            return
        text = "".join(
            json.dumps(row) + "\n" for row in read_metrics(self._workdir) if predicate(row)
        )
        if text.encode() != path.read_bytes():
            files.write_text(path, text)


def read_metrics(workdir: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Returns the rows of a run's metrics.jsonl in their order; [] where there is none.

    A last row that was cut short by a kill is left out.

    Raises:
        InputError: a row is damaged; names its line.
    """
    path = Path(workdir) / METRICS
    if not os.path.lexists(path):
        return []
    with files.reading(path, "put the file back, or delete it: only curves are made from it."):
        *lines, tail = path.read_bytes().split(b"\n")
    del tail  # nothing, or the part of a row
    rows = []
    for number, line in enumerate(lines, start=1):
        where = f"{path}, line {number}"
        with files.reading(where, "delete that line and start the same command again."):
            row = json.loads(line)
            if not isinstance(row["step"], int):
                raise ValueError(f"no step in {files.reason(ValueError(line[:80].decode()))!r}")
            invalid = [
                name for name, value in row.items() if value is not None and not is_number(value)
            ]
            if invalid:
                raise ValueError(f"{invalid[0]} is no number")
        rows.append(row)
    return rows


class Progress:
    """Step, rate, loss and time left.

    A bar in a terminal, else a line at most every ten seconds.
    """

    def __init__(
        self, total: int, *, start: int = 0, description: str, active: bool = True,
        unit: str = "step", file: TextIO | None = None,
    ):  # fmt: skip
        """Starts at step `start` of `total`.

        Args:
            total: steps in all.
            start: steps done before (a resumed run); they do not count for the rate.
            description: what is going on.
            active: False shows nothing.
            unit: what is counted.
            file: where to; standard error by default.
        """
        self._total, self._start, self._step = total, start, start
        self._description, self._unit = description, unit
        self._file = file or sys.stderr
        self._active = active
        self._begin = self._shown = time.monotonic()
        self._values: dict[str, Any] = {}
        self._first: int | None = None
        self._unseen = True  # whether anything came after the last line
        self._bar = None
        if active and self._file.isatty():
            self._bar = tqdm(
                total=total, initial=start, desc=description, unit=unit, file=self._file,
                dynamic_ncols=True, mininterval=0, leave=True,
            )  # fmt: skip
        self._interval = 0.25 if self._bar is not None else 10.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def update(self, step: int, **values: Any) -> None:
        """Moves to `step`; `values` (loss=...) are shown from now on.

        A device array among them is waited for only when it is shown, so as not to stall the
        device.
        """
        if not self._active:
            return
        if self._first is None:
            # The first step waits for the compiler; counting it would spoil the rate and the time
            # left.
            self._first = step
            self._begin = time.monotonic()
            if self._bar is not None:
                self._bar.start_t = time.time()
                self._bar.initial = step
        self._step, self._unseen = step, True
        self._values |= values
        if time.monotonic() - self._shown >= self._interval:
            self._show()

    def close(self) -> None:
        """Shows the last step, if it has not been shown, and ends the line."""
        if self._active:
            if self._bar is not None or self._unseen:
                self._show()
            if self._bar is not None:
                self._bar.close()
            self._active = False

    def _show(self) -> None:
        now = time.monotonic()
        self._shown, self._unseen = now, False
        numbers = {name: f"{float(value):.4g}" for name, value in self._values.items()}
        if self._bar is not None:
            self._bar.set_postfix(numbers, refresh=False)
            self._bar.update(self._step - self._bar.n)
            self._bar.refresh()
            return
        elapsed, done = now - self._begin, self._step - (self._first or self._start)
        shown = "".join(f", {name} {value}" for name, value in numbers.items())
        pace = left = ""
        if elapsed > 0 and done > 0:  # before that nothing is known of the rate
            pace = f", {done / elapsed:.2f} {self._unit}/s"
            left = f", {tqdm.format_interval((self._total - self._step) * elapsed / done)} left"
        self._file.write(
            f"{self._description}: {self._unit} {self._step}/{self._total}{pace}{shown}{left}\n"
        )
        self._file.flush()
