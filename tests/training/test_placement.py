"""Where the images of a run live changes nothing but its speed."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from jaxcxr import parallel
from jaxcxr.errors import DivergedError, InputError
from jaxcxr.storage.metric_writer import read_metrics
from jaxcxr.storage.run_folder import RunFolder
from jaxcxr.training import placement
from jaxcxr.training.prepare import prepare
from tests.models.variables import filled
from tests.training.fitting import config, fit, leaves, newest

GPU: dict[str, Any] = {"free": 60 * 10**9, "platform": "gpu", "processes": 1}
STUDY = 6_700_000_000  # bytes of 6,410 images at 1024 px


@pytest.mark.parametrize(
    ("wanted", "needed", "devices", "where", "why"),
    [
        ("auto", STUDY, GPU, "device", "they take 6.7 GB, and 60 GB of a device's memory is free"),
        ("auto", STUDY, {**GPU, "free": 12 * 10**9}, "host",
         "more than 50% of what is free on a device (12 GB)"),
        ("auto", STUDY, {**GPU, "free": None}, "host", "does not say how much memory is free"),
        ("auto", STUDY, {**GPU, "processes": 2}, "host",
         "each of the 2 processes reads its own part"),
        ("auto", STUDY, {**GPU, "platform": "cpu", "free": None}, "host",
         "the backend is a CPU"),
        ("device", STUDY, {**GPU, "free": 12 * 10**9}, "device", "train.placement says so"),
        ("device", STUDY, {**GPU, "platform": "cpu", "free": None}, "device",
         "train.placement says so"),
        ("host", 1, GPU, "host", "train.placement says so"),
    ],
)  # fmt: skip
def test_images_live_on_the_devices_where_half_of_the_free_memory_holds_them(
    wanted, needed, devices, where, why
):
    found = placement.choose(wanted, needed=needed, **devices)
    assert found.where == where and why in found.why


def test_images_that_are_to_be_on_the_devices_and_do_not_fit_are_refused():
    with pytest.raises(
        InputError,
        match="they take 6.7 GB, and 6 GB of a device's memory is free. Set it to 'auto'",
    ):
        placement.choose("device", needed=STUDY, **{**GPU, "free": 6 * 10**9})


def test_several_processes_cannot_have_them_on_the_devices():
    with pytest.raises(
        InputError, match="train.placement='device' is for one process, and there are 2"
    ):
        placement.check("device", processes=2)


def test_an_unknown_place_is_refused_before_any_image_is_read():
    with pytest.raises(
        InputError, match="train.placement='gpu' is unknown; known: auto, device, host"
    ):
        prepare(config(train__placement="gpu", data__builders=("no.such_builder",)))


def test_a_cpu_does_not_say_what_is_free_and_keeps_images_with_the_host():
    assert parallel.platform() == "cpu" and parallel.free_memory() is None
    experiment = prepare(config())
    assert experiment.placement.where == "host" and experiment.resident is None


# Seven steps: log rows after 3 and 6, evaluations after 5 and 7. So the devices take 3, 2, 1 and 1
# steps by themselves.
def seven(where: str, **fields: Any) -> Any:
    """Of SGD: Adam makes steps of its own size from gradients that are nothing but rounding."""
    long = {
        "train__epochs": 3.5,
        "train__eval_every": 2.5,
        "train__log_every": 3,
        "optim__name": "sgd",
    }
    return config(
        **{**long, "train__placement": where, "checkpoint__every_minutes": 60.0, **fields}
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> dict[str, Path]:
    """The seven steps in one go, from the host's batches and from the devices' rows."""
    folders = {where: tmp_path_factory.mktemp(where) for where in ("host", "device")}
    for where, folder in folders.items():
        result = fit(seven(where), folder)
        assert result["step"] == 7
        assert result["placement"] == {"where": where, "why": "train.placement says so"}
    return folders


def assert_same(folder: Path, other: Path, *, tolerance: float) -> None:
    """The same states after seven steps, and the same evaluations; tolerance: 0 is to the bit."""
    ours, theirs = newest(seven("host"), folder), newest(seven("host"), other)
    assert ours.step == theirs.step == 7
    for name in ("params", "model_state", "opt_state"):
        found, expected = leaves(getattr(ours.state, name)), leaves(getattr(theirs.state, name))
        assert found.keys() == expected.keys() and len(found) > 5
        # All leaves together: some gradients are nothing but rounding.
        one, two = (
            np.concatenate([leaf.ravel() for leaf in tree.values()]) for tree in (found, expected)
        )
        assert np.linalg.norm(one - two) <= tolerance * np.linalg.norm(two), name
    assert_same_rows(evaluations(folder), evaluations(other), tolerance=tolerance)


def assert_same_rows(found: list[dict], expected: list[dict], *, tolerance: float) -> None:
    assert [row.keys() for row in found] == [row.keys() for row in expected]
    for row, other in zip(found, expected, strict=True):
        assert row == pytest.approx(other, rel=tolerance, abs=tolerance)


def evaluations(folder: Path) -> list[dict[str, Any]]:
    return [row for row in read_metrics(folder) if "valid/macro_f1" in row]


# The programs differ, and with them the order in which XLA adds up. After seven steps losses are
# 1e-7 apart, the worst leaf, a momentum, 1e-5 of its norm.
ROUNDING = 1e-4


def test_both_ways_train_the_same(whole):
    assert_same(whole["device"], whole["host"], tolerance=ROUNDING)
    rows = read_metrics(whole["host"])
    assert_same_rows(rows, read_metrics(whole["device"]), tolerance=ROUNDING)
    assert [row["step"] for row in rows if "train/loss" in row] == [3, 5, 6, 7]
    assert [row["step"] for row in evaluations(whole["host"])] == [5, 7]
    rates = [row["train/learning_rate"] for row in rows if "train/loss" in row]
    assert len(set(rates)) == 4  # the schedule is in force


@pytest.mark.parametrize(
    ("first", "then", "stops", "tolerance"),
    [
        ("host", "device", 4, ROUNDING),
        ("device", "host", 5, ROUNDING),
        ("device", "device", 5, 0.0),
    ],
)
def test_a_run_goes_on_in_another_place_from_where_a_signal_stopped_it(
    whole, tmp_path, capsys, first, then, stops, tolerance
):
    """The signal comes after three steps: from the host another one follows, on the devices two, up
    to the boundary.
    """

    def interrupt(step: int) -> None:
        if step == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    RunFolder.open(tmp_path, seven(first).to_dict()).close()
    with pytest.raises(SystemExit) as left:
        fit(seven(first), tmp_path, before=interrupt)
    assert left.value.code == 128 + signal.SIGTERM
    assert (
        f"at step {stops}, checkpoint saved; rerun the same command to resume"
        in capsys.readouterr().out
    )
    RunFolder.open(tmp_path, seven(then).to_dict()).close()  # is no other configuration
    assert fit(seven(then), tmp_path)["began_at"] == stops
    assert_same(tmp_path, whole[then], tolerance=tolerance)


def test_a_loss_that_is_not_a_number_stops_the_devices_at_the_next_boundary(tmp_path):
    def nan(step: int, metrics: dict) -> dict:
        return {"loss": jnp.full_like(metrics["loss"], np.nan)} if step == 5 else metrics

    with pytest.raises(DivergedError, match="training loss is nan at step 5"):
        fit(seven("device"), tmp_path, damage=nan)
    assert max(row["step"] for row in read_metrics(tmp_path)) == 3


def test_predictions_of_resident_images_are_those_of_the_hosts():
    """With a last batch that is filled up."""
    found = {}
    for where in ("host", "device"):
        experiment = prepare(seven(where))
        assert (experiment.resident is not None) == (where == "device")
        index = experiment.splits["train"][:11]
        parts = list(experiment.predict(filled(experiment.task.init(None)), index, count=2))
        found[where] = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        assert found[where]["index"].tolist() == index.tolist()
    for name, array in found["host"].items():
        np.testing.assert_allclose(found["device"][name], array, atol=1e-6, err_msg=name)
