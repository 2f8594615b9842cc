"""How well the class can be told without the lungs: from source, view, size, encoding and the like.

A regression of each alone (categories) or a small tree (numbers), on other patients. Where it does
well, a network may have learned that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.tree import DecisionTreeClassifier

from jaxcxr.data.image_facts import ImageFacts
from jaxcxr.metrics import intervals
from jaxcxr.metrics.areas import MACRO, ROC, BootstrapAreas
from jaxcxr.training.examples import Examples

TITLES = {
    "source": "source",
    "view": "view (AP, PA)",
    "age_group": "age group",
    "size": "height and width of the image",
    "bits": "bits per pixel",
    "encoding": "file format",
    "bytes_per_pixel": "bytes per pixel",
    "sharpness": "sharpness",
    "histogram": "histogram of grey levels",
}
# Lower end of the interval from which a class counts as told: 0.5 is chance, 1 certainty.
TOLD_FROM = 0.85
# Those that no disease changes, without source and age group, of which reports warn anyway.
NOT_OF_A_DISEASE = ("view", "size", "bits", "encoding")
_CATEGORIES = ("source", "view", "age_group", "bits", "encoding")
_FOLDS, _LEAVES = 5, 16


def findings(examples: Examples, facts: ImageFacts) -> dict[str, Any]:
    """Field of `TITLES` -> {"roc_auc", "class", "class_roc_auc", "interval", "images"}.

    Areas under the ROC curve are of patients that it was not fitted on: "roc_auc" is
    the macro average over the classes, "class_roc_auc" the largest one, of "class", with its 95 %
    interval [low, high] by bootstrap over patients, which holds what was fitted. None where
    they cannot be had: one class, one value, or too few patients. "images": with a known value.
    """
    if len(examples.classes) < 2:
        return {}
    columns = _columns(examples, facts)
    return {name: _told(name, columns[name], examples) for name in TITLES if name in columns}


def told(found: Mapping[str, Any]) -> list[str]:
    """The fields of `NOT_OF_A_DISEASE` that tell a class, the surest first."""
    known = {name: found[name]["interval"] for name in NOT_OF_A_DISEASE if name in found}
    fields = [name for name, ends in known.items() if ends and ends[0] >= TOLD_FROM]
    return sorted(fields, key=lambda name: -found[name]["class_roc_auc"])


def _columns(examples: Examples, facts: ImageFacts) -> dict[str, np.ndarray]:
    """[N, D] of each field: strings of a category, else numbers."""
    shape = np.stack([facts.height, facts.width], axis=1).astype(float)
    columns = {
        "source": examples.sources,
        "view": examples.views,
        "age_group": examples.age_groups,
        "size": np.hstack([shape, shape[:, :1] / shape[:, 1:]]),
        "bits": facts.bits.astype(str),
        "encoding": facts.encoding,
        "bytes_per_pixel": facts.bytes_per_pixel,
        "sharpness": facts.sharpness,
        "histogram": facts.histogram,
    }
    return {n: c.reshape(len(c), -1) for n, c in columns.items() if c is not None}


def _told(name: str, values: np.ndarray, examples: Examples) -> dict[str, Any]:
    is_category = name in _CATEGORIES
    known = (values != "").all(axis=1) if is_category else np.isfinite(values).all(axis=1)
    labels, patients = examples.labels[known], examples.patient_ids[known]
    absent = dict.fromkeys(("roc_auc", "class", "class_roc_auc", "interval"))
    found: dict[str, Any] = {**absent, "images": int(known.sum())}
    probabilities = _predicted(values[known], labels, patients, len(examples.classes), is_category)
    if probabilities is None:
        return found
    areas = BootstrapAreas(labels, probabilities)
    of_all = areas.of_all()
    best = max(range(len(examples.classes)), key=lambda c: of_all[f"{ROC}/{c}"])
    positive = (labels == best).astype(int)
    alone = BootstrapAreas(positive, np.stack([1 - (p := probabilities[:, best]), p], axis=1))
    place = alone.names.index(f"{ROC}/1")
    low, high = intervals.bootstrap(lambda counts: alone(counts)[place : place + 1], patients)
    if np.isfinite([of_all[f"{ROC}/{MACRO}"], low[0], high[0]]).all():
        found |= {
            "roc_auc": of_all[f"{ROC}/{MACRO}"],
            "class": examples.classes[best],
            "class_roc_auc": of_all[f"{ROC}/{best}"],
            "interval": [float(low[0]), float(high[0])],
        }
    return found


def _predicted(
    values: np.ndarray, labels: np.ndarray, patients: np.ndarray, classes: int, is_category: bool
) -> np.ndarray | None:
    """Class probabilities [N, classes], each by a regression of other patients."""
    groups = [len(np.unique(patients[labels == c])) for c in range(classes)]
    folds = min(_FOLDS, *groups)
    if folds < 2 or len(np.unique(values, axis=0)) < 2:
        return None
    probabilities = np.full((len(labels), classes), np.nan)
    for train, test in StratifiedGroupKFold(folds).split(values, labels, patients):
        if len(np.unique(labels[train])) < classes:
            return None
        model = _of_categories() if is_category else _of_numbers(len(train))
        model.fit(values[train], labels[train])
        probabilities[test] = model.predict_proba(values[test])
    return probabilities


def _of_categories() -> Pipeline:
    return make_pipeline(
        OneHotEncoder(handle_unknown="ignore"),
        LogisticRegression(class_weight="balanced", max_iter=1000),
    )


def _of_numbers(rows: int) -> DecisionTreeClassifier:
    """Of leaves that are not too small to hold for other patients."""
    leaf = max(3, rows // 50)
    return DecisionTreeClassifier(
        min_samples_leaf=leaf, max_leaf_nodes=_LEAVES, class_weight="balanced", random_state=0
    )
