"""Compiled programs of a task in evaluation mode, shared by the folds and seeds of a run."""

from __future__ import annotations

import dataclasses
import functools
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict
from tqdm import tqdm

from jaxcxr import parallel, schema
from jaxcxr.tasks import TASKS, Classify, Task

COMPILING = "compiling the program, unless an earlier run did (large ones: minutes on a CPU)"
T = TypeVar("T")
Program = Callable[..., dict[str, Any]]

# Fields and sections that no compiled program depends on: runs that differ in these alone share
# theirs.
RUN_FIELDS = schema.names_without("compiled")


@dataclasses.dataclass(frozen=True)
class Programs:
    """A task with its compiled predictions.

    Each is called as (variables, sharded batch, key) and returns the task's arrays [B, ...] with
    the batch's "index" and "weight".

    Attributes:
        task: the pure functions.
        predict: number of patches (0 where the task draws none) -> program.
        predict_resident: the same on resident arrays: a batch is {"index", "weight"}, and in the
            place of the key is {"key", "arrays": name -> [N, ...]}.
        explain: (number of patches, of, layer, form) -> program of `Task.explain`.
    """

    task: Task
    predict: Callable[[int], Program]
    predict_resident: Callable[[int], Program]
    explain: Callable[[int, str, str, str], Program]

    @classmethod
    def of(cls, task: Task) -> Programs:
        """The programs of a task; each is compiled when it is first called."""

        def of_batch(count: int) -> Program:
            return functools.partial(task.predict, count=count)

        @functools.lru_cache(maxsize=4)
        def predict(count: int) -> Program:
            return compiled(of_batch(count))

        @functools.lru_cache(maxsize=4)
        def predict_resident(count: int) -> Program:
            def of_rows(
                variables: Any, batch: Mapping[str, Any], context: Mapping[str, Any]
            ) -> dict[str, Any]:
                rows = {**gather(context["arrays"], batch["index"]), **batch}
                return of_batch(count)(variables, rows, context["key"])

            return compiled(of_rows)

        @functools.lru_cache(maxsize=4)
        def explain(count: int, of: str, layer: str, form: str) -> Program:
            assert isinstance(task, Classify)
            return compiled(
                functools.partial(task.explain, count=count, of=of, layer=layer, form=form)
            )

        return cls(task, predict, predict_resident, explain)


def once_per_kind(make: Callable[[ConfigDict, Task], T]) -> Callable[..., T]:
    """Makes `make(config, task)` once for configs that are equal but for RUN_FIELDS.

    Compiling DenseNet-161 for a CPU takes longer than training it for a few epochs of phantoms.

    Args:
        make: gets a config without RUN_FIELDS, and its task.

    Returns:
        (config, **extras) -> what it made; extras are further arguments of the task
        (class weights, number of learners), arrays or numbers.
    """

    @functools.lru_cache(maxsize=4)
    def cached(fields: str, extras: str) -> T:
        config = ConfigDict(json.loads(fields))
        arguments = {
            name: np.asarray(value) if isinstance(value, list) else value
            for name, value in json.loads(extras).items()
        }
        return make(config, TASKS[config.task](config, axis_name=parallel.sync_axis(), **arguments))

    @functools.wraps(make)
    def of_config(config: ConfigDict, **extras: Any) -> T:
        nested = json.loads(config.to_json_best_effort())
        for name in RUN_FIELDS:
            section, _, field = name.partition(".")
            if field:
                nested.get(section, {}).pop(field, None)
            else:
                nested.pop(section, None)
        frozen = {name: np.asarray(value).tolist() for name, value in extras.items()}
        return cached(json.dumps(nested, sort_keys=True), json.dumps(frozen, sort_keys=True))

    return of_config


@once_per_kind
def programs_of(config: ConfigDict, task: Task) -> Programs:
    """The programs for a config; no training goes with them."""
    del config
    return Programs.of(task)


def gather(arrays: Mapping[str, jax.Array], rows: jax.Array) -> dict[str, jax.Array]:
    """The batch of rows [b] of resident arrays [N, ...].

    As `data.train_iterator` makes it on the host.
    """
    batch = {name: jnp.take(array, rows, axis=0, mode="clip") for name, array in arrays.items()}
    return batch | {"index": rows, "weight": jnp.ones(len(rows))}


def predict_rows(
    program: Program, variables: Any, batches: Iterable[Mapping[str, np.ndarray]], key: Any
) -> Iterator[dict[str, np.ndarray]]:
    """Runs a program over padded batches and yields host arrays without the padding.

    Besides the task's arrays each dict has the batch's "index". With several processes every one of
    them gets the rows of the whole global batch. key: or what `Programs.predict_resident` wants in
    its place.
    """

    def fetched(prediction: dict[str, Any]) -> dict[str, np.ndarray]:
        host = parallel.to_host(prediction)
        real = host.pop("weight") > 0
        return {name: value[real] for name, value in host.items()}

    running = None
    for batch in batches:
        announce_compiling()
        # The next batch is under way before the last one is looked at, so that the device never
        # waits.
        running, last = program(variables, parallel.shard(batch), key), running
        if last is not None:
            yield fetched(last)
    if running is not None:
        yield fetched(running)


def compiled(function: Program) -> Program:
    """A task's function of a batch for all devices, with the batch's "index" and "weight"."""

    def with_rows(variables: Any, batch: Mapping[str, Any], key: jax.Array) -> dict[str, Any]:
        rows = {"index": batch["index"], "weight": batch["weight"]}
        return {**function(variables, batch, key), **rows}

    return parallel.spmd_predict(with_rows)


@functools.cache
def announce_compiling() -> None:
    """Says once per process why nothing moves before the first result."""
    if parallel.is_main():
        # Above a progress bar, where there is one.
        tqdm.write(COMPILING, file=sys.stderr)
