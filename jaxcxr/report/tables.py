"""Scores of predictions, their mean (std) over folds, and tables of them.

As Markdown and as text.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxcxr.errors import InputError
from jaxcxr.metrics import ConfusionMatrix, ranking
from jaxcxr.storage.predictions import Predictions

CLASS_TITLES = {
    "covid19": "COVID-19",
    "viral": "Viral pneumonia",
    "bacterial": "Bacterial pneumonia",
    "normal": "Normal",
    "ground_glass": "Ground glass",
}
LEARNER_TITLES = {
    "densenet161": "DenseNet-161",
    "inception_v3": "Inception-v3",
    "resnet152": "ResNet-152",
    "resnext101_32x8d": "ResNeXt-101",
    "vgg19_bn": "VGG-19-BN",
    "densenet121": "DenseNet-121",
    "resnet18": "ResNet-18",
    "resnet50": "ResNet-50",
    "vgg16": "VGG-16",
    "efficientnet_b4": "EfficientNet-B4",
    "efficientnet_lite0": "EfficientNet-Lite0",
    "efficientnet_lite1": "EfficientNet-Lite1",
    "efficientnet_lite2": "EfficientNet-Lite2",
    "covid_net": "COVID-Net",
    "covid_net_large": "COVID-Net, large",
    "covid_cxnet_base": "COVID-CXNet, base model",
    "covid_cxnet": "COVID-CXNet",
    "covid_cxnet_resnet50": "COVID-CXNet on ResNet-50",
    "qatar_cnn": "Qatar CNN",
    "qatar_lite": "Qatar EfficientNet-Lite0",
    "qatar_vgg16": "Qatar VGG-16",
    "v7_diagnosis": "V7 diagnosis CNN",
    "fc_densenet103": "FC-DenseNet103",
    "unet_cxnet": "U-Net of COVID-CXNet",
    "unet": "U-Net",
    "lite_unet": "Lite U-Net",
    "covid_cxnet_hierarchical": "COVID-CXNet, hierarchical",
    "flannel": "FLANNEL",
    "neural_weight_module": "FLANNEL",
    "flannel_old_data": "FLANNEL, old data",
}
_SAME_PROBABILITY = 1e-6
VARIANT_TITLES = {
    "whole_image": "Whole image",
    "patched": "Patched",
    "mixed": "Whole image and patched",  # an ensemble of learners of both kinds
}


@dataclasses.dataclass(frozen=True)
class MeanStd:
    """Mean and sample standard deviation (n - 1) of one score over folds.

    std is None for one fold.
    """

    mean: float
    std: float | None
    values: tuple[float, ...] = ()

    def __str__(self) -> str:
        """As the paper prints it: `0.9239 (0.01)`."""
        return f"{self.mean:.4f} ({'–' if self.std is None else f'{self.std:.2f}'})"

    def to_json(self) -> dict[str, Any]:
        """Mean to 4 decimals, std to 3 (None for one fold), and the values themselves."""
        std = None if self.std is None else round(self.std, 3)
        return {"mean": round(self.mean, 4), "std": std, "values": list(self.values)}


def class_title(name: str) -> str:
    """Name of a class in tables and figures."""
    return CLASS_TITLES.get(name, name.replace("_", " ").capitalize())


def learner_title(name: str) -> str:
    """Name of a model in tables and figures."""
    return LEARNER_TITLES.get(name, name)


def classification_scores(
    predictions: Predictions, classes: Sequence[str] | None = None
) -> dict[str, Any]:
    """Scores of the rows given; choose a split first: `classification_scores(p.select("test"))`.

    A class is scored against the rest. Precision, recall and F1 are 0 where they are 0/0, as in
    scikit-learn with `zero_division=0`; an area under a curve that is undefined, because a class
    has no example or no counter-example, is None.

    Returns:
        images, patients, accuracy, macro_f1, per_class {class: {precision, recall, f1, support,
        roc_auc, pr_auc}}, confusion [C][C] of whole numbers, rows true and columns predicted.

    Raises:
        InputError: no rows, or `classes` are not those of the predictions.
    """
    if classes is not None and tuple(classes) != tuple(predictions.classes):
        raise InputError(
            f"the predictions are of the classes {tuple(predictions.classes)}, not {tuple(classes)}"
        )
    if not len(predictions.ids):
        raise InputError(f"learner {predictions.learner!r}: there are no predictions to score")
    labels, probabilities = predictions.labels, predictions.probabilities
    matrix = ConfusionMatrix.from_batch(
        labels, probabilities.argmax(-1), num_classes=len(predictions.classes)
    )
    values = matrix.compute()
    areas = {
        "roc_auc": ranking.one_vs_rest(ranking.roc_auc, labels, probabilities),
        "pr_auc": ranking.one_vs_rest(ranking.pr_auc, labels, probabilities),
    }
    per_class = {}
    for k, name in enumerate(predictions.classes):
        row: dict[str, Any] = {key: float(values[key][k]) for key in ("precision", "recall", "f1")}
        row["support"] = int(values["support"][k])
        row |= {key: None if np.isnan(area[k]) else float(area[k]) for key, area in areas.items()}
        per_class[name] = row
    return {
        "images": len(labels),
        "patients": len(np.unique(predictions.patient_ids)),
        "accuracy": float(values["accuracy"]),
        "macro_f1": float(values["macro_f1"]),
        "per_class": per_class,
        "confusion": np.rint(np.asarray(matrix.counts)).astype(int).tolist(),
    }


def mean_std(values: Sequence[float]) -> MeanStd:
    """Mean and sample standard deviation over folds.

    Raises:
        InputError: there are no values.
    """
    if not len(values):
        raise InputError("there is no fold to average over")
    numbers = tuple(float(v) for v in values)
    std = float(np.std(numbers, ddof=1)) if len(numbers) > 1 else None
    return MeanStd(float(np.mean(numbers)), std, numbers)


def over_folds(scores: Sequence[Mapping[str, Any]]) -> dict[str, MeanStd]:
    """F1 of each class, `macro_f1` and `accuracy` over the scores of several folds."""
    classes = list(scores[0]["per_class"]) if scores else []
    rows = {c: mean_std([fold["per_class"][c]["f1"] for fold in scores]) for c in classes}
    for name in ("macro_f1", "accuracy"):
        rows[name] = mean_std([fold[name] for fold in scores])
    return rows


def constant(predictions: Predictions) -> list[str]:
    """A warning where all images have the same probabilities; none for a single image."""
    probabilities = predictions.probabilities
    if len(probabilities) < 2 or np.ptp(probabilities, axis=0).max() > _SAME_PROBABILITY:
        return []
    shown = ", ".join(f"{value:.4f}" for value in probabilities[0])
    return [
        f"The predictions are constant: all {len(probabilities):,} images have the same "
        f"probabilities ({shown}), whatever they show. The network has learned nothing, or its "
        "weights or input are damaged."
    ]


def scores_rows(scores: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of one run's table: one row per class, then the macro average.

    Of a class without images nothing is known; in the average it counts as 0, as in scikit-learn.
    """
    header = ["Class", "Precision", "Recall", "F1", "ROC-AUC", "PR-AUC", "Images"]
    keys = ("precision", "recall", "f1", "roc_auc", "pr_auc")
    rows = [
        [
            class_title(name),
            *(number(row[key] if row["support"] else None) for key in keys),
            f"{row['support']:,}",
        ]
        for name, row in scores["per_class"].items()
    ]
    averages = []
    for key in keys:
        values = [row[key] for row in scores["per_class"].values()]
        averages.append(number(None if None in values else float(np.mean(values))))
    return header, [*rows, ["Macro average", *averages, f"{scores['images']:,}"]]


def number(value: float | None, digits: int = 4) -> str:
    """A score as text; a dash where it is undefined."""
    return "–" if value is None else f"{value:.{digits}f}"


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, its first column aligned left, all further ones right."""
    cells = [
        [str(c).replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ") for c in row]
        for row in (header, *rows)
    ]
    widths = [max(3, *(len(row[i]) for row in cells)) for i in range(len(header))]
    rule = ["-" * widths[0], *("-" * (w - 1) + ":" for w in widths[1:])]
    return "\n".join(
        "| " + " | ".join(_aligned(row, widths)) + " |" for row in (cells[0], rule, *cells[1:])
    )


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table for a terminal: columns aligned by blanks, a rule under the header."""
    cells = [[str(c) for c in row] for row in (header, *rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    lines = ["  ".join(_aligned(row, widths)).rstrip() for row in cells]
    return "\n".join([lines[0], "─" * (sum(widths) + 2 * (len(widths) - 1)), *lines[1:]])


def _aligned(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    rest = zip(row[1:], widths[1:], strict=True)
    return [row[0].ljust(widths[0]), *(c.rjust(w) for c, w in rest)]
