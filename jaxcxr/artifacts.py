"""The run folder: its configuration, its manifest, what is finished, and who is at work in it."""

from __future__ import annotations

import difflib
import fcntl
import fnmatch
import importlib.metadata
import os
import platform
import shlex
import socket
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from jaxcxr import files
from jaxcxr.files import (
    encode_png,
    read_json,
    sha256_file,
    write_bytes,
    write_json,
    write_npz,
    write_png,
    write_text,
)
from jaxcxr.predictions import Predictions, check_same_split
from jaxcxr.types import InputError

__all__ = [
    "Predictions", "RunFolder", "check_same_split", "differing_fields", "encode_png", "environment",
    "read_json", "sha256_file", "upstream", "write_bytes", "write_json", "write_npz", "write_png", "write_text",
]  # fmt: skip

CONFIG, MANIFEST, FINISHED, TIMINGS, LOCK = (
    "config.json", "manifest.json", "finished.json", "timings.json", ".lock",
)  # fmt: skip

# Fields that do not change what a run computes. Each pattern also matches below a prefix, as in
# the study's `learners.densenet161.train.log_every`.
VOLATILE = (
    "run", "name", "workdir", "train.log_every", "train.placement", "checkpoint.*", "predict.*", "evaluate.*",
    "explain.*", "lr_find.*", "probe.*", "compare.*", "export.*", "parallel.*", "data.data_dir", "data.manual_dir",
    "data.cache_dir",
)  # fmt: skip

_PACKAGES = (
    "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "tensorflow-datasets", "numpy",
)  # fmt: skip


class RunFolder:
    """A folder that belongs to one configuration and, while open, to one process.

    Use `with RunFolder.open(path, config) as folder:`. All of its writes are atomic; none happens
    in a process that is not `active` (with several processes, only process 0 is).

    Attributes:
      path: the folder.
      active: whether this process writes.
    """

    def __init__(self, path: str | os.PathLike[str], *, active: bool = True):
        """Use `open`; this neither creates nor checks nor locks anything."""
        self.path = Path(path)
        self.active = active
        self._lock: Lock | None = None

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        config: Mapping[str, Any],
        *,
        active: bool = True,
        volatile: tuple[str, ...] = VOLATILE,
    ) -> RunFolder:
        """Creates the folder, or checks that it is of the same configuration; locks it.

        Args:
          path: the folder.
          config: the run's configuration: nested dicts.
          active: whether this process writes and holds the lock.
          volatile: patterns of dotted field names that may differ between starts.

        Raises:
          InputError: another process is at work in the folder, or it holds a run of another
            configuration; the message shows which fields differ.
        """
        folder = cls(path, active=active)
        if active:
            folder.path.mkdir(parents=True, exist_ok=True)
            folder._lock = Lock(folder.path)
        try:
            folder._check_config(files.jsonable(config), volatile)
        except BaseException:
            folder.close()
            raise
        return folder

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Gives the lock back."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def write_bytes(self, name: str, content: bytes) -> None:
        """Writes a file below the folder."""
        if self.active:
            files.write_bytes(self.path / name, content)

    def write_text(self, name: str, text: str) -> None:
        """Writes a UTF-8 file below the folder."""
        if self.active:
            files.write_text(self.path / name, text)

    def write_json(self, name: str, value: Any) -> None:
        """Writes a JSON file below the folder."""
        if self.active:
            files.write_json(self.path / name, value)

    def write_png(self, name: str, image: np.ndarray) -> None:
        """Writes a uint8 image [H, W(, 1 or 3)] below the folder."""
        if self.active:
            files.write_png(self.path / name, image)

    def write_npz(self, name: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Writes arrays below the folder."""
        if self.active:
            files.write_npz(self.path / name, arrays)

    def read_json(self, name: str, default: Any = None) -> Any:
        """Returns a JSON file below the folder, `default` where there is none."""
        path = self.path / name
        return files.read_json(path) if path.exists() else default

    def write_manifest(self, fields: Mapping[str, Any]) -> None:
        """Writes `manifest.json`: what made this run, so that it can be made again.

        Versions, machine, command and time are added. Where a run that was stopped goes on, the
        earlier starts stay listed under `earlier_starts`.

        Args:
          fields: of the run: task, seed, overrides, `dataset` (with its fingerprint), `split`
            (with its sha256), `upstream` (a list of what `upstream()` returns), devices.

        Raises:
          InputError: the data, the split or an upstream file changed since the run began.
        """
        if not self.active:
            return
        fields = files.jsonable(fields)
        before = self.read_json(MANIFEST)
        now = environment()
        if before is not None:
            self._check_same_inputs(before, fields)
            start = {name: before[name] for name in now if name in before}
            now["earlier_starts"] = [*before.get("earlier_starts", []), start]
        self.write_json(MANIFEST, {**fields, **now})

    def is_finished(self, stage: str) -> bool:
        """Whether `mark_finished(stage)` was called in this folder, at any time."""
        return self.finished_info(stage) is not None

    def finished_info(self, stage: str) -> dict[str, Any] | None:
        """Returns what was recorded with `mark_finished`; None: not finished."""
        return self.read_json(FINISHED, {}).get(stage)

    def mark_finished(self, stage: str, info: Mapping[str, Any] | None = None) -> None:
        """Records in `finished.json` that a stage is done; call it last."""
        record = {"time": _now(), **files.jsonable(info or {})}
        self.write_json(FINISHED, {**self.read_json(FINISHED, {}), stage: record})

    def add_timing(self, stage: str, *, seconds: float, images: int = 0, patches: int = 0) -> None:
        """Records in `timings.json` how long a stage took and for how many images and patches."""
        timings = self.read_json(TIMINGS, {"stages": {}})
        timings["stages"][stage] = {
            "seconds": round(float(seconds), 3),
            "images": int(images),
            "patches": int(patches),
            "patches_per_second": round(patches / seconds, 2) if seconds > 0 else None,
        }
        self.write_json(TIMINGS, timings)

    def _check_config(self, config: dict[str, Any], volatile: tuple[str, ...]) -> None:
        path = self.path / CONFIG
        if not path.exists():
            self.write_json(CONFIG, config)
            return
        saved, given = (_fields(c, volatile) for c in (files.read_json(path), config))
        lines = _difference(saved, given)
        if lines:
            raise InputError(
                f"{self.path} holds a run of another configuration (- there, + given now):\n"
                + "\n".join(lines)
                + "\nGive the new run a folder of its own (--workdir=...), set these fields back, "
                "or delete the folder."
            )

    def _check_same_inputs(self, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
        saved, given = _identity(before), _identity(now)
        shared = saved.keys() & given.keys()
        lines = _difference(*({n: d[n] for n in d if n in shared} for d in (saved, given)))
        if lines:
            raise InputError(
                f"What {self.path} was made from has changed since it began (- then, + now):\n"
                + "\n".join(lines)
                + "\nStart anew in another folder (--workdir=...), or put the former input back."
            )


class Lock:
    """One process at a time in a folder; ends with the process, however that ends.

    A POSIX record lock: unlike `flock`, forked data workers that outlive a killed run do not keep
    it. It does not bind within one process, so the process remembers its own.
    """

    _held: ClassVar[dict[Path, int]] = {}

    def __init__(self, folder: Path):
        """Takes the lock.

        Raises:
          InputError: it is taken; names the process that has it.
        """
        self._path = folder.resolve() / LOCK
        if self._path in self._held:
            raise InputError(f"{folder} is in use by this very process ({os.getpid()}).")
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(descriptor, 200).decode(errors="replace").strip() or "another process"
            os.close(descriptor)
            raise InputError(
                f"{folder} is in use by {holder}. Wait for it, stop it, or give this run another "
                "folder (--workdir=...)."
            ) from error
        self._held[self._path] = descriptor
        holder = f"process {os.getpid()} on {socket.gethostname()}, since {_now()}\n"
        os.ftruncate(descriptor, 0)
        os.write(descriptor, holder.encode())
        files.remove_leftovers(folder)

    def release(self) -> None:
        """Gives the lock back."""
        descriptor = self._held.pop(self._path, None)
        if descriptor is not None:
            os.ftruncate(descriptor, 0)
            os.close(descriptor)


def environment() -> dict[str, Any]:
    """Returns the versions, the machine, the command and the time, for a manifest."""
    return {
        "versions": {name: importlib.metadata.version(name) for name in _PACKAGES},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "command": shlex.join(["python", *sys.argv]),
        "time": _now(),
    }


def upstream(path: str | os.PathLike[str]) -> dict[str, str]:
    """Returns {"path", "sha256"} of a file of an earlier run (a run folder: of its manifest).

    Raises:
      InputError: it is not there.
    """
    path = Path(path)
    if path.is_dir():
        path = path / MANIFEST
    if not path.is_file():
        raise InputError(f"{path} does not exist: finish the run that writes it first.")
    return {"path": str(path), "sha256": files.sha256_file(path)}


def differing_fields(
    one: Mapping[str, Any], other: Mapping[str, Any]
) -> dict[str, tuple[Any, Any]]:
    """Returns {'train.epochs': (value, value)} where two configurations compute something else.

    Where only one of them has a field the other value is None.
    """
    ours, theirs = _fields(one, VOLATILE), _fields(other, VOLATILE)
    pairs = {name: (ours.get(name), theirs.get(name)) for name in [*ours, *theirs]}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _fields(config: Mapping[str, Any], volatile: tuple[str, ...]) -> dict[str, Any]:
    """Returns 'optim.learning_rate' -> value for the fields that are not volatile."""

    def is_volatile(name: str) -> bool:
        return any(
            fnmatch.fnmatchcase(name, p) or fnmatch.fnmatchcase(name, f"*.{p}") for p in volatile
        )

    return _flatten(config, lambda name: not is_volatile(name))


def _flatten(
    value: Mapping[str, Any], wanted: Callable[[str], bool] = lambda name: True, prefix: str = ""
) -> dict[str, Any]:
    flat = {}
    for key, item in value.items():
        name = f"{prefix}{key}"
        if isinstance(item, Mapping):
            flat |= _flatten(item, wanted, f"{name}.")
        elif wanted(name):
            flat[name] = item
    return flat


def _identity(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of a manifest that a resumed run must find unchanged."""
    inputs = {name: manifest[name] for name in ("dataset", "split") if name in manifest}
    if "upstream" in manifest:  # where the files lie may change
        inputs["upstream"] = {
            f"{number} ({Path(entry['path']).name})": entry["sha256"]
            for number, entry in enumerate(manifest["upstream"])
        }
    return _flatten(inputs)


def _difference(saved: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    """Returns '-'/'+' lines for what differs; a field that is gone or new shows the nearest name."""
    lines = []
    for name in sorted(saved.keys() | given.keys()):
        if name in saved and name in given and saved[name] == given[name]:
            continue
        for mark, side, other in (("-", saved, given), ("+", given, saved)):
            if name in side:
                near = [] if name in other else difflib.get_close_matches(name, other, 1, 0.85)
                hint = f"   (the other side has {near[0]})" if near else ""
                lines.append(f"  {mark} {name} = {side[name]!r}{hint}")
    return lines
