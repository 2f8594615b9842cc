"""Provenance of a run.

Versions, source, machine, command, and the files of earlier runs that it read.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import os
import platform
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jaxcxr
from jaxcxr.storage import files, run_files
from jaxcxr.storage.run_files import FINISHED, SEALED

PACKAGES = (
    "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "tensorflow-datasets", "numpy",
    "scipy", "scikit-learn", "pillow", "opencv-python-headless", "scikit-image", "pydicom",
    "ml-collections",
)  # fmt: skip
_ROOT = Path(jaxcxr.__file__).resolve().parents[1]
_OWN = ("main.py", "jaxcxr", "configs", "tfds_builders")  # what a run consists of
_GIT_SECONDS = 10


def environment() -> dict[str, Any]:
    """The versions, the machine, the command and the time, for a manifest."""
    return {
        "jaxcxr": source(),
        "versions": {name: version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "command": shlex.join(["python", *sys.argv]),
        "time": now(),
    }


@functools.cache
def source(root: Path = _ROOT) -> dict[str, Any]:
    """{"version", "commit", "changed"} of the project's own source.

    As it was when this process first asked.

    commit: of the git checkout that the package lies in; changed: whether its code differs from
    that commit. Both are None for an installed package, without git, or where git takes longer than
    ten seconds.
    """
    commit = _git(root, "rev-parse", "HEAD") if (root / ".git").exists() else None
    status = _git(root, "status", "--porcelain", "--", *_OWN) if commit else None
    changed = None if status is None else bool(status)
    return {"version": jaxcxr.__version__, "commit": commit or None, "changed": changed}


def version(package: str) -> str | None:
    """Version of an installed package; None where it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def content_sha256(path: Path) -> str:
    """The SHA-256 of a file of a run.

    Of finished.json without the mark that results are sealed: predicting or evaluating again
    renews it, and changes nothing that other runs are made of.
    """
    if path.name != FINISHED:
        return files.sha256_file(path)
    marks = run_files.read(path)
    marks.pop(SEALED, None)
    return hashlib.sha256(files.json_text(marks).encode()).hexdigest()


def upstream(path: str | os.PathLike[str]) -> dict[str, str]:
    """Returns {"path", "sha256"} of a file of an earlier run (a run folder: of its manifest).

    Raises:
        InputError: it is not there, or cannot be read.
    """
    path = Path(path)
    if path.is_dir():
        path = path / "manifest.json"
    with files.reading(path, "finish the run that writes it first."):
        return {"path": str(path), "sha256": content_sha256(path)}


def now() -> str:
    """UTC, to the second."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _git(root: Path, *arguments: str) -> str | None:
    """Output of git; None where it fails, is not installed, or takes too long."""
    # git would rewrite its index while it looks, and take its lock.
    elsewhere = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE")
    environment = {name: value for name, value in os.environ.items() if name not in elsewhere}
    environment["GIT_OPTIONAL_LOCKS"] = "0"
    try:
        answer = subprocess.run(
            ["git", "-C", str(root), *arguments],
            env=environment, capture_output=True, encoding="utf-8", errors="replace",
            timeout=_GIT_SECONDS, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
