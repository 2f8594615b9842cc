"""Our training step as a side."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping

import jax
import numpy as np
import optax
from ml_collections import ConfigDict

from benchmarks.ours import device
from benchmarks.protocol import Prepared
from jaxcxr import models, optim, parallel
from jaxcxr import state as states
from jaxcxr.state import TrainState, Variables
from jaxcxr.training import steps


def leave_out_dropout(model: str) -> None:
    """Builds this row of MODELS without dropout and stochastic depth from now on, in this
    process.
    """
    row = models.MODELS[model]
    rates = {"dropout", "stochastic_depth"} & {field.name for field in dataclasses.fields(row.func)}  # pyright: ignore
    models.MODELS[model] = functools.partial(row, **dict.fromkeys(rates, 0.0))


def first_state(config: ConfigDict, compiled: steps.Compiled, variables: Variables) -> TrainState:
    """On the devices, with the config's learning rate, as the loop has it before its first step."""
    state = parallel.place(states.create(variables, compiled.optimizer))
    return optim.with_learning_rate(state, parallel.place(np.float32(config.optim.learning_rate)))


def complete(batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """With row numbers and weights, as the input pipeline gives it."""
    size = len(next(iter(batch.values())))
    return {**batch, "index": np.arange(size, dtype=np.int32), "weight": np.ones(size, np.float32)}


def step(
    config: ConfigDict,
    compiled: steps.Compiled,
    variables: Variables,
    batch: Mapping[str, np.ndarray],
) -> Prepared:
    """A step on one batch again and again, as the loop calls it.

    The outputs are those of the first step: its loss, and the norm of the gradient that Adam saw
    (with coupled L2).
    """
    state = first_state(config, compiled, variables)
    batch, key = complete(batch), jax.random.key(config.seed)
    first: dict[str, np.ndarray] = {}

    def run() -> None:
        nonlocal state
        state, metrics = jax.block_until_ready(
            compiled.train_step(state, parallel.shard(batch), key)
        )
        if not first:
            moment = optax.tree_utils.tree_get(state.opt_state, "mu")
            first["loss"] = np.asarray(metrics["loss"])
            # Of Adam's first step.
            first["gradient"] = np.asarray(jax.jit(optax.global_norm)(moment)) / (1 - 0.9)

    return Prepared(
        run,
        lambda: first,
        lambda: device.measures(compiled.train_step, state, parallel.shard(batch), key),
    )
