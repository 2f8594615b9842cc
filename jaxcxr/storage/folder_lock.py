"""Lock of a run folder: one process at a time; none where the folder cannot be written."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import time
from pathlib import Path
from typing import ClassVar

from jaxcxr.errors import InputError
from jaxcxr.storage import files

LOCK = ".lock"
_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)
_TAKEN = (errno.EACCES, errno.EAGAIN)


class ReadOnlyFolder(Exception):
    """The folder can be read but not written, so nothing is locked.

    The text is the system's reason.
    """


class FolderLock:
    """Exclusive lock of a folder, held by one process and released when it ends in any way.

    A POSIX record lock: unlike `flock`, forked data workers that outlive a killed run do not keep
    it. It does not bind within one process, so the process remembers its own.
    """

    _held: ClassVar[dict[Path, int]] = {}

    def __init__(self, folder: Path):
        """Makes the folder where there is none, and takes its lock.

        Raises:
            InputError: the lock is taken (names the process that has it), or this cannot be a
                folder.
            ReadOnlyFolder: the folder exists and cannot be written.
        """
        self._made = make_folder(folder)
        self._folder = folder.resolve()
        self._path = self._folder / LOCK
        if self._path in self._held:
            raise InputError(f"{folder} is in use by this very process ({os.getpid()}).")
        self._new = not self._path.exists()
        descriptor = self._take(folder)
        self._held[self._path] = descriptor
        holder = f"process {os.getpid()} on {socket.gethostname()}, since {_now()}\n"
        with contextlib.suppress(OSError):  # a full disk: others then read "another process"
            os.ftruncate(descriptor, 0)
            os.write(descriptor, holder.encode())
        files.remove_leftovers(folder)

    def _take(self, folder: Path) -> int:
        """Opens and locks the file that is there under its name."""
        while True:
            descriptor = self._open(folder)
            try:
                fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                holder = os.read(descriptor, 200).decode(errors="replace").strip()
                os.close(descriptor)
                if error.errno not in _TAKEN:
                    raise InputError(
                        f"{folder} cannot be locked ({error.strerror}), which keeps two runs "
                        "apart: give the run a folder on a file system with locks "
                        "(--workdir=...)."
                    ) from error
                raise InputError(
                    f"{folder} is in use by {holder or 'another process'}. Wait for it or stop it; "
                    "another training can take another folder (--workdir=...)."
                ) from error
            # Between the two its holder may have removed it: that lock would bind nobody.
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), os.stat(self._path)):
                    return descriptor
            os.close(descriptor)

    def _open(self, folder: Path) -> int:
        try:
            return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            if error.errno in _READ_ONLY:
                raise ReadOnlyFolder(error.strerror) from error
            if files.is_disk_full(error):
                raise InputError(files.disk_full(self._path)) from error
            raise InputError(
                f"--workdir={folder} cannot be a run folder: {self._path}: {error.strerror}."
            ) from error

    def release(self, *, clean: bool = False) -> None:
        """Gives the lock back; `clean` also removes the folder if it was made here and is empty."""
        descriptor = self._held.pop(self._path, None)
        if descriptor is None:
            return
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)
            if clean and self._new:
                self._path.unlink()
                for folder in self._made:
                    folder.rmdir()
        os.close(descriptor)


def make_folder(path: Path) -> list[Path]:
    """Makes a run folder; returns what was made, innermost first.

    Raises:
        InputError: it cannot be one.
    """
    try:
        missing = [folder for folder in (path, *path.parents) if not os.path.lexists(folder)]
        path.mkdir(parents=True, exist_ok=True)
        return missing
    except (OSError, ValueError, RuntimeError) as error:
        if files.is_disk_full(error):
            raise InputError(files.disk_full(path)) from error
        raise InputError(
            f"--workdir={path} cannot be a run folder: {_why(path, error)}. Give another "
            "(--workdir=...)."
        ) from error


def _why(path: Path, error: Exception) -> str:
    for place in (path, *path.parents):
        with contextlib.suppress(OSError):
            if place.is_symlink() and not place.exists():
                return f"{place} is a link to {os.readlink(place)}, which does not exist"
            if place.exists() and not place.is_dir():
                return f"{place} is a file"
    return getattr(error, "strerror", None) or files.reason(error)


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
