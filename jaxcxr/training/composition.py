"""Class by source, view and split of a run's images: Patched FLANNEL's Table 2."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxcxr.training.examples import Examples, SplitExamples

ALL, NOT_TEST = "all", "cross_validation"


def composition(own: SplitExamples) -> dict[str, Any]:
    """Numbers of images and patients, for the manifest.

    A patient counts once in each number, so that numbers of patients do not add up.

    Returns:
        {"views": whether it is recorded which view images are of, "splits": {split: {"all": row,
        "source": {source: row}, "view": {view: row}, "source_view": {source: {view: row}}}}}, ""
        for an unknown source or view. Splits are the run's, then "cross_validation", all but
        "test", and "all", each image once. A row is {"images": n, "patients": n, "classes": {class:
        {"images": n, "patients": n}}}. {} without classes.
    """
    rows = own.examples
    if not rows.classes:
        return {}
    splits = dict(own.splits)
    others = [index for name, index in splits.items() if name != "test"]
    splits[NOT_TEST] = _union(others)
    splits[ALL] = _union(list(own.splits.values()))
    views = np.full(len(rows.ids), "") if rows.views is None else rows.views
    _, patients = np.unique(rows.patient_ids, return_inverse=True)
    tables = {}
    for name, index in splits.items():
        tables[name] = {
            "all": _row(rows, patients, index),
            "source": _rows(rows, patients, index, rows.sources),
            "view": _rows(rows, patients, index, views),
            "source_view": {
                source: _rows(rows, patients, index[rows.sources[index] == source], views)
                for source in np.unique(rows.sources[index]).tolist()
            },
        }
    return {"views": rows.views is not None, "splits": tables}


def _union(parts: Sequence[np.ndarray]) -> np.ndarray:
    return np.unique(np.concatenate([np.array([], np.int64), *parts]))


def _rows(
    rows: Examples, patients: np.ndarray, index: np.ndarray, groups: np.ndarray
) -> dict[str, Any]:
    here = groups[index]
    return {group: _row(rows, patients, index[here == group]) for group in np.unique(here).tolist()}


def _row(rows: Examples, patients: np.ndarray, index: np.ndarray) -> dict[str, Any]:
    classes = {
        name: _counts(patients, index[rows.labels[index] == c])
        for c, name in enumerate(rows.classes)
    }
    return {**_counts(patients, index), "classes": classes}


def _counts(patients: np.ndarray, index: np.ndarray) -> dict[str, int]:
    return {"images": len(index), "patients": len(np.unique(patients[index]))}
