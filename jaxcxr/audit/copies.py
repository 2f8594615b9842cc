"""Copies of X-rays and patients that a split parts, or that contradict each other."""

from __future__ import annotations

import collections
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxcxr.data import duplicates
from jaxcxr.data.duplicates import Pair
from jaxcxr.training.examples import Examples

LISTED = 100  # pairs and patients that are named
# What a pair's images differ in -> the field of the pair, the worst first.
OF_TWO = {"splits": "split", "classes": "class", "patients": "patient", "sources": "source"}


def split_of_each(count: int, splits: Mapping[str, np.ndarray]) -> np.ndarray:
    """[count] name of the split that each example is in, "" for none."""
    names = np.full(count, "", dtype=object)
    for name, rows in splits.items():
        names[rows] = name
    return names


def patients_in_two_splits(
    examples: Examples, splits: Mapping[str, np.ndarray]
) -> dict[str, list[str]]:
    """Splits, such as "test, train" -> patients of whom both have images; the first by name."""
    of: dict[str, set[str]] = collections.defaultdict(set)
    for name, rows in splits.items():
        for patient in np.unique(examples.patient_ids[rows]).tolist():
            of[patient].add(name)
    found: dict[str, list[str]] = collections.defaultdict(list)
    for patient, names in sorted(of.items()):
        if len(names) > 1:
            found[", ".join(sorted(names))].append(patient)
    return dict(found)


def findings(
    examples: Examples, splits: Mapping[str, np.ndarray], pairs: Sequence[Pair]
) -> dict[str, Any]:
    """Copies, as JSON values.

    Args:
        examples: N images.
        splits: name -> rows of them.
        pairs: rows that are one X-ray, see `jaxcxr.data.duplicates`.

    Returns:
        {"pairs", "clusters", "images": numbers, of the images in clusters; "of_two_splits",
        "of_two_classes", "of_two_patients", "of_two_sources": numbers of pairs; "listed": the
        worst pairs, each {"first": {"id", "patient", "source", "class", "split"}, "second": the
        same, "similarity", "inverted", "mirrored", "rows"}}.
    """
    of_split = split_of_each(len(examples.ids), splits)
    listed = [_described(examples, of_split, pair) for pair in pairs]
    cluster = duplicates.clusters(pairs, len(examples.ids))
    sizes = np.bincount(cluster, minlength=1)
    return {
        "pairs": len(pairs),
        "clusters": int((sizes > 1).sum()),
        "images": int(sizes[sizes > 1].sum()),
        **{
            f"of_two_{name}": sum(_differs(pair, field) for pair in listed)
            for name, field in OF_TWO.items()
        },
        "listed": sorted(listed, key=_gravity)[:LISTED],
    }


def _described(examples: Examples, of_split: np.ndarray, pair: Pair) -> dict[str, Any]:
    def described(row: int) -> dict[str, str]:
        return {
            "id": str(examples.ids[row]),
            "patient": str(examples.patient_ids[row]),
            "source": str(examples.sources[row]),
            "class": examples.classes[examples.labels[row]] if examples.classes else "",
            "split": str(of_split[row]),
        }

    return {
        "first": described(pair.first),
        "second": described(pair.second),
        "similarity": round(pair.similarity, 4),
        "inverted": pair.inverted,
        "mirrored": pair.mirrored,
        "rows": [pair.first, pair.second],
    }


def _differs(pair: Mapping[str, Any], field: str) -> bool:
    """Whether the two have a field and not the same value; images of no split have none."""
    a, b = pair["first"][field], pair["second"][field]
    return bool(a and b) and a != b


def is_of_two(pair: Mapping[str, Any]) -> bool:
    """Whether a pair's images are of two patients, classes, splits or sources."""
    return any(_differs(pair, field) for field in OF_TWO.values())


def _gravity(pair: Mapping[str, Any]) -> tuple[Any, ...]:
    return (*(not _differs(pair, field) for field in OF_TWO.values()), pair["first"]["id"])
