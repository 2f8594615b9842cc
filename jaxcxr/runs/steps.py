"""The compiled programs of a run: optimiser steps, and the prediction of a batch.

Training and prediction come in two forms: for batches that the host sends, and for rows of arrays
that the devices hold. All are made once per kind of experiment and shared by its folds: compiling
DenseNet-161 for a CPU takes longer than training it for a few epochs of phantoms.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict

from jaxcxr import optim, parallel
from jaxcxr.state import TrainState
from jaxcxr.tasks import TASKS, Task

# What a compiled step does not depend on: these may differ between runs that share one.
RUN_FIELDS = (
    "name",
    "run",
    "seed",
    "repeats",
    "split",
    "checkpoint",
    "predict",
    "evaluate",
    "explain",
)
RUN_FIELDS += ("lr_find", "probe", "compare", "export", "parallel", "study")
RUN_FIELDS += (
    "masks.workdir",
    "inputs.learners",
    "optim.learning_rate",
    "train.epochs",
    "train.placement",
)
RUN_FIELDS += ("data.options",)


@dataclasses.dataclass(frozen=True)
class Compiled:
    """A task with its compiled programs.

    Attributes:
        task: the pure functions.
        optimizer: the update rule.
        train_step: (state, sharded batch, key) -> (state, {"loss": scalar}).
        train_steps: several steps on resident arrays, see `train_steps`.
        predict: number of patches (0 where the task draws none) -> compiled predict of the device
            seam.
        predict_resident: the same on resident arrays: a batch is {"index", "weight"}, and in the
            place of the key is {"key", "arrays": name -> [N, ...]}.
        explain: (number of patches, of, layer, form) -> compiled `Task.explain`, likewise.
    """

    task: Task
    optimizer: optax.GradientTransformation
    train_step: Callable[..., tuple[TrainState, dict[str, jax.Array]]]
    train_steps: Callable[..., tuple[TrainState, dict[str, jax.Array]]]
    predict: Callable[[int], Callable[..., dict[str, Any]]]
    predict_resident: Callable[[int], Callable[..., dict[str, Any]]]
    explain: Callable[[int, str, str, str], Callable[..., dict[str, Any]]]


def compile_for(config: ConfigDict, **extras: Any) -> Compiled:
    """The programs for a config.

    Equal configs (but for folds, seeds and epochs) share them within a process.

    Args:
        config: of one experiment.
        **extras: further arguments of the task's `build` (class weights, number of learners);
            arrays or ints.
    """
    nested = json.loads(config.to_json_best_effort())
    for name in RUN_FIELDS:
        section, _, field = name.partition(".")
        if field:
            nested.get(section, {}).pop(field, None)
        else:
            nested.pop(section, None)
    frozen = {name: np.asarray(value).tolist() for name, value in extras.items()}
    return _compile(json.dumps(nested, sort_keys=True), json.dumps(frozen, sort_keys=True))


@functools.lru_cache(maxsize=4)
def _compile(fields: str, extras: str) -> Compiled:
    config = ConfigDict(json.loads(fields))
    arguments = {
        name: np.asarray(value) if isinstance(value, list) else value
        for name, value in json.loads(extras).items()
    }
    task = TASKS[config.task](config, axis_name=parallel.sync_axis(), **arguments)
    o = config.optim
    optimizer = optim.build(
        o.name,
        weight_decay=o.weight_decay,
        l1=o.l1,
        momentum=o.momentum,
        clip_norm=o.clip_norm,
        freeze=tuple(o.freeze),
        decay_on=tuple(o.decay_on),
    )

    def of_batch(count: int) -> Callable[..., dict[str, Any]]:
        return functools.partial(task.predict, count=count) if count else task.predict

    @functools.lru_cache(maxsize=4)
    def predict(count: int) -> Callable[..., dict[str, Any]]:
        return _with_rows(of_batch(count))

    @functools.lru_cache(maxsize=4)
    def predict_resident(count: int) -> Callable[..., dict[str, Any]]:
        def of_rows(
            variables: Any, batch: Mapping[str, Any], given: Mapping[str, Any]
        ) -> dict[str, Any]:
            rows = {**gather(given["arrays"], batch["index"]), **batch}
            return of_batch(count)(variables, rows, given["key"])

        return _with_rows(of_rows)

    def explain(count: int, of: str, layer: str, form: str) -> Callable[..., dict[str, Any]]:
        assert task.explain is not None
        return _with_rows(
            functools.partial(task.explain, count=count, of=of, layer=layer, form=form)
        )

    return Compiled(
        task=task,
        optimizer=optimizer,
        train_step=parallel.spmd_step(train_step(task, optimizer)),
        train_steps=parallel.spmd_step(train_steps(task, optimizer)),
        predict=predict,
        predict_resident=predict_resident,
        explain=explain,
    )


def _with_rows(function: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """Compiles a task's function of a batch.

    Its result also says which rows of the data set it speaks of.
    """

    def with_rows(variables: Any, batch: Mapping[str, Any], key: jax.Array) -> dict[str, Any]:
        rows = {"index": batch["index"], "weight": batch["weight"]}
        return {**function(variables, batch, key), **rows}

    return parallel.spmd_predict(with_rows)


def train_step(
    task: Task, optimizer: optax.GradientTransformation
) -> Callable[..., tuple[TrainState, dict[str, jax.Array]]]:
    """One optimiser step of a device.

    The loss is the weighted mean over all devices' examples.
    """

    def step(
        state: TrainState, batch: Mapping[str, jax.Array], key: jax.Array, *, axis_name: str
    ) -> tuple[TrainState, dict[str, jax.Array]]:
        key = jax.random.fold_in(key, state.step)
        total = parallel.sum_over_devices(batch["weight"].sum(), axis_name)

        def mean_loss(params: Any) -> tuple[jax.Array, Any]:
            losses, model_state = task.loss(
                params, state.model_state, batch, key, axis_name=axis_name
            )
            return (losses * batch["weight"]).sum() / total, model_state

        (loss, model_state), grads = jax.value_and_grad(mean_loss, has_aux=True)(state.params)
        # Each device holds its share of one mean, so shares are summed.
        grads, loss = parallel.sum_over_devices((grads, loss), axis_name)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        return TrainState(state.step + 1, params, model_state, opt_state), {"loss": loss}

    return step


def train_steps(
    task: Task, optimizer: optax.GradientTransformation
) -> Callable[..., tuple[TrainState, dict[str, jax.Array]]]:
    """Optimiser steps of a device on resident arrays, as many as it is told, without the host.

    It is called as (state, batch, given, *, axis_name) -> (state, {"loss": [T]}), T the most steps
    of a call. The batch is {"index": [b, T]}, rows of each step; given is {"key", "count": steps to
    take, at most T, "rates": [T] learning rates, "arrays": name -> [N, ...]}. Losses after the
    first `count` are 0.
    """
    step = train_step(task, optimizer)

    def steps(
        state: TrainState,
        batch: Mapping[str, jax.Array],
        given: Mapping[str, Any],
        *,
        axis_name: str,
    ) -> tuple[TrainState, dict[str, jax.Array]]:
        def one(i: jax.Array, carry: tuple[TrainState, jax.Array]) -> tuple[TrainState, jax.Array]:
            state, losses = carry
            state = optim.with_learning_rate(state, given["rates"][i])
            rows = gather(given["arrays"], batch["index"][:, i])
            state, metrics = step(state, rows, given["key"], axis_name=axis_name)
            return state, losses.at[i].set(metrics["loss"])

        start = optim.with_learning_rate(state, given["rates"][0]), jnp.zeros(len(given["rates"]))
        state, losses = jax.lax.fori_loop(0, given["count"], one, start)
        return state, {"loss": losses}

    return steps


def gather(arrays: Mapping[str, jax.Array], rows: jax.Array) -> dict[str, jax.Array]:
    """The batch of rows [b] of resident arrays [N, ...].

    As `data.train_iterator` makes it on the host.
    """
    batch = {name: jnp.take(array, rows, axis=0, mode="clip") for name, array in arrays.items()}
    return batch | {"index": rows, "weight": jnp.ones(len(rows))}


def predict_rows(
    predict: Callable[..., dict[str, Any]],
    variables: Any,
    batches: Iterable[Mapping[str, np.ndarray]],
    given: Any,
) -> Iterator[dict[str, np.ndarray]]:
    """Runs a compiled predict over padded batches and yields host arrays without the padding.

    Besides the task's arrays each dict has "index", the rows of the data set it speaks of. With
    several processes every one of them gets the rows of the whole global batch. given: the key, or
    what `predict_resident` wants.
    """

    def fetched(prediction: dict[str, Any]) -> dict[str, np.ndarray]:
        host = parallel.to_host(prediction)
        real = host.pop("weight") > 0
        return {name: value[real] for name, value in host.items()}

    running = None
    for batch in batches:
        # The next batch is under way before the last one is looked at, so that the device never
        # waits.
        running, last = predict(variables, parallel.shard(batch), given), running
        if last is not None:
            yield fetched(last)
    if running is not None:
        yield fetched(running)


def mean_losses(rows: Sequence[Mapping[str, jax.Array]]) -> dict[str, float]:
    """Means of the step metrics gathered since the last log row; waits for the device."""
    host = parallel.to_host(list(rows))
    return {name: float(np.mean([row[name] for row in host])) for name in host[0]}
