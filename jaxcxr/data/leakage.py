"""Leakage between data sets: images and patients of an external test set that a model has seen."""

from __future__ import annotations

import collections
from typing import Any

import numpy as np

from jaxcxr.data import duplicates, image_facts
from jaxcxr.data.builders import PATIENT_KEYS, open_dataset
from jaxcxr.data.dataset import Dataset

SAME_ID, SAME_FILE, SAME_PATIENT, SAME_XRAY, OF_SUCH_PATIENTS, SAME_SOURCE = (
    "the run's data have an image of that id",
    "the run's data have the same file",
    "the run's data have the patient",
    "the run's data have the same X-ray in another form",
    "further images of these patients",
    "the run's data have images of that source",
)


def patient_names(dataset: Dataset, data_config: Any) -> np.ndarray:
    """[N, K] the patient of each image by every key that builders give, see `data.patient_key`.

    Args:
        dataset: N images.
        data_config: the data section that it was opened with.
    """
    columns = []
    for key in PATIENT_KEYS:
        section = data_config.copy_and_resolve_references()
        section.patient_key, section.limit = key, 0
        everyone = open_dataset(section)
        patient_of = dict(zip(everyone.ids.tolist(), everyone.patient_ids.tolist(), strict=True))
        columns.append([patient_of[name] for name in dataset.ids.tolist()])
    return np.array(columns).T


def copied(dataset: Dataset, section: Any, own: Dataset, own_section: Any) -> np.ndarray:
    """[N] bool: images of which `own` has a copy, found by its pixels (`duplicates`).

    Args:
        dataset: N images of the external set.
        section: the data section that it was opened with.
        own: images of the model's own data.
        own_section: theirs.
    """
    both = [image_facts.look(dataset, section), image_facts.look(own, own_section)]
    pairs = duplicates.find(np.concatenate([facts.thumbnails for facts in both]), show=True)
    rows = [pair.first for pair in pairs if pair.first < len(dataset) <= pair.second]
    return np.isin(np.arange(len(dataset)), rows)


def find_leakage(
    dataset: Dataset,
    patients: np.ndarray,
    own: Dataset,
    own_patients: np.ndarray,
    *,
    copies: np.ndarray,
    sources: bool,
) -> dict[str, np.ndarray]:
    """Images that a model may have been trained on, or whose patients may, by reason.

    Args:
        dataset: N images of the external set.
        patients: [N, K] their patients' names; two images are of one patient if any of these
            agrees.
        own: M images of the model's own data.
        own_patients: [M, K] their patients' names.
        copies: [N] bool, see `copied`.
        sources: whether all images count that are of a source which `own` has.

    Returns:
        reason -> row numbers; a row has the first reason that applies.
    """
    reasons = {
        SAME_ID: np.isin(dataset.ids, own.ids),
        SAME_FILE: np.isin(dataset.image_hashes, own.image_hashes),
        SAME_PATIENT: np.isin(patients, own_patients).any(axis=1),
    }
    leaked = np.any(list(reasons.values()), axis=0)
    reasons[SAME_XRAY] = copies
    # A strict key may be that of everybody whom a collection does not name: a copy of one of them
    # says nothing of the others.
    reasons[OF_SUCH_PATIENTS] = _same_people(patients, leaked) | _same_people(
        patients[:, :1], copies
    )
    if sources:
        reasons[SAME_SOURCE] = np.isin(dataset.sources, own.sources)
    rows_by_reason, assigned = {}, np.zeros(len(dataset), bool)
    for reason, rows in reasons.items():
        rows_by_reason[reason] = np.flatnonzero(rows & ~assigned)
        assigned |= rows
    return rows_by_reason


def _same_people(patients: np.ndarray, leaked: np.ndarray) -> np.ndarray:
    """[N] bool: `seen`, and all rows that are linked to these by shared names, transitively."""
    rows_of = collections.defaultdict(list)
    for row, names in enumerate(patients.tolist()):
        for name in set(names):
            rows_of[name].append(row)
    leaked, waiting = leaked.copy(), np.flatnonzero(leaked).tolist()
    while waiting:
        for name in patients[waiting.pop()].tolist():
            for row in rows_of.pop(name, []):
                if not leaked[row]:
                    leaked[row] = True
                    waiting.append(row)
    return leaked
