"""The metric that chooses the checkpoint."""

from __future__ import annotations

from ml_collections import ConfigDict

from jaxcxr.errors import InputError

LAST = "last"  # in the place of a metric: the last evaluation's checkpoint, whatever its metrics


def monitor(config: ConfigDict) -> tuple[str, str]:
    """(name of the metric of the validation patients, or LAST, "max" or "min").

    Raises:
        InputError: LAST, and something waits for a metric that stops improving.
    """
    name = config.train.monitor
    waiting = {
        "train.patience": config.train.patience,
        "optim.plateau_patience": config.optim.plateau_patience,
        "train.min_delta": config.train.min_delta,
    }
    for field, value in waiting.items():
        if name == LAST and value:
            raise InputError(
                f"{field}={value} is of evaluations that improve or do not, and with "
                "train.monitor='last' nothing is compared: set one of them back"
            )
    return name, "min" if name == "loss" else "max"
