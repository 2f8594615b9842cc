"""Folders of derived files whose manifest holds the SHA-256 of each, and of itself.

A stored hash is checked whenever what it belongs to is read: a flipped bit in a checkpoint or a
prepared image changes a result without any error of its own.
"""

from __future__ import annotations

import concurrent.futures
import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from jaxcxr.storage import files

_THREADS = 4  # hashing releases the interpreter's lock


def write(path: Path, body: Mapping[str, Any], *, names: Iterable[str] | None = None) -> None:
    """Hashes files below the manifest's folder, forces them to the disk, then writes it.

    Args:
        path: the manifest, `<folder>/<name>.json`; it is written last, so it vouches for the rest.
        body: JSON values that it holds beside "files".
        names: of the files, relative to the folder; None: all.
    """
    folder = path.parent
    if names is None:
        names = (str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
    names = sorted(names)
    with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
        hashes = pool.map(lambda name: files.sha256_file(folder / name, fsync=True), names)
        listed = {
            name: {"bytes": (folder / name).stat().st_size, "sha256": digest}
            for name, digest in zip(names, hashes, strict=True)
        }
    for inner in {(folder / name).parent for name in names} | {folder, folder.parent}:
        files.fsync_folder(inner)
    write_body(path, {**body, "files": listed})


def write_body(path: Path, body: Mapping[str, Any]) -> None:
    """Writes a manifest whose "files" are known already, with the hash of the body."""
    text = json.dumps({**body, "sha256": _hash(body)}, indent=1)  # a NaN metric stays NaN
    files.write_text(path, text)


def read(path: Path) -> dict[str, Any] | None:
    """Returns the body of a manifest with its "files"; None if it is missing or damaged."""
    try:
        manifest = json.loads(path.read_bytes())
        if manifest.pop("sha256") == _hash(manifest):
            return manifest
    except (OSError, ValueError, KeyError, AttributeError, TypeError, RecursionError):
        pass
    return None


def problem(path: Path, *, names: Iterable[str] = ()) -> str | None:
    """Hashes the files that a manifest lists; returns what is wrong with one, None if nothing is.

    Args:
        path: the manifest.
        names: of files to check, those that it lists; none: all.
    """
    manifest = read(path)
    if manifest is None:
        return f"is damaged: {path.name} has changed" if path.exists() else f"has no {path.name}"

    def check(item: tuple[str, Mapping[str, Any]]) -> str | None:
        name, expected = item
        file = path.parent / name
        if not file.is_file():
            return f"is damaged: {name} is missing"
        size = file.stat().st_size
        if size != expected["bytes"]:
            return f"is damaged: {name} has {size} bytes instead of {expected['bytes']}"
        try:
            intact = files.sha256_file(file) == expected["sha256"]
        except OSError as error:
            return f"is damaged: {name} cannot be read ({error.strerror})"
        return None if intact else f"is damaged: the content of {name} has changed (SHA-256)"

    listed = manifest["files"]
    checked = {name: listed[name] for name in names if name in listed} if names else listed
    with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
        return next((p for p in pool.map(check, checked.items()) if p), None)


def _hash(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
