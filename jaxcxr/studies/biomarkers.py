"""Biomarkers of a study's images, and a logistic regression of them beside its learners.

The stage writes `biomarkers/`: `biomarkers.csv` with a row per image, `fold<k>/predictions.npz` of
the regression, and last a summary. It trains no network, and asks what the shape and the mean grey
of the lungs alone tell of a class.
"""

from __future__ import annotations

import dataclasses
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict
from PIL import Image
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from jaxcxr import data, parallel
from jaxcxr.errors import InputError
from jaxcxr.inference import dataset_masks
from jaxcxr.inference.image_store import open_store
from jaxcxr.inference.mask_provider import MaskProvider, load_segmenter
from jaxcxr.inference.predictor import Predictor
from jaxcxr.metrics.biomarkers import BIOMARKERS, Structures, measure
from jaxcxr.report.biomarkers_report import CSV, FOLDER, TEST, summary_name
from jaxcxr.storage import files
from jaxcxr.storage.names import csv_line
from jaxcxr.storage.predictions import Predictions
from jaxcxr.studies.stages import Stage, masks_index, own, say
from jaxcxr.tasks import segment
from jaxcxr.training.examples import Examples, SplitExamples, copies, split, with_targets

SIDE = 256  # pixels of the images that are measured: a ratio of widths is right to about 0.01
C, MAX_ITER = 1.0, 10_000  # of the logistic regression; C is not tuned
_DIGITS = 6


def stages(config: ConfigDict, workdir: Path) -> Iterator[Stage]:
    """The stage of a study with learners of its own; none where `study.biomarkers` is none.

    Raises:
        InputError: the study's own segmenter is asked for, and it trains none.
    """
    source = config.study.biomarkers
    if source == "none" or not config.study.learners:
        return
    name = config.study.learners[0]  # all see the same images in the same folds
    learner = own(config.learners[name], config)
    sources = {config.learners[name].masks.source for name in config.study.learners}
    has_segmenter = "segment" in config and "workdir" in sources
    if source == "segment" and not has_segmenter:
        raise InputError(
            "study.biomarkers='segment' takes the masks of the study's own segmenter, and this "
            "study trains none: add --config.study.biomarkers=ready, dataset or none"
        )
    if learner.masks.source == "workdir":
        learner.masks.workdir = str(workdir / "segment")
    settings = ConfigDict({"learner": learner, "source": source, "folds": config.study.folds})
    settings.segmenter = str(workdir / "segment")
    inputs = (masks_index(workdir),) if has_segmenter else ()
    folder = workdir / FOLDER
    # Its name says whose masks these are: another `study.biomarkers` measures again.
    yield Stage(FOLDER, settings, folder, run, inputs, folder / summary_name(source))


def run(config: ConfigDict, workdir: Path) -> None:
    """Measures the images that the learners see, and fits and tests the regression on their folds.

    Args:
        config: `learner`, the config of a learner; `source`, `study.biomarkers`; `folds`;
            `segmenter`, the folder of the study's own.
        workdir: `biomarkers/` of the study; what it holds is replaced.

    Raises:
        InputError: there are no such masks, or an image cannot be read.
    """
    learner = config.learner
    # Images that `masks.on_empty` leaves out are in none of the learners' splits.
    dataset = open_store(learner.data, masks=MaskProvider.for_run(learner).stored).dataset
    values, found_by = _measured(config, dataset)
    if not parallel.is_main():
        return
    parts = dict(_splits(learner, dataset, config.folds))
    shutil.rmtree(workdir, ignore_errors=True)
    files.write_text(workdir / CSV, _table(dataset, parts, values))
    summary = {
        "source": config.source,
        "found_by": found_by,
        "side": SIDE,
        "images": len(values),
        "without": _without(values),
        "baseline": _baseline(parts, values, dataset, learner, workdir),
    }
    files.write_json(workdir / summary_name(config.source), summary)
    lacking = [f"{text} in {count:,}" for text, count in summary["without"].items() if count]
    say(
        f"wrote the biomarkers of {len(values):,} images to {workdir / CSV}"
        + (f"; {', '.join(lacking)}" if lacking else "")
    )


def fit_and_predict(
    train: np.ndarray, labels: np.ndarray, rows: np.ndarray, *, classes: int
) -> np.ndarray | None:
    """Class probabilities [M, classes] of rows, by a logistic regression of other rows.

    Biomarkers are standardised; a missing one counts as the median of the training rows; the
    classes are balanced; the regression has an L2 penalty (C = 1) that nothing chooses. Biomarkers
    that no training row has are left out.

    Args:
        train: [N, D], NaN where missing.
        labels: [N] of them.
        rows: [M, D], NaN where missing.
        classes: number of them; one without training rows gets the probability 0.

    Returns:
        None where no training row has any biomarker, or there are fewer than two classes.
    """
    used = ~np.isnan(train).all(axis=0)
    if not used.any() or len(np.unique(labels)) < 2:
        return None
    model = make_pipeline(
        SimpleImputer(strategy="median"),
        StandardScaler(),
        LogisticRegression(C=C, class_weight="balanced", max_iter=MAX_ITER),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        model.fit(train[:, used], labels)
    probabilities = np.zeros((len(rows), classes))
    probabilities[:, model.classes_] = model.predict_proba(rows[:, used])
    return probabilities


def _measured(config: ConfigDict, dataset: data.Dataset) -> tuple[np.ndarray, str]:
    """Biomarkers [N, D] of the images of a data set, and the ready-made weights of their masks."""
    learner = config.learner.copy_and_resolve_references()
    # As in the paper, equalised: exposures of two hospitals do not compare.
    grey = data.Preprocessing(image_size=SIDE, equalise=True, gamma=1.0)
    learner.data.update(dataclasses.asdict(grey))
    if config.source == "segment":
        segmenter = load_segmenter(Path(config.segmenter))
        store = open_store(learner.data, masks=None, dataset=dataset)
        found, found_by = _predicted(segmenter, learner.data, dataset), ""
    else:
        learner.masks.update(source=config.source, workdir="", on_empty="whole_image")
        if config.source == "dataset":
            learner.masks.structures = _structures(dataset)
        masks = MaskProvider.for_run(learner)
        store = open_store(learner.data, masks=masks.stored, dataset=dataset)
        found, found_by = _stored(store), masks.found_by
    values = np.full((len(dataset), len(BIOMARKERS)), np.nan)
    # A mask that only biomarkers need may be unreadable, and its image is not in the store.
    row_of = {name: row for row, name in enumerate(dataset.ids.tolist())}
    for stored, structures in found:
        row = row_of[store.dataset.ids[stored].item()]
        height, width = dataset.source_shape(row)
        image = store.images[stored].astype(np.float32) / 255
        measures = measure(image, Structures.of(structures), pixel_aspect=width / height)
        values[row] = [measures[name] for name in BIOMARKERS]
    return values, found_by


def _structures(dataset: data.Dataset) -> tuple[str, ...]:
    """Those of a data set's masks that are measured; a later one lies over the earlier ones."""
    there = dataset.mask_names
    for lungs in (("right_lung", "left_lung"), ("lung",)):
        if there.issuperset(lungs):
            return (*lungs, "heart") if "heart" in there else lungs
    raise InputError(
        "study.biomarkers='dataset' takes the data set's own masks, and not every image has one of "
        "the lungs: add --config.study.biomarkers=ready for the ready-made segmenter's, or none"
    )


def _stored(store: data.Store) -> Iterator[tuple[int, Mapping[str, np.ndarray]]]:
    """Row of the store of each image and its masks; those without lungs are left out."""
    assert store.masks is not None
    empty = set(store.empty_ids)  # whose mask is the whole image, as `on_empty` says
    for row, name in enumerate(store.dataset.ids.tolist()):
        if name not in empty:
            yield row, _by_name(np.asarray(store.masks[row]), store.structures)


def _predicted(
    segmenter: Predictor, section: ConfigDict, dataset: data.Dataset
) -> Iterator[tuple[int, Mapping[str, np.ndarray]]]:
    """Row of each image and the structures that the study's segmenter finds: heart and two lungs.

    The masks that it wrote for the learners have the lungs alone, and both in one.
    """
    store = dataset_masks.open_images(segmenter, section, field="data", dataset=dataset)
    settings, names = segmenter.config.predict, tuple(segmenter.config.masks.structures)
    for prediction in segmenter.rows({"image": store.images}, np.arange(len(store))):
        ids = segment.masks_at(prediction, settings.threshold, largest=settings.largest_pieces)
        for row, mask in zip(prediction["index"].tolist(), ids, strict=True):
            enlarged = Image.fromarray(mask).resize((SIDE, SIDE), Image.Resampling.NEAREST)
            yield row, _by_name(np.asarray(enlarged), names)


def _by_name(mask: np.ndarray, structures: Sequence[str]) -> dict[str, np.ndarray]:
    """Masks [H, W] bool of structure ids [H, W]; 'lung' is all that is a lung."""
    masks = {name: mask == number for number, name in enumerate(structures, start=1)}
    return masks | {"lung": np.isin(mask, data.lung_ids(structures))}


def _splits(
    learner: ConfigDict, dataset: data.Dataset, folds: int
) -> Iterator[tuple[int, SplitExamples]]:
    """Each fold's splits, as those of the learners."""
    together = copies(learner, dataset)
    for fold in range(folds):
        learner.split.folds, learner.split.fold = folds, fold
        yield fold, with_targets(learner, split(learner, Examples.of(dataset), together))


def _table(dataset: data.Dataset, parts: Mapping[int, SplitExamples], values: np.ndarray) -> str:
    """biomarkers.csv: the fold in which an image is held out, or that it is one of the test set."""
    held_out: dict[int, Any] = dict.fromkeys(parts[0].splits["test"].tolist(), TEST)
    for fold, of_fold in parts.items():
        held_out |= dict.fromkeys(of_fold.splits["oof"].tolist(), fold)
    lines = [csv_line(["id", "patient_id", "source", "class", "fold", *BIOMARKERS])]
    texts = (dataset.ids, dataset.patient_ids, dataset.sources)
    columns = zip(*(column.tolist() for column in texts), dataset.labels.tolist(), strict=True)
    for row, (*cells, label) in enumerate(columns):
        numbers = [None if np.isnan(v) else round(float(v), _DIGITS) for v in values[row]]
        lines.append(csv_line([*cells, dataset.classes[label], held_out.get(row), *numbers]))
    return "".join(lines)


def _without(values: np.ndarray) -> dict[str, int]:
    """What images lack -> number of them: why cells of the table are empty."""
    has = {name: ~np.isnan(column) for name, column in zip(BIOMARKERS, values.T, strict=True)}
    lungs, both, ratio = (
        has[name] for name in ("lung_area", "left_lung_area", "cardiothoracic_ratio")
    )
    return {
        "no lungs": int((~lungs).sum()),
        "lungs not told apart": int((lungs & ~both).sum()),
        "no heart": int((both & ~ratio).sum()),
    }


def _baseline(
    parts: Mapping[int, SplitExamples],
    values: np.ndarray,
    dataset: data.Dataset,
    learner: ConfigDict,
    workdir: Path,
) -> dict[str, Any] | None:
    """Writes fold<k>/predictions.npz; returns what was fitted, None where nothing could be."""
    made: list[Predictions] = []
    for fold, of_fold in parts.items():
        examples, splits = of_fold.examples, of_fold.splits
        names = [name for name in ("oof", "test") if len(splits[name])]
        rows = np.concatenate([splits[name] for name in names])
        train = splits["train"]
        probabilities = fit_and_predict(
            values[train], examples.labels[train], values[rows], classes=len(examples.classes)
        )
        if probabilities is None:
            return None
        made.append(
            Predictions(
                ids=examples.ids[rows],
                patient_ids=examples.patient_ids[rows],
                split=np.repeat(names, [len(splits[name]) for name in names]),
                labels=examples.labels[rows],
                probabilities=probabilities,
                classes=examples.classes,
                fold=fold,
                group_by=learner.split.group_by,
                learner="biomarkers",
                split_sha256=of_fold.sha256,
                dataset_fingerprint=dataset.fingerprint,
                extra={"source": examples.sources[rows], "age_group": examples.age_groups[rows]},
            )
        )
    for predictions in made:
        predictions.save(workdir / f"fold{predictions.fold}" / "predictions.npz")
    used = np.flatnonzero(~np.isnan(values).all(axis=0)).tolist()
    return {
        "C": C,
        "biomarkers": [name for number, name in enumerate(BIOMARKERS) if number in used],
        "imputed": int(np.isnan(values[:, used]).sum()),
        "values": int(values[:, used].size),
    }
