"""Predictions as files: class probabilities for the splits of a run, lung masks for a data set."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict
from tqdm import tqdm

from jaxcxr import data, parallel, schema
from jaxcxr.commands import own_xrays
from jaxcxr.errors import InputError
from jaxcxr.inference import dataset_masks
from jaxcxr.inference.best import best_variables, check_best
from jaxcxr.inference.predictor import Predictor, eval_count
from jaxcxr.storage import run_checksums
from jaxcxr.storage.predictions import Predictions
from jaxcxr.storage.run_files import REFERENCE
from jaxcxr.storage.run_folder import RunFolder
from jaxcxr.tasks import task_of
from jaxcxr.training.experiment import Experiment
from jaxcxr.training.prepare import prepare


@schema.checked
def run(config: ConfigDict, workdir: Path) -> None:
    """`--config.run=predict` with the best checkpoint of a trained workdir.

    Classifiers and ensembles write `predictions.npz` for `predict.splits`; a segmenter writes the
    lung mask, and the masked image, of every image of `predict.data`. With `predict.inputs` it is
    the user's own X-rays instead.
    """
    if config.predict.inputs:
        own_xrays.predict_inputs(config, workdir)
        return
    with RunFolder.open(workdir, config.to_dict(), active=parallel.is_main()) as folder:
        if not task_of(config).has_classes:
            write_masks(Predictor.load(folder, config), folder)
        else:
            experiment = prepare(config)
            check_best(folder)  # before anything is written
            run_checksums.unseal(folder)
            keep_reference(experiment, folder)
            predict_splits(experiment, folder)
            run_checksums.seal(folder)
            if parallel.is_main():
                print(f"wrote {folder.path / 'predictions.npz'}")


def keep_reference(experiment: Experiment, folder: RunFolder) -> None:
    """Copies the picture that histograms are matched to into the run folder.

    Other X-rays need it, too.
    """
    if experiment.record.reference is not None:
        folder.write_bytes(REFERENCE, experiment.record.reference.read_bytes())


def predict_splits(experiment: Experiment, folder: RunFolder) -> None:
    """Writes `predictions.npz` for `predict.splits`, with K patches an image."""
    config, rows = experiment.config, experiment.examples
    variables = best_variables(experiment.task, folder)
    folder.claim()
    count = eval_count(config)
    names = [name for name in config.predict.splits if len(experiment.splits[name])]
    if not names:
        sizes = ", ".join(f"{name} {len(index)}" for name, index in experiment.splits.items())
        raise InputError(
            f"predict.splits={tuple(config.predict.splits)} has no images; the splits have {sizes}"
        )
    total = sum(len(experiment.splits[name]) for name in names)
    started = time.monotonic()
    collected: dict[str, list[np.ndarray]] = {"split": []}
    with tqdm(total=total, desc="predict", unit="image", disable=not parallel.is_main()) as bar:
        for name in names:
            for prediction in experiment.predict(variables, experiment.splits[name], count=count):
                prediction.pop("loss", None)
                for key, value in prediction.items():
                    collected.setdefault(key, []).append(value)
                collected["split"].append(np.full(len(prediction["index"]), name))
                bar.update(len(prediction["index"]))
    whole = {name: np.concatenate(parts) for name, parts in collected.items()}
    index = whole.pop("index")
    probabilities = whole.pop("probabilities").astype(np.float32)
    extra = {"source": rows.sources[index], "age_group": rows.age_groups[index]}
    split = whole.pop("split")
    predictions = Predictions(
        ids=rows.ids[index],
        patient_ids=rows.patient_ids[index],
        split=split,
        labels=rows.labels[index],
        probabilities=probabilities / probabilities.sum(axis=1, keepdims=True),
        classes=rows.classes,
        fold=config.split.fold,
        group_by=config.split.group_by,
        learner=config.model.name,
        split_sha256=experiment.own.sha256,
        dataset_fingerprint=experiment.record.fingerprint,
        extra={**extra, **whole},
    )
    if parallel.is_main():
        predictions.save(folder.path / "predictions.npz")
    seconds = time.monotonic() - started
    folder.add_timing("predict", seconds=seconds, images=total, patches=total * max(count, 1))


def write_masks(predictor: Predictor, folder: RunFolder) -> None:
    """Writes `masks/<id>.png` for every image of `predict.data`.

    0 or 255, at the image's own size.

    `masks/index.json` has their ids and hashes; see `data.FolderMasks`. Until all are written the
    former ones stay.
    """
    config = predictor.config
    parallel.check_batch_size(config.evaluate.batch_size, field="evaluate.batch_size")
    store = dataset_masks.open_images(
        predictor,
        data.with_default_dirs(config.predict.data, config.data, field="predict.data"),
        field="predict.data",
    )
    folder.claim()
    started, count = time.monotonic(), len(store)
    with _mask_writer(folder, store, predictor) as writer:
        for row, lungs in dataset_masks.find(predictor, store):
            if writer is not None:
                writer.write(row, lungs.mask, left_out_share=lungs.left_out_share)
    folder.add_timing("masks", seconds=time.monotonic() - started, images=count, patches=count)
    if writer is not None:
        empty = writer.empty
        note = (
            f"; no lungs were found in {len(empty)} of them: {', '.join(empty[:5])}"
            if empty
            else ""
        )
        if writer.left_out:
            print(dataset_masks.left_out_note(writer.left_out, predictor))
        names = ", ".join(name.rpartition(".")[2] for name in config.predict.data.builders)
        print(f"wrote {count} lung masks of {names} to {folder.path / 'masks'}{note}")
        print("Research use only. Not for diagnosis.")


def _mask_writer(
    folder: RunFolder, store: data.Store, predictor: Predictor
) -> contextlib.AbstractContextManager[data.MaskWriter | None]:
    """The writer of the one process that writes."""
    if not parallel.is_main():
        return contextlib.nullcontext()
    return data.writing_masks(
        folder.path,
        store.dataset,
        masked_images=predictor.config.predict.masked_images,
        bad_images=list(store.bad_ids),
        made_with=dataset_masks.made_with(predictor),
    )
