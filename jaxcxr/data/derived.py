"""Folders of what is computed once from images and read by many runs, such as prepared pixels.

Such a folder is whole, with the hashes of its files, or not there: it is written under another name
and renamed. Its own name is the hash of all that its content follows from.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jaxcxr.data.locking import locked
from jaxcxr.errors import InputError
from jaxcxr.storage import files, manifests

META = "meta.json"
_log = logging.getLogger(__name__)


def key(made_of: Mapping[str, Any]) -> str:
    """The name of a folder: SHA-256 of JSON values."""
    return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()


def is_intact(folder: Path) -> bool:
    """Whether a folder is there, with the bytes that were written.

    All of it is hashed: the run reads these bytes anyway (docs/PERFORMANCE.md, "Choices in the
    code").
    """
    return folder.exists() and manifests.problem(folder / META) is None


def make(folder: Path, write: Callable[[Path], Mapping[str, Any]], *, what: str) -> None:
    """Makes a folder unless it is intact; other processes wait and then find it.

    Args:
        folder: its place.
        write: writes the files into the folder that it is given, and returns JSON values to keep
            with their hashes.
        what: name of the content in messages: "prepared images".

    Raises:
        InputError: the disk is full, or nothing can be written there.
    """
    try:
        with locked(folder.parent / f".{folder.name[:16]}.lock"):
            if is_intact(folder):
                return
            if folder.exists():
                problem = manifests.problem(folder / META)
                _log.warning("%s: %s %s; preparing them again", what, folder, problem)
            _write(folder, write)
    except OSError as error:
        if files.is_disk_full(error):
            raise InputError(
                files.disk_full(folder, "what was prepared before is untouched")
                + " data.data_dir chooses another place."
            ) from error
        raise InputError(
            f"the {what} cannot be written to {folder.parent}: {error.strerror or error}. "
            "Set data.data_dir to a folder that can be written to"
        ) from error


def _write(folder: Path, write: Callable[[Path], Mapping[str, Any]]) -> None:
    temporary = folder.parent / f".building-{folder.name}"
    for leftover in (folder, temporary):  # damaged, or of a process that was killed
        shutil.rmtree(leftover, ignore_errors=True)
    temporary.mkdir()
    try:
        manifests.write(temporary / META, write(temporary))
        os.rename(temporary, folder)
        files.fsync_folder(folder.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
