"""Learners: patched predictions and training steps, through the programs that runs use."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from benchmarks import experiments
from benchmarks.files import INPUTS, WEIGHTS, read_arrays, write_arrays
from benchmarks.ours import device, training
from benchmarks.protocol import Prepared
from jaxcxr import data, parallel, weights
from jaxcxr.inference.programs import predict_rows
from jaxcxr.ops import patches
from jaxcxr.state import Variables
from jaxcxr.tasks import input_sampler
from jaxcxr.training import steps
from tfds_builders.phantom_cxr import drawing

Fields = Mapping[str, Any]


def draw_inputs(
    folder: Path, *, config: str, fields: Fields, images: int, count: int, inputs: str = INPUTS
) -> None:
    """Writes what a prediction reads: images, masks, and where the patches lie that our side will
    take, if it takes any.

    image [N, S, S] uint8; mask [N, S, S] uint8, 1 in the lungs; label [N] int32; centres [N, K, 2]
    (row, column).
    """
    c = experiments.load(config, fields)
    device.start(c)
    arrays = draw_phantoms(c, images)
    if c.patches.enabled:
        keys = jax.vmap(lambda index: jax.random.fold_in(_predict_key(c), index))(
            np.arange(images, dtype=np.int32)
        )
        arrays["centres"] = np.asarray(
            patches.evaluation_centres(
                keys, arrays["mask"], count=count, sampling=c.patches.sampling
            )
        )
    write_arrays(folder / inputs, arrays)


def draw_batch(folder: Path, *, config: str, fields: Fields, images: int) -> None:
    """Writes a training batch and `pixels` [B k, P, P] float32 in [0, 1], what our first step draws
    from it.
    """
    c = experiments.load(config, fields)
    device.start(c)
    batch = draw_phantoms(c, images)
    # As steps.train_step, then tasks.classify.
    first = jax.random.fold_in(jax.random.key(c.seed), 0)
    draw_key, _ = jax.random.split(first)
    indexed = {**batch, "index": np.arange(images, dtype=np.int32)}
    sampler = input_sampler.build(c)
    pixels = jax.jit(
        lambda batch: sampler.draw(batch, draw_key, count=c.patches.train_count, train=True)
    )(indexed)
    write_arrays(folder / INPUTS, {**batch, "pixels": pixels.reshape(-1, *pixels.shape[2:])})


def predict(
    folder: Path,
    *,
    config: str,
    fields: Fields,
    count: int,
    images: int = 1,
    inputs: str = INPUTS,
    compared: int = 1,
    devices: int = 1,
) -> Prepared:
    """`--config.run=predict` of images that lie in memory: crops, network, votes.

    Args:
        folder: with the inputs, and the weights where a peer has drawn some.
        config, fields: of the experiment.
        count: K; 1 of whole images.
        images: the number of images, from the first one on.
        inputs: file of `draw_inputs`.
        compared: images of the first batch, from the first one on, of which all sides of the case
            compute the same.
        devices: simulated ones, of a CPU.
    """
    c = experiments.load(config, fields)
    device.start(c, devices=devices)
    compiled = _compiled(c)
    variables = parallel.place(_variables(c, folder))
    arrays = _needed(folder / inputs, compiled)
    batches = data.eval_batches(
        arrays,
        np.arange(images),
        batch_size=c.evaluate.batch_size,
        process_index=parallel.process_index(),
        process_count=parallel.process_count(),
    )
    found: list[dict[str, np.ndarray]] = []

    def run() -> None:
        found[:] = predict_rows(compiled.predict(count), variables, batches, _predict_key(c))

    def outputs() -> dict[str, np.ndarray]:
        """Of the first images: they are the same however many follow."""
        return (
            {name: found[0][name][:compared] for name in ("mean_softmax", "vote_fraction")}
            if compared
            else {}
        )

    def measures() -> dict[str, float]:
        batch = parallel.shard(next(iter(batches)))
        # XLA counts the body of `Network.in_chunks`'s loop once; what is outside is crops and a
        # mean.
        crops = count * c.evaluate.batch_size // devices  # of each, whose program XLA counts
        chunks = math.ceil(crops / c.patches.chunk)
        passes = crops / math.ceil(crops / chunks) * len(batches) * devices
        return device.measures(
            compiled.predict(count), variables, batch, _predict_key(c), times=passes
        )

    return Prepared(run, outputs, measures)


def train(folder: Path, *, config: str, fields: Fields) -> Prepared:
    """The training step of a run, without dropout: frameworks draw it differently."""
    c = experiments.load(config, fields)
    device.start(c)
    training.leave_out_dropout(c.model.name)
    compiled = _compiled(c)
    return training.step(c, compiled, _variables(c, folder), _needed(folder / INPUTS, compiled))


def _needed(path: Path, compiled: steps.Compiled) -> dict[str, np.ndarray]:
    """The arrays that the task reads."""
    arrays = read_arrays(path)
    return {name: arrays[name] for name in compiled.task.inputs}


def _compiled(config: ConfigDict) -> steps.Compiled:
    return steps.compile_for(config, class_weights=np.ones(len(config.data.classes), np.float32))


def _variables(config: ConfigDict, folder: Path) -> Variables:
    """The numbers of the peers' network where there is one, else our own first ones."""
    task = _compiled(config).task
    path = folder / WEIGHTS
    if not path.is_file():
        return task.init(config.seed)
    return weights.load(
        weights.find(str(path)), task.init(None), arch=config.model.name, new_head=False
    ).variables


def _predict_key(config: ConfigDict) -> jax.Array:
    """As `Experiment.predict`."""
    return jax.random.fold_in(jax.random.key(config.seed), 1)


def draw_phantoms(config: ConfigDict, count: int) -> dict[str, np.ndarray]:
    """The first image of as many patients; labels 0, 1, 2, 3, 0, ..."""
    drawn = [
        drawing.draw(seed=0, patient=i, image=0, size=config.data.image_size) for i in range(count)
    ]
    return {
        "image": np.stack([phantom.image for phantom in drawn]),
        "mask": np.stack([phantom.masks["lung"] for phantom in drawn]).astype(np.uint8),
        "label": np.arange(count, dtype=np.int32) % len(config.data.classes),
    }
