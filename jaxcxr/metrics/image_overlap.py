"""Overlap of predicted with true structures, image by image, and what it comes to.

`SegmentationOverlap` has the means alone, and needs no image at hand; this has every image.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Self

import chex
import numpy as np

from jaxcxr.metrics import intervals
from jaxcxr.metrics.surface_distance import hd95

LEVEL, DRAWS, SEED = 0.95, 2000, 0  # of the bootstrap
WORST_DECILE = 10  # percentile


@dataclasses.dataclass(frozen=True)
class ImageOverlap:
    """Scores of N images for S structures.

    Attributes:
        dice, jaccard: [N, S] float64; NaN where a structure is neither outlined nor predicted.
        hd95: [N, S] pixels, see `surface_distance.hd95`; NaN where it has no outline in one of the
            two masks.
        counted: [N, S] bool, the structures that an image is labelled for.
        predicted, outlined: [N, S] bool: the predicted mask, the reference mask has pixels of it.
    """

    dice: np.ndarray
    jaccard: np.ndarray
    hd95: np.ndarray
    counted: np.ndarray
    predicted: np.ndarray
    outlined: np.ndarray

    @classmethod
    def from_batch(
        cls,
        predicted: np.ndarray,
        labels: np.ndarray,
        *,
        structures: Sequence[str],
        labelled: np.ndarray | None = None,
        ignore: int = 255,
    ) -> Self:
        """The scores of a batch, on the host.

        Args:
            predicted: [B, H, W] integer structure ids, 0 background.
            labels: [B, H, W] integer structure ids, or `ignore` where a pixel counts for nothing.
            structures: names of ids 1, 2, ...
            labelled: [B, S] bool, the structures that count in an image; None: all.
            ignore: label of pixels that do not count.
        """
        chex.assert_rank(labels, 3)
        chex.assert_equal_shape([predicted, labels])
        shape = (len(labels), len(structures))
        counted = np.ones(shape, bool) if labelled is None else np.asarray(labelled, bool)
        dice, jaccard, distance = (np.full(shape, np.nan) for _ in range(3))
        has_prediction, has_outline = np.zeros(shape, bool), np.zeros(shape, bool)
        for n, s in np.ndindex(shape):
            ignored = labels[n] == ignore
            found, target = (predicted[n] == s + 1) & ~ignored, labels[n] == s + 1
            has_prediction[n, s], has_outline[n, s] = found.any(), target.any()
            if not counted[n, s] or not (found | target).any():
                continue
            both, either = int((found & target).sum()), int((found | target).sum())
            dice[n, s], jaccard[n, s] = 2 * both / (both + either), both / either
            distance[n, s] = hd95(found, target, ignored=ignored)
        return cls(dice, jaccard, distance, counted, has_prediction, has_outline)

    @classmethod
    def concatenated(cls, parts: Sequence[Self]) -> Self:
        """The images of all parts, in their order."""
        names = [field.name for field in dataclasses.fields(cls)]
        return cls(**{n: np.concatenate([getattr(part, n) for part in parts]) for n in names})

    def missing(self, n: int, s: int) -> str:
        """Which mask of an image lacks a structure: prediction, reference, both; '' neither."""
        return _MISSING[bool(self.predicted[n, s]), bool(self.outlined[n, s])]

    def summary(
        self, s: int, rows: np.ndarray, patient_ids: np.ndarray, *, side: int
    ) -> dict[str, Any]:
        """What the scores for structure s of some images come to.

        Args:
            s: its place among the structures.
            rows: [N] bool, the images; those that are not labelled for it do not count.
            patient_ids: [N], drawn by the bootstrap with all their images.
            side: of the images, pixels.

        Returns:
            numbers of images and patients; mean Dice and Jaccard with the ends of their intervals,
            and the 10th percentile of Dice, over the images that have them; mean and median of
            HD95, in pixels and per cent of the side, over those where it is defined; and how many
            images lack the structure in which mask, where it is not.
        """
        rows = rows & self.counted[:, s]
        patients = patient_ids[rows]
        scores = np.stack([self.dice[rows, s], self.jaccard[rows, s]])
        means, (low, high) = _means(scores), _intervals(scores, patients)
        dice, jaccard = (
            {"mean": float(means[k]), "low": float(low[k]), "high": float(high[k])}
            for k in range(2)
        )
        defined = scores[0][~np.isnan(scores[0])]
        worst = float(np.percentile(defined, WORST_DECILE)) if len(defined) else float("nan")
        distances = self.hd95[rows, s]
        missing = [
            self.missing(n, s) for n in np.flatnonzero(rows & np.isnan(self.hd95[:, s])).tolist()
        ]
        return {
            "images": int(rows.sum()),
            "patients": len(np.unique(patients)),
            "dice": {**dice, "worst_decile": worst},
            "jaccard": jaccard,
            "hd95": _of_distances(distances[~np.isnan(distances)], side=side),
            "hd95_undefined": {
                "no_prediction": missing.count("prediction"),
                "no_reference": missing.count("reference"),
                "neither": missing.count("both"),
                # All of the structure lies in or at ignored pixels.
                "no_outline": missing.count(""),
            },
        }


# (predicted, outlined) -> the mask without it
_MISSING = {
    (True, True): "",
    (False, True): "prediction",
    (True, False): "reference",
    (False, False): "both",
}


def _means(scores: np.ndarray) -> np.ndarray:
    """[K, N] -> [K], over the images that have the score; NaN where none has."""
    return _weighted(scores, np.ones((scores.shape[1], 1)))[:, 0]


def _weighted(scores: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Scores [K, N] and how often each of d draws has each image [N, d] -> means [K, d]."""
    defined = ~np.isnan(scores)
    sums = np.where(defined, scores, 0.0) @ counts
    images = defined.astype(np.float64) @ counts
    return np.divide(sums, images, out=np.full_like(sums, np.nan), where=images > 0)


def _intervals(scores: np.ndarray, patient_ids: np.ndarray) -> np.ndarray:
    """[2, K]: low and high of the means of scores [K, N]; NaN for fewer than two patients.

    Patients whose images all lack the score are not drawn: the mean is not of them.
    """
    has_score = ~np.isnan(scores).all(axis=0)
    scores, patient_ids = scores[:, has_score], patient_ids[has_score]
    if not len(patient_ids):
        return np.full((2, len(scores)), np.nan)
    return intervals.bootstrap(
        lambda counts: _weighted(scores, counts), patient_ids, level=LEVEL, draws=DRAWS, seed=SEED
    )


def _of_distances(distances: np.ndarray, *, side: int) -> dict[str, Any]:
    mean, median = (
        (float(distances.mean()), float(np.median(distances)))
        if len(distances)
        else (float("nan"), float("nan"))
    )
    return {
        "images": len(distances),
        "mean": mean,
        "median": median,
        "mean_percent": 100 * mean / side,
        "median_percent": 100 * median / side,
    }
