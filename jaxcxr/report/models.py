"""The rows of a study of several classifiers, each with its repeats, read from their folders."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxcxr.errors import InputError
from jaxcxr.metrics import intervals
from jaxcxr.metrics.by_rows import BootstrapScores
from jaxcxr.papers import covid_cxnet
from jaxcxr.report import document, tables
from jaxcxr.storage.predictions import Predictions

SPLIT = "test"
TITLES = {
    "cnn": "CNN",
    "cnn_augmented": "CNN, augmented images",
    "whole": "Whole image",
    "cut": "Borders cut (10 px)",
    "cut_wide": "Borders cut (20 px)",
    "masked": "Lungs alone",
}
_SEES = {
    "whole": "whole image",
    "box": "box around the lungs",
    "pixels": "lungs alone",
    "removed": "all but the lungs",
    "shape": "shape of the lungs",
}


@dataclasses.dataclass(frozen=True)
class Model:
    """One row: a model with its repeats.

    Attributes:
        name: its folder's.
        config: config.json of its first repeat; of a hierarchy the first level's.
        folders: its run folders in the order of the repeats.
        predictions: their test predictions.
        scores: their `classification_scores`.
    """

    name: str
    config: Mapping[str, Any]
    folders: tuple[Path, ...]
    predictions: tuple[Predictions, ...]
    scores: tuple[Mapping[str, Any], ...]

    @property
    def title(self) -> str:
        """The name of the model in tables, as published where it is."""
        if self.name in covid_cxnet.TABLE_6:
            return covid_cxnet.TABLE_6[self.name][0]
        return TITLES.get(self.name, self.name.replace("_", " ").capitalize())

    @property
    def positive(self) -> str:
        """The class that the F-score is given of: the last."""
        return self.predictions[0].classes[-1]

    def values(self, score: str) -> list[float]:
        """Score of every repeat: 'accuracy', 'macro_f1' or 'f1' (of the positive class)."""
        if score == "f1":
            return [s["per_class"][self.positive]["f1"] for s in self.scores]
        return [s[score] for s in self.scores]

    def area(self) -> float | None:
        """Mean area under the ROC curve of the positive class; None where it is undefined."""
        values = [s["per_class"][self.positive]["roc_auc"] for s in self.scores]
        return None if None in values else float(np.mean(values))

    @functools.cached_property
    def over_patients(self) -> dict[str, intervals.Interval]:
        """Bootstrap intervals of the means over the repeats: accuracy, macro_f1, roc_auc."""
        of = [BootstrapScores(p.labels, p.probabilities) for p in self.predictions]
        area = f"roc_auc/{len(self.predictions[0].classes) - 1}"
        columns = [of[0].names.index(n) for n in ("accuracy", "macro_f1", area)]
        ends = intervals.bootstrap(
            lambda counts: np.mean([scores(counts)[columns] for scores in of], axis=0),
            self.predictions[0].patient_ids,
        )
        return dict(zip(("accuracy", "macro_f1", "roc_auc"), ends.T.tolist(), strict=True))

    @property
    def sees(self) -> str:
        """What of an image, in words."""
        data, patches = self.config.get("data", {}), self.config.get("patches", {})
        lungs = _SEES.get(data.get("lungs", "whole"), "")
        if not patches.get("enabled"):
            return lungs
        side = f"patches of {patches.get('size')} of {data.get('image_size')} px"
        black = "black outside the lungs" if patches.get("apply_mask") else "around the lungs, too"
        return f"{side}, {black}"


def read_models(root: Path) -> list[Model]:
    """The models of a folder, those of a paper in its order, with all their repeats."""
    names = [path.name for path in sorted((root / "models").glob("*")) if path.is_dir()]
    if not names:
        raise InputError(f"{root / 'models'} holds no model: run it again to resume")
    listed = (document.read_json(root / "config.json") or {}).get("study", {}).get("models", ())
    order = [*covid_cxnet.TABLE_6, *listed, *TITLES]
    names.sort(key=lambda n: (order.index(n) if n in order else len(order), n))
    return [_model(name, root / "models" / name) for name in names]


def _model(name: str, folder: Path) -> Model:
    repeats = [p for p in folder.glob("repeat*") if p.name.removeprefix("repeat").isdecimal()]
    repeats.sort(key=lambda p: int(p.name.removeprefix("repeat")))
    if not repeats:
        raise InputError(
            f"{folder} holds no repeat0, repeat1, ...: run the study again to resume it"
        )
    predictions = tuple(document.read_predictions(path).select(SPLIT) for path in repeats)
    if any(
        (p.ids != predictions[0].ids).any() for p in predictions if len(p) == len(predictions[0])
    ) or (len({len(p) for p in predictions}) > 1):
        raise InputError(f"{folder}: its repeats are of different test images; run the study again")
    config = document.read_json(repeats[0] / "config.json") or {}
    scores = tuple(tables.classification_scores(p) for p in predictions)
    return Model(name, config.get("level1", config), tuple(repeats), predictions, scores)
