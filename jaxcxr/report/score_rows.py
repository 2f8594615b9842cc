"""Names and order of the scores of `metrics.by_rows` in tables."""

from __future__ import annotations

import math
from collections.abc import Sequence

from jaxcxr.report import tables

_TITLES = {"macro_f1": "Macro-F1", "roc_auc": "ROC-AUC", "f1": "F1"}


def area(classes: Sequence[str]) -> list[str]:
    """The area under the ROC curve.

    Of two classes it is one number; of more there is one for each class.
    """
    return ["roc_auc/1"] if len(classes) == 2 else []


def order(names: Sequence[str], classes: Sequence[str]) -> list[str]:
    """The scores of all images first, then those of each class."""
    first = ["accuracy", "macro_f1", *area(classes)]
    return first + [n for n in names if n not in first and not (area(classes) and "roc_auc" in n)]


def title(name: str, classes: Sequence[str]) -> str:
    """'recall/0' -> 'Recall, COVID-19'."""
    score, _, c = name.partition("/")
    text = _TITLES.get(score, score.capitalize())
    return f"{text}, {tables.class_title(classes[int(c)])}" if c else text


def number(value: float) -> str:
    """A score as text; a dash where it is not a number."""
    return tables.number(None if math.isnan(value) else value)


def interval(low: float, high: float, *, sign: str = "") -> str:
    """An interval as text, a dash where an end is not a number; sign='+' shows plus signs."""
    return "–" if math.isnan(low) or math.isnan(high) else f"{low:{sign}.4f} to {high:{sign}.4f}"


def p_value(p: float) -> str:
    """Four digits of the p of a test."""
    return "< 0.0001" if p < 1e-4 else f"{p:.4f}"


def defined(value: float) -> float | None:
    """The score, None for NaN, which JSON lacks."""
    return None if math.isnan(value) else value
