"""Splits that a file gives, such as a published one: `split.file`."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxcxr.data.splits import TEST, Folds
from jaxcxr.errors import InputError
from jaxcxr.storage import files

SPLITS = ("train", "valid", "test")
_COLUMNS = ("id", "split")


def read(path: str | Path) -> dict[str, str]:
    """Id of an image -> "train", "valid" or "test".

    Raises:
        InputError: the file cannot be read, lacks a column, names another split, or an id twice.
    """
    path = files.expanded(path, "give the whole path")
    with (
        files.reading(path, "set split.file to a CSV with the columns id and split"),
        open(path, newline="", encoding="utf-8-sig") as table,
    ):
        rows = list(csv.DictReader(table))
    if not rows or not set(_COLUMNS) <= rows[0].keys():
        there = ", ".join(map(str, rows[0])) if rows else "no rows"
        raise InputError(f"split.file {path} needs the columns id and split, and has {there}")
    split_of: dict[str, str] = {}
    for number, row in enumerate(rows, start=2):
        name, split = (str(row[column] or "").strip() for column in _COLUMNS)
        if split not in SPLITS:
            raise InputError(
                f"split.file {path}, line {number}: the split is {split!r}; write train, valid or "
                "test"
            )
        if name in split_of:
            raise InputError(f"split.file {path}, line {number}: {name} stands there twice")
        split_of[name] = split
    return split_of


def splits(
    path: str | Path,
    ids: np.ndarray,
    patient_ids: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[str],
    *,
    valid_fraction: float,
    seed: int,
) -> tuple[dict[str, np.ndarray], str]:
    """The file's splits of N images, taken as they are, leaks and all.

    Args:
        path: of the file.
        ids: [N] strings, of the images.
        patient_ids: [N] strings.
        labels: [N] int, index into classes.
        classes: their names, for errors.
        valid_fraction: of the training patients, where the file names no validation images.
        seed: of that draw.

    Returns:
        ({"train", "valid", "oof" (empty), "test": rows}, a hash of them). Images that the file does
        not name are in none.

    Raises:
        InputError: see `read`; or it names no image of the data, or none for training or testing.
    """
    split_of = read(path)
    part = np.array([split_of.get(name, "") for name in ids.tolist()])
    for needed in ("train", "test"):
        if not (part == needed).any():
            shown = ", ".join(ids[:3].tolist())
            raise InputError(
                f"split.file {path} names no image of the data as {needed}; ids are such as {shown}"
            )
    drawn = np.flatnonzero(np.isin(part, ("train", "test")))
    folds = Folds(
        ids=ids[drawn],
        patient_ids=patient_ids[drawn],
        labels=labels[drawn],
        classes=tuple(classes),
        fold=np.where(part[drawn] == "test", TEST, 0).astype(np.int32),
        num_folds=1,
        test_fraction=0.0,
        seed=seed,
        group_by="patient",
    )
    has_valid = bool((part == "valid").any())
    found = folds.split(0, valid_fraction=0.0 if has_valid else valid_fraction)
    found = {name: drawn[rows] for name, rows in found.items()}
    if has_valid:
        found["valid"] = np.flatnonzero(part == "valid")
    rows = sorted([str(ids[row]), name] for name, its in found.items() for row in its)
    return found, hashlib.sha256(json.dumps(["given", 1, rows]).encode()).hexdigest()
