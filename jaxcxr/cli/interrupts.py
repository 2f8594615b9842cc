"""SIGTERM and Ctrl-C outside training: one line, then the end at once.

Any moment will do for a command to end (docs/RELIABILITY.md), and an exception would be lost where
the signal meets a callback of the garbage collector, of which JAX has one. The training loop saves
a checkpoint first (`training.stop_request`).

Python calls a handler between two of its instructions, and compiling a program is one that takes
minutes. A thread notices signals that come amid it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from types import FrameType
from typing import Any

_RERUN = "rerun the same command"
# A run mode, if it is known yet -> what happens then. Whatever else was interrupted starts again.
_THEN = {
    "train": " to go on from what is finished",
    "study": " to go on from what is finished",
    "": "",
}
_running = ""
_PATIENCE_S = 1.0  # until a handler counts as held up


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
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    # A child's signals are its own.
    os.register_at_fork(after_in_child=lambda: signal.set_wakeup_fd(-1))
    threading.Thread(target=_notice, args=(reader,), name="signals", daemon=True).start()


def _notice(reader: int) -> None:
    """Does what a handler that is held up would do, or says that it is.

    Args:
        reader: a pipe with a byte for each signal that came, its number.
    """
    is_second = False
    while True:
        number = os.read(reader, 1)[0]
        if number not in (signal.SIGTERM, signal.SIGINT):
            continue
        time.sleep(_PATIENCE_S)
        handler = signal.getsignal(number)
        request: Any = getattr(handler, "__self__", None)
        if handler is end or getattr(request, "ends_at_once", False):
            _leave(number)
        elif hasattr(request, "ends_at_once"):  # a `training.stop_request`
            if is_second:  # of either kind: it leaves at once
                _leave(number)
            is_second = True
            if request.signal is None:
                name = signal.Signals(number).name
                os.write(2, f"\n{name}: {_HELD_UP}\n".encode())


_HELD_UP = (
    "this ends with a checkpoint when what is under way is done (compiling takes minutes); a "
    "second signal ends it at once"
)


def _leave(number: int) -> None:
    """`end`, from any thread."""
    _say(number)
    os._exit(128 + number)


def end(number: int, frame: FrameType | None) -> None:
    """Ends the process: with 130 after SIGINT, by the signal after SIGTERM (143 in a shell)."""
    del frame
    _say(number)
    if number == signal.SIGINT:
        os._exit(130)
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def _say(number: int) -> None:
    with contextlib.suppress(Exception):  # it may have been amid writing
        sys.stdout.flush()
    os.write(2, f"\ninterrupted by {signal.Signals(number).name}; {rerun()}\n".encode())
