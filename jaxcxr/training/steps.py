"""The compiled programs of a training: optimiser steps beside `inference.programs`.

Steps come in two forms: for batches that the host sends, and for rows of arrays that the devices
hold.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict

from jaxcxr import optim, parallel
from jaxcxr.inference.programs import Programs, gather, once_per_kind
from jaxcxr.state import AveragedState, TrainState
from jaxcxr.tasks import Task


@dataclasses.dataclass(frozen=True)
class Compiled(Programs):
    """The programs of a run: its predictions and, besides, its training.

    Attributes:
        optimizer: the update rule.
        train_step: (state, sharded batch, key) -> (state, {"loss": scalar and each of the task's
            `train_scores`: scalar}).
        train_steps: several steps on resident arrays, see `train_steps`.
    """

    optimizer: optax.GradientTransformation
    train_step: Callable[..., tuple[TrainState, dict[str, jax.Array]]]
    train_steps: Callable[..., tuple[TrainState, dict[str, jax.Array]]]


@once_per_kind
def compile_for(config: ConfigDict, task: Task) -> Compiled:
    """The programs for a config, each compiled when it is first called."""
    return programs_of_task(task, config.optim)


def programs_of_task(task: Task, o: ConfigDict) -> Compiled:
    """The programs for a task; `o`: the config's section of the optimiser."""
    optimizer = optim.build(
        o.name,
        weight_decay=o.weight_decay,
        l1=o.l1,
        momentum=o.momentum,
        clip_norm=o.clip_norm,
        freeze=tuple(o.freeze),
        decay_on=tuple(o.decay_on),
        layer_rates=tuple(o.layer_rates),
    )
    return Compiled(
        **vars(Programs.of(task)),
        optimizer=optimizer,
        train_step=parallel.spmd_step(train_step(task, optimizer, average=o.average)),
        train_steps=parallel.spmd_step(train_steps(task, optimizer, average=o.average)),
    )


def train_step(
    task: Task, optimizer: optax.GradientTransformation, *, average: float = 0.0
) -> Callable[..., tuple[TrainState, dict[str, jax.Array]]]:
    """One optimiser step of a device.

    The loss and the scores are the weighted means over all devices' examples. `average` is that of
    the config's optimiser, above 0 of an `AveragedState`.
    """

    def step(
        state: TrainState, batch: Mapping[str, jax.Array], key: jax.Array, *, axis_name: str
    ) -> tuple[TrainState, dict[str, jax.Array]]:
        key = jax.random.fold_in(key, state.step)
        total = parallel.sum_over_devices(batch["weight"].sum(), axis_name)

        def mean(values: jax.Array) -> jax.Array:
            return (values * batch["weight"]).sum() / total

        def mean_loss(params: Any) -> tuple[jax.Array, Any]:
            losses, model_state, scores = task.loss_and_scores(
                params, state.model_state, batch, key, axis_name=axis_name
            )
            return mean(losses), (model_state, jax.tree.map(mean, scores))

        (loss, aux), grads = jax.value_and_grad(mean_loss, has_aux=True)(state.params)
        model_state, scores = aux
        # Each device holds its share of one mean, so shares are summed.
        grads, metrics = parallel.sum_over_devices((grads, {"loss": loss, **scores}), axis_name)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        state = state.replace(
            step=state.step + 1, params=params, model_state=model_state, opt_state=opt_state
        )
        return state.averaged(average) if isinstance(state, AveragedState) else state, metrics

    return step


def train_steps(
    task: Task, optimizer: optax.GradientTransformation, *, average: float = 0.0
) -> Callable[..., tuple[TrainState, dict[str, jax.Array]]]:
    """Optimiser steps of a device on resident arrays, as many as it is told, without the host.

    It is called as (state, batch, given, *, axis_name) -> (state, {"loss" and each of the task's
    `train_scores`: [T]}), T the most steps of a call. The batch is {"index": [b, T]}, rows of each
    step; given is {"key", "count": steps to take, at most T, "rates": [T] learning rates, "arrays":
    name -> [N, ...]}. Losses and scores after the first `count` are 0.
    """
    step = train_step(task, optimizer, average=average)

    def steps(
        state: TrainState,
        batch: Mapping[str, jax.Array],
        context: Mapping[str, Any],
        *,
        axis_name: str,
    ) -> tuple[TrainState, dict[str, jax.Array]]:
        def one(
            i: jax.Array, carry: tuple[TrainState, dict[str, jax.Array]]
        ) -> tuple[TrainState, dict[str, jax.Array]]:
            state, found = carry
            state = optim.with_learning_rate(state, context["rates"][i])
            rows = gather(context["arrays"], batch["index"][:, i])
            state, metrics = step(state, rows, context["key"], axis_name=axis_name)
            return state, {name: found[name].at[i].set(value) for name, value in metrics.items()}

        start = (
            optim.with_learning_rate(state, context["rates"][0]),
            {name: jnp.zeros(len(context["rates"])) for name in ("loss", *task.train_scores)},
        )
        return jax.lax.fori_loop(0, context["count"], one, start)

    return steps


def mean_losses(rows: Sequence[Mapping[str, jax.Array]]) -> dict[str, float]:
    """Means of the step metrics gathered since the last log row; waits for the device."""
    host = parallel.to_host(list(rows))
    return {name: float(np.mean([row[name] for row in host])) for name in host[0]}
