"""Uncertainty of a score.

Over repeats of a training, and over the patients that it was measured on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy import stats

Interval = tuple[float, float]

# Draws that are scored together: the counts of a data set's rows then stay in a core's cache.
_BLOCK = 64


def over_repeats(values: Sequence[float], *, level: float = 0.95) -> Interval | None:
    """Student's interval of the mean of independent trainings; None for fewer than two.

    It tells what another seed may give on the same split, not how the model does on other patients.
    """
    if len(values) < 2:
        return None
    mean, error = float(np.mean(values)), float(np.std(values, ddof=1) / np.sqrt(len(values)))
    reach = float(stats.t.ppf((1 + level) / 2, len(values) - 1)) * error
    return mean - reach, mean + reach


def bootstrap(
    scores: Callable[[np.ndarray], np.ndarray],
    patient_ids: Sequence[str] | np.ndarray,
    *,
    level: float = 0.95,
    draws: int = 2000,
    seed: int = 0,
) -> np.ndarray:
    """Percentile intervals of S scores, over the same draws of patients.

    The images of one patient are alike, so that a patient is drawn with all of them.

    Args:
        scores: [N, d] how often each of d draws has each row -> [S, d]; NaN where a score is not
            defined.
        patient_ids: [N] of each row.
        level: of the intervals.
        draws: bootstrap samples; they come to `scores` in blocks.
        seed: of the draws.

    Returns:
        [2, S]: low and high, over the draws that define the score; NaN where none does, and of
        fewer than two patients, whose every draw is the same.
    """
    names, patient_of_row = np.unique(np.asarray(patient_ids), return_inverse=True)
    if len(names) < 2:
        return np.full((2, len(scores(np.ones((len(patient_of_row), 1))))), np.nan)
    rng = np.random.default_rng(seed)
    blocks = []
    for first in range(0, draws, _BLOCK):
        samples = [
            rng.integers(len(names), size=len(names)) for _ in range(min(_BLOCK, draws - first))
        ]
        counts = np.stack(
            [np.bincount(patients, minlength=len(names)) for patients in samples], axis=1
        )
        blocks.append(scores(counts.astype(np.float64)[patient_of_row]))
    table = np.concatenate(blocks, axis=1)
    ends = np.full((2, len(table)), np.nan)
    defined = ~np.isnan(table).all(axis=1)
    ends[:, defined] = np.nanquantile(table[defined], [(1 - level) / 2, (1 + level) / 2], axis=1)
    return ends
