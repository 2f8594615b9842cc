"""File locks for shared data: one process writes a folder while all further ones wait."""

from __future__ import annotations

import contextlib
import errno
import fcntl
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds an exclusive lock on `path`; a second process waits, then finds the work done.

    Where writing is not permitted, no lock is taken: such a process can only read.
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
    """Returns whether an error is that of a read-only file, folder or file system."""
    return isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS)
