"""What a finished training left behind."""

from __future__ import annotations

import optax

from jaxcxr import parallel
from jaxcxr import state as states
from jaxcxr.artifacts import RunFolder
from jaxcxr.checkpoint import Checkpointer
from jaxcxr.state import Variables
from jaxcxr.tasks import Task
from jaxcxr.types import InputError


def best_variables(task: Task, folder: RunFolder) -> Variables:
    """The variables of a run's best checkpoint, on the devices; the run's data are not needed.

    Raises:
      InputError: there is no checkpoint.
    """
    template = states.create(task.init(None), optax.identity()).without_optimizer()
    with Checkpointer(folder.path / "checkpoints", monitor=task.monitor, mode=task.mode) as checkpoints:
        if checkpoints.best_step() is None:
            raise InputError(
                f"{folder.path} holds no trained checkpoint; train it first:\n"
                f"  python main.py --config=... --workdir={folder.path}"
            )
        return parallel.place(checkpoints.restore_best(template).state.variables)
