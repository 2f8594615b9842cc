"""Stacking: the ensemble's examples are the predictions of its learners (paper 2.3)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from jaxcxr.errors import InputError
from jaxcxr.storage import files, run_files
from jaxcxr.storage.predictions import Predictions, check_same_split
from jaxcxr.storage.run_files import CONFIG
from jaxcxr.training import steps
from jaxcxr.training.examples import Examples, SplitExamples
from jaxcxr.training.experiment import DataRecord, Experiment

# What decides which patients are held out, and by which fold.
_SPLIT_FIELDS = ("seed", "folds", "test_fraction", "group_by", "duplicates", "file")


def prepare(config: ConfigDict) -> Experiment:
    """Stacks the learners' files (paper 2.3).

    Out-of-fold rows of every fold, test rows of this fold.
    """
    i, fold = config.inputs, config.split.fold
    if not i.learners:
        raise InputError(
            "inputs.learners is empty: name the learners' folders (each holds fold0, fold1, ...)"
        )
    folds = range(config.split.folds)
    paths = [[Path(name) / f"fold{k}" / "predictions.npz" for k in folds] for name in i.learners]
    loaded = [[Predictions.load(path) for path in row] for row in paths]
    for row in loaded:
        _check_folds(row)
    _check_split_settings(config, [path.parent for row in paths for path in row])
    needed = ("oof", "test") if i.stacking == "out_of_fold" else ("train", "valid", "oof", "test")
    check_same_split([p for row in loaded for p in row], splits=needed)
    if i.stacking == "out_of_fold":
        parts = {"oof": [(k, "oof") for k in range(config.split.folds)], "test": [(fold, "test")]}
    else:
        parts = {s: [(fold, s)] for s in ("train", "valid", "oof", "test")}
    pieces = [
        (part, loaded[0][k].select(split), k, split)
        for part, ks in parts.items()
        for k, split in ks
    ]
    inputs = [
        np.stack([row[k].select(split).output(i.base_output) for row in loaded], axis=1)
        for _, _, k, split in pieces
    ]
    first = loaded[0][0]
    examples = Examples(
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
    counts = np.bincount(examples.labels[splits["train"]], minlength=len(examples.classes))
    own = SplitExamples(examples, splits, first.split_sha256)
    return Experiment(
        config,
        own,
        own,
        arrays={"inputs": np.concatenate(inputs), "label": examples.labels},
        compiled=steps.compile_for(config, learners=len(i.learners), class_counts=counts),
        record=DataRecord(
            fingerprint=first.dataset_fingerprint,
            upstream=tuple(path for row in paths for path in row),
        ),
    )


def _check_folds(files: Sequence[Predictions]) -> None:
    """Raises InputError where the file in `fold<k>` is not of fold k: its rows are other images."""
    for number, predictions in enumerate(files):
        if predictions.fold != number:
            raise InputError(
                f"{predictions.name} is of fold {predictions.fold} and lies in fold{number}: move "
                f"it to fold{predictions.fold}, or train that learner again with "
                f"--config.split.fold={number}"
            )


def _check_split_settings(config: ConfigDict, folders: Sequence[Path]) -> None:
    """Raises InputError where the ensemble's `split` is not the learners', whose split it takes."""
    requested = config.split.to_dict()
    for folder in folders:
        if not (folder / CONFIG).is_file():
            continue  # predictions alone, without their run
        used = run_files.read(folder / CONFIG).get("split", {})
        for name in _SPLIT_FIELDS:
            if name in used and files.jsonable(requested[name]) != used[name]:
                raise InputError(
                    f"split.{name} is {requested[name]!r}, and {folder} was trained with "
                    f"{used[name]!r}: an ensemble takes the split of its learners "
                    f"(--config.split.{name}={used[name]!r})"
                )
