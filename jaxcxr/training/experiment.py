"""From a config to everything a run needs: arrays, splits, a task and its compiled programs."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from jaxcxr import data, parallel
from jaxcxr.data import dropped
from jaxcxr.data.dropped import Dropped
from jaxcxr.errors import InputError
from jaxcxr.inference.mask_provider import MaskProvider
from jaxcxr.inference.predictor import Predictor
from jaxcxr.state import Variables
from jaxcxr.storage.predictions import Predictions, check_same_split
from jaxcxr.tasks import segment
from jaxcxr.training import placement, steps
from jaxcxr.training.placement import Placement


@dataclasses.dataclass(frozen=True)
class Rows:
    """Who the examples are: one entry an example, in the order of the arrays.

    Attributes:
        ids: [N] image ids.
        patient_ids: [N] patients, what the splits keep together.
        labels: [N] int32 indices into classes.
        sources: [N] the data set each image comes from.
        age_groups: [N] adult, paediatric or ''.
        classes: class names; empty for segmentation.
    """

    ids: np.ndarray
    patient_ids: np.ndarray
    labels: np.ndarray
    sources: np.ndarray
    age_groups: np.ndarray
    classes: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Experiment:
    """One experiment, ready to train or predict.

    Attributes:
        config: its config.
        rows: who the examples are.
        arrays: name -> [N, ...] array or memory map; what batches are made of.
        splits: "train", "valid", "oof", "test" -> row numbers, disjoint.
        split_sha256: hash of the folds.
        fingerprint: hash of the data.
        compiled: task and programs.
        upstream: files of earlier runs that this one reads.
        dropped: what the data hold and this run does not use, by reason; None: other runs opened
            them.
        notices: what was guessed while the data were read.
        reference: picture that the images' histograms were matched to, where `data.match` asks for
            it.
        mask_summary: see `data.Store`.
        study_rows, study_splits: the same under the classes of the study, where `data.targets`
            gives this run others.
    """

    config: ConfigDict
    rows: Rows
    arrays: Mapping[str, Any]
    splits: Mapping[str, np.ndarray]
    split_sha256: str
    fingerprint: str
    compiled: steps.Compiled
    study_rows: Rows
    study_splits: Mapping[str, np.ndarray]
    upstream: tuple[Path, ...] = ()
    dropped: Mapping[str, Dropped] | None = None
    notices: tuple[str, ...] = ()
    reference: Path | None = None
    mask_summary: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def task(self) -> Any:
        """The task of the compiled programs."""
        return self.compiled.task

    @property
    def inputs(self) -> dict[str, Any]:
        """The arrays that the task's batches are made of."""
        return {name: self.arrays[name] for name in self.task.inputs}

    @functools.cached_property
    def placement(self) -> Placement:
        """Where the inputs live while the run computes."""
        needed = sum(array.nbytes for array in self.inputs.values())
        return placement.decide(self.config.train.placement, needed=needed)

    @functools.cached_property
    def resident(self) -> dict[str, jax.Array] | None:
        """The inputs on every device, put there once; None: they stay with the host."""
        if self.placement.where == "host":
            return None
        return parallel.place({name: np.asarray(array) for name, array in self.inputs.items()})

    def predictor(self, variables: Variables) -> Predictor:
        """What predicts with these variables, on the devices, of this run's network."""
        return Predictor(self.config, self.compiled, variables)

    def predict(
        self, variables: Variables, indices: np.ndarray, *, count: int
    ) -> Iterator[dict[str, np.ndarray]]:
        """Predictions for rows of the data set, see `Predictor.rows`."""
        return self.predictor(variables).rows(
            self.inputs, indices, count=count, resident=self.resident
        )

    def host_batch(self, prediction: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The true arrays for the rows of a prediction, as `Task.metrics` wants them."""
        index = prediction["index"]
        batch = {
            name: np.asarray(self.arrays[name][index])
            for name in ("label", "mask")
            if name in self.arrays
        }
        return {**batch, "weight": np.ones(len(index), np.float32)}


def prepare(config: ConfigDict) -> Experiment:
    """Opens the data of a config, splits it and builds its task."""
    parallel.check_batch_size(config.train.batch_size, field="train.batch_size")
    parallel.check_batch_size(config.evaluate.batch_size, field="evaluate.batch_size")
    if config.train.log_every < 1:
        raise InputError(f"train.log_every={config.train.log_every}: give 1 or more steps")
    placement.check(config.train.placement, processes=parallel.process_count())
    if config.task not in _PREPARE:
        raise InputError(f"task={config.task!r} is unknown; known: {', '.join(_PREPARE)}")
    return _PREPARE[config.task](config)


def open_store(section: ConfigDict, *, masks: data.MaskSource | None) -> data.Store:
    """The preprocessed images of a data section.

    Only process 0 prepares, the others wait for it.
    """

    def build() -> data.Store:
        dataset = data.open_dataset(section)
        if parallel.is_main():
            dropped.print_once(dataset.dropped, dataset.notices)
        return data.build_store(
            dataset,
            data.Preprocessing.of(section),
            masks=masks,
            cache_dir=data.cache_dir(section),
            shared_dir=data.shared_cache_dir(section),
            max_bad_images=section.max_bad_images,
        )

    if not parallel.is_main():
        parallel.barrier("store")
        return build()
    try:
        return build()
    finally:
        # Also after an error, which the others then meet themselves instead of waiting forever.
        parallel.barrier("store")


def _folds(config: ConfigDict, rows: Rows) -> tuple[dict[str, np.ndarray], str]:
    s = config.split
    folds = data.make_folds(
        rows.ids,
        rows.patient_ids,
        rows.labels,
        rows.classes,
        num_folds=s.folds,
        test_fraction=s.test_fraction,
        seed=s.seed,
        group_by=s.group_by,
    )
    splits = folds.split(s.fold, valid_fraction=s.valid_fraction)
    if not 0 < s.train_fraction <= 1:
        raise InputError(
            f"split.train_fraction is {s.train_fraction}: give a share above 0, up to 1"
        )
    if s.train_fraction < 1:
        train = splits["train"]
        patients, images = data.sample_patients(rows.patient_ids[train], rows.labels[train], s.seed)
        chosen = patients[np.cumsum(images) <= s.train_fraction * len(train)]
        splits["train"] = train[np.isin(rows.patient_ids[train], chosen)]
    if "train_limit" in s:
        splits["train"] = _limited(splits["train"], rows, tuple(s.train_limit), seed=s.seed)
    return splits, folds.sha256


def _limited(train: np.ndarray, rows: Rows, limits: Sequence[str], *, seed: int) -> np.ndarray:
    """The training rows with at most as many of each class as `split.train_limit` says.

    They are taken patient by patient in a seeded order, so that those of a smaller limit are part
    of a larger one's.
    """
    for text in limits:
        name, _, number = text.partition("=")
        if name not in rows.classes or not number.isdecimal() or not int(number):
            known = ", ".join(rows.classes) or "none: set data.classes"
            raise InputError(
                f"split.train_limit has {text!r}: write 'class=count', a count of 1 or more; the "
                f"classes are {known}"
            )
        mine = train[rows.labels[train] == rows.classes.index(name)]
        patients, _ = data.sample_patients(rows.patient_ids[mine], rows.labels[mine], seed)
        place = {patient: n for n, patient in enumerate(patients.tolist())}
        order = sorted(mine.tolist(), key=lambda row: place[rows.patient_ids[row].item()])
        train = np.setdiff1d(train, order[int(number) :])
    return train


def _with_targets(
    config: ConfigDict, rows: Rows, splits: dict[str, np.ndarray]
) -> tuple[Rows, dict[str, np.ndarray]]:
    """The rows under the classes that this run learns (`data.targets`).

    The others leave its splits.
    """
    learned = data.output_classes(config.data)
    if learned == rows.classes:
        return rows, splits
    to = data.target_map(config.data)
    number = np.array(
        [learned.index(to[name]) if to[name] else -1 for name in rows.classes], np.int32
    )
    labels = number[rows.labels]
    splits = {name: index[labels[index] >= 0] for name, index in splits.items()}
    return dataclasses.replace(rows, labels=np.maximum(labels, 0), classes=learned), splits


def _rows(dataset: data.Dataset) -> Rows:
    return Rows(
        ids=dataset.ids,
        patient_ids=dataset.patient_ids,
        labels=dataset.labels,
        sources=dataset.sources,
        age_groups=dataset.age_groups,
        classes=dataset.classes,
    )


def _from_images(
    config: ConfigDict,
    build: Callable[[ConfigDict, Rows, Mapping[str, np.ndarray]], steps.Compiled],
) -> Experiment:
    store = open_store(config.data, masks=MaskProvider.for_run(config).stored)
    rows = _rows(store.dataset)
    study_rows, (study_splits, sha256) = rows, _folds(config, rows)
    rows, splits = _with_targets(config, rows, study_splits)
    arrays: dict[str, Any] = {"image": store.images, "label": rows.labels}
    if store.masks is not None:
        arrays["mask"] = store.masks
    upstream = ()
    if config.masks.source == "workdir":
        upstream = (Path(config.masks.workdir) / "masks" / "index.json",)
    return Experiment(
        config=config,
        rows=rows,
        arrays=arrays,
        splits=splits,
        split_sha256=sha256,
        fingerprint=store.dataset.fingerprint,
        compiled=build(config, rows, splits),
        study_rows=study_rows,
        study_splits=study_splits,
        upstream=upstream,
        dropped=_all_dropped(config, store),
        notices=store.dataset.notices,
        reference=store.reference,
        mask_summary=store.mask_summary,
    )


def _all_dropped(config: ConfigDict, store: data.Store) -> dict[str, Dropped]:
    """What the data set left out, and what the preprocessing did."""
    found = dict(store.dataset.dropped)
    if store.bad_ids:
        found["unreadable image"] = Dropped.of(list(store.bad_ids), is_fault=True)
    if store.empty_ids and config.masks.on_empty == "drop":
        found["empty lung mask"] = Dropped.of(list(store.empty_ids), is_fault=True)
    return found


def _classify(config: ConfigDict) -> Experiment:
    def build(config: ConfigDict, rows: Rows, splits: Mapping[str, np.ndarray]) -> steps.Compiled:
        classes = len(rows.classes)
        weights = np.ones(classes, np.float32)
        if config.loss.class_weights == "inverse_frequency":
            counts = np.bincount(rows.labels[splits["train"]], minlength=classes)
            weights = (counts.sum() / (classes * np.maximum(counts, 1))).astype(np.float32)
        elif config.loss.class_weights != "none":
            raise InputError(
                f"loss.class_weights={config.loss.class_weights!r} is unknown; known: none, "
                "inverse_frequency"
            )
        return steps.compile_for(config, class_weights=weights)

    return _from_images(config, build)


def _segment(config: ConfigDict) -> Experiment:
    segment.check_threshold(config.predict.threshold, sigmoid=config.model.outputs == "sigmoid")
    return _from_images(config, lambda config, rows, splits: steps.compile_for(config))


def _ensemble(config: ConfigDict) -> Experiment:
    """Stacks the learners' files (paper 2.3).

    Out-of-fold rows of every fold, test rows of this fold.
    """
    i, fold = config.inputs, config.split.fold
    if not i.learners:
        raise InputError(
            "inputs.learners is empty: name the learners' folders (each holds fold0, fold1, ...)"
        )
    folds = range(config.split.folds)
    if i.stacking not in ("out_of_fold", "in_sample"):
        raise InputError(
            f"inputs.stacking={i.stacking!r} is unknown; known: out_of_fold, in_sample"
        )
    paths = [[Path(name) / f"fold{k}" / "predictions.npz" for k in folds] for name in i.learners]
    files = [[Predictions.load(path) for path in row] for row in paths]
    needed = ("oof", "test") if i.stacking == "out_of_fold" else ("train", "valid", "oof", "test")
    check_same_split([p for row in files for p in row], splits=needed)
    if i.stacking == "out_of_fold":
        parts = {"oof": [(k, "oof") for k in range(config.split.folds)], "test": [(fold, "test")]}
    else:
        parts = {s: [(fold, s)] for s in ("train", "valid", "oof", "test")}
    pieces = [
        (part, files[0][k].select(split), k, split) for part, ks in parts.items() for k, split in ks
    ]
    inputs = [
        np.stack([row[k].select(split).output(i.base_output) for row in files], axis=1)
        for _, _, k, split in pieces
    ]
    first = files[0][0]
    rows = Rows(
        ids=np.concatenate([p.ids for _, p, _, _ in pieces]),
        patient_ids=np.concatenate([p.patient_ids for _, p, _, _ in pieces]),
        labels=np.concatenate([p.labels for _, p, _, _ in pieces]),
        sources=np.concatenate([p.extra["source"] for _, p, _, _ in pieces]),
        age_groups=np.concatenate([p.extra["age_group"] for _, p, _, _ in pieces]),
        classes=first.classes,
    )
    part_of = np.concatenate([[part] * len(p.ids) for part, p, _, _ in pieces])
    fold_of = np.concatenate([[k] * len(p.ids) for _, p, k, _ in pieces])
    splits = {part: np.flatnonzero(part_of == part) for part in ("train", "valid", "oof", "test")}
    if i.stacking == "out_of_fold":
        # This fold's own out-of-fold rows select the checkpoint; the other folds' rows train.
        splits["train"] = np.flatnonzero((part_of == "oof") & (fold_of != fold))
        splits["oof"] = splits["valid"] = np.flatnonzero((part_of == "oof") & (fold_of == fold))
    counts = np.bincount(rows.labels[splits["train"]], minlength=len(rows.classes))
    return Experiment(
        config=config,
        rows=rows,
        arrays={"inputs": np.concatenate(inputs), "label": rows.labels},
        splits=splits,
        split_sha256=first.split_sha256,
        fingerprint=first.dataset_fingerprint,
        compiled=steps.compile_for(config, learners=len(i.learners), class_counts=counts),
        study_rows=rows,
        study_splits=splits,
        upstream=tuple(path for row in paths for path in row),
    )


_PREPARE = {"classify": _classify, "segment": _segment, "ensemble": _ensemble}
