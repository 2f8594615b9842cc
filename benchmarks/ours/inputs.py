"""The way of the images: from files to the store, from the store to the devices, and what of it a
step waits for.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from benchmarks import experiments
from benchmarks.files import ROWS
from benchmarks.ours import device, training
from benchmarks.protocol import Prepared
from jaxcxr import data, parallel
from jaxcxr.inference.image_store import open_store
from jaxcxr.inference.mask_provider import MaskProvider
from jaxcxr.training import stepping, steps
from jaxcxr.training.examples import Examples, SplitExamples
from jaxcxr.training.experiment import DataRecord, Experiment
from tfds_builders.phantom_cxr import drawing

Fields = Mapping[str, Any]
_DRAWN = 8  # different images; the rest repeats them


def draw_files(folder: Path, *, config: str, fields: Fields) -> None:
    """Writes the data set of a config, array_record files of PNGs."""
    data.open_dataset(_own(folder, experiments.load(config, fields)).data)


def draw_rows(folder: Path, *, config: str, fields: Fields, rows: int) -> None:
    """Writes what a store holds: <name>.npy, image and mask [N, S, S] uint8, label [N] int32."""
    c = experiments.load(config, fields)
    drawn = [
        drawing.draw(seed=0, patient=i, image=0, size=c.data.image_size) for i in range(_DRAWN)
    ]
    again = np.arange(rows) % _DRAWN
    arrays = {
        "image": np.stack([phantom.image for phantom in drawn])[again],
        "mask": np.stack([phantom.masks["lung"] for phantom in drawn]).astype(np.uint8)[again],
        "label": (again % len(c.data.classes)).astype(np.int32),
    }
    for name in ROWS:
        np.save(folder / f"{name}.npy", arrays[name])


def prepare(folder: Path, *, config: str, fields: Fields) -> Prepared:
    """Decodes, resizes and equalises every image, into an empty cache."""
    c = _own(folder, experiments.load(config, fields))
    device.start(c)

    def run() -> None:
        shutil.rmtree(data.cache_dir(c.data), ignore_errors=True)
        open_store(c.data, masks=MaskProvider.for_run(c).stored)

    return Prepared(run)


def epoch(folder: Path, *, config: str, fields: Fields) -> Prepared:
    """The batches of an epoch, from the store to the devices."""
    c = experiments.load(config, fields)
    device.start(c)
    arrays = _rows(folder)
    batches = data.train_iterator(
        arrays, np.arange(len(arrays["label"])), batch_size=c.train.batch_size, seed=c.seed
    )
    count = len(arrays["label"]) // c.train.batch_size
    found: dict[str, np.ndarray] = {}

    def run() -> None:
        labels = []
        for _ in range(count):
            batch = jax.block_until_ready(parallel.shard(next(batches)))
            labels.append(batch["label"])
        # Every image once: all orders have the same sum.
        found["labels"] = np.sum([parallel.to_host(label).sum() for label in labels])

    return Prepared(run, lambda: found)


def train(folder: Path, *, config: str, fields: Fields, still: bool = False) -> Prepared:
    """`train.log_every` training steps as the loop takes them.

    Args:
        folder: with the rows.
        config, fields: of the experiment; its `train.placement` says where the rows live.
        still: take one batch that already is on the device again and again instead, so that nothing
            waits for input.
    """
    c = experiments.load(config, fields)
    device.start(c)
    compiled = steps.compile_for(c, class_weights=np.ones(len(c.data.classes), np.float32))
    state = training.first_state(c, compiled, compiled.task.init(c.seed))
    count, key = c.train.log_every, jax.random.key(c.seed)
    experiment = _experiment(c, _rows(folder), compiled)
    stepper = stepping.stepper(experiment, key)
    batch = parallel.shard(next(stepper.iterator)) if still else None

    def run() -> None:
        nonlocal state
        if batch is not None:
            for _ in range(count):
                state, _ = compiled.train_step(state, batch, key)
        else:
            at_once = min(count, stepper.at_most)
            for _ in range(count // at_once):
                batches = stepper.next(at_once)
                state, _ = stepper.step(state, batches, [c.optim.learning_rate] * at_once)
        jax.block_until_ready(state)

    return Prepared(run)


def _own(folder: Path, config: ConfigDict) -> ConfigDict:
    """With the data in the case's folder."""
    config.data.data_dir = str(folder / "data")
    return config


def _rows(folder: Path) -> dict[str, np.ndarray]:
    """Memory-mapped, as a store's."""
    return {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in ROWS}


def _experiment(
    config: ConfigDict, arrays: dict[str, np.ndarray], compiled: steps.Compiled
) -> Experiment:
    """All examples train."""
    names = np.array([str(i) for i in range(len(arrays["label"]))])
    examples = Examples(
        ids=names,
        patient_ids=names,
        labels=np.asarray(arrays["label"]),
        sources=names,
        age_groups=names,
        classes=tuple(config.data.classes),
    )
    own = SplitExamples(examples, {"train": np.arange(len(names))}, sha256="")
    return Experiment(config, own, own, arrays, compiled, DataRecord(fingerprint=""))
