"""SIGTERM and Ctrl-C outside training: one line, then the end at once.

Any moment will do for a command to end (docs/RELIABILITY.md), and an exception would be lost where
the signal meets a callback of the garbage collector, of which JAX has one. The training loop saves
a checkpoint first.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from types import FrameType

RERUN = "rerun the same command to go on from what is finished"


def install() -> None:
    """Handles both signals from here on; call it before what takes long to import."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)


def end(number: int, frame: FrameType | None) -> None:
    """Ends the process: with 130 after SIGINT, by the signal after SIGTERM (143 in a shell)."""
    del frame
    with contextlib.suppress(Exception):  # it may have been amid writing
        sys.stdout.flush()
    os.write(2, f"\ninterrupted by {signal.Signals(number).name}; {RERUN}\n".encode())
    if number == signal.SIGINT:
        os._exit(130)
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
