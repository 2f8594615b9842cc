"""The metric that chooses the checkpoint."""

from __future__ import annotations

from ml_collections import ConfigDict


def monitor(config: ConfigDict) -> tuple[str, str]:
    """(name of the metric of the validation patients, "max" or "min")."""
    return config.train.monitor, "min" if config.train.monitor == "loss" else "max"
