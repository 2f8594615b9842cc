"""SIGTERM and SIGINT as a request, so that a run can save and leave between two steps."""

from __future__ import annotations

import signal
from types import FrameType


class StopRequest:
    """Remembers the signal, within a `with` block; the second one leaves at once.

    Attributes:
        signal: number of the signal, None before it comes.
    """

    def __init__(self) -> None:
        self.signal: int | None = None

    def __enter__(self) -> StopRequest:
        self._old = {s: signal.signal(s, self._handle) for s in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *unused: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None:
            before = self._old[signal.Signals(number)]
            if not callable(before):
                raise KeyboardInterrupt
            before(number, frame)
        self.signal = number
