"""One process makes a folder of shared data, the others wait for it."""

from __future__ import annotations

import contextlib
import errno
import fcntl
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds an exclusive lock on `path`: who comes second waits and finds the work done.

    Who may not write there can make nothing, and goes on without a lock to what others have made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = open(path, "wb")  # noqa: SIM115 (closed below)
    except OSError as error:
        if not is_read_only(error):
            raise
        yield
        return
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def is_read_only(error: BaseException | None) -> bool:
    """Whether an error says that something is not to be written to."""
    return isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS)
