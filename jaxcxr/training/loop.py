"""The training loop, one page, its order fixed: evaluate -> save -> next(batch) -> step -> log."""

from __future__ import annotations

import dataclasses
import math
import signal
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import jax
import numpy as np

from jaxcxr import optim, parallel
from jaxcxr import state as states
from jaxcxr.cpu import host_memory
from jaxcxr.errors import DivergedError
from jaxcxr.state import Variables
from jaxcxr.storage.checkpoint import Checkpointer
from jaxcxr.storage.metric_writer import MetricWriter, Progress
from jaxcxr.training import stepping, steps
from jaxcxr.training.experiment import Experiment


@dataclasses.dataclass(frozen=True)
class Plan:
    """How long a run is, in optimiser steps."""

    steps: int
    eval_every: int
    log_every: int

    def boundary(self, step: int) -> int:
        """The first step after `step` with a log row or an evaluation, or the last step."""
        return min(
            self.steps,
            *(step - step % every + every for every in (self.eval_every, self.log_every)),
        )


def plan(experiment: Experiment) -> Plan:
    """Turns epochs into steps; an epoch is as many steps as see every training image once."""
    t = experiment.config.train
    per_epoch = max(1, math.ceil(len(experiment.splits["train"]) / t.batch_size))
    return Plan(
        steps=round(t.epochs * per_epoch),
        eval_every=max(1, round(t.eval_every * per_epoch)),
        log_every=t.log_every,
    )


class StopRequest:
    """Remembers SIGTERM and SIGINT, so that the loop can save and leave between two steps."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def __enter__(self) -> StopRequest:
        self._old = {s: signal.signal(s, self._handle) for s in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *unused: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None:  # asked twice: leave at once
            before = self._old[signal.Signals(number)]
            if not callable(before):
                raise KeyboardInterrupt
            before(number, frame)
        self.signal = number


def evaluate(experiment: Experiment, variables: Any, split: str, *, count: int) -> dict[str, float]:
    """Metrics of a split, from sums over its examples."""
    total = None
    # What training steps have freed: the arrays of predictions do not fit there.
    host_memory.give_back()
    for prediction in experiment.predict(variables, experiment.splits[split], count=count):
        metrics = experiment.task.metrics(experiment.host_batch(prediction), prediction)
        total = metrics if total is None else {n: total[n].merge(m) for n, m in metrics.items()}
    host_memory.give_back()
    return {name: value for m in (total or {}).values() for name, value in m.scalars().items()}


def fit(
    experiment: Experiment,
    checkpointer: Checkpointer,
    writer: MetricWriter,
    *,
    valid_count: int,
    description: str,
    pretrained: Callable[[Variables], Variables] | None = None,
) -> dict[str, Any]:
    """Trains until the plan's last step or until the monitored metric stops improving.

    Resumes from the newest sound checkpoint. SIGTERM and SIGINT save and raise SystemExit.

    Args:
        experiment: what to train.
        checkpointer: where its states go.
        writer: where its metrics go.
        valid_count: patches an image in the evaluations while training; 0 where the task draws
            none.
        description: what the progress bar says.
        pretrained: puts published weights into the first variables of a run that begins; None:
            random ones.

    Returns:
        {"step", "best_step", "best", "seconds", "images", "stopped_early", "placement"} for the
        run's timings.

    Raises:
        DivergedError: the loss is not finite; the last good checkpoint stays.
    """
    config, task, compiled = experiment.config, experiment.task, experiment.compiled
    schedule = plan(experiment)
    stopping = optim.EarlyStopping(
        mode=task.mode, patience=config.train.patience, min_delta=config.train.min_delta
    )
    plateau = optim.ReduceLROnPlateau(
        patience=config.optim.plateau_patience, decay=config.optim.decay
    )
    stepper = stepping.stepper(experiment, jax.random.key(config.seed))
    state = states.create(task.init(config.seed), compiled.optimizer)
    seconds, step, metrics, unlogged = 0.0, 0, {}, []
    restored = checkpointer.restore_latest(
        state.without_optimizer(), state.opt_state, stepper.iterator
    )
    if restored is not None:
        state, step, metrics = restored.state, restored.step, restored.metrics
        state = state.replace(opt_state=restored.optimizer)
        stopping.restore(restored.loop["watch"])
        plateau.restore(restored.loop["watch"])
        seconds = restored.loop["seconds"]
        unlogged = restored.loop.get("losses", [])  # checkpoints of earlier versions have none
    elif pretrained is not None:
        state = states.create(pretrained(state.variables), compiled.optimizer)
    writer.truncate_after(step if restored is not None else -1)
    state = parallel.place(state)
    started = time.monotonic() - seconds
    last_save = time.monotonic()
    # Of the steps since the last log row; a checkpoint between two rows keeps them for the next
    # one.
    losses: list[Any] = [
        {name: np.float32(value) for name, value in row.items()} for row in unlogged
    ]
    rates = [0.0]  # of the steps taken last

    def save() -> None:
        if losses:
            finite_means()
        loop = {
            "watch": stopping.to_json() | plateau.to_json(),
            "seconds": time.monotonic() - started,
            "losses": [
                {n: float(value) for n, value in row.items()} for row in parallel.to_host(losses)
            ],
        }
        checkpointer.save(
            step,
            state=state.without_optimizer(),
            optimizer=state.opt_state,
            data_iterator=stepper.iterator,
            loop=loop,
            metrics=metrics,
            best=None if stopping.best is None else stopping.best_step,
        )

    def overdue() -> bool:
        return parallel.agree(time.monotonic() - last_save > 60 * config.checkpoint.every_minutes)

    def finite_means() -> dict[str, float]:
        means = steps.mean_losses(losses)
        if not math.isfinite(means["loss"]):
            kept = checkpointer.all_steps()
            raise DivergedError(
                f"the training loss is {means['loss']} at step {step}; "
                + (
                    (
                        f"the last good checkpoint, of step {kept[-1]}, is kept in "
                        f"{checkpointer.directory}. "
                    )
                    if kept
                    else "there is no checkpoint yet. "
                )
                + "Lower optim.learning_rate or set optim.clip_norm, in a new workdir"
            )
        return means

    def log() -> None:
        if losses:
            means = finite_means()
            losses.clear()
            writer.scalars(step, {"train/loss": means["loss"], "train/learning_rate": rates[-1]})
            progress.update(step, loss=means["loss"])

    def learning_rate(step: int) -> float:
        return (
            plateau.factor
            * config.optim.learning_rate
            * optim.schedule_factor(
                config.optim.schedule,
                step=step,
                steps=schedule.steps,
                warmup=config.optim.warmup,
                milestones=config.optim.milestones,
                decay=config.optim.decay,
            )
        )

    if parallel.is_main() and step < schedule.steps:
        todo, devices = schedule.steps - step, parallel.device_count()
        print(
            (
                f"{description}: {todo} step{'s'[: todo != 1]} on {devices} "
                f"device{'s'[: devices != 1]}; the first one compiles, which takes minutes on a "
                f"CPU and is kept for later runs\n{experiment.placement}"
            ),
            flush=True,
        )
    progress = Progress(
        schedule.steps, start=step, description=description, active=parallel.is_main()
    )
    with StopRequest() as request, progress:
        while True:
            last = step >= schedule.steps or stopping.stop
            due = step > 0 and (step % schedule.eval_every == 0 or step >= schedule.steps)
            fresh = restored is None or step > restored.step
            # Clocks and signals differ between processes, but all must save and leave at the same
            # step.
            together = parallel.process_count() == 1 or step % config.train.log_every == 0
            if (due or step == schedule.steps == 0) and fresh:
                log()
                metrics = evaluate(experiment, state.variables, "valid", count=valid_count)
                improved = stopping.update(metrics[task.monitor], step)
                plateau.update(improved)
                writer.scalars(step, {f"valid/{name}": value for name, value in metrics.items()})
                last = step >= schedule.steps or stopping.stop
                if improved or last or overdue():
                    save()
                    last_save = time.monotonic()
            elif fresh and together and overdue():
                metrics = {}  # not evaluated here
                save()
                last_save = time.monotonic()
            if (together or last) and parallel.agree(request.signal is not None):
                metrics = {}
                save()
                checkpointer.close()
                progress.close()  # its last line would else come after ours
                if parallel.is_main():
                    name = signal.Signals(request.signal or signal.SIGTERM).name
                    print(
                        (
                            f"interrupted by {name} at step {step}, checkpoint saved; rerun the "
                            "same command to resume"
                        ),
                        flush=True,
                    )
                raise SystemExit(128 + (request.signal or signal.SIGTERM))
            if last:
                break
            # One step, or as many as there are before the loop is needed again.
            count = min(stepper.at_most, schedule.boundary(step) - step)
            batches = stepper.next(count)
            rates = [learning_rate(n) for n in range(step, step + count)]
            state, taken = stepper.step(state, batches, rates)
            step += count
            losses += taken
            if step % config.train.log_every == 0 or step == schedule.steps:
                log()
            else:
                progress.update(step)
    if stopping.best is None:
        raise DivergedError(
            f"no evaluation gave a number for {task.monitor}, which chooses the checkpoint, in "
            f"{step} steps: is there an example of each class among the validation patients "
            "(split.valid_fraction)?"
        )
    return {
        "step": step,
        "best_step": stopping.best_step,
        "best": stopping.best,
        "seconds": time.monotonic() - started,
        "images": step * config.train.batch_size,
        "stopped_early": stopping.stop,
        "placement": dataclasses.asdict(experiment.placement),
    }
