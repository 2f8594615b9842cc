"""Confounding of the class with source or age group: a score may then measure these."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.metrics import mutual_info_score

from jaxcxr.report.tables import class_title
from jaxcxr.storage.predictions import Predictions

# The paper's own Table 2 (COVID-19 from one source, nearly all else from the other) reaches 0.79.
WARN_FROM = 0.5
_CONSEQUENCE = {
    "source": "a learner can score well by telling the sources apart (scanner, exposure, letters, "
    "compression) without seeing any disease",
    "age_group": (
        "a learner can score well by telling children from adults without seeing any disease"
    ),
}


def normalised_mutual_information(labels: Sequence[Any], groups: Sequence[Any]) -> float | None:
    """Mutual information over the smaller of the two entropies: 1 where one determines the other.

    The smaller entropy, because a binary source cannot determine four classes, yet one class that
    comes from one source alone is confounded. None where a side has one value only: nothing to
    share.
    """
    a, b = np.asarray(labels).astype(str), np.asarray(groups).astype(str)
    least = min(mutual_info_score(a, a), mutual_info_score(b, b))
    if least <= 1e-12:
        return None
    return float(np.clip(mutual_info_score(a, b) / least, 0.0, 1.0))


def confounding(predictions: Sequence[Predictions]) -> tuple[dict[str, Any], list[str], list[str]]:
    """Association of the class with source and age group, over every image of the predictions.

    Args:
        predictions: files of one study or one run; an image that is in several counts once.

    Returns:
        ({field: {normalised_mutual_information, counts {group: {class: images}}}}, warnings, what
        was left out because the predictions do not hold it).
    """
    associations: dict[str, Any] = {}
    warnings: list[str] = []
    left_out: list[str] = []
    for field, what in (("source", "source"), ("age_group", "age group")):
        if any(field not in p.extra for p in predictions):
            left_out.append(
                f"Confounding of class and {what}: the predictions hold no `{field}` array."
            )
            continue
        group_of: dict[str, str] = {}
        class_of: dict[str, str] = {}
        for p in predictions:
            names = np.asarray(p.classes)[np.asarray(p.labels)]
            group_of.update(zip(map(str, p.ids), map(str, p.extra[field]), strict=True))
            class_of.update(zip(map(str, p.ids), map(str, names), strict=True))
        grouped = [i for i in group_of if group_of[i]]
        if not grouped:
            left_out.append(f"Confounding of class and {what}: no image has a {what}.")
            continue
        counts: dict[str, dict[str, int]] = {}
        for i in grouped:
            row = counts.setdefault(group_of[i], dict.fromkeys(predictions[0].classes, 0))
            row[class_of[i]] += 1
        shared = normalised_mutual_information(
            [class_of[i] for i in grouped], [group_of[i] for i in grouped]
        )
        associations[field] = {
            "normalised_mutual_information": shared,
            "images": len(grouped),
            "images_without": len(group_of) - len(grouped),
            "counts": dict(sorted(counts.items())),
        }
        if shared is not None and shared >= WARN_FROM:
            warnings.append(
                f"Class and {what} are confounded: normalised mutual information {shared:.2f} "
                f"(1 = one determines the other). {_alone(counts)}So {_CONSEQUENCE[field]}."
            )
    return associations, warnings, left_out


def _alone(counts: dict[str, dict[str, int]]) -> str:
    """Names the classes that come from one group alone."""
    classes = next(iter(counts.values()))
    homes = {c: [group for group, row in counts.items() if row[c]] for c in classes}
    parts = [f"{class_title(c)} only from {home[0]}" for c, home in homes.items() if len(home) == 1]
    return f"{'; '.join(parts)}. " if parts else ""
