"""Lung segmenters: prediction and training step."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks import experiments
from benchmarks.files import INPUTS, NUMBERS, read_arrays, write_arrays
from benchmarks.ours import device, training
from benchmarks.protocol import Prepared
from jaxcxr import parallel
from jaxcxr.inference.programs import predict_rows
from jaxcxr.training import steps
from tfds_builders.phantom_cxr import drawing


def draw_inputs(folder: Path, *, config: str, fields: Mapping[str, Any], images: int) -> None:
    """Writes image [B, S, S] uint8, mask [B, S, S] uint8 structure ids, label [B], and the
    network's first numbers.
    """
    c = experiments.load(config, fields)
    device.start(c)
    drawn = [
        drawing.draw(seed=0, patient=i, image=0, size=c.data.image_size) for i in range(images)
    ]
    mask = np.zeros((images, c.data.image_size, c.data.image_size), np.uint8)
    for number, name in enumerate(c.masks.structures, start=1):
        for i, phantom in enumerate(drawn):
            if not c.masks.by_source:
                mask[i][phantom.masks[name]] = number
            elif i % len(c.masks.structures) == number - 1:  # each image shows one, in turn
                mask[i][phantom.masks["lung"]] = number
    image = np.stack([phantom.image for phantom in drawn])
    write_arrays(
        folder / INPUTS, {"image": image, "mask": mask, "label": np.zeros(images, np.int32)}
    )
    leaves = jax.tree_util.tree_flatten_with_path(steps.compile_for(c).task.init(c.seed))[0]
    named = {jax.tree_util.keystr(keys, simple=True, separator="/"): leaf for keys, leaf in leaves}
    write_arrays(folder / NUMBERS, named)


def predict(folder: Path, *, config: str, fields: Mapping[str, Any]) -> Prepared:
    """`Task.predict` of a batch, from the host and back."""
    c = experiments.load(config, fields)
    device.start(c)
    compiled = steps.compile_for(c)
    variables = parallel.place(compiled.task.init(c.seed))
    batch, key = training.complete(read_arrays(folder / INPUTS)), jax.random.key(c.seed)
    found: list[dict[str, np.ndarray]] = []

    def run() -> None:
        found[:] = predict_rows(compiled.predict(0), variables, [batch], key)

    def outputs() -> dict[str, np.ndarray]:
        """Losses [B], and the pixels of each structure [B, 1 + structures]: single ones may be
        undecided.
        """
        ids = range(1 + len(c.masks.structures))
        return {
            "loss": found[0]["loss"],
            "areas": np.stack([(found[0]["mask"] == i).sum(axis=(1, 2)) for i in ids], axis=1),
        }

    return Prepared(
        run,
        outputs,
        lambda: device.measures(compiled.predict(0), variables, parallel.shard(batch), key),
    )


def train(folder: Path, *, config: str, fields: Mapping[str, Any]) -> Prepared:
    """The training step of a run, without dropout."""
    c = experiments.load(config, fields)
    device.start(c)
    training.leave_out_dropout(c.model.name)
    compiled = steps.compile_for(c)
    return training.step(c, compiled, compiled.task.init(c.seed), read_arrays(folder / INPUTS))
