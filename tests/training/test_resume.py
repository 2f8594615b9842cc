"""A run that was stopped in any way ends as if it had never been."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from jaxcxr.errors import DivergedError
from jaxcxr.storage.metric_writer import read_metrics
from tests.training.fitting import config, fit, leaves, newest

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """Six steps in one go."""
    workdir = tmp_path_factory.mktemp("whole")
    result = fit(config(), workdir)
    assert result["step"] == 6 and result["began_at"] == 0 and not result["stopped_early"]
    return workdir


def assert_same(workdir: Path, whole: Path) -> None:
    """Every leaf of the last state is bit-equal, and so is every row of metrics.jsonl."""
    ours, theirs = newest(config(), workdir), newest(config(), whole)
    assert ours.step == theirs.step == 6
    found, expected = leaves(ours.state), leaves(theirs.state)
    assert found.keys() == expected.keys() and len(found) > 30
    for name, leaf in expected.items():
        np.testing.assert_array_equal(found[name], leaf, err_msg=name)
    assert ours.loop["watch"] == theirs.loop["watch"]
    assert read_metrics(workdir) == read_metrics(whole)


def test_every_step_is_logged_and_evaluated_once(whole):
    rows = read_metrics(whole)
    for name in ("train/loss", "valid/macro_f1"):
        assert [row["step"] for row in rows if name in row] == [1, 2, 3, 4, 5, 6]
    rates = [row["train/learning_rate"] for row in rows if "train/loss" in row]
    assert len(set(rates)) > 3  # the schedule is in force


@pytest.mark.smoke
def test_killed_and_started_again(whole, tmp_path):
    """SIGKILL after four steps, perhaps amid the write of the fourth checkpoint."""
    killed = subprocess.run(
        [sys.executable, "-m", "tests.training.killed", tmp_path, "4"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-3000:]
    steps = [row["step"] for row in read_metrics(tmp_path)]
    assert max(steps) == 4
    again = fit(config(), tmp_path)
    assert again["began_at"] in (3, 4)
    assert_same(tmp_path, whole)


def test_sigterm_saves_and_leaves_with_143_and_the_next_start_says_where_it_resumes(
    whole, tmp_path, capsys
):
    def interrupt(step: int) -> None:
        if step == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as left:
        # Without the periodic checkpoints: this one is there because of the signal.
        fit(config(checkpoint__every_minutes=60.0), tmp_path, before=interrupt)
    assert left.value.code == 128 + signal.SIGTERM == 143
    told = "interrupted by SIGTERM at step 4, checkpoint saved; rerun the same command to resume"
    assert told in capsys.readouterr().out
    assert signal.getsignal(signal.SIGTERM) is before
    assert newest(config(), tmp_path).step == 4
    assert fit(config(), tmp_path)["began_at"] == 4
    assert "resumed from step 4 of 6\n" in capsys.readouterr().out
    assert_same(tmp_path, whole)


@pytest.fixture(scope="module")
def sparse(tmp_path_factory) -> Path:
    """Six steps, a log row after every four, no evaluation before the end."""
    workdir = tmp_path_factory.mktemp("sparse")
    fit(config(train__log_every=4, train__eval_every=3.0), workdir)
    return workdir


@pytest.mark.parametrize("stopped", range(1, 6))
def test_metrics_are_the_same_whenever_a_signal_came(sparse, tmp_path, stopped):
    c = config(
        train__log_every=4,
        train__eval_every=3.0,
        checkpoint__every_minutes=60.0,
        train__placement="host",
    )

    def interrupt(step: int) -> None:
        if step == stopped:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(SystemExit):
        fit(c, tmp_path, before=interrupt)
    fit(c, tmp_path)
    assert (tmp_path / "metrics.jsonl").read_bytes() == (sparse / "metrics.jsonl").read_bytes()


def test_a_loss_that_is_no_number_at_once_names_no_checkpoint(tmp_path):
    with pytest.raises(
        DivergedError, match="nan at step 1; there is no checkpoint yet. Lower optim.learning_rate"
    ):
        c = config(checkpoint__every_minutes=60.0)
        fit(c, tmp_path, damage=lambda step, metrics: {"loss": jnp.float32(np.nan)})
    assert not (tmp_path / "checkpoints").exists()


def test_sigterm_in_the_last_step_is_not_lost(whole, tmp_path):
    def interrupt(step: int) -> None:
        if step == 5:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(SystemExit):
        fit(config(), tmp_path, before=interrupt)
    assert fit(config(), tmp_path)["began_at"] is None
    assert_same(tmp_path, whole)


def test_a_loss_that_is_not_a_number_stops_and_keeps_the_last_good_checkpoint(whole, tmp_path):
    def nan(step: int, metrics: dict) -> dict:
        return {"loss": jnp.float32(np.nan)} if step == 4 else metrics

    with pytest.raises(
        DivergedError,
        match="loss is nan at step 4; the last good checkpoint, of step 3, is kept in",
    ):
        fit(config(), tmp_path, damage=nan)
    good = newest(config(), tmp_path)
    assert good.step == 3
    assert all(np.isfinite(leaf).all() for leaf in leaves(good.state).values())
    assert max(row["step"] for row in read_metrics(tmp_path)) == 3
    # Were it the machine's fault, the same command would reach the same end.
    assert fit(config(), tmp_path)["began_at"] == 3
    assert_same(tmp_path, whole)


def test_a_finished_training_started_again_takes_no_step(whole):
    before = read_metrics(whole)
    again = fit(config(), whole)
    assert again["began_at"] is None and again["step"] == 6
    assert read_metrics(whole) == before


def test_patience_stops_early_and_stays_stopped(tmp_path):
    """Nothing is better by 2: the first evaluation stays the best, and after two more it is
    over.
    """
    impatient = config(train__patience=2, train__min_delta=2.0)
    result = fit(impatient, tmp_path)
    assert (result["step"], result["best_step"], result["stopped_early"]) == (3, 1, True)
    assert fit(impatient, tmp_path)["began_at"] is None


def test_another_seed_trains_other_parameters(whole, tmp_path):
    fit(config(seed=1), tmp_path)
    found, expected = (
        leaves(newest(config(seed=1), tmp_path).state),
        leaves(newest(config(), whole).state),
    )
    kernels = [name for name in found if "params" in name and "kernel" in name]
    assert kernels and not any(np.array_equal(found[name], expected[name]) for name in kernels)
