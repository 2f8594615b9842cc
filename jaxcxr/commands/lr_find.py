"""Learning-rate range test (Smith, 2017, arXiv:1506.01186).

The loss while the learning rate grows step by step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
from ml_collections import ConfigDict
from tqdm import tqdm

from jaxcxr import parallel, schema
from jaxcxr import state as states
from jaxcxr.commands.train import check_pretrained, with_weights
from jaxcxr.errors import InputError
from jaxcxr.inference.programs import announce_compiling
from jaxcxr.report import plots
from jaxcxr.report.lr_curve import lr_curve
from jaxcxr.storage.run_files import LR_FIND
from jaxcxr.storage.run_folder import RunFolder
from jaxcxr.storage.run_identity import VOLATILE
from jaxcxr.training import stepping
from jaxcxr.training.prepare import prepare

# The test ends where the smoothed loss is so many times its least value: from there on nothing is
# learned.
DIVERGED = 4.0


@schema.checked
def run(config: ConfigDict, workdir: Path) -> None:
    """`--config.run=lr_find`: prints the steepest point.

    Writes `lr_find.json` and `plots/lr_find.png`.

    Nothing is trained for good, and the run folder is not claimed: it can be trained afterwards,
    with any learning rate.
    """
    f = config.lr_find
    if not (0 < f.low < f.high and f.steps >= 10 and 0 <= f.smoothing < 1):
        raise InputError(
            f"lr_find.low={f.low}, high={f.high}, steps={f.steps}, smoothing={f.smoothing}: the "
            "test needs 0 < low < high, at least 10 steps and a smoothing in [0, 1)"
        )
    if config.model.pretrained:
        check_pretrained(config)
    with RunFolder.open(
        workdir,
        config.to_dict(),
        active=parallel.is_main(),
        volatile=(*VOLATILE, "optim.learning_rate"),
        claims=False,
    ) as folder:
        experiment = prepare(config)
        variables = experiment.task.init(config.seed)
        if config.model.pretrained:
            variables = with_weights(experiment, folder, variables)
        state = parallel.place(states.create(variables, experiment.compiled.optimizer))
        # From the host wherever a training's images would live: the loss is wanted after every
        # step.
        stepper = stepping.HostBatches(experiment, jax.random.key(config.seed))
        announce_compiling()
        rates, losses = np.geomspace(f.low, f.high, f.steps), []
        with tqdm(
            total=f.steps, desc="lr_find", unit="step", disable=not parallel.is_main()
        ) as bar:
            for rate in rates:
                state, [metrics] = stepper.step(state, stepper.next(1), [rate])
                losses.append(float(parallel.to_host(metrics["loss"])))
                bar.update()
                if not math.isfinite(losses[-1]) or has_diverged(smoothed(losses, f.smoothing)):
                    break
        finite = [loss for loss in losses if math.isfinite(loss)]
        curve = smoothed(finite, f.smoothing)
        best = steepest(rates[: len(finite)], curve)
        folder.write_json(
            LR_FIND,
            {
                "settings": f.to_dict(),
                "learning_rate": [float(rate) for rate in rates[: len(finite)]],
                "loss": finite,
                "smoothed": [float(value) for value in curve],
                "steepest": best,
            },
        )
        figure = lr_curve(
            rates[: len(finite)], finite, curve, steepest=best, title=f"{config.model.name}"
        )
        folder.write_bytes("plots/lr_find.png", plots.to_png(figure))
    if parallel.is_main():
        sentence = (
            "the loss falls nowhere"
            if best is None
            else f"the loss falls fastest at a learning rate of {best:.2g}"
        )
        print(f"{sentence} ({len(finite)} steps, {workdir / 'plots' / 'lr_find.png'})")
        if best is not None:
            print(f"to use it: --config.optim.learning_rate={best:.2g}")


def smoothed(losses: Sequence[float], factor: float) -> np.ndarray:
    """Running mean with weights factor^age: [N].

    Corrected for its beginning at 0, as Adam's moments.
    """
    mean, values = 0.0, []
    for n, loss in enumerate(losses, start=1):
        mean = factor * mean + (1 - factor) * loss
        values.append(mean / (1 - factor**n))
    return np.array(values)


def has_diverged(curve: np.ndarray) -> bool:
    """Whether the smoothed loss has grown beyond all use."""
    return bool(curve[-1] > DIVERGED * curve.min())


def steepest(rates: np.ndarray, curve: np.ndarray) -> float | None:
    """The learning rate at which the smoothed loss falls fastest.

    Per factor of the rate (paper 5.1).

    Args:
        rates: [N], growing.
        curve: [N] smoothed losses.

    Returns:
        None where the loss falls nowhere before its least value.
    """
    end = int(np.argmin(curve)) + 1
    if end < 2:
        return None
    slopes = np.gradient(curve, np.log(rates))[:end]
    lowest = int(np.argmin(slopes))
    return float(rates[lowest]) if slopes[lowest] < 0 else None
