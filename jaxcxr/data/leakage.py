"""Leakage between data sets: images and patients of an external test set that a model has seen."""

from __future__ import annotations

import collections
from typing import Any

import numpy as np

from jaxcxr.data.builders import PATIENT_KEYS, open_dataset
from jaxcxr.data.dataset import Dataset

SAME_ID, SAME_FILE, SAME_PATIENT, OF_SUCH_PATIENTS, SAME_SOURCE = (
    "the run's data have an image of that id",
    "the run's data have the same file",
    "the run's data have the patient",
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


def find_leakage(
    dataset: Dataset, patients: np.ndarray, own: Dataset, own_patients: np.ndarray, *, sources: bool
) -> dict[str, np.ndarray]:
    """Images that a model may have been trained on, or whose patients may, by reason.

    Not detectable: a copy that was encoded again, under another id, patient and source.

    Args:
        dataset: N images of the external set.
        patients: [N, K] their patients' names; two images are of one patient if any of these
            agrees.
        own: M images of the model's own data.
        own_patients: [M, K] their patients' names.
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
    reasons[OF_SUCH_PATIENTS] = _same_people(patients, leaked)
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
