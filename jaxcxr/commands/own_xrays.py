"""Prediction on a user's own X-rays.

Pictures and DICOM files in, a table of probabilities and warnings out.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict
from tqdm import tqdm

from jaxcxr import parallel
from jaxcxr.commands.xray_results import MASKS, OVERLAYS, Results
from jaxcxr.data import drawn, xray_files
from jaxcxr.errors import InputError
from jaxcxr.exported import enlarged
from jaxcxr.inference import dataset_masks, xray_predictions
from jaxcxr.inference.mask_provider import MaskProvider
from jaxcxr.inference.predictor import Predictor, eval_count
from jaxcxr.inference.xray_predictions import Result, Source
from jaxcxr.report import lung_outlines, run_warnings
from jaxcxr.storage.files import encode_png
from jaxcxr.storage.run_folder import RunFolder
from jaxcxr.storage.run_identity import OTHER_LUNGS
from jaxcxr.tasks import task_of

FOLDER = "xrays"


def predict_inputs(config: ConfigDict, workdir: Path) -> None:
    """Predicts own X-rays with the best checkpoint of a trained workdir.

    `--config.run=predict --config.predict.inputs=...`. Where no training has begun, a config that
    takes weights with their head (`model.head=pretrained`) predicts with these as they are.

    Writes `xrays/predictions.csv` and `.jsonl` below the run folder: of a classifier the class
    probabilities, of a segmenter the share of the lungs, and their masks as `xrays/masks/<id>.png`.
    The data that the run was trained on is not needed.

    Raises:
        InputError: there is nothing to predict, or with; after everything else is done, also if
            files could not be used.
    """
    if not task_of(config).reads_xrays:
        known = [f"{name}/fold{config.split.fold}" for name in config.inputs.learners]
        raise InputError(
            f"predict.inputs goes with a run that looks at X-rays; {config.task!r} reads its "
            "learners' predictions. Give the --config and --workdir of one of "
            f"them{': ' if known else ''}{', '.join(known)}"
        )
    parallel.check_batch_size(config.evaluate.batch_size, field="evaluate.batch_size")
    started = time.monotonic()
    with RunFolder.open(
        workdir, config.to_dict(), active=parallel.is_main(), volatile=OTHER_LUNGS
    ) as folder:
        listed = xray_files.find(config.predict.inputs, leave_out=folder.path / FOLDER)
        predictor = Predictor.load(folder, config)
        if predictor.weights and parallel.is_main():
            print(f"nothing was trained here: predicts with {predictor.weights} as it is")
        masks = MaskProvider.for_others(config, folder, labelled=False)
        folder.claim()
        kinds = [MASKS] * predictor.is_segmenter + [OVERLAYS] * bool(config.predict.overlays)
        sources = [Source.of_file(file) for file in listed.files]
        networks = [predictor, *([masks.segmenter] if masks.segmenter else [])]
        drawn_only = any(network.knows_drawn_only for network in networks)
        warned = _model_warnings(predictor, drawn_only=drawn_only)
        note = drawn.NOTE if drawn_only else ""
        with (
            Results(
                folder.path / FOLDER,
                predictor.classes,
                active=parallel.is_main(),
                pictures=kinds,
                note=note,
            ) as results,
            tqdm(
                total=len(sources), desc="X-rays", unit="image", disable=not parallel.is_main()
            ) as bar,
        ):
            found = xray_predictions.predict(predictor, masks, sources, pictures=OVERLAYS in kinds)
            for result in found:
                _write(results, result, kinds)
                bar.update()
        count = results.predicted
        patches = eval_count(config) if predictor.draws_patches else 0
        folder.add_timing(
            FOLDER, seconds=time.monotonic() - started, images=count, patches=count * patches
        )
    # Files that could not be used are an error, but none for which the folder would be given back.
    segmenter = predictor if predictor.is_segmenter else masks.segmenter
    results.finish(
        {
            "inputs": config.predict.inputs,
            "model": config.model.name,
            "patches_an_image": patches,
            "lungs_from": segmenter.origin if segmenter else None,
            "lungs_as_in_training": masks.as_trained,
            "lungs_made_with": dataset_masks.made_with(segmenter) if segmenter else None,
            "weights": predictor.weights or None,
            "model_warnings": warned,
        },
        listed,
    )


def _model_warnings(predictor: Predictor, *, drawn_only: bool) -> list[str]:
    """Of the training; of weights as they are: what measured them has taught them nothing."""
    found = [drawn.TRAINED_ON_DRAWN] * drawn_only
    if not predictor.weights:
        # That the run's X-rays are drawn is said already, and those at hand need not be.
        found += [w for w in run_warnings.of_run(predictor.folder) if w != drawn.DRAWN]
    return list(dict.fromkeys(found))


def _write(results: Results, result: Result, kinds: list[str]) -> None:
    """The pictures of an X-ray and then its row, or the reason why there is none."""
    try:
        if result.error is not None:
            raise result.error
        if results.active:
            _draw(results, result, kinds)
        numbers = (result.probabilities, result.mask_confidence)
        if not all(np.isfinite(number).all() for number in numbers if number is not None):
            raise InputError(f"{result.name}: the network's output is not a number")
    except Exception as error:
        results.fail(result.id, xray_files.reason(result.name, error))
    else:
        results.add(result)


def _draw(results: Results, result: Result, kinds: list[str]) -> None:
    """The lungs at the X-ray's own size; the X-ray with its lungs outlined."""
    if MASKS in kinds:
        assert result.lungs is not None and result.shape is not None
        mask = enlarged(result.lungs, result.shape)
        results.picture(MASKS, result.id, encode_png(mask.astype(np.uint8) * 255))
    if OVERLAYS in kinds:
        assert result.picture is not None
        outlined = lung_outlines.lung_outline(
            result.picture, result.lungs, every_piece=result.every_piece
        )
        results.picture(OVERLAYS, result.id, encode_png(outlined))
