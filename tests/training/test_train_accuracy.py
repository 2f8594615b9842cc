"""The accuracy of the training batches beside that of the validation patients."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcxr import optim, parallel, state
from jaxcxr.storage.metric_writer import read_metrics
from jaxcxr.training import loop, stepping, steps
from jaxcxr.training.prepare import prepare
from tests.training.fitting import config, fit, leaves


class Sign:
    """The task "label 1 where x is positive", with one parameter."""

    train_scores = ("accuracy",)

    def loss_and_scores(
        self, params: Any, model_state: Any, batch: Any, key: Any, *, axis_name: str
    ) -> tuple[Any, Any, dict[str, Any]]:
        del key, axis_name
        right = (params["slope"] * batch["x"] > 0) == (batch["label"] == 1)
        losses = jnp.square(params["slope"] * batch["x"] - batch["label"])
        return losses, model_state, {"accuracy": right.astype(jnp.float32)}


def test_it_is_the_mean_over_all_devices_images_without_padding():
    assert parallel.device_count() == 4
    optimizer = optim.build("sgd", weight_decay=0.0, l1=0.0, momentum=0.0, clip_norm=0.0)
    step = parallel.spmd_step(steps.train_step(Sign(), optimizer))  # pyright: ignore
    batch = {
        "x": np.array([1, 1, 1, 1, 1, -1, 1, -1], np.float32),
        "label": np.array([1, 0, 1, 0, 1, 1, 0, 0], np.int32),
        "weight": np.array([1, 1, 1, 1, 1, 1, 0, 0], np.float32),  # a device of padding alone
    }
    start = parallel.place(state.create({"params": {"slope": jnp.float32(1)}}, optimizer))
    _, metrics = step(start, parallel.shard(batch), jax.random.key(0))
    assert float(metrics["accuracy"]) == pytest.approx(3 / 6)


def test_it_does_not_change_the_training_by_a_bit():
    experiment = prepare(config())
    compiled = experiment.compiled

    class Unscored(type(compiled.task)):  # type: ignore[misc]
        train_scores = ()

        def loss_and_scores(self, *args: Any, **named: Any) -> Any:
            return *super().loss_and_scores(*args, **named)[:2], {}

    other = Unscored(experiment.config, axis_name=parallel.sync_axis())
    found = []
    for task in (compiled.task, other):
        programs = steps.programs_of_task(task, experiment.config.optim)
        stepper = stepping.HostBatches(
            dataclasses.replace(experiment, compiled=programs), jax.random.key(3)
        )
        current = parallel.place(state.create(task.init(0), programs.optimizer))
        losses = []
        for _ in range(3):
            current, [metrics] = stepper.step(current, stepper.next(1), [1e-3])
            losses.append(float(metrics["loss"]))
        found.append((leaves(current), losses, set(metrics)))
    (scored, losses, names), (plain, plain_losses, plain_names) = found
    assert (names, plain_names) == ({"loss", "accuracy"}, {"loss"})
    assert losses == plain_losses and scored.keys() == plain.keys()
    for name, leaf in plain.items():
        np.testing.assert_array_equal(scored[name], leaf, err_msg=name)


def test_it_stands_in_the_row_of_each_evaluation_and_is_of_the_steps_since_the_last(tmp_path):
    c, of_steps = config(train__eval_every=1.0, train__log_every=3), {}

    def note(step: int, metrics: dict[str, Any]) -> dict[str, Any]:
        of_steps[step] = float(metrics["accuracy"])
        return metrics

    c.train.placement = "host"
    fit(c, tmp_path, damage=note)
    assert loop.plan(prepare(c)) == loop.Plan(steps=6, eval_every=2, log_every=3)
    rows = [row for row in read_metrics(tmp_path) if "train/accuracy" in row]
    assert [row["step"] for row in rows] == [2, 4, 6] and len(of_steps) == 6
    for row in rows:
        assert "valid/accuracy" in row
        mean = (of_steps[row["step"] - 1] + of_steps[row["step"]]) / 2
        assert row["train/accuracy"] == pytest.approx(mean)
