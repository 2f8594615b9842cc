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
    [[low], [high]] = bootstrap(score, patient_ids, level=level, draws=draws, seed=seed)
    return float(low), float(high)


def bootstrap(
    scores: Callable[[np.ndarray], float | np.ndarray],
    patient_ids: Sequence[str] | np.ndarray,
    *,
    level: float = 0.95,
    draws: int = 2000,
    seed: int = 0,
) -> np.ndarray:
    """`over_patients` of S scores at once, all of the same draws.

    Args:
      scores: rows drawn [n] -> [S], or one number; NaN where a score is not defined.
      patient_ids: [N] of each row.
      level: of the intervals.
      draws: bootstrap samples.
      seed: of the draws.

    Returns:
      [2, S]: low and high, over the draws that define the score; NaN where none does.
    """
    _, patient_of_row, images = np.unique(np.asarray(patient_ids), return_inverse=True, return_counts=True)
    by_patient = np.argsort(patient_of_row, kind="stable")
    first = np.cumsum(images) - images
    rng = np.random.default_rng(seed)
    values = []
    for _ in range(draws):
        drawn = rng.integers(len(images), size=len(images))
        ends = np.cumsum(images[drawn])
        # The rows of one patient after those of another, without a loop over patients.
        places = np.arange(ends[-1]) - np.repeat(ends - images[drawn] - first[drawn], images[drawn])
        values.append(np.atleast_1d(scores(by_patient[places])))
    table = np.stack(values)
    found = np.full((2, table.shape[1]), np.nan)
    defined = ~np.isnan(table).all(axis=0)
    found[:, defined] = np.nanquantile(table[:, defined], [(1 - level) / 2, (1 + level) / 2], axis=0)
    return found
