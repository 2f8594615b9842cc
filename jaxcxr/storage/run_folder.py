"""The run folder: configuration, manifest, marks of finished stages, and the lock."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from jaxcxr import hints
from jaxcxr.errors import InputError
from jaxcxr.storage import files, run_files, run_identity
from jaxcxr.storage.files import encode_png
from jaxcxr.storage.folder_lock import LOCK, FolderLock, ReadOnlyFolder
from jaxcxr.storage.provenance import environment, now, upstream
from jaxcxr.storage.run_files import (
    CONFIG,
    DATA_CHECKS,
    FINISHED,
    LR_FIND,
    MANIFEST,
    REFERENCE,
    STAGES,
    TIMINGS,
)
from jaxcxr.storage.run_identity import VOLATILE

logger = logging.getLogger(__name__)

# What a training writes before its first checkpoint.
_OF_A_START = (
    CONFIG, MANIFEST, TIMINGS, REFERENCE, "pretrained.json", "metrics.jsonl", "tensorboard",
    "overlays", "plots", "checkpoints",
)  # fmt: skip


class RunFolder:
    """A folder that belongs to one configuration and, while open, to one process.

    Use `with RunFolder.open(path, config) as folder:`. All of its writes are atomic; none happens
    in a process that is not `active` (with several processes, only process 0 is).

    Opening writes nothing but the lock: a start that is refused leaves no trace. With `claim`, or
    the first write, the folder takes the configuration, and so do the open folders that it lies in.
    A start that ends with an error before there is anything to keep gives the folder back.

    Attributes:
        path: the folder.
        active: whether this process writes.
    """

    _open: ClassVar[list[RunFolder]] = []

    def __init__(self, path: str | os.PathLike[str], *, active: bool = True):
        """Use `open`; this neither creates nor checks nor locks anything."""
        self.path = Path(path)
        self.active = active
        self._lock: FolderLock | None = None
        self._config: dict[str, Any] | None = None  # to be written; None: it is there
        self._read_only = ""  # why
        self._empty = False  # when it was opened
        self._claimed_here = False

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        config: Mapping[str, Any],
        *,
        active: bool = True,
        volatile: tuple[str, ...] = VOLATILE,
        claims: bool = True,
    ) -> RunFolder:
        """Locks the folder and checks that it is new, or of the same configuration.

        A folder that cannot be written is opened without a lock, for reading.

        Args:
            path: the folder.
            config: the run's configuration: nested dicts.
            active: whether this process writes and holds the lock.
            volatile: patterns of dotted field names that may differ between starts.
            claims: whether the folder becomes this configuration's with the first file written.

        Raises:
            InputError: another process is at work in the folder, it contains a run with a
                different configuration (the message shows the fields), or it cannot be a folder.
        """
        folder = cls(path, active=active)
        _check_path(folder.path)
        if active:
            try:
                folder._lock = FolderLock(folder.path)
            except ReadOnlyFolder as error:
                folder._read_only = str(error)
        try:
            with files.reading(folder.path, "give another run folder (--workdir=...)."):
                there = set(os.listdir(folder.path)) - {LOCK} if active else set()
            folder._empty = not there
            is_strange = there and not there & {LR_FIND, DATA_CHECKS}
            if is_strange and not os.path.lexists(folder.path / CONFIG) and not folder._read_only:
                shown = ", ".join(sorted(there)[:3])
                logger.warning(
                    "%s holds other files than a run's (%s); a run folder of its own is safer.",
                    path,
                    shown,
                )
            folder._check_config(files.jsonable(config), volatile)
            if not claims:
                folder._config = None
        except BaseException:
            folder.close()
            raise
        cls._open.append(folder)
        return folder

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and issubclass(kind, Exception):
            self._give_back()
        self.close()

    def close(self) -> None:
        """Gives the lock back; a folder that was made here and never claimed goes."""
        if self in self._open:
            self._open.remove(self)
        if self._lock is not None:
            self._lock.release(clean=self._config is not None)
            self._lock = None

    @property
    def read_only(self) -> bool:
        """True where the folder can be read but not written."""
        return bool(self._read_only)

    def check_writable(self) -> None:
        """Raises an InputError that says what to do if the folder cannot be written."""
        if self._read_only:
            raise InputError(
                f"{self.path} cannot be written: {self._read_only}. Copy it to a disk that can be "
                "written and give the copy: --workdir=COPY"
            )

    def claim(self) -> None:
        """Claims the folder for writing: call it once the inputs are valid, before long work.

        Raises:
            InputError: the folder cannot be written.
        """
        self.check_writable()
        if not self.active:
            return
        within = [f for f in self._open if f.path.resolve() in self.path.resolve().parents]
        for folder in (*within, self):
            if folder._config is not None and folder.active and not folder._read_only:
                config, folder._config = folder._config, None
                folder._claimed_here = True
                files.write_json(folder.path / CONFIG, config)

    def write_bytes(self, name: str, content: bytes) -> None:
        """Writes a file below the folder."""
        if self.active:
            self.claim()
            files.write_bytes(self.path / name, content)

    def write_text(self, name: str, text: str) -> None:
        """Writes a UTF-8 file below the folder."""
        self.write_bytes(name, text.encode())

    def write_json(self, name: str, value: Any) -> None:
        """Writes a JSON file below the folder."""
        if self.active:
            self.claim()
            files.write_json(self.path / name, value)

    def write_png(self, name: str, image: np.ndarray) -> None:
        """Writes a uint8 image [H, W(, 1 or 3)] below the folder."""
        self.write_bytes(name, encode_png(image))

    def write_npz(self, name: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Writes arrays below the folder."""
        if self.active:
            self.claim()
            files.write_npz(self.path / name, arrays)

    def read_json(self, name: str, default: Any = None) -> Any:
        """Returns a JSON file below the folder, `default` where there is none.

        Raises:
            InputError: it is not what `jaxcxr.storage.run_files` says of its name.
        """
        path = self.path / name
        return run_files.read(path) if os.path.lexists(path) else default

    def config(self) -> dict[str, Any]:
        """The configuration that the folder was claimed with, {} where none was.

        Paths in it that were moved along with the folder lead to where they are now.
        """
        return run_identity.moved(self.read_json(CONFIG, {}), self.path)

    def write_manifest(self, fields: Mapping[str, Any]) -> None:
        """Writes `manifest.json`: what made this run, so that it can be made again.

        Source, versions, machine, command and time are added. Where an interrupted run resumes,
        the earlier starts stay listed under `earlier_starts`. Paths of `upstream` that lie in an
        open folder around this one, a study's, are written relative to this folder.

        Args:
            fields: of the run: task, seed, overrides, `dataset` (with its fingerprint), `split`
                (with its sha256), `upstream` (a list of what `upstream()` returns), devices.

        Raises:
            InputError: the data, the split or an upstream file changed since the run began.
        """
        if not self.active:
            return
        fields = files.jsonable(fields)
        if upstream := fields.get("upstream"):
            moving = [{**entry, "path": self._relative(entry["path"])} for entry in upstream]
            fields = {**fields, "upstream": moving}
        before = self.read_json(MANIFEST)
        start = environment()
        if before is not None:
            self._check_same_inputs(before, fields)
            earlier = {name: before[name] for name in start if name in before}
            start["earlier_starts"] = [*before.get("earlier_starts", []), earlier]
        self.write_json(MANIFEST, {**fields, **start})

    def is_finished(self, stage: str) -> bool:
        """Returns whether `mark_finished(stage)` was called in this folder, at any time."""
        return self.finished_info(stage) is not None

    def finished_info(self, stage: str) -> dict[str, Any] | None:
        """Returns what was recorded with `mark_finished`; None: not finished."""
        return self.read_json(FINISHED, {}).get(stage)

    def mark_finished(self, stage: str, info: Mapping[str, Any] | None = None) -> None:
        """Records in `finished.json` that a stage is done; call it last."""
        record = {"time": now(), **files.jsonable(info or {})}
        self.write_json(FINISHED, {**self.read_json(FINISHED, {}), stage: record})

    def unmark_finished(self, stage: str) -> None:
        """Takes the mark of a stage out of `finished.json`."""
        marks = self.read_json(FINISHED, {})
        if marks.pop(stage, None) is not None:
            self.write_json(FINISHED, marks)

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
        if not os.path.lexists(self.path / CONFIG):
            self._config = run_identity.with_absolute_paths(config, self.path)
            return
        saved, requested = (run_identity.fields(c, volatile) for c in (self.config(), config))
        lines = run_identity.difference(
            run_identity.same_paths(saved, requested, self._is_recorded), requested
        )
        if lines:
            differing = {
                name
                for name in saved.keys() | requested.keys()
                if saved.get(name) != requested.get(name)
            }
            fix = hints.another_configuration(str(config.get("run", "")), self.path, differing)
            raise InputError(
                f"{self.path} contains a run with a different configuration ({CONFIG}: - existing, "
                "+ requested):\n" + "\n".join(lines) + f"\n{fix}"
            )

    def _check_same_inputs(self, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
        saved, current = run_identity.inputs(before), run_identity.inputs(now)
        shared = saved.keys() & current.keys()
        lines = run_identity.difference(
            *({n: d[n] for n in d if n in shared} for d in (saved, current))
        )
        if lines:
            raise InputError(
                f"The inputs of {self.path} have changed since the run began "
                "(- recorded, + current):\n"
                + "\n".join(lines)
                + "\nStart a new run in another folder (--workdir=...), or restore the input."
            )

    def _is_recorded(self, segmenter: str) -> bool:
        """Returns whether the masks of a segment run are those that this run was made from."""
        index = files.expanded(segmenter, "give the whole path") / "masks" / "index.json"
        entries = (self.read_json(MANIFEST) or {}).get("upstream", [])
        return index.is_file() and upstream(index)["sha256"] in {
            entry["sha256"] for entry in entries
        }

    def _relative(self, path: str) -> str:
        base = self.path.resolve()
        around = [f.path.resolve() for f in self._open if f.path.resolve() in base.parents]
        target = Path(path).resolve()
        inside = any(target.is_relative_to(folder) for folder in around)
        return os.path.relpath(target, base) if inside else os.path.abspath(path)

    def _give_back(self) -> None:
        """Undoes the claim of a start that failed, if the folder was empty.

        There is nothing to keep yet. What others put there in the meantime stays.
        """
        if not (self._claimed_here and self._empty) or _has_results(self.path):
            return
        for name in _OF_A_START:
            path = self.path / name
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        self._config = {}  # unclaimed: `close` removes the folder


def _check_path(folder: Path) -> None:
    """Raises InputError where checkpoints could not be written: Orbax takes these for patterns."""
    if unfit := [mark for mark in "[]\\" if mark in str(folder.absolute())]:
        raise InputError(
            f"the run folder {folder.absolute()} has {' and '.join(unfit)} in its path, where "
            "checkpoints cannot be written: give another one (--workdir=...)"
        )


def _has_results(folder: Path) -> bool:
    """Returns whether the folder holds costly results: a checkpoint, or the mark of a stage."""
    names = (FINISHED, STAGES, "checkpoints/*/*")
    return any(True for name in names for _ in folder.rglob(name))
