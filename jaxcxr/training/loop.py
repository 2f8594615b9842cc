"""The training loop, its order fixed: evaluate -> save -> next(batch) -> step -> log."""

from __future__ import annotations

import dataclasses
import math
import signal
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jaxcxr import optim, parallel
from jaxcxr import state as states
from jaxcxr.cpu import host_memory
from jaxcxr.errors import DivergedError
from jaxcxr.state import TrainState, Variables
from jaxcxr.storage.checkpoint import Checkpointer
from jaxcxr.storage.metric_writer import MetricWriter, Progress
from jaxcxr.tasks.monitor import LAST
from jaxcxr.training import stepping, steps
from jaxcxr.training.experiment import Experiment
from jaxcxr.training.running_means import RunningMeans
from jaxcxr.training.stop_request import StopRequest


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


@dataclasses.dataclass
class LoopState:
    """What changes while a run trains; a checkpoint has all of it but the clock.

    Attributes:
        train: parameters, model state, optimiser state, on the devices.
        step: steps taken.
        stopping, plateau: what they remember of earlier evaluations.
        metrics: of the validation patients at this step; {} where it was not evaluated.
        losses: {"loss": scalar, score: scalar} of each step since the last log row.
        scores: of the training batches since the last evaluation, up to the last log row.
        learning_rate: of the last step.
        started: start of the training on the monotonic clock, as if it had never been interrupted.
        resumed_at: step of the checkpoint that it resumed from; None where it began.
        last_save: time of the last checkpoint on that clock.
    """

    train: TrainState
    step: int
    stopping: optim.EarlyStopping
    plateau: optim.ReduceLROnPlateau
    metrics: dict[str, float]
    losses: list[Any]
    scores: RunningMeans
    learning_rate: float
    started: float
    resumed_at: int | None
    last_save: float

    @classmethod
    def begin(
        cls,
        experiment: Experiment,
        checkpointer: Checkpointer,
        iterator: Any,
        pretrained: Callable[[Variables], Variables] | None,
    ) -> LoopState:
        """The newest sound checkpoint's, else the first variables'; `iterator` takes its place."""
        config, task = experiment.config, experiment.task
        new = cls(
            train=_at_step_0(experiment, task.init(config.seed)),
            step=0,
            stopping=optim.EarlyStopping(
                mode=task.mode, patience=config.train.patience, min_delta=config.train.min_delta
            ),
            plateau=optim.ReduceLROnPlateau(
                patience=config.optim.plateau_patience, decay=config.optim.decay
            ),
            metrics={},
            losses=[],
            scores=RunningMeans(),
            learning_rate=0.0,
            started=time.monotonic(),
            resumed_at=None,
            last_save=time.monotonic(),
        )
        restored = checkpointer.restore_latest(
            new.train.for_prediction(), new.train.for_training, iterator
        )
        if restored is not None:
            new.train = new.train.resumed(restored.state, restored.optimizer)
            new.step = new.resumed_at = restored.step
            new.metrics = restored.metrics
            new.stopping.restore(restored.loop["watch"])
            new.plateau.restore(restored.loop["watch"])
            new.started -= restored.loop["seconds"]
            # Checkpoints of earlier versions have neither.
            new.scores = RunningMeans(restored.loop.get("scores"))
            new.losses = [
                {name: np.float32(value) for name, value in row.items()}
                for row in restored.loop.get("losses", [])
            ]
        elif pretrained is not None:
            new.train = _at_step_0(experiment, pretrained(new.train.variables))
        new.train = parallel.place(new.train)
        return new

    @property
    def is_new(self) -> bool:
        """Whether no checkpoint has this step yet, as far as this start knows."""
        return self.resumed_at is None or self.step > self.resumed_at

    def save(self, checkpointer: Checkpointer, iterator: Any) -> None:
        """Writes a checkpoint.

        Raises:
            DivergedError: the loss is not finite.
        """
        if self.losses:
            self.mean_loss(checkpointer)
        losses = parallel.to_host(self.losses)
        checkpointer.save(
            self.step,
            state=self.train.for_prediction(),
            optimizer=self.train.for_training,
            data_iterator=iterator,
            loop={
                "watch": self.stopping.to_json() | self.plateau.to_json(),
                "seconds": time.monotonic() - self.started,
                # A checkpoint between two log rows keeps them for the next one.
                "losses": [{n: float(value) for n, value in row.items()} for row in losses],
                "scores": self.scores.to_json(),
            },
            metrics=self.metrics,
            best=None if self.stopping.best is None else self.stopping.best_step,
        )
        self.last_save = time.monotonic()

    def mean_loss(self, checkpointer: Checkpointer) -> float:
        """The mean over the steps since the last log row.

        Raises:
            DivergedError: it is not finite; names the checkpoint that stays.
        """
        loss = steps.mean_losses(self.losses)["loss"]
        if math.isfinite(loss):
            return loss
        saved = checkpointer.all_steps()
        there = (
            f"the last good checkpoint, of step {saved[-1]}, is kept in {checkpointer.directory}. "
            if saved
            else "there is no checkpoint yet. "
        )
        raise DivergedError(
            f"the training loss is {loss} at step {self.step}; {there}"
            "Lower optim.learning_rate or set optim.clip_norm, in a new workdir"
        )


def _at_step_0(experiment: Experiment, variables: Variables) -> TrainState:
    return states.create(
        variables,
        experiment.compiled.optimizer,
        average=experiment.config.optim.average > 0,
    )


def _choice(monitor: str, now: LoopState) -> float:
    """What chooses the checkpoint: the metric, or the step where the last one is to be chosen.

    NaN, which is never an improvement, where the evaluation is not a number.
    """
    if monitor != LAST:
        return now.metrics[monitor]
    return now.step if math.isfinite(now.metrics["loss"]) else math.nan


@dataclasses.dataclass(frozen=True)
class _Loop:
    """The parts that stay the same: what is trained, how long, where it is written."""

    experiment: Experiment
    plan: Plan
    stepper: stepping.Stepper
    checkpointer: Checkpointer
    writer: MetricWriter
    progress: Progress
    valid_count: int

    def is_over(self, now: LoopState) -> bool:
        return now.step >= self.plan.steps or now.stopping.stop

    def at_meeting(self, now: LoopState) -> bool:
        """Whether all processes may save or leave here.

        Clocks and signals differ between processes, but all must do so at the same step.
        """
        return parallel.process_count() == 1 or now.step % self.plan.log_every == 0

    def evaluate_and_save(self, now: LoopState) -> None:
        """Evaluates where that is due, and saves what has improved or was not saved for long."""
        if not now.is_new:
            return
        if self._is_evaluated(now.step):
            self.log(now)
            task, variables = self.experiment.task, now.train.variables
            now.metrics = evaluate(self.experiment, variables, "valid", count=self.valid_count)
            improved = now.stopping.update(_choice(task.monitor, now), now.step)
            now.plateau.update(improved)
            row = {f"valid/{name}": value for name, value in now.metrics.items()}
            row |= {f"train/{name}": value for name, value in now.scores.take().items()}
            self.writer.scalars(now.step, row)
            if improved or self.is_over(now) or self._is_overdue(now):
                now.save(self.checkpointer, self.stepper.iterator)
        elif self.at_meeting(now) and self._is_overdue(now):
            now.metrics = {}
            now.save(self.checkpointer, self.stepper.iterator)

    def leave_if_asked(self, now: LoopState, request: StopRequest) -> None:
        """Saves and raises SystemExit where any process got a signal."""
        if not (self.at_meeting(now) or self.is_over(now)):
            return
        if not parallel.agree(request.signal is not None):
            return
        now.metrics = {}
        now.save(self.checkpointer, self.stepper.iterator)
        self.checkpointer.close()
        self.progress.close()  # its last line would else come after ours
        number = request.signal or signal.SIGTERM
        if parallel.is_main():
            print(
                f"interrupted by {signal.Signals(number).name} at step {now.step}, checkpoint "
                "saved; rerun the same command to resume",
                flush=True,
            )
        raise SystemExit(128 + number)

    def advance(self, now: LoopState) -> None:
        """One step, or as many as there are before the loop is needed again."""
        count = min(self.stepper.at_most, self.plan.boundary(now.step) - now.step)
        batches = self.stepper.next(count)
        rates = [self._learning_rate(now, n) for n in range(now.step, now.step + count)]
        now.train, losses = self.stepper.step(now.train, batches, rates)
        now.step += count
        now.losses += losses
        now.learning_rate = rates[-1]
        if now.step % self.plan.log_every == 0 or now.step == self.plan.steps:
            self.log(now)
        else:
            self.progress.update(now.step)

    def log(self, now: LoopState) -> None:
        """A row of the mean loss since the last one, where steps were taken since."""
        if now.losses:
            now.losses = parallel.to_host(now.losses)
            loss = now.mean_loss(self.checkpointer)
            now.scores.add(now.losses)
            now.losses.clear()
            row = {"train/loss": loss, "train/learning_rate": now.learning_rate}
            self.writer.scalars(now.step, row)
            self.progress.update(now.step, loss=loss)

    def _is_evaluated(self, step: int) -> bool:
        if step == 0:
            return self.plan.steps == 0
        return step % self.plan.eval_every == 0 or step >= self.plan.steps

    def _is_overdue(self, now: LoopState) -> bool:
        minutes = self.experiment.config.checkpoint.every_minutes
        return parallel.agree(time.monotonic() - now.last_save > 60 * minutes)

    def _learning_rate(self, now: LoopState, step: int) -> float:
        o = self.experiment.config.optim
        factor = optim.schedule_factor(
            o.schedule,
            step=step,
            steps=self.plan.steps,
            warmup=o.warmup,
            milestones=o.milestones,
            decay=o.decay,
        )
        return now.plateau.factor * o.learning_rate * factor


def first_variables(
    experiment: Experiment,
    checkpointer: Checkpointer,
    pretrained: Callable[[Variables], Variables] | None,
) -> Variables:
    """What `fit` begins with, the newest sound checkpoint's or new ones; see there."""
    new = _at_step_0(experiment, experiment.task.init(experiment.config.seed))
    restored = checkpointer.restore_latest(new.for_prediction())
    if restored is not None:
        return restored.state.variables
    return new.variables if pretrained is None else pretrained(new.variables)


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
        valid_count: patches per image in the evaluations while training; 0 where the task draws
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
    config, schedule = experiment.config, plan(experiment)
    stepper = stepping.stepper(experiment, jax.random.key(config.seed))
    now = LoopState.begin(experiment, checkpointer, stepper.iterator, pretrained)
    writer.truncate_after(-1 if now.resumed_at is None else now.resumed_at)
    _announce(experiment, now, schedule.steps, description)
    progress = Progress(
        schedule.steps, start=now.step, description=description, active=parallel.is_main()
    )
    loop = _Loop(experiment, schedule, stepper, checkpointer, writer, progress, valid_count)
    alone = parallel.process_count() == 1
    with StopRequest(ends_at_once=alone) as request, progress:
        while True:
            loop.evaluate_and_save(now)
            loop.leave_if_asked(now, request)
            if loop.is_over(now):
                break
            loop.advance(now)
            request.ends_at_once = False  # its program is compiled
    if now.stopping.best is None:
        raise DivergedError(
            f"no evaluation gave a number for {experiment.task.monitor}, which chooses the "
            f"checkpoint, in {now.step} steps: is there an example of each class among the "
            "validation patients (split.valid_fraction)?"
        )
    return {
        "step": now.step,
        "best_step": now.stopping.best_step,
        "best": now.stopping.best,
        "seconds": time.monotonic() - now.started,
        "images": now.step * config.train.batch_size,
        "stopped_early": now.stopping.stop,
        "placement": dataclasses.asdict(experiment.placement),
    }


def _announce(experiment: Experiment, now: LoopState, total: int, description: str) -> None:
    todo = total - now.step
    if todo <= 0 or not parallel.is_main():
        return
    devices = parallel.device_count()
    if now.resumed_at is not None:
        print(f"resumed from step {now.resumed_at} of {total}", flush=True)
    print(
        f"{description}: {todo} step{'s'[: todo != 1]} on {devices} device{'s'[: devices != 1]}; "
        "the first step compiles the program (minutes on a CPU; cached for later runs; XLA's lines "
        "'Very slow compile?' are no error)\n"
        f"{experiment.placement}",
        flush=True,
    )
