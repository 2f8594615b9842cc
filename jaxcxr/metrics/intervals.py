"""How sure a score is: over repeats of a training, and over the patients that it was measured on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy import stats

Interval = tuple[float, float]


def over_repeats(values: Sequence[float], *, level: float = 0.95) -> Interval | None:
    """Student's interval of the mean of independent trainings; None for fewer than two.

    It tells what another seed may give on the same split, not how the model does on other patients.
    """
    if len(values) < 2:
        return None
    mean, error = float(np.mean(values)), float(np.std(values, ddof=1) / np.sqrt(len(values)))
    reach = float(stats.t.ppf((1 + level) / 2, len(values) - 1)) * error
    return mean - reach, mean + reach


def over_patients(
    score: Callable[[np.ndarray], float],
    patient_ids: Sequence[str] | np.ndarray,
    *,
    level: float = 0.95,
    draws: int = 2000,
    seed: int = 0,
) -> Interval:
    """Bootstrap interval by percentiles; patients are drawn with all their images, since these are alike.

    Args:
      score: rows drawn [n] (row numbers, repeated as often as drawn) -> score.
      patient_ids: [N] of each row.
      level: of the interval.
      draws: bootstrap samples.
      seed: of the draws.
    """
    rows_of = [np.flatnonzero(np.asarray(patient_ids) == p) for p in np.unique(np.asarray(patient_ids))]
    rng = np.random.default_rng(seed)
    values = []
    for _ in range(draws):
        drawn = rng.integers(len(rows_of), size=len(rows_of))
        values.append(score(np.concatenate([rows_of[i] for i in drawn])))
    low, high = np.nanquantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
