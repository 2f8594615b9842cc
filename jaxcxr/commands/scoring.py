"""Predictions of a finished training on its own data, in files that reports are made of."""

from __future__ import annotations

from jaxcxr.commands import predict, segmentation_scores
from jaxcxr.storage.run_folder import RunFolder
from jaxcxr.training.experiment import Experiment


def predict_and_score(experiment: Experiment, folder: RunFolder) -> None:
    """Writes `predictions.npz`, or of a segmenter `segmentation.json`."""
    if experiment.task.has_classes:
        predict.predict_splits(experiment, folder)
    else:
        segmentation_scores.score(experiment, folder)
