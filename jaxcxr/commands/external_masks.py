"""A segmenter on another data set with masks: what it is worth where it was not made."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from jaxcxr import data, parallel
from jaxcxr.commands import external_data, segmentation_scores
from jaxcxr.commands.segmentation_images import CSV
from jaxcxr.data import dropped
from jaxcxr.data.dataset import Dataset
from jaxcxr.data.drawn import TRAINED_ON_DRAWN
from jaxcxr.errors import InputError
from jaxcxr.inference.image_store import open_store
from jaxcxr.inference.mask_provider import MaskProvider
from jaxcxr.inference.predictor import Predictor
from jaxcxr.report.document import NOTICE
from jaxcxr.report.external_masks_report import write_external_masks_report
from jaxcxr.storage.run_files import SEGMENTATION
from jaxcxr.storage.run_folder import RunFolder
from jaxcxr.storage.run_identity import OTHER_LUNGS
from jaxcxr.tasks import segment
from jaxcxr.training import steps
from jaxcxr.training.examples import Examples, SplitExamples
from jaxcxr.training.experiment import DataRecord, Experiment

_SPLIT = "external"


def measure(config: ConfigDict, workdir: Path) -> None:
    """`--config.run=evaluate` of a segmenter with `evaluate.data.builders`.

    Writes `external/<name>/` below the run folder: segmentation.json, segmentation.csv, report.md,
    report.json; prints the scores. Patients of the run's own data are left out, as
    `external.measure` does it. Where nothing was trained here, weights with their head
    (`model.head=pretrained`) are measured as they are; then nobody knows what is to be left out,
    and the report says so.

    Raises:
        InputError: there is nothing to measure or to measure with, or the run's own data are not
            there.
    """
    parallel.check_batch_size(config.evaluate.batch_size, field="evaluate.batch_size")
    name = external_data.name_of(config)
    with RunFolder.open(
        workdir, config.to_dict(), active=parallel.is_main(), volatile=OTHER_LUNGS
    ) as folder:
        if config.data.match != "none":
            raise InputError(
                f"data.match={config.data.match!r} gives all images the histogram of one training "
                "image: such a segmenter is not measured on another data set; train one with "
                "data.match='none'"
            )
        predictor = Predictor.load(folder, config)
        if predictor.weights and parallel.is_main():
            print(f"nothing was trained here: measures {predictor.weights} as it is")
        section = _section(config)
        dataset = data.open_dataset(section)
        if parallel.is_main():
            dropped.print_once(dataset.dropped, dataset.notices)
        left_out = {reason: found.count for reason, found in dataset.dropped.items()}
        masks, notes = _masks(config, dataset)
        if not predictor.weights:
            own = external_data.own_data(config, folder)
            rows, shared = external_data.unseen(config, dataset, section, own, left_out)
            dataset, notes = dataset.take(rows), [*shared, *notes]
        notes = [
            *[TRAINED_ON_DRAWN] * predictor.knows_drawn_only,
            *weights_note(config, is_trained=not predictor.weights),
            *notes,
        ]
        folder.claim()
        target = folder.path / external_data.FOLDER / name
        if parallel.is_main() and target.exists():
            print(f"replaces the report in {target} when this one is complete", flush=True)
        started = time.monotonic()
        store = open_store(section, masks=masks, dataset=dataset, field="evaluate.data")
        left_out |= {"unreadable": len(store.bad_ids)}
        if masks.on_empty == "drop":
            left_out |= {"empty mask": len(store.empty_ids)}
        found = segmentation_scores.of_split(
            _experiment(config, store),
            predictor.variables,
            _SPLIT,
            best=None if predictor.weights else _best_threshold(folder),
        )
        below = f"{external_data.FOLDER}/{name}"
        folder.add_timing(below, seconds=time.monotonic() - started, images=len(store))
        folder.write_json(f"{below}/{SEGMENTATION}", {**found.facts, "split": _SPLIT})
        folder.write_text(f"{below}/{CSV}", found.csv)
        if not parallel.is_main():
            return
        said = write_external_masks_report(
            target,
            folder.path,
            name=name,
            config=config.to_dict(),
            settings=section.to_dict(),
            fingerprint=store.dataset.fingerprint,
            weights=predictor.weights,
            left_out={reason: count for reason, count in left_out.items() if count},
            warnings=[*notes, *dataset.notices, *store.mask_summary.get("doubts", ())],
        )
        folder.write_text(f"{below}/table.txt", said)
        print(f"{said}\n\nwrote {target / 'report.md'} and {CSV}. {NOTICE}")


def _section(config: ConfigDict) -> ConfigDict:
    """`evaluate.data` with the run's preprocessing, and the classes that its images are listed by.

    An image's class is what `evaluate.data.relabel` makes of its label, else what the run calls it,
    else the label. A set with images without a label has no classes.

    Raises:
        InputError: `evaluate.data.relabel` is of a set without classes, or leaves none.
    """
    section = data.with_default_dirs(config.evaluate.data, config.data, field="evaluate.data")
    for name in data.Preprocessing.fields():
        section[name] = config.data[name]
    own, given = data.label_map(config.data), data.label_map(section)
    labels = list(data.label_counts(section))
    classes = {label: given.get(label, own.get(label) or label) for label in labels}
    if "" in labels:
        classes = {}
    if given and not any(classes.values()):
        raise InputError(
            f"evaluate.data.relabel={tuple(config.evaluate.data.relabel)} leaves no class: the "
            f"labels of the data set are {', '.join(filter(None, labels)) or 'none'}"
            f"{', and some of its images have none' * ('' in labels)}; leave it out to measure on "
            "all images"
        )
    if strange := sorted({*given} - {*labels}):
        raise InputError(
            f"evaluate.data.relabel names {', '.join(strange)}; the labels of the data set are "
            f"{', '.join(filter(None, labels)) or 'none'}"
        )
    section.classes = tuple(dict.fromkeys(name for name in classes.values() if name))
    section.relabel = tuple(f"{label}={name}" for label, name in classes.items())
    section.targets = ()
    return section


def _masks(config: ConfigDict, dataset: Dataset) -> tuple[data.DatasetMasks, list[str]]:
    """The data set's own masks, read as those that the run was trained with; and notes.

    The region to ignore (`masks.ignore`) is one where the data set has it. Masks of a source that
    `masks.by_source` does not know are compared with `predict.structure`.

    Raises:
        InputError: the run's masks are no data set's.
    """
    if config.masks.source != "dataset":
        raise InputError(
            f"evaluate.data is measured against the masks of a data set, and masks.source is "
            f"{config.masks.source!r}: this run knows none; train one with masks.source='dataset'"
        )
    masks, notes = MaskProvider.for_run(config).stored, []
    assert isinstance(masks, data.DatasetMasks)
    new = sorted({*np.unique(dataset.sources).tolist()} - {*masks.by_source})
    if masks.by_source and new:
        wanted = segment.wanted_structure(config)
        shown = {**masks.by_source, **dict.fromkeys(new, wanted)}
        masks = dataclasses.replace(masks, by_source=shown)
        notes += [
            f"masks.by_source does not say what the masks of {', '.join(new)} show: they are "
            f"compared with {wanted} (predict.structure)."
        ]
    if not masks.ignore or masks.ignore in dataset.mask_names:
        return masks, notes
    return dataclasses.replace(masks, ignore=""), [
        *notes,
        f"The run ignores pixels of the mask {masks.ignore!r} (masks.ignore), which this data set "
        "does not have: all of its pixels count.",
    ]


def weights_note(config: ConfigDict, *, is_trained: bool) -> list[str]:
    """What nobody knows of weights that came with their last layer; [] without such weights.

    Args:
        config: of the run.
        is_trained: the weights were trained further here.
    """
    weights = config.model.pretrained
    if not weights or config.model.head != "pretrained":
        return []
    origin = (
        f"The training began with the weights {weights} and their last layer."
        if is_trained
        else f"The weights {weights} are used as they are, nothing was trained here."
    )
    return [
        f"{origin} Whether these weights were trained on some of these images, or on other images "
        "of these patients, cannot be known from here: the card of the weights says what they were "
        "trained on (docs/WEIGHTS.md; of those that come with jaxcxr, jaxcxr/weights/shipped/)."
    ]


def _best_threshold(folder: RunFolder) -> float | None:
    """The threshold that the run's own validation patients chose; None where they chose none."""
    scores = folder.read_json(SEGMENTATION, {}).get("scores", [])
    chosen = [row["threshold"] for row in scores if row["choice"] == "best on validation"]
    return chosen[0] if chosen else None


def _experiment(config: ConfigDict, store: data.Store) -> Experiment:
    """The images as a split of their own, predicted and scored as held-out patients are."""
    examples = Examples.of(store.dataset)
    images = SplitExamples(examples, {_SPLIT: np.arange(len(store))}, "")
    record = DataRecord(fingerprint=store.dataset.fingerprint)
    return Experiment(config, images, images, store.arrays(), steps.compile_for(config), record)
