"""Scores of the training batches between two evaluations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_LOSS = "loss"  # has rows of its own, at every log row


class RunningMeans:
    """Means over the training steps since the last evaluation, of all that they give but the loss.

    Every step counts the same, as every batch has the same number of images.
    """

    def __init__(self, saved: Mapping[str, Any] | None = None):
        """Of no step, or of those that `to_json` saved."""
        self._sums: dict[str, tuple[float, int]] = {
            name: (float(total), int(steps)) for name, (total, steps) in (saved or {}).items()
        }

    def add(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Counts steps, each {"loss": number, score: number}, of the host."""
        for row in rows:
            for name in row.keys() - {_LOSS}:
                total, steps = self._sums.get(name, (0.0, 0))
                self._sums[name] = total + float(row[name]), steps + 1

    def take(self) -> dict[str, float]:
        """Score -> its mean, and begins again; {} where no step was counted."""
        means = {name: total / steps for name, (total, steps) in sorted(self._sums.items())}
        self._sums.clear()
        return means

    def to_json(self) -> dict[str, Any]:
        """Score -> [sum, steps], to the last bit."""
        return {name: list(pair) for name, pair in self._sums.items()}
