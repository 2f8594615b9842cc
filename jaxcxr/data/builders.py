"""Data sets by the module names of their builders -> one Dataset."""

from __future__ import annotations

import collections
import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import coo_array, csgraph

from jaxcxr.data import dropped as dropping
from jaxcxr.data.dataset import Dataset, Examples, subsample_patients
from jaxcxr.data.dropped import Dropped
from jaxcxr.data.prepared import (
    PATIENT_KEYS,
    PreparedSet,
    data_folder,
    manual_folder,
    open_prepared,
)
from jaxcxr.errors import InputError
from jaxcxr.storage import files


def with_default_dirs(section: Any, first: Any, *, field: str) -> Any:
    """A copy of a second data section, with the first one's folders where it names none.

    The folders are `manual_dir` and `data_dir`. `field`: the section's name, for messages.

    Raises:
        InputError: its own `manual_dir` is not a folder.
    """
    section = section.copy_and_resolve_references()
    if section.manual_dir:
        manual_folder(section.manual_dir, field=f"{field}.manual_dir")
    for name in ("manual_dir", "data_dir"):
        section[name] = section[name] or first[name]
    return section


def open_dataset(data_config: Any) -> Dataset:
    """Opens the builders that the config names, prepares what is missing, and concatenates them.

    Args:
        data_config: has builders (module names), options ({short name: builder options}),
            data_dir ('' = $TFDS_DATA_DIR or ~/tensorflow_datasets), manual_dir, classes
            (() = none: every label is 0), relabel (label of a builder -> class, '' = leave out),
            sources (() = all), patient_key, max_dropped, and limit (0 = all; else the largest
            number of images, from a fixed stratified sample of patients).

    Returns:
        The images, ordered by builder and then by id, so that neither TFDS' shuffling nor the
        number of shards matters. Rows without a class are left out and counted in `dropped`.
        Patients of whom the same file is there are one patient.

    Raises:
        InputError: unknown builder or option, source files missing, too many of them at fault,
            label outside `classes`, the same id twice, the same file under two labels, or nothing
            left.
    """
    if data_config.patient_key not in PATIENT_KEYS:
        raise InputError(
            f"data.patient_key is '{data_config.patient_key}': choose one of "
            f"{', '.join(PATIENT_KEYS)}"
        )
    if not data_config.builders:
        raise InputError("data.builders is empty: name at least one builder module")
    if not 0 <= data_config.max_dropped <= 1:
        raise InputError(
            f"data.max_dropped is {data_config.max_dropped}: give a fraction of 0 to 1"
        )
    parts = [open_prepared(module, data_config) for module in data_config.builders]
    dataset = _concatenate(
        parts,
        tuple(data_config.classes),
        relabel=label_map(data_config),
        patient_key=data_config.patient_key,
        max_dropped=data_config.max_dropped,
    )
    dataset = of_sources(dataset, data_config.sources)
    return subsample_patients(dataset, data_config.limit, seed=0)


def of_sources(dataset: Dataset, sources: Sequence[str]) -> Dataset:
    """The images of some sources, of () all; the others are counted in `dropped`.

    Raises:
        InputError: a source of which there is no image.
    """
    if not sources:
        return dataset
    there = np.unique(dataset.sources).tolist()
    if unknown := sorted({*sources} - {*there}):
        raise InputError(
            f"data.sources names {', '.join(unknown)}, and the images are of {', '.join(there)}"
        )
    dropped = dict(dataset.dropped)
    for source in there:
        if source not in sources:
            names = dataset.ids[dataset.sources == source].tolist()
            dropped[f"source {source} is not in data.sources"] = Dropped.of(names, is_fault=False)
    kept = dataset.take(np.flatnonzero(np.isin(dataset.sources, sources)))
    return dataclasses.replace(kept, dropped=dropped)


def label_counts(data_config: Any) -> dict[str, int]:
    """Images of each label that the builders give, before `relabel`.

    Those without a label count under ''.
    """
    tables = [open_prepared(module, data_config).table for module in data_config.builders]
    labels, counts = np.unique(
        np.concatenate([table["label"] for table in tables]), return_counts=True
    )
    return dict(zip(labels.tolist(), counts.tolist(), strict=True))


def label_map(data_config: Any) -> dict[str, str]:
    """Mapping from a builder's label to a class, '' for labels that are not used.

    See `jaxcxr.schema.data`, `data.relabel`.
    """
    return pairs("data.relabel", data_config.relabel)


def output_classes(data_config: Any) -> tuple[str, ...]:
    """The classes that a run learns.

    Those of `target_map` where it has any, else all of the study's.
    """
    classes = tuple(data_config.classes)
    to = target_map(data_config)
    return tuple(dict.fromkeys(to[name] for name in classes if to[name]))


def target_map(data_config: Any) -> dict[str, str]:
    """Mapping from a class of the study to the class that this run learns, '' for none.

    See `jaxcxr.schema.data`, `data.targets`.

    Raises:
        InputError: `targets` does not say what becomes of each of `classes`.
    """
    classes = tuple(data_config.classes)
    mapping = pairs("data.targets", data_config.targets)
    if mapping and set(mapping) != set(classes):
        raise InputError(
            f"data.targets must map each of data.classes {classes}, but has {tuple(mapping)}"
        )
    return mapping or {name: name for name in classes}


def pairs(field: str, texts: Sequence[str]) -> dict[str, str]:
    """('viral=cap', 'other=') -> {'viral': 'cap', 'other': ''}; `field` is named in errors."""
    pairs = [text.partition("=") for text in texts]
    for text, (name, sign, _) in zip(texts, pairs, strict=True):
        if not (name and sign):
            raise InputError(f"{field} has {text!r}: write 'from=to', or 'from=' to leave it out")
    return {name: to for name, _, to in pairs}


def cache_dir(data_config: Any) -> Path:
    """The folder for preprocessed images.

    It lies beside the data sets, or in the user's cache if these are read-only.
    """
    folder = data_folder(data_config.data_dir)
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if os.access(there, os.W_OK):
        return shared_cache_dir(data_config)
    cache = files.expanded(
        os.environ.get("XDG_CACHE_HOME") or "~/.cache",
        f"name a folder for preprocessed images in $XDG_CACHE_HOME, since {folder} is read-only",
    )
    return cache / "jaxcxr" / "preprocessed"


def shared_cache_dir(data_config: Any) -> Path:
    """The folder of preprocessed images beside the prepared data sets.

    Others may have filled it.
    """
    return data_folder(data_config.data_dir) / "preprocessed"


def _concatenate(
    parts: Sequence[PreparedSet],
    classes: tuple[str, ...],
    *,
    relabel: Mapping[str, str],
    patient_key: str,
    max_dropped: float,
) -> Dataset:
    offsets = np.cumsum([0, *(len(part.examples) for part in parts)])
    orders = [np.argsort(part.table["id"]) for part in parts]
    shared = set.intersection(*({n for n in part.table if n.startswith("mask_")} for part in parts))

    def column(name: str) -> np.ndarray:
        return np.concatenate(
            [part.table[name][order] for part, order in zip(parts, orders, strict=True)]
        )

    ids = column("id")
    unique, counts = np.unique(ids, return_counts=True)
    if (counts > 1).any():
        names = ", ".join(unique[counts > 1][:10])
        raise InputError(f"{(counts > 1).sum()} ids occur more than once in data.builders: {names}")
    part_of = np.repeat(np.arange(len(parts)), np.diff(offsets))
    indices = _indices(ids, column("label"), classes, relabel)
    dropped = {}
    for number, part in enumerate(parts):
        without = (part_of == number) & (indices < 0)
        found = {**part.dropped, **_without_class(part, ids[without], column("finding")[without])}
        at_fault = sum(
            f.count for reason, f in found.items() if f.is_fault and reason not in part.dropped
        )
        images = len(part.examples) - at_fault
        dropping.check(
            found,
            name=part.name,
            images=images,
            max_dropped=max_dropped,
            known_findings=part.known_findings,
        )
        dropped |= found
    keep = indices >= 0
    if not keep.any():
        reasons = "; ".join(dropping.lines(dropped))
        raise InputError(
            f"data.builders give no image with a class of the study {classes}: {reasons}"
        )
    hashes, patients = column("image"), column(patient_key)
    _check_copies(ids[keep], indices[keep], hashes[keep], classes)
    patients, notices = _join_patients(patients, hashes)
    rows = np.concatenate([order + o for order, o in zip(orders, offsets[:-1], strict=True)])
    return Dataset(
        ids=ids[keep],
        patient_ids=patients[keep],
        labels=indices[keep],
        findings=column("finding")[keep],
        views=column("view")[keep],
        sources=column("source")[keep],
        age_groups=column("age_group")[keep],
        classes=classes,
        image_hashes=hashes[keep],
        mask_hashes={n.removeprefix("mask_"): column(n)[keep] for n in sorted(shared)},
        examples=_Concatenated([part.examples for part in parts], offsets),
        rows=rows[keep],
        dropped=dropped,
        notices=(*(notice for part in parts for notice in part.notices), *notices),
        versions={part.name: part.version for part in parts},
    )


def _indices(
    ids: np.ndarray, labels: np.ndarray, classes: tuple[str, ...], relabel: Mapping[str, str]
) -> np.ndarray:
    """[N] int32 into classes, -1 for no class; all 0 where there are no classes."""
    if not classes:
        return np.zeros(len(ids), np.int32)
    if strange := sorted({*relabel.values()} - {*classes, ""}):
        raise InputError(
            f"data.relabel names {', '.join(strange)}, which is not in data.classes {classes}"
        )
    labels = np.array([relabel.get(label, label) for label in labels.tolist()])
    unknown = np.flatnonzero(~np.isin(labels, (*classes, "")))
    if len(unknown):
        raise InputError(
            f"label '{labels[unknown[0]]}' of {ids[unknown[0]]} is not in data.classes {classes} "
            f"({len(unknown)} such images); data.relabel may map it to one of them, or to ''"
        )
    return np.array([classes.index(label) if label else -1 for label in labels], np.int32)


def _without_class(part: PreparedSet, ids: np.ndarray, findings: np.ndarray) -> dict[str, Dropped]:
    """The images of one builder that have no class of the study, by finding."""
    names = collections.defaultdict(list)
    for name, finding in zip(ids.tolist(), findings.tolist(), strict=True):
        names[finding].append(name)
    dropped = {}
    for finding, its in sorted(names.items()):
        is_fault = finding in part.unknown_findings
        kind = "unknown finding" if is_fault else "no class of the study"
        dropped[f"{part.name}: {kind}: {finding or 'no finding given'}"] = Dropped.of(
            its, is_fault=is_fault
        )
    return dropped


def _check_copies(
    ids: np.ndarray, labels: np.ndarray, hashes: np.ndarray, classes: tuple[str, ...]
) -> None:
    """Refuses files that are there more than once under labels that contradict each other."""
    _, first, copy_of = np.unique(hashes, return_index=True, return_inverse=True)
    wrong = np.flatnonzero(labels != labels[first[copy_of]])
    if len(wrong):
        pairs = [
            f"{ids[a]} ({classes[labels[a]]}) and {ids[b]} ({classes[labels[b]]})"
            for a, b in zip(first[copy_of[wrong[:3]]].tolist(), wrong[:3].tolist(), strict=True)
        ]
        shown = "; ".join(pairs) + (f"; ... ({len(wrong)} pairs)" if len(wrong) > 3 else "")
        raise InputError(
            f"the same image file has labels that contradict each other: {shown}. Correct the "
            "label in the data set, or remove both images from it"
        )


def _join_patients(patients: np.ndarray, hashes: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Gives patients of whom the same file is there the first one's id, and notices.

    So no split parts them.
    """
    names, patient_of = np.unique(patients, return_inverse=True)
    files, file_of = np.unique(hashes, return_inverse=True)
    size = len(names) + len(files)
    edges = (np.ones(len(patients), bool), (patient_of, len(names) + file_of))
    _, group_of = csgraph.connected_components(coo_array(edges, shape=(size, size)), directed=False)
    _, first = np.unique(group_of[: len(names)], return_index=True)
    if len(first) == len(names):
        return patients, []
    one_of = dict(zip(group_of[first].tolist(), names[first].tolist(), strict=True))
    joined = [
        (name, one_of[group])
        for name, group in zip(names.tolist(), group_of[: len(names)].tolist(), strict=True)
        if name != one_of[group]
    ]
    shown = ", ".join(f"{name} is {one}" for name, one in joined[:3]) + (
        ", ..." if len(joined) > 3 else ""
    )
    notice = (
        f"{len(joined)} patients share an image, byte for byte, with another one and are "
        f"joined: {shown}"
    )
    return np.array([one_of[group] for group in group_of[patient_of].tolist()]), [notice]


class _Concatenated:
    """Examples of several builders, one after the other."""

    def __init__(self, parts: Sequence[Examples], offsets: np.ndarray):
        self._parts, self._offsets = parts, offsets

    def __len__(self) -> int:
        return int(self._offsets[-1])

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        part = int(np.searchsorted(self._offsets, index, side="right")) - 1
        return self._parts[part][index - int(self._offsets[part])]
