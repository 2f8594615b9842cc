"""Checkpoints that are whole or not there: Orbax writes them, a SHA-256 manifest verifies them.

Orbax restores flipped bits without a word and may list a step whose commit failed. So every step
folder gets a `manifest.json` with the hash of each file, written after Orbax has finished; a step
without a sound manifest does not count. Layout: `<directory>/<step>/{state,optimizer,data,loop}`.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import logging
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import jax
import numpy as np
from jax.experimental import multihost_utils

from jaxcxr.errors import InputError
from jaxcxr.storage import files
from jaxcxr.storage.orbax_files import TEMPORARY_MARK, OrbaxFiles
from jaxcxr.storage.step_folders import QUARANTINE, StepFolders

_NONE, _ALL_DAMAGED = -1, -2

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Restored:
    """Content of a restored checkpoint.

    Attributes:
        step: the step it was saved at.
        state: pytree shaped like the given template; uncommitted arrays, so that any device
            layout can take them.
        optimizer: the same for the optimiser's state; None if no template was given.
        loop: the JSON values given to `save`.
        metrics: the metrics given to `save`.
        config_json: the run's configuration, as given to the `Checkpointer` that saved.
    """

    step: int
    state: Any
    optimizer: Any
    loop: dict[str, Any]
    metrics: dict[str, float]
    config_json: str


class Checkpointer:
    """Saves and restores training: the state, the data iterator, the loop's counters, the config.

    The newest `keep` steps stay, each with the best step of its time, which `save` is told. An
    older step goes only after the manifest of the newer one is on the disk: Orbax's own
    preservation policies delete before that (and `best_fn` with `max_to_keep` deletes the newest
    step), so a crash in between would leave nothing to restore.

    `save` copies the state to the host and returns; a thread writes, hashes and tidies up. Errors
    of that thread are raised by the next call of any method. With several processes all of them
    call every method, and `save` blocks.
    """

    def __init__(self, directory: str | os.PathLike[str], *, keep: int = 2, config_json: str = ""):
        """Opens `directory`; nothing in it is changed before `save` or `restore_latest`.

        Args:
            directory: folder of this run's checkpoints; made by the first `save`.
            keep: number of newest steps to keep, at least 1.
            config_json: the run's configuration, stored within every step.
        """
        if keep < 1:
            raise ValueError(f"keep must be at least 1, not {keep}")
        self.directory = Path(directory).absolute()
        self._folders = StepFolders(self.directory)
        self._keep, self._config_json = keep, config_json
        self._files = OrbaxFiles()
        self._thread = concurrent.futures.ThreadPoolExecutor(1, "checkpoint")
        self._pending: concurrent.futures.Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def save(
        self,
        step: int,
        *,
        state: Any,
        optimizer: Any = None,
        data_iterator: Any = None,
        loop: Mapping[str, Any] | None = None,
        metrics: Mapping[str, float] | None = None,
        best: int | None = None,
        wait: bool = False,
    ) -> bool:
        """Saves a step; the state may be changed or donated as soon as this returns.

        Args:
            step: number of optimiser steps done.
            state: pytree of arrays, the same on every device (replicated).
            optimizer: the same for what only training needs, which a finished run drops.
            data_iterator: grain iterator, whose position is saved; None: none is.
            loop: JSON values of the training loop, such as early-stopping counters.
            metrics: validation metrics; none: not evaluated at this step.
            best: the best step so far, this one or one saved before; None: not known yet.
            wait: block until the step is on the disk with its manifest.

        Returns:
            False if this step is there already, whole: then nothing is written.

        Raises:
            InputError: the disk is full (raised here, or by the next call); older steps are intact.
        """
        self.wait()
        step = int(step)
        metrics = {name: float(value) for name, value in (metrics or {}).items()}
        if self._agree(int(step in self._folders.committed())):
            return False
        if _is_primary():
            self.directory.mkdir(parents=True, exist_ok=True)
            self._folders.quarantine(step)
            self._check_space(step, (state, optimizer))
        contents = self._files.collect(
            {"state": state, "optimizer": optimizer},
            {"loop": dict(loop or {}), "config": self._config_json},
            data_iterator,
        )
        commit = functools.partial(self._commit, step, contents, metrics, best)
        if jax.process_count() > 1:
            commit()
        else:
            self._pending = self._thread.submit(commit)
            if wait:
                self.wait()
        return True

    def restore_latest(
        self, state: Any, optimizer: Any = None, data_iterator: Any = None
    ) -> Restored | None:
        """Restores the newest step that is whole, with its best step, to resume training.

        Damaged and unfinished steps are named in a warning and moved to `damaged/`, so that the
        run can save those step numbers again.

        Args:
            state: template pytree (arrays or ShapeDtypeStructs).
            optimizer: the same for the optimiser's state; None: it is not read.
            data_iterator: grain iterator, which is set to the saved position.

        Returns:
            None if there is no checkpoint.

        Raises:
            InputError: there are steps and none is whole, or the step does not fit the template.
        """
        self.wait()
        chosen, problems = _NONE, {}
        if _is_primary():
            self._remove_unfinished()
            newest, problems = self._folders.latest_intact()
            # One step without a manifest, alone: the very first save was cut short. Nothing was
            # ever committed, so nothing is lost by starting again.
            first_save = len(problems) == 1 and not self._folders.has_manifest(min(problems))
            if newest is not None:
                chosen = newest
            elif problems and not first_save:
                chosen = _ALL_DAMAGED
        chosen = self._agree(chosen)
        if chosen == _ALL_DAMAGED:
            raise InputError(self._all_damaged(problems))
        for step, problem in problems.items():
            use = f"step {chosen} is used" if chosen >= 0 else "training starts from the beginning"
            logger.warning(
                "Checkpoint of step %d in %s %s; it is moved to %s/ and %s instead.",
                step, self.directory, problem, QUARANTINE, use,
            )  # fmt: skip
            self._folders.quarantine(step)
        self._synchronise("restore")
        return None if chosen == _NONE else self._restore(chosen, state, optimizer, data_iterator)

    def restore(self, step: int, state: Any) -> Restored:
        """Restores one step, or none at all; changes nothing in the folder.

        Raises:
            InputError: that step is not there or not whole, or does not fit the template.
        """
        self.check(step)
        return self._restore(step, state)

    def check(self, step: int) -> None:
        """Raises InputError unless a step is whole; hashes its files."""
        self.wait()
        problem = self._folders.problem(step) if _is_primary() else None
        if self._agree(int(problem is not None)):
            raise InputError(
                f"The checkpoint of step {step} in {self.directory} "
                f"{problem or 'is damaged (see process 0)'}. Restore the folder from a copy, or "
                "delete the run folder and train again."
            )

    def all_steps(self) -> list[int]:
        """Returns the committed steps, oldest first (their files are not hashed here)."""
        self.wait()
        return self._folders.committed()

    def keep_only(self, step: int) -> None:
        """Deletes all but one step, and of that one what only training needs.

        For a run that will not be resumed: Adam's state is two thirds of a checkpoint. May be
        repeated, after a crash in between.

        Raises:
            InputError: the step is damaged; nothing is deleted.
        """
        self.check(step)
        if _is_primary():
            self._remove_unfinished()
            self._folders.delete(other for other in self._folders.present() if other != step)
            self._folders.drop(step, ("optimizer", "data"))
        self._synchronise("keep_only")

    def wait(self) -> None:
        """Blocks until the last `save` is on the disk; raises what went wrong with it."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def close(self) -> None:
        """Waits for the last `save` and ends the thread."""
        try:
            self.wait()
        finally:
            self._thread.shutdown()
            self._files.close()

    # Saving.

    def _commit(
        self, step: int, contents: Any, metrics: dict[str, float], best: int | None
    ) -> None:
        """Runs in the thread: Orbax's save, then the manifest, only then the clean-up."""
        try:
            self._files.write(self._folders.path(step), contents)
            if _is_primary():
                self._folders.write_manifest(step, metrics=metrics, best=best)
        except Exception as error:
            for part in self.directory.glob(f"{step}{TEMPORARY_MARK}*"):
                shutil.rmtree(part, ignore_errors=True)
            shutil.rmtree(self._folders.path(step), ignore_errors=True)
            if files.is_disk_full(error):
                raise InputError(self._disk_full(step)) from error
            raise
        if _is_primary():
            steps = self._folders.committed()
            newest = steps[-self._keep :]
            retained = {*newest, *(self._folders.best(step) for step in newest)}
            self._folders.delete(step for step in steps if step not in retained)
        self._synchronise("save")

    def _remove_unfinished(self) -> None:
        for leftover in self.directory.glob(f"*{TEMPORARY_MARK}*"):
            shutil.rmtree(leftover, ignore_errors=True)

    def _check_space(self, step: int, state: Any) -> None:
        needed = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
        if shutil.disk_usage(self.directory).free < needed:
            raise InputError(self._disk_full(step, needed))

    def _disk_full(self, step: int, needed: int | None = None) -> str:
        free = shutil.disk_usage(self.directory).free
        need = f"needs {needed / 1e6:.0f} MB, " if needed else ""
        return (
            f"The disk is full: the checkpoint of step {step} was not written to {self.directory} "
            f"({need}{free / 1e6:.0f} MB are free). Older checkpoints are intact: "
            f"{self._folders.committed() or 'none'}. Free some space and start the same command "
            "again."
        )

    # Restoring.

    def _all_damaged(self, problems: Mapping[int, str]) -> str:
        listed = "".join(f"\n  step {step} {problem}" for step, problem in problems.items())
        return (
            f"No checkpoint in {self.directory} is whole:{listed}\nRestore the folder from a "
            "copy, or delete it to train from the start."
        )

    def _restore(
        self, step: int, state: Any, optimizer: Any = None, data_iterator: Any = None
    ) -> Restored:
        templates = {"state": state, "optimizer": optimizer}
        restored = self._files.read(self._folders.path(step), templates, data_iterator)
        manifest = self._folders.read_manifest(step)
        return Restored(
            step=step,
            state=restored["state"],
            optimizer=restored["optimizer"],
            loop=restored["loop"]["loop"],
            metrics=manifest["metrics"] if manifest else {},
            config_json=restored["loop"]["config"],
        )

    def _agree(self, value: int) -> int:
        """Returns process 0's value in every process."""
        if jax.process_count() == 1:
            return value
        return int(multihost_utils.broadcast_one_to_all(np.int32(value)))

    def _synchronise(self, name: str) -> None:
        if jax.process_count() > 1:
            multihost_utils.sync_global_devices(f"jaxcxr.storage.checkpoint.{name}")


def _is_primary() -> bool:
    return jax.process_index() == 0
