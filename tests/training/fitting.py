"""The training stage of a run of six steps, with a hook to disturb it."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from jaxcxr import state
from jaxcxr.commands import train
from jaxcxr.storage.checkpoint import Restored
from jaxcxr.storage.metric_writer import MetricWriter
from jaxcxr.storage.run_folder import RunFolder
from jaxcxr.training import loop
from jaxcxr.training.prepare import prepare
from tests import tiny


def config(**fields: Any) -> ConfigDict:
    """Six steps of a patched learner with Adam and BatchNorm; evaluates and saves after every
    one.
    """
    defaults = {"train__epochs": 3.0, "train__eval_every": 0.5, "train__log_every": 1}
    return tiny.learner(**{**defaults, "checkpoint__every_minutes": 0.0, **fields})


def fit(
    config: ConfigDict,
    workdir: Path,
    *,
    before: Callable[[int], None] = lambda step: None,
    damage: Callable[[int, dict], dict] = lambda step, metrics: metrics,
    at: Callable[[Any], None] = lambda state: None,
) -> dict[str, Any]:
    """Trains in `workdir`, from its newest checkpoint if there is one.

    Args:
        config: of the run.
        workdir: its folder.
        before: called with the number of steps done, before each step (or the steps that the
            devices take together).
        damage: (steps done, their metrics) -> the metrics that the loop sees.
        at: called with a copy of the state after each step.
    """
    experiment = prepare(config)
    done: list[int] = []

    def disturb(take: Callable[..., Any]) -> Callable[..., Any]:
        def disturbed(current: Any, batch: Any, given: Any) -> Any:
            before(int(current.step))
            done.append(int(current.step))
            current, metrics = take(current, batch, given)
            at(jax.tree.map(np.asarray, current))
            return current, damage(int(current.step), metrics)

        return disturbed

    compiled = experiment.compiled
    disturbed = dataclasses.replace(
        experiment,
        compiled=dataclasses.replace(
            compiled,
            train_step=disturb(compiled.train_step),
            train_steps=disturb(compiled.train_steps),
        ),
    )
    with (
        train.checkpointer(experiment, RunFolder(workdir)) as checkpoints,
        MetricWriter(workdir) as writer,
    ):
        weights = functools.partial(train.with_weights, experiment, RunFolder(workdir))
        result = loop.fit(
            disturbed,
            checkpoints,
            writer,
            valid_count=2,
            description="test",
            pretrained=weights if config.model.pretrained else None,
        )
    return result | {"began_at": done[0] if done else None}


def newest(config: ConfigDict, workdir: Path) -> Restored:
    """The newest checkpoint of the folder."""
    experiment = prepare(config)
    template = state.create(
        experiment.task.init(0),
        experiment.compiled.optimizer,
        average=config.optim.average > 0,
    )
    with train.checkpointer(experiment, RunFolder(workdir)) as checkpoints:
        restored = checkpoints.restore_latest(template.for_prediction(), template.for_training)
    assert restored is not None
    whole = template.resumed(restored.state, restored.optimizer)
    return dataclasses.replace(restored, state=whole)


def leaves(tree: Any) -> dict[str, np.ndarray]:
    """'.params[...]' -> array, for every leaf of a state."""
    flat = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in flat}
