"""Scores of the training batches between two evaluations."""

from __future__ import annotations

import json

import numpy as np

from jaxcxr.training.running_means import RunningMeans

ROWS = [
    {"loss": np.float32(n), "accuracy": np.float32(value)} for n, value in enumerate([0.1, 0.7])
]


def test_the_mean_is_over_the_steps_since_the_last_evaluation_and_has_no_loss():
    means = RunningMeans()
    assert means.take() == {}
    means.add(ROWS)
    means.add([{"loss": 1.0, "accuracy": 1.0}])
    assert means.take() == {"accuracy": (float(np.float32(0.1)) + float(np.float32(0.7)) + 1.0) / 3}
    assert means.take() == {}


def test_a_resumed_run_goes_on_with_what_was_saved_to_the_bit():
    whole, first = RunningMeans(), RunningMeans()
    whole.add(ROWS * 3)
    first.add(ROWS)
    resumed = RunningMeans(json.loads(json.dumps(first.to_json())))
    resumed.add(ROWS * 2)
    assert resumed.take() == whole.take()


def test_steps_of_an_earlier_version_have_no_scores():
    means = RunningMeans(None)
    means.add([{"loss": 0.5}, {"loss": 0.4, "accuracy": 0.25}])
    assert means.take() == {"accuracy": 0.25}
