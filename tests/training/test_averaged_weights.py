"""`optim.average`: the average of the weights over the steps is what is kept and predicts."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxcxr import state as states
from jaxcxr.commands import train
from jaxcxr.errors import InputError
from jaxcxr.inference import best
from jaxcxr.storage.run_folder import RunFolder
from jaxcxr.training.prepare import prepare
from tests.training import fitting
from tests.training.fitting import config, fit, leaves, newest

DECAY = 0.5


def averaged(**fields: Any):
    return config(**{"optim__average": DECAY, **fields})


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("averaged") / "run"
    result = fit(averaged(), workdir)
    RunFolder(workdir).write_json(best.TRAINING, {**result, "best_step": 6})
    return workdir


def test_the_average_is_that_of_the_weights_after_each_step(tmp_path):
    """By hand, from the weights of each step."""
    seen: list[Any] = []
    fit(averaged(train__log_every=1), tmp_path / "run", at=seen.append)
    first = jax.tree.map(np.asarray, prepare(averaged()).task.init(averaged().seed))
    expected = leaves(first)
    for state in seen:
        own = leaves({"params": state.params, **state.model_state})
        expected = {n: DECAY * expected[n] + (1 - DECAY) * own[n] for n in expected}
    found = leaves(seen[-1].average)
    assert found.keys() == expected.keys() and len(seen) == 6
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-6)


def test_it_is_what_is_kept_and_predicts(whole):
    state = newest(averaged(), whole).state
    kept = leaves(state.for_prediction().variables)
    for name, value in leaves(state.average).items():
        np.testing.assert_array_equal(kept[name], value)
    assert any(
        np.abs(leaves(state.params)[name.removeprefix("['params']")] - value).max() > 1e-4
        for name, value in kept.items()
        if name.startswith("['params']")
    )
    folder = RunFolder(whole)
    folder.mark_finished("fit", {"best_step": 6})
    predicting = leaves(best.best_variables(prepare(averaged()).task, folder))
    for name, value in kept.items():
        np.testing.assert_array_equal(predicting[name], value)


def test_a_training_that_was_stopped_goes_on_as_if_it_had_not_been(whole, tmp_path):
    class Killed(Exception):
        pass

    def kill(step: int) -> None:
        if step == 4:
            raise Killed

    with pytest.raises(Killed):
        fit(averaged(), tmp_path / "run", before=kill)
    assert fit(averaged(), tmp_path / "run")["began_at"] is not None
    expected = leaves(newest(averaged(), whole).state)
    found = leaves(newest(averaged(), tmp_path / "run").state)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


def test_the_weights_that_train_are_those_without_an_average(whole, tmp_path):
    fit(config(), tmp_path / "run")
    plain = leaves(newest(config(), tmp_path / "run").state.params)
    for name, value in leaves(newest(averaged(), whole).state.params).items():
        np.testing.assert_allclose(value, plain[name], rtol=1e-5, atol=1e-7, err_msg=name)


def test_an_average_of_the_first_weights_is_refused_with_one_that_will_do(tmp_path):
    """0.9 of it stays at each of six steps, which leaves half of what training began with."""
    slow = averaged(optim__average=0.9)
    with pytest.raises(
        InputError, match=r"53 % of the first .* 6 steps: set .*=0\.606 or"
    ) as error:
        train.run(slow, tmp_path / "run")
    [most] = re.findall(r"average=(0\.606)", str(error.value))
    train.check_average(prepare(averaged(optim__average=float(most))))
    train.check_average(prepare(averaged(optim__average=0.9, train__epochs=30.0)))
    train.check_average(prepare(averaged(optim__average=0.9, train__epochs=0.0)))


def test_arrays_of_the_average_are_its_own():
    """Both are given away to the step; a shared one would be given away twice."""
    variables = {"params": {"w": jnp.ones(3)}, "batch_stats": {"mean": jnp.zeros(2)}}
    made = states.create(variables, optax.sgd(0.1), average=True)
    assert isinstance(made, states.AveragedState)
    mine = {id(leaf) for leaf in jax.tree.leaves((made.params, made.model_state))}
    assert not mine & {id(leaf) for leaf in jax.tree.leaves(made.average)}
    assert dataclasses.is_dataclass(made) and made.for_prediction().opt_state == ()
    assert type(made.for_prediction()) is states.TrainState  # the same files as without an average
    assert fitting.leaves(made.variables).keys() == fitting.leaves(variables).keys()
