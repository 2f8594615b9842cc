"""What works on tables of predictions: the ensemble, metrics, intervals."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks import experiments
from benchmarks.ours import device, training
from benchmarks.predictions import load, load_numbers
from benchmarks.protocol import Prepared
from jaxcxr import parallel
from jaxcxr.metrics import ConfusionMatrix, by_rows, intervals
from jaxcxr.training import steps


def ensemble(folder: Path, *, config: str, fields: Mapping[str, Any]) -> Prepared:
    """An epoch of the neural weight module, step by step."""
    c = experiments.load(config, fields)
    device.start(c)
    table = load(folder)
    inputs = table["inputs"]
    counts = np.bincount(table["labels"], minlength=inputs.shape[-1])
    compiled = steps.compile_for(c, learners=inputs.shape[1], class_counts=counts)
    numbers = load_numbers(folder)
    variables = {"params": {"fc": {"kernel": numbers["weight"].T.copy(), "bias": numbers["bias"]}}}
    state, key = training.first_state(c, compiled, variables), jax.random.key(c.seed)
    size = c.train.batch_size
    batches = [
        training.complete({"inputs": inputs[i : i + size], "label": table["labels"][i : i + size]})
        for i in range(0, len(inputs) - size + 1, size)
    ]
    first: dict[str, np.ndarray] = {}

    def run() -> None:
        nonlocal state
        losses = []
        for batch in batches:
            state, metrics = compiled.train_step(state, parallel.shard(batch), key)
            losses.append(metrics)
        mean = steps.mean_losses(losses)["loss"]
        jax.block_until_ready(state)
        if not first:
            fc = parallel.to_host(state.params["fc"])
            first.update(loss=np.asarray(mean), weight=fc["kernel"].T, bias=fc["bias"])

    def measures() -> dict[str, float]:
        return device.measures(
            compiled.train_step, state, parallel.shard(batches[0]), key, times=len(batches)
        )

    return Prepared(run, lambda: first, measures)


def macro_f1(folder: Path) -> Prepared:
    """Labels and predictions on the host -> the score there."""
    table = load(folder)
    predicted, classes = table["probabilities"].argmax(axis=1), table["probabilities"].shape[1]
    found: dict[str, float] = {}

    def run() -> None:
        found.update(
            ConfusionMatrix.from_batch(table["labels"], predicted, num_classes=classes).scalars()
        )

    return Prepared(run, lambda: {"macro_f1": np.asarray(found["macro_f1"])})


def bootstrap(folder: Path, *, draws: int) -> Prepared:
    """The intervals of a report: all scores of a classifier, patients drawn with all their
    images.
    """
    table = load(folder)
    scores = by_rows.BootstrapScores(table["labels"], table["probabilities"])
    found: list[np.ndarray] = []

    def run() -> None:
        found[:] = [intervals.bootstrap(scores, table["patients"], draws=draws)]

    return Prepared(run, lambda: {"intervals": found[0]})
