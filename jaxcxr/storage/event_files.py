"""TensorBoard's event files: a copy of what metrics.jsonl says, so their loss never stops a run."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from tensorboardX import summary
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto import event_pb2

from jaxcxr.storage import files

_Event: Any = event_pb2.Event  # pyright: ignore[reportAttributeAccessIssue] -- made at import
_SessionLog: Any = event_pb2.SessionLog  # pyright: ignore[reportAttributeAccessIssue]
_FLUSH_SECONDS = 10.0
_RETRY_SECONDS = 60.0

logger = logging.getLogger(__name__)


class EventFiles:
    """Appends events to a new file in a folder, written by the caller's own thread.

    tensorboardX's SummaryWriter has a thread that ends at the first full disk, and then blocks its
    caller for good at the eleventh event. Here what cannot be written is dropped, with one warning;
    a minute later a new file is tried.
    """

    def __init__(self, folder: Path):
        """Opens nothing before the first event."""
        self._folder = folder
        self._writer: EventsWriter | None = None
        self._purge_step: int | None = None
        self._flushed = self._failed = float("-inf")
        self._pending = self._dropped = 0  # events that are buffered, and lost

    def hide_from(self, step: int) -> None:
        """Tells TensorBoard, with the next event, to hide the events of `step` and later."""
        self._purge_step = step

    def scalar(self, name: str, value: float, step: int) -> None:
        """Appends a number of `step`."""
        self._add(_Event(summary=summary.scalar(name, value), step=step))

    def image(self, name: str, image: np.ndarray, step: int) -> None:
        """uint8 [H, W] or [H, W, C]."""
        layout = "HW" if image.ndim == 2 else "HWC"
        self._add(_Event(summary=summary.image(name, image, dataformats=layout), step=step))

    def text(self, name: str, text: str, step: int) -> None:
        """Appends a text of `step`, which TensorBoard shows as Markdown."""
        self._add(_Event(summary=summary.text(name, text), step=step))

    def close(self) -> None:
        """Writes out what is buffered; the next event opens another file."""
        writer, self._writer = self._writer, None
        if writer is not None:
            try:
                writer.close()
                self._pending = 0
            except OSError as error:
                self._fail(error)
        if self._dropped:
            logger.warning("TensorBoard's files in %s lack %d events.", self._folder, self._dropped)
            self._dropped = 0

    def _add(self, event: Any) -> None:
        event.wall_time = time.time()
        now = time.monotonic()
        if self._writer is None and now - self._failed < _RETRY_SECONDS:
            self._dropped += 1
            return
        try:
            if self._writer is None:
                self._writer = self._open()
            self._pending += 1
            self._writer.write_event(event)
            if now - self._flushed > _FLUSH_SECONDS:
                self._writer.flush()
                self._flushed, self._pending = now, 0
        except OSError as error:
            self._fail(error)

    def _open(self) -> EventsWriter:
        self._folder.mkdir(parents=True, exist_ok=True)
        # Its names tell only seconds apart, and it empties a file that is there.
        writer = EventsWriter(
            str(self._folder / "events"), filename_suffix=f".{os.getpid()}.{time.time_ns()}"
        )
        if self._purge_step is not None:
            start = _SessionLog(status=_SessionLog.START)
            writer.write_event(_Event(step=self._purge_step, file_version="brain.Event:2"))
            writer.write_event(_Event(step=self._purge_step, session_log=start))
            self._purge_step = None
        return writer

    def _fail(self, error: OSError) -> None:
        """Ends the current file: a truncated record makes the rest of it unreadable.

        The next record goes to another file.
        """
        if self._failed == float("-inf"):
            logger.warning(
                (
                    "TensorBoard's files in %s cannot be written (%s); the run continues without "
                    "them, and metrics.jsonl has all numbers."
                ),
                self._folder,
                error.strerror or files.reason(error),
            )
        self._failed = time.monotonic()
        self._dropped, self._pending = self._dropped + max(self._pending, 1), 0
        writer, self._writer = self._writer, None
        if writer is not None:
            with contextlib.suppress(OSError):
                writer._py_recordio_writer.close()
