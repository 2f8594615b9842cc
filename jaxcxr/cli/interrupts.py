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

_RERUN = "rerun the same command"
# A run mode, if it is known yet -> what happens then. Whatever else was interrupted starts again.
_THEN = {
    "train": " to go on from what is finished",
    "study": " to go on from what is finished",
    "": "",
}
_running = ""


def running(mode: str) -> None:
    """Tells which run mode is under way from here on."""
    global _running
    _running = mode


def rerun() -> str:
    """What to do after the interruption of this run mode, and whether it resumes."""
    return _RERUN + _THEN.get(_running, f"; {_running} starts again from the beginning")


def install() -> None:
    """Handles both signals from here on; call it before what takes long to import."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)


def end(number: int, frame: FrameType | None) -> None:
    """Ends the process: with 130 after SIGINT, by the signal after SIGTERM (143 in a shell)."""
    del frame
    with contextlib.suppress(Exception):  # it may have been amid writing
        sys.stdout.flush()
    os.write(2, f"\ninterrupted by {signal.Signals(number).name}; {rerun()}\n".encode())
    if number == signal.SIGINT:
        os._exit(130)
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
