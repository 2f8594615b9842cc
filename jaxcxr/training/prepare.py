"""From a config to an experiment: opens its data, splits them and builds its task."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from jaxcxr import data, parallel, schema
from jaxcxr.data.dropped import Dropped
from jaxcxr.errors import InputError
from jaxcxr.inference.image_store import open_store
from jaxcxr.inference.mask_provider import MaskProvider
from jaxcxr.tasks import task_of
from jaxcxr.training import given_split, placement, stacking, steps
from jaxcxr.training.examples import Examples, SplitExamples, copies, split, with_targets
from jaxcxr.training.experiment import DataRecord, Experiment


@schema.checked
def prepare(config: ConfigDict) -> Experiment:
    """Opens the data of a config, splits it and builds its task."""
    parallel.check_batch_size(config.train.batch_size, field="train.batch_size")
    parallel.check_batch_size(config.evaluate.batch_size, field="evaluate.batch_size")
    placement.check(config.train.placement, processes=parallel.process_count())
    task_of(config).check_prediction(config)
    _check_lungs(config)
    return _PREPARE[config.task](config)


def _check_lungs(config: ConfigDict) -> None:
    """Raises InputError where `data.lungs` would show what is to be found, or nothing."""
    lungs = config.data.get("lungs", "whole")
    if config.task == "segment" and lungs != "whole":
        raise InputError(
            f"data.lungs={lungs!r} shows a segmenter the masks that it is to find: set "
            "--config.data.lungs=whole"
        )
    if lungs in ("removed", "shape") and config.get("patches", {}).get("enabled"):
        raise InputError(
            f"data.lungs={lungs!r} leaves nothing of the lungs that patches are cut from: it is "
            "for whole images (--config.patches.enabled=False), or set --config.data.lungs=whole"
        )


def _from_images(
    config: ConfigDict,
    build: Callable[[ConfigDict, SplitExamples], steps.Compiled],
) -> Experiment:
    masks = MaskProvider.for_run(config)
    store = open_store(config.data, masks=masks.stored)
    study = split(config, Examples.of(store.dataset), copies(config, store.dataset))
    own = with_targets(config, study)
    arrays: dict[str, Any] = {"image": store.images, "label": own.examples.labels}
    notices = store.dataset.notices + _unnamed(config, study)
    if config.train.get("shuffle_labels"):
        arrays["label"] = _shuffled(own, config.seed)
        notices += (
            "negative control: the labels of the training and validation images are shuffled "
            "(train.shuffle_labels)",
        )
        if parallel.is_main():
            print(f"note: {notices[-1]}", flush=True)
    if store.masks is not None:
        arrays["mask"] = store.masks
    record = DataRecord(
        fingerprint=store.dataset.fingerprint,
        upstream=masks.files,
        dropped=_all_dropped(config, store),
        notices=notices,
        reference=store.reference,
        mask_summary=store.mask_summary | masks.origin,
        builders=store.dataset.versions,
        dataset=store.dataset,
    )
    return Experiment(config, own, study, arrays, build(config, own), record)


def _unnamed(config: ConfigDict, study: SplitExamples) -> tuple[str, ...]:
    """A notice of the images that `split.file` does not name, and of names that no image has."""
    if not config.split.file:
        return ()
    named = list(given_split.read(config.split.file))
    unnamed = int((~np.isin(study.examples.ids, named)).sum())
    absent = len(set(named) - set(study.examples.ids.tolist()))
    texts = {
        f"{unnamed:,} images are in no split: split.file does not name them": unnamed,
        f"{absent:,} ids of split.file are of no image of the data": absent,
    }
    return tuple(text for text, count in texts.items() if count)


def _shuffled(own: SplitExamples, seed: int) -> np.ndarray:
    """Labels [N], permuted within the training images and within the validation images."""
    labels, draws = own.examples.labels.copy(), np.random.default_rng(seed)
    for name in ("train", "valid"):
        rows = own.splits[name]
        labels[rows] = draws.permutation(labels[rows])
    return labels


def _all_dropped(config: ConfigDict, store: data.Store) -> dict[str, Dropped]:
    """What the data set left out, and what the preprocessing did."""
    dropped_images = dict(store.dataset.dropped)
    if store.bad_ids:
        dropped_images["unreadable image"] = Dropped.of(list(store.bad_ids), is_fault=True)
    if store.empty_ids and config.masks.on_empty == "drop":
        dropped_images["empty lung mask"] = Dropped.of(list(store.empty_ids), is_fault=True)
    return dropped_images


def _classify(config: ConfigDict) -> Experiment:
    if len(learned := data.output_classes(config.data)) < 2:
        raise InputError(
            f"a classifier needs two classes or more, and data.classes={tuple(config.data.classes)}"
            f" with data.targets={tuple(config.data.targets)} leaves {', '.join(learned) or 'none'}"
        )

    def build(config: ConfigDict, own: SplitExamples) -> steps.Compiled:
        classes = len(own.examples.classes)
        weights = np.ones(classes, np.float32)
        if config.loss.class_weights == "inverse_frequency":
            counts = np.bincount(own.examples.labels[own.splits["train"]], minlength=classes)
            weights = (counts.sum() / (classes * np.maximum(counts, 1))).astype(np.float32)
        return steps.compile_for(config, class_weights=weights)

    return _from_images(config, build)


def _segment(config: ConfigDict) -> Experiment:
    return _from_images(config, lambda config, own: steps.compile_for(config))


_PREPARE = {"classify": _classify, "segment": _segment, "ensemble": stacking.prepare}
