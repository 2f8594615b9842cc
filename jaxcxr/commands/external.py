"""A finished classifier on another labelled data set: what it is worth where it was not made."""

from __future__ import annotations

import collections
import dataclasses
import functools
import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict
from tqdm import tqdm

from jaxcxr import data, hints, parallel
from jaxcxr.commands import external_data
from jaxcxr.data import dropped, lung_doubts
from jaxcxr.data.dataset import Dataset
from jaxcxr.data.drawn import TRAINED_ON_DRAWN
from jaxcxr.data.xray_files import XRay
from jaxcxr.errors import InputError
from jaxcxr.inference import xray_predictions
from jaxcxr.inference.mask_provider import MaskProvider
from jaxcxr.inference.predictor import Predictor
from jaxcxr.inference.xray_predictions import NoLungs, Result, Source
from jaxcxr.report.document import NOTICE
from jaxcxr.report.external_report import write_external_report
from jaxcxr.storage.predictions import Predictions
from jaxcxr.storage.run_folder import RunFolder
from jaxcxr.storage.run_identity import OTHER_LUNGS


def measure(config: ConfigDict, workdir: Path) -> None:
    """`--config.run=evaluate` of a trained classifier with `evaluate.data.builders`.

    Writes `external/<name>/` below the run folder: predictions.npz, report.md, report.json and
    plots/; prints the scores beside those on the run's own test images. Patients of the run's own
    data are left out, so these must be there: `data.manual_dir` and `data.data_dir` are those of
    the training where they are not given.

    Raises:
        InputError: the run is not finished, its data are not there, or no image is left to measure
            on.
    """
    parallel.check_batch_size(config.evaluate.batch_size, field="evaluate.batch_size")
    name = external_data.name_of(config)
    with RunFolder.open(
        workdir, config.to_dict(), active=parallel.is_main(), volatile=OTHER_LUNGS
    ) as folder:
        predictor = Predictor.load(folder, config)
        masks = MaskProvider.for_others(config, folder, labelled=True)
        folder.claim()
        own = external_data.own_data(config, folder)
        section, unknown = _section(config)
        dataset = data.open_dataset(section)
        if parallel.is_main():
            dropped.print_once(dataset.dropped, dataset.notices)
        left_out = {reason: found.count for reason, found in dataset.dropped.items()}
        rows, shared = external_data.unseen(config, dataset, section, own, left_out)
        target = folder.path / external_data.FOLDER / name
        if parallel.is_main() and target.exists():
            print(f"replaces the report in {target} when this one is complete", flush=True)
        started = time.monotonic()
        results, excluded = _predict(predictor, masks, dataset, rows)
        left_out |= _counted(excluded, section.max_bad_images)
        if not results:
            raise InputError(f"no image of {name} is left: {external_data.listed(left_out)}")
        predictions = _predictions(config, dataset.take(list(results)), list(results.values()))
        folder.add_timing(
            f"{external_data.FOLDER}/{name}",
            seconds=time.monotonic() - started,
            images=len(predictions),
        )
        if not parallel.is_main():
            return
        # A network that finds the lungs has part in every prediction, as in those of own X-rays.
        networks = [predictor, *([masks.segmenter] if masks.segmenter else [])]
        drawn_only = any(network.knows_drawn_only for network in networks)
        predictions.save(target / "predictions.npz")
        said = write_external_report(
            target,
            folder.path,
            name=name,
            settings=section.to_dict(),
            left_out={reason: count for reason, count in left_out.items() if count},
            warnings=[*[TRAINED_ON_DRAWN] * drawn_only, *shared, *unknown, *dataset.notices],
        )
        folder.write_text(f"{external_data.FOLDER}/{name}/table.txt", said)
        print(f"{said}\n\nwrote {target / 'report.md'}. {NOTICE}")


_UNREADABLE = "unreadable"


def _predict(
    predictor: Predictor, masks: MaskProvider, dataset: Dataset, rows: np.ndarray
) -> tuple[dict[int, Result], dict[str, str]]:
    """Row -> its result; and why some rows have none: id -> reason.

    Raises:
        InputError: masks are needed, and there are none; or there is one that does not fit its
            image.
    """
    stored = masks.stored
    if stored is not None:
        try:
            stored.check(dataset)
        except InputError as error:
            raise InputError(
                f"evaluate.data: {error}. A segment run finds lungs in its images; make one with\n"
                f"{hints.any_segmenter('SEGMENTER')}"
            ) from error

    def source(row: int) -> Source:
        mask = functools.partial(stored.read, dataset, row) if stored else None
        return Source(dataset.ids[row].item(), lambda: XRay(dataset.image(row), ()), mask)

    row_of = {dataset.ids[row].item(): row for row in rows.tolist()}
    results: dict[int, Result] = {}
    excluded: dict[str, str] = {}
    found = xray_predictions.predict(predictor, masks, map(source, rows.tolist()))
    for result in tqdm(
        found, total=len(rows), desc="external", unit="image", disable=not parallel.is_main()
    ):
        if result.error is None:
            # Its pixels have served.
            results[row_of[result.id]] = dataclasses.replace(result, prepared=None, lungs=None)
        elif isinstance(result.error, NoLungs):
            excluded[result.id] = lung_doubts.NO_LUNGS
        elif isinstance(result.error, InputError) and result.shape is None:
            excluded[result.id] = _UNREADABLE
        else:
            raise result.error
    return results, excluded


def _predictions(config: ConfigDict, dataset: Dataset, results: Sequence[Result]) -> Predictions:
    """Predictions in which all rows count as test images.

    The hash stands for their choice, so that two runs can be compared on them.
    """
    arrays = {n: np.stack([r.prediction[n] for r in results]) for n in results[0].prediction}
    probabilities = arrays.pop("probabilities").astype(np.float32)
    extra = {name: array for name, array in arrays.items() if name not in ("loss", "index")}
    chosen = sorted(
        zip(
            dataset.ids.tolist(), dataset.patient_ids.tolist(), dataset.labels.tolist(), strict=True
        )
    )
    return Predictions(
        ids=dataset.ids,
        patient_ids=dataset.patient_ids,
        split=np.full(len(dataset), "test"),
        labels=dataset.labels,
        probabilities=probabilities / probabilities.sum(axis=1, keepdims=True),
        classes=dataset.classes,
        fold=config.split.fold,
        learner=config.model.name,
        split_sha256=hashlib.sha256(json.dumps(["external", chosen]).encode()).hexdigest(),
        dataset_fingerprint=dataset.fingerprint,
        extra={"source": dataset.sources, "age_group": dataset.age_groups, **extra},
    )


def _section(config: ConfigDict) -> tuple[ConfigDict, list[str]]:
    """`evaluate.data` with the run's classes and labels, and a warning of unknown labels.

    Other labels are what the run calls them.
    """
    section = data.with_default_dirs(config.evaluate.data, config.data, field="evaluate.data")
    to = data.target_map(config.data)
    label_map = data.label_map(section)
    if strange := sorted({*label_map.values()} - {*to, ""}):
        raise InputError(
            f"evaluate.data.relabel names {', '.join(strange)}; the run's classes are "
            f"{', '.join(to)}"
        )
    calls = {**data.label_map(config.data), **label_map}
    counts = data.label_counts(section)
    class_of = {label: calls.get(label, label) for label in counts if label}
    unknown = {label: counts[label] for label, name in class_of.items() if name not in to and name}
    section.classes, section.targets = data.output_classes(config.data), ()
    section.relabel = tuple(f"{label}={to.get(name, '')}" for label, name in class_of.items())
    for name in data.Preprocessing.fields():
        section[name] = config.data[name]
    listed = ", ".join(f"{label} ({count:,})" for label, count in unknown.items())
    if all(to.get(name, "") == "" for name in class_of.values()):
        raise InputError(
            f"evaluate.data has no image of a class of the run ({', '.join(section.classes)}), "
            f"but {listed or 'none'}: say what they are, "
            "--config.evaluate.data.relabel=\"('label=class',)\""
        )
    if not unknown:
        return section, []
    return section, [
        (
            f"Left out because the run has no such class: {listed}; evaluate.data.relabel may map "
            "them to one."
        )
    ]


def _counted(excluded: Mapping[str, str], most: int) -> dict[str, int]:
    """Reason -> images; InputError where more than `most` are unreadable."""
    unreadable = [name for name, reason in excluded.items() if reason == _UNREADABLE]
    if len(unreadable) > most:
        raise InputError(
            f"{len(unreadable)} images are unreadable: {', '.join(unreadable[:10])}. Mend or "
            f"remove them, or set evaluate.data.max_bad_images to {len(unreadable)} to go on "
            "without them"
        )
    return dict(collections.Counter(excluded.values()))
