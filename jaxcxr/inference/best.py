"""The checkpoint that a finished training names as its best."""

from __future__ import annotations

from typing import Any

import optax

from jaxcxr import hints, parallel
from jaxcxr import state as states
from jaxcxr.errors import InputError
from jaxcxr.state import Variables
from jaxcxr.storage.checkpoint import Checkpointer
from jaxcxr.storage.run_folder import RunFolder
from jaxcxr.tasks import Task

CHECKPOINTS, TRAINING = "checkpoints", "training.json"


def training_result(folder: RunFolder) -> dict[str, Any]:
    """`training.json` of a finished training: how it went, with "best_step", the step to be used.

    Raises:
        InputError: training has not finished, or the file is damaged.
    """
    if not folder.is_finished("fit"):
        raise InputError(
            f"{folder.path} holds no finished training; start or resume it:\n"
            f"  {hints.again('train', folder.path)}"
        )
    result = folder.read_json(TRAINING)
    if not isinstance(result, dict) or not isinstance(result.get("best_step"), int):
        raise InputError(
            f"{folder.path / TRAINING} is missing or damaged: it names no best_step, the "
            "checkpoint to be used. Restore the file from a copy, or delete the run folder and "
            "train again."
        )
    return result


def has_begun(folder: RunFolder) -> bool:
    """Whether a training of the run has begun, so that nothing else may stand in for it."""
    return folder.is_finished("fit") or (folder.path / CHECKPOINTS).exists()


def best_variables(task: Task, folder: RunFolder) -> Variables:
    """The variables of the step that `training.json` names as the best, on the devices.

    The run's data are not needed. No other step ever stands in for it.

    Raises:
        InputError: training has not finished, or that step is missing or damaged.
    """
    step = training_result(folder)["best_step"]
    template = states.create(task.init(None), optax.identity()).for_prediction()
    with Checkpointer(folder.path / CHECKPOINTS) as checkpoints:
        return parallel.place(checkpoints.restore(step, template).state.variables)


def check_best(folder: RunFolder) -> None:
    """Raises InputError unless the step that `best_variables` would give is there and whole."""
    step = training_result(folder)["best_step"]
    with Checkpointer(folder.path / CHECKPOINTS) as checkpoints:
        checkpoints.check(step)
