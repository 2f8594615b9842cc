"""Pictures of what a run is fed, for the report and TensorBoard.

Lung outlines with the patches drawn.
"""

from __future__ import annotations

import jax
import numpy as np

from jaxcxr.inference.saliency import grey
from jaxcxr.ops import geometry, patches
from jaxcxr.report import plots, tables
from jaxcxr.storage.metric_writer import MetricWriter
from jaxcxr.storage.names import PictureNames, on_disk
from jaxcxr.storage.run_folder import RunFolder
from jaxcxr.training.experiment import Experiment

_SAMPLES = 6  # images of a class on the sheet


def write_inputs(experiment: Experiment, folder: RunFolder, writer: MetricWriter) -> None:
    """Writes pictures of training images before training starts.

    `overlays/<id>.png` for one of each class, and `overlays/classes.png` with several of each,
    evenly spaced over the training images, so that every collection has its share.

    Mistaken masks or labels are seen in minutes that way, not after the run.
    """
    if "image" not in experiment.arrays:
        return
    _write_classes(experiment, folder, writer)
    config, rows = experiment.config, experiment.examples
    train = experiment.splits["train"]
    names = PictureNames(reserved=("classes.png",))
    # A classifier's patches lie in all that its masks have.
    structures = () if experiment.task.has_classes else tuple(config.masks.structures)
    shown = [
        i
        for c in range(max(len(rows.classes), 1))
        for i in spread(train[rows.labels[train] == c], count=1)
    ]
    for i in shown:
        image = grey(np.asarray(experiment.arrays["image"][i])[None])[0]
        mask = np.asarray(experiment.arrays["mask"][i]) if "mask" in experiment.arrays else None
        boxes = []
        if "patches" in config and config.patches.enabled and mask is not None:
            key = jax.random.fold_in(jax.random.key(config.seed), int(i))
            centres = patches.sample_centres(
                key, mask, count=config.patches.eval_count, sampling=config.patches.sampling
            )
            origins = geometry.box_origin(centres, size=config.patches.size, shape=image.shape)
            boxes = [(int(y), int(x), config.patches.size) for y, x in np.asarray(origins)]
        label = f", {tables.class_title(rows.classes[rows.labels[i]])}" if rows.classes else ""
        figure = plots.mask_overlay(
            image, mask, boxes=boxes, structures=structures, title=f"{rows.ids[i]}{label}"
        )
        folder.write_bytes(f"overlays/{on_disk(names.of(str(rows.ids[i])))}", plots.to_png(figure))
        writer.image(0, f"inputs/{rows.ids[i]}", plots.to_array(figure))


def spread(index: np.ndarray, *, count: int) -> np.ndarray:
    """At most `count` of the rows [N], in their order: the middles of as many equal parts."""
    index = np.sort(index)
    if len(index) <= count:
        return index
    return index[((2 * np.arange(count) + 1) * len(index)) // (2 * count)]


def _write_classes(experiment: Experiment, folder: RunFolder, writer: MetricWriter) -> None:
    """Training images of each class, as the network gets them but for crops and patches."""
    rows, train = experiment.examples, experiment.splits["train"]
    samples = {}
    for number, name in enumerate(rows.classes):
        index = spread(train[rows.labels[train] == number], count=_SAMPLES)
        if len(index):
            samples[tables.class_title(name)] = grey(np.asarray(experiment.arrays["image"][index]))
    if samples:
        figure = plots.class_samples(samples)
        folder.write_bytes("overlays/classes.png", plots.to_png(figure))
        writer.image(0, "inputs/classes", plots.to_array(figure))
