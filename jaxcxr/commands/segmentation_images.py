"""Scores of single images: gathered while a split is predicted, then a table and summaries."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from jaxcxr.metrics import ImageOverlap
from jaxcxr.metrics.image_overlap import DRAWS, LEVEL, SEED
from jaxcxr.storage.names import csv_line
from jaxcxr.tasks import segment
from jaxcxr.tasks.task import Prediction
from jaxcxr.training.experiment import Experiment

CSV = "segmentation.csv"
_HEADER = (
    "id", "patient", "source", "class", "structure", "dice", "jaccard", "hd95", "missing",
)  # fmt: skip
_WORST = 10
_DIGITS = 6


class ImageScores:
    """Dice, Jaccard and HD95 of each image for each structure that it is labelled for.

    Give `add` every batch of a split, then ask for `csv` and `facts`.
    """

    def __init__(self, experiment: Experiment, *, threshold: float):
        """Of no images.

        Args:
            experiment: whose images they are.
            threshold: lowest probability of a structure.
        """
        self._examples, self._threshold = experiment.examples, threshold
        self._structures = tuple(experiment.config.masks.structures)
        self._largest = int(experiment.config.predict.largest_pieces)
        self._side = int(experiment.config.data.image_size)
        self._parts: list[ImageOverlap] = []
        self._rows: list[np.ndarray] = []

    def add(
        self,
        prediction: Prediction,
        labels: np.ndarray,
        labelled: np.ndarray | None,
    ) -> None:
        """Scores a batch.

        Args:
            prediction: of `Experiment.predict`.
            labels: [B, S, S] structure ids, 255 where a pixel counts for nothing.
            labelled: [B, structures] bool, those that count in an image; None: all.
        """
        mask = segment.masks_at(prediction, self._threshold, largest=self._largest)
        self._parts.append(
            ImageOverlap.from_batch(mask, labels, structures=self._structures, labelled=labelled)
        )
        self._rows.append(np.asarray(prediction["index"]))

    def csv(self) -> str:
        """A line per image and structure that it is labelled for, in the order of the images.

        HD95 is in pixels of the network's image; `missing` says which mask lacks the structure
        where it is undefined.
        """
        lines = [csv_line(_HEADER)]
        lines += [csv_line([line[name] for name in _HEADER]) for line in self._lines()]
        return "".join(lines)

    def facts(self) -> dict[str, Any]:
        """What segmentation.json has of them.

        Means with intervals of all images, of each class, and of each source where there are
        several; and the images with the lowest Dice, each once with its worst structure.
        """
        overlap, index = ImageOverlap.concatenated(self._parts), np.concatenate(self._rows)
        patients = self._examples.patient_ids[index]
        groups = [
            {"group": group, "name": name, "structure": structure, **summary}
            for group, name, rows in self._groups(index)
            for s, structure in enumerate(self._structures)
            if (summary := overlap.summary(s, rows, patients, side=self._side))["images"]
            or group == "all"
        ]
        return {
            "file": CSV,
            "threshold": self._threshold,
            "side": self._side,
            "interval": {
                "level": LEVEL, "method": "bootstrap over patients", "draws": DRAWS, "seed": SEED,
            },
            "groups": groups,
            "worst": self._worst(),
        }  # fmt: skip

    def _groups(self, index: np.ndarray) -> Iterator[tuple[str, str, np.ndarray]]:
        """(kind of group, its name, [N] bool its images); a class without images is left out."""
        yield "all", "", np.ones(len(index), bool)
        labels, sources = self._examples.labels[index], self._examples.sources[index]
        for k, name in enumerate(self._examples.classes):
            yield "class", name, labels == k
        if len(names := np.unique(sources).tolist()) > 1:
            for name in names:
                yield "source", name, sources == name

    def _lines(self) -> Iterator[dict[str, Any]]:
        overlap, index = ImageOverlap.concatenated(self._parts), np.concatenate(self._rows)
        examples = self._examples
        for n, s in np.argwhere(overlap.counted).tolist():
            row = index[n]
            yield {
                "id": examples.ids[row].item(),
                "patient": examples.patient_ids[row].item(),
                "source": examples.sources[row].item(),
                "class": examples.classes[examples.labels[row]] if examples.classes else "",
                "structure": self._structures[s],
                "dice": _rounded(overlap.dice[n, s]),
                "jaccard": _rounded(overlap.jaccard[n, s]),
                "hd95": _rounded(overlap.hd95[n, s]),
                "missing": overlap.missing(n, s),
            }

    def _worst(self) -> list[dict[str, Any]]:
        scored = [line for line in self._lines() if line["dice"] is not None]
        worst_first = sorted(scored, key=lambda line: (line["dice"], line["id"]))
        once = {line["id"]: line for line in reversed(worst_first)}
        return sorted(once.values(), key=lambda line: (line["dice"], line["id"]))[:_WORST]


def _rounded(value: float) -> float | None:
    """Six digits; None for NaN, an empty cell."""
    return None if math.isnan(value) else round(float(value), _DIGITS)
