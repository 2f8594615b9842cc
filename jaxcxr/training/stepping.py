"""How training gets its batches and takes its steps.

In two forms, alike but for rounding: `Experiment.placement`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import jax
import numpy as np

from jaxcxr import data, optim, parallel
from jaxcxr.state import TrainState
from jaxcxr.training.experiment import Experiment


class Stepper(Protocol):
    """Takes optimiser steps.

    Attributes:
        iterator: grain's, whose position is saved with the state; either form takes up the other's.
        at_most: steps in a call.
    """

    iterator: Any
    at_most: int

    def next(self, count: int) -> Any:
        """The batches of the next `count` steps."""
        ...

    def step(
        self, state: TrainState, batches: Any, rates: Sequence[float]
    ) -> tuple[TrainState, list[Any]]:
        """A step for each of the batches, and the metrics of each, scalars.

        {"loss" and each of the task's `train_scores`}. Each step at its own learning rate.
        """
        ...


def stepper(experiment: Experiment, key: jax.Array) -> Stepper:
    """The form that goes with where the arrays of the experiment live; key: of all draws."""
    if experiment.resident is None:
        return HostBatches(experiment, key)
    return ResidentRows(experiment, experiment.resident, key)


class HostBatches:
    """A step at a time; the host reads its batch and sends it."""

    at_most = 1

    def __init__(self, experiment: Experiment, key: jax.Array):
        self.iterator = train_batches(experiment, experiment.inputs)
        self._compiled, self._key = experiment.compiled, key
        self._rate: float | None = None

    def next(self, count: int) -> Any:
        """See `Stepper.next`: one batch, of arrays of the host; `count` is 1."""
        assert count == 1
        return next(self.iterator)

    def step(
        self, state: TrainState, batches: Any, rates: Sequence[float]
    ) -> tuple[TrainState, list[Any]]:
        """See `Stepper.step`."""
        [rate] = rates
        if rate != self._rate:
            self._rate = rate
            state = optim.with_learning_rate(state, parallel.place(np.float32(rate)))
        state, metrics = self._compiled.train_step(state, parallel.shard(batches), self._key)
        return state, [metrics]


class ResidentRows:
    """As many steps at a time as there are before a row of the log.

    The host sends nothing but numbers of rows.
    """

    def __init__(self, experiment: Experiment, arrays: Mapping[str, jax.Array], key: jax.Array):
        self.iterator = train_batches(experiment, {})
        self.at_most = experiment.config.train.log_every
        self._compiled, self._context = experiment.compiled, {"arrays": arrays, "key": key}

    def next(self, count: int) -> Any:
        """See `Stepper.next`: rows of `count` batches, on the devices, padded to `at_most`."""
        rows = np.stack([next(self.iterator)["index"] for _ in range(count)], axis=1)
        # One program takes any number of steps: what is missing is never looked at.
        return parallel.shard(
            {"index": np.pad(rows, ((0, 0), (0, self.at_most - count)), mode="edge")}
        )

    def step(
        self, state: TrainState, batches: Any, rates: Sequence[float]
    ) -> tuple[TrainState, list[Any]]:
        """See `Stepper.step`."""
        count = len(rates)
        padded = np.pad(np.asarray(rates, np.float32), (0, self.at_most - count), mode="edge")
        context = {**self._context, "count": np.int32(count), "rates": padded}
        state, metrics = self._compiled.train_steps(state, batches, context)
        host = parallel.to_host(metrics)
        return state, [{name: of[n] for name, of in host.items()} for n in range(count)]


def train_batches(experiment: Experiment, arrays: Mapping[str, Any]) -> Any:
    """Iterator (grain's) of the endless training batches of an experiment.

    Of these arrays; {}: rows alone.
    """
    config = experiment.config
    return data.train_iterator(
        arrays,
        experiment.splits["train"],
        batch_size=config.train.batch_size,
        seed=config.seed,
        balance=config.train.balance,
        labels=experiment.arrays["label"],
        process_index=parallel.process_index(),
        process_count=parallel.process_count(),
    )
