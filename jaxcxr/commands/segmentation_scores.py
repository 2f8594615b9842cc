"""Scores of a segmenter on labelled images, such as those of held-out patients.

At several thresholds, for each class of images, and of each image.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxcxr.commands.segmentation_images import CSV, ImageScores
from jaxcxr.inference.best import best_variables
from jaxcxr.metrics import PooledOverlap, SegmentationOverlap
from jaxcxr.state import Variables
from jaxcxr.storage.run_folder import RunFolder
from jaxcxr.tasks import segment
from jaxcxr.training.experiment import Experiment

# Thresholds among which the validation patients choose: 0.05 ... 0.95.
GRID = tuple(n / 20 for n in range(1, 20))
ALL = ""  # images of every class

# (threshold, class or ALL) -> means over images, and pooled over pixels
Sums = dict[tuple[float, str], tuple[SegmentationOverlap, PooledOverlap]]


def score(experiment: Experiment, folder: RunFolder) -> None:
    """Writes `segmentation.json` and `segmentation.csv`: scores of the held-out patients.

    See `of_split`. A network with sigmoids is also scored at 0.5 and where the validation patients
    had the best Dice, which the held-out patients play no part in.
    """
    variables = best_variables(experiment.task, folder)
    folder.claim()
    validation = None
    if experiment.config.model.outputs == "sigmoid":
        validation = on_validation(experiment, variables)
    best = validation["best"] if validation else None
    found = of_split(experiment, variables, "oof", best=best)
    folder.write_json(
        "segmentation.json", {**found.facts, "split": "held out", "validation": validation}
    )
    folder.write_text(CSV, found.csv)


@dataclasses.dataclass(frozen=True)
class SplitScores:
    """Scores of a split.

    Attributes:
        facts: for segmentation.json, without the name of the split.
        csv: segmentation.csv.
    """

    facts: dict[str, Any]
    csv: str


def of_split(
    experiment: Experiment, variables: Variables, split: str, *, best: float | None
) -> SplitScores:
    """Jaccard index, Dice and accuracy of a split's images.

    `structures` has means over images at `predict.threshold`, `pooled` the same over the pixels of
    all images. Where `data.classes` names classes, each has scores of its own images. `per_image`
    has what follows from single images, see `ImageScores.facts`.

    Args:
        experiment: whose images they are.
        variables: of the network.
        split: one of the experiment's.
        best: the threshold at which the validation patients had the best Dice; None: not known.
    """
    config = experiment.config
    classes = tuple(experiment.examples.classes)
    sigmoid = config.model.outputs == "sigmoid"
    choices = {"configured": float(config.predict.threshold)}
    if sigmoid:
        choices["half"] = 0.5
    if best is not None:
        choices["best on validation"] = best
    index = experiment.splits[split]
    images = ImageScores(experiment, threshold=choices["configured"])
    sums = measure(
        experiment,
        variables,
        split,
        thresholds=tuple(choices.values()),
        classes=classes,
        images=images,
    )
    overlap, pooled = sums[choices["configured"], ALL]
    counts = np.bincount(experiment.examples.labels[index], minlength=len(classes)).tolist()
    facts = {
        "structures": overlap.compute(),
        "pooled": pooled.compute(),
        "images": len(index),
        "image_size": config.data.image_size,
        "largest_pieces": int(config.predict.largest_pieces),
        "scores": [
            {
                "choice": choice,
                "threshold": threshold if sigmoid else None,
                **_summary(sums[threshold, ALL]),
            }
            for choice, threshold in choices.items()
        ],
        "classes": {
            name: {"images": count, **_summary(sums[choices["configured"], name])}
            for name, count in zip(classes, counts, strict=False)
        },
        "per_image": images.facts(),
    }
    return SplitScores(facts, images.csv())


def measure(
    experiment: Experiment,
    variables: Variables,
    split: str,
    *,
    thresholds: Sequence[float],
    classes: Sequence[str] = (),
    images: ImageScores | None = None,
) -> Sums:
    """The overlap of a split's images at each threshold, of all of them and of each class.

    `images` gets every batch.
    """
    structures = tuple(experiment.config.masks.structures)
    largest = experiment.config.predict.largest_pieces
    sums: Sums = {}
    for prediction in experiment.predict(variables, experiment.splits[split], count=0):
        batch = experiment.host_batch(prediction)
        by_source = bool(experiment.config.masks.by_source)
        labelled = segment.labelled(batch["mask"], structures) if by_source else None
        weights = {ALL: batch["weight"]}
        weights |= {
            name: (batch["label"] == n).astype(np.float32) for n, name in enumerate(classes)
        }
        if images is not None:
            images.add(prediction, batch["mask"], labelled)
        for threshold in set(thresholds):
            mask = segment.masks_at(prediction, threshold, largest=largest)
            for name, weight in weights.items():
                here = (
                    SegmentationOverlap.from_batch(
                        mask, batch["mask"], weight, structures=structures, labelled=labelled
                    ),
                    PooledOverlap.from_batch(mask, batch["mask"], weight, structures=structures),
                )
                if (before := sums.get((threshold, name))) is not None:
                    here = before[0].merge(here[0]), before[1].merge(here[1])
                sums[threshold, name] = here
    return sums


def on_validation(experiment: Experiment, variables: Variables) -> dict[str, Any]:
    """Mean Dice of the validation patients over GRID, and the best threshold.

    Of equals that next to 0.5.
    """
    sums = measure(experiment, variables, "valid", thresholds=GRID)
    scores = [
        overlap.scalars()["dice"] for overlap, _ in (sums[threshold, ALL] for threshold in GRID)
    ]
    best = max(
        zip(np.nan_to_num(scores, nan=-1.0), (-abs(t - 0.5) for t in GRID), GRID, strict=True)
    )[2]
    return {
        "images": len(experiment.splits["valid"]),
        "thresholds": GRID,
        "dice": scores,
        "best": best,
    }


def _summary(sums: tuple[SegmentationOverlap, PooledOverlap]) -> dict[str, float]:
    """Means over the structures."""
    overlap, pooled = sums
    means = overlap.scalars()
    return {
        name: means[name] for name in ("jaccard", "jaccard_smoothed", "dice")
    } | pooled.scalars()
