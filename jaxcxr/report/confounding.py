"""Confounding of the class with source or age group: a score may then measure these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.metrics import mutual_info_score

from jaxcxr.data import drawn
from jaxcxr.report.tables import class_title
from jaxcxr.storage.predictions import Predictions

# The paper's own Table 2 (COVID-19 from one source, nearly all else from the other) reaches 0.79.
WARN_FROM = 0.5
# Of fewer images with a known source or age group (unless it is all there are) a class may be
# anything: no warning rests on them.
LEAST_KNOWN = 10
_FIELDS = {"source": "source", "age_group": "age group"}
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


# Group of a source or age group, "" where it is unknown -> class -> number of images.
Counts = Mapping[str, Mapping[str, int]]


def confounding(
    predictions: Sequence[Predictions], counted: Mapping[str, Counts] | None = None
) -> tuple[dict[str, Any], list[str], list[str]]:
    """Association of the class with source and age group, over every image of a run or study.

    Args:
        predictions: files of one study or one run; an image that is in several counts once.
        counted: field -> numbers of all images of the run, as its manifest has them; None: the
            predicted images are counted, of which a run's training images are no part.

    Returns:
        ({field: {normalised_mutual_information, images, images_without, coverage {class: {known,
        images}}, counts {group: {class: images}}}}, warnings, what was left out because the run
        does not hold it).
    """
    associations: dict[str, Any] = {}
    warnings: list[str] = []
    left_out: list[str] = []
    classes = predictions[0].classes
    for field, what in _FIELDS.items():
        counts = (counted or {}).get(field) or _count(predictions, field)
        if counts is None:
            left_out.append(
                f"Confounding of class and {what}: the predictions hold no `{field}` array."
            )
            continue
        known = {
            group: {c: row.get(c, 0) for c in classes}
            for group, row in sorted(counts.items())
            if group
        }
        if not known:
            left_out.append(f"Confounding of class and {what}: no image has a {what}.")
            continue
        if field == "source":
            warnings += drawn.of_sources(known)
        facts = associations[field] = _facts(known, counts.get("", {}), classes)
        shared = facts["normalised_mutual_information"]
        if shared is not None and shared >= WARN_FROM and not too_few(facts):
            images, total = facts["images"], facts["images"] + facts["images_without"]
            covered = f" {images:,} of {total:,} images have a known {what}." * (images < total)
            warnings.append(
                f"Class and {what} are confounded: normalised mutual information {shared:.2f} "
                f"(1 = one determines the other).{covered} {_alone(known)}So {_CONSEQUENCE[field]}."
            )
    return associations, warnings, left_out


def too_few(facts: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    """Class -> (known, all) of the classes with too few images of known group for a warning."""
    return {
        name: (row["known"], row["images"])
        for name, row in facts["coverage"].items()
        if row["known"] < min(LEAST_KNOWN, row["images"])
    }


def _count(predictions: Sequence[Predictions], field: str) -> Counts | None:
    """The counts of the predicted images; None where a file lacks the field."""
    if any(field not in p.extra for p in predictions):
        return None
    group_of: dict[str, str] = {}
    class_of: dict[str, str] = {}
    for p in predictions:
        names = np.asarray(p.classes)[np.asarray(p.labels)]
        group_of.update(zip(map(str, p.ids), map(str, p.extra[field]), strict=True))
        class_of.update(zip(map(str, p.ids), map(str, names), strict=True))
    counts: dict[str, dict[str, int]] = {}
    for i, group in group_of.items():
        row = counts.setdefault(group, dict.fromkeys(predictions[0].classes, 0))
        row[class_of[i]] += 1
    return counts


def _facts(known: Counts, unknown: Mapping[str, int], classes: Sequence[str]) -> dict[str, Any]:
    cells = [(c, group, n) for group, row in known.items() for c, n in row.items()]
    images = [n for _, _, n in cells]
    of_class = {c: sum(row[c] for row in known.values()) for c in classes}
    return {
        "normalised_mutual_information": normalised_mutual_information(
            np.repeat([c for c, _, _ in cells], images).tolist(),
            np.repeat([group for _, group, _ in cells], images).tolist(),
        ),
        "images": sum(images),
        "images_without": sum(unknown.values()),
        "coverage": {c: {"known": n, "images": n + unknown.get(c, 0)} for c, n in of_class.items()},
        "counts": {group: dict(row) for group, row in known.items()},
    }


def _alone(counts: Counts) -> str:
    """Names the classes that come from one group alone."""
    classes = next(iter(counts.values()))
    homes = {c: [group for group, row in counts.items() if row[c]] for c in classes}
    parts = [f"{class_title(c)} only from {home[0]}" for c, home in homes.items() if len(home) == 1]
    return f"{'; '.join(parts)}. " if parts else ""
