"""The end of programs whose output nobody reads any more."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def quiet_when_unread() -> Iterator[None]:
    """Ends the process with 1 and no word where the reader of its output had enough, as `head` has.

    What is still in the buffer at the block's end is written there: the interpreter would complain
    at its own end.
    """
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
