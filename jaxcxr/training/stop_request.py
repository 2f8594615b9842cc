"""SIGTERM and SIGINT as a request, so that a run can save and leave between two steps."""

from __future__ import annotations

import signal
from types import FrameType


class StopRequest:
    """Remembers the signal, within a `with` block; the second one leaves at once.

    Attributes:
        signal: number of the signal, None before it comes.
        ends_at_once: whether there is nothing to save yet, so that the first one leaves at once,
            too.
    """

    def __init__(self, *, ends_at_once: bool = False) -> None:
        self.signal: int | None = None
        self.ends_at_once = ends_at_once

    def __enter__(self) -> StopRequest:
        self._old = {s: signal.signal(s, self._handle) for s in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *unused: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None or self.ends_at_once:
            before = self._old[signal.Signals(number)]
            if not callable(before):
                raise KeyboardInterrupt
            before(number, frame)
        self.signal = number
