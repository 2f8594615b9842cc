"""The folders of checkpoints: one per step, each with a manifest of SHA-256 sums."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from jaxcxr.storage import manifests

MANIFEST = "manifest.json"
QUARANTINE = "damaged"


class StepFolders:
    """`<directory>/<step>/`: which are whole, which is the best, which can go.

    A step is committed once its manifest is there. The manifest is the last file written and the
    first deleted, so a crash never leaves a part of a step that counts.
    """

    def __init__(self, directory: Path):
        """Describes the folder that holds the steps; does not touch it."""
        self.directory = directory

    def path(self, step: int) -> Path:
        """The folder of a step."""
        return self.directory / str(step)

    def present(self) -> list[int]:
        """Returns all steps that have a folder, whole or not, oldest first."""
        if not self.directory.is_dir():
            return []
        return sorted(int(p.name) for p in self.directory.iterdir() if p.name.isdecimal())

    def committed(self) -> list[int]:
        """Returns the steps with a sound manifest, oldest first; their files are not hashed."""
        return [step for step in self.present() if self.read_manifest(step) is not None]

    def best(self, step: int) -> int | None:
        """The best step known when `step` was saved.

        None: no evaluation had told, or no manifest.
        """
        return (self.read_manifest(step) or {}).get("best")

    def latest_intact(self) -> tuple[int | None, dict[int, str]]:
        """Returns the newest step to resume from, and what is wrong with each newer one.

        A step goes together with the best step of its time: without that, training would end with
        a best step that nobody has.
        """
        problems: dict[int, str] = {}
        for step in reversed(self.present()):
            problem, best = self.problem(step), self.best(step)
            if problem is None and best not in (None, step):
                problem = self.problem(best)
                problem = (
                    problem and f"goes with step {best}, the best of its time, which {problem}"
                )
            if problem is None:
                return step, problems
            problems[step] = problem
        return None, problems

    def problem(self, step: int) -> str | None:
        """Hashes all files of a step; returns what is wrong with it, None if it is whole."""
        if not self.path(step).is_dir():
            return "is missing"
        if not self.has_manifest(step):
            return f"has no {MANIFEST}: its saving was cut short"
        if self.read_manifest(step) is None:
            return f"is damaged: {MANIFEST} has changed"
        return manifests.problem(self.path(step) / MANIFEST)

    def write_manifest(self, step: int, *, metrics: Mapping[str, float], best: int | None) -> None:
        """Commits a step whose files are written.

        The manifest names the step: a folder renamed to another step does not go unnoticed.
        """
        body = {"step": step, "metrics": dict(metrics), "best": best}
        manifests.write(self.path(step) / MANIFEST, body)

    def has_manifest(self, step: int) -> bool:
        """Returns whether there is a manifest, sound or not."""
        return (self.path(step) / MANIFEST).exists()

    def read_manifest(self, step: int) -> dict[str, Any] | None:
        """Returns {"step", "metrics", "best", "files"} of a step, None if missing or damaged."""
        manifest = manifests.read(self.path(step) / MANIFEST)
        return manifest if manifest is not None and manifest.get("step") == step else None

    def delete(self, steps: Iterable[int]) -> None:
        """Deletes steps, whole or not."""
        for step in steps:
            (self.path(step) / MANIFEST).unlink(missing_ok=True)
            shutil.rmtree(self.path(step))

    def drop(self, step: int, parts: Iterable[str]) -> None:
        """Deletes whole subfolders of a committed step, which stays committed without them.

        May be repeated, after a crash in between.
        """
        manifest, parts = self.read_manifest(step), tuple(parts)
        assert manifest is not None, step
        remaining = {n: f for n, f in manifest["files"].items() if Path(n).parts[0] not in parts}
        if remaining != manifest["files"]:
            manifests.write_body(self.path(step) / MANIFEST, {**manifest, "files": remaining})
        for part in parts:
            shutil.rmtree(self.path(step) / part, ignore_errors=True)

    def quarantine(self, step: int) -> None:
        """Moves what there is of a step to `damaged/`, in place of what is there of that number."""
        target = self.directory / QUARANTINE / str(step)
        if self.path(step).exists():
            shutil.rmtree(target, ignore_errors=True)
            target.parent.mkdir(exist_ok=True)
            self.path(step).rename(target)
