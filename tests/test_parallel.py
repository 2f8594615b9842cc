"""However many devices and processes, a run computes the same numbers."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxcxr import parallel
from jaxcxr.errors import InputError
from tests import parallel_worker

ROOT = Path(__file__).parent.parent


def start(
    output: Path, *, devices: int, process: int = 0, processes: int = 1, coordinator: str = ""
):
    flags = f"--xla_force_host_platform_device_count={devices}"
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "tests.parallel_worker",
            output,
            str(process),
            str(processes),
            coordinator,
        ],
        cwd=ROOT,
        env={**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, np.ndarray]]:
    """The same training on one device, on four, and in two processes of two devices each."""
    folder = tmp_path_factory.mktemp("parallel")
    coordinator = f"localhost:{free_port()}"
    runs = {
        "one": start(folder / "one.npz", devices=1),
        **{
            f"process{i}": start(
                folder / f"process{i}.npz",
                devices=2,
                process=i,
                processes=2,
                coordinator=coordinator,
            )
            for i in range(2)
        },
    }
    four = parallel_worker.train_and_predict()
    try:
        for name, run in runs.items():
            text, _ = run.communicate(timeout=300)
            assert run.returncode == 0, f"{name}:\n{text[-4000:]}"
    finally:
        for run in runs.values():
            run.kill()
    return {"four": four} | {name: dict(np.load(folder / f"{name}.npz")) for name in runs}


def distance(a: dict[str, np.ndarray], b: dict[str, np.ndarray], collection: str) -> float:
    """Relative difference of all parameters, or all batch statistics, in norm."""
    names = [name for name in b if name.startswith(f"variables['{collection}']")]
    assert len(names) > 5
    one, two = (np.concatenate([found[name].ravel() for name in names]) for found in (a, b))
    return float(np.linalg.norm(one - two) / np.linalg.norm(two))


def test_one_and_four_devices_train_the_same_parameters(results):
    assert results["one"]["devices"] == 1 and results["four"]["devices"] == 4
    assert distance(results["four"], results["one"], "params") < 1e-6
    assert distance(results["four"], results["one"], "batch_stats") < 1e-6
    np.testing.assert_allclose(results["four"]["loss"], results["one"]["loss"], rtol=1e-6)


def test_two_processes_train_the_same_parameters_as_one(results):
    for name in ("process0", "process1"):
        assert results[name]["devices"] == 4
        assert distance(results[name], results["four"], "params") < 1e-6
        assert distance(results[name], results["four"], "batch_stats") < 1e-6
    for name in [n for n in results["process0"] if n.startswith("variables")]:
        np.testing.assert_array_equal(results["process0"][name], results["process1"][name])


def test_only_several_devices_sum_gradients_and_batch_statistics(results):
    """A sum over one device would be kept by XLA as a copy of every gradient."""
    assert results["one"]["sums over devices"] == 0
    assert results["four"]["sums over devices"] > 5


def test_training_moved_every_parameter(results):
    names = [name for name in results["one"] if name.startswith("start")]
    assert len(names) > 5
    for name in names:
        moved = results["one"][name.replace("start", "variables['params']")]
        assert not np.array_equal(moved, results["one"][name]), name


@pytest.mark.parametrize("name", ["one", "four", "process0", "process1"])
def test_every_process_gets_every_prediction_in_the_batches_order_without_padding(results, name):
    np.testing.assert_array_equal(results[name]["index"], np.arange(parallel_worker.ROWS)[::-1])
    np.testing.assert_allclose(
        results[name]["probabilities"], results["one"]["probabilities"], atol=1e-6
    )


def test_a_signal_that_reaches_one_process_is_known_to_all(results):
    for name in ("process0", "process1"):
        np.testing.assert_array_equal(results[name]["agreed"], [True, False])
    np.testing.assert_array_equal(results["one"]["agreed"], [False, False])


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="Linux's list of sockets")
def test_only_the_address_given_is_listened_at(results):
    """Nothing at 0.0.0.0 or ::, where JAX's coordinator would be by itself."""
    places = [str(place) for i in range(2) for place in results[f"process{i}"]["listens at"]]
    assert len(places) == 3  # the coordinator, and gloo in both
    for place in places:
        assert place.split(":")[0].endswith("0100007F"), places  # 127.0.0.1


@pytest.mark.parametrize(
    ("coordinator", "process", "says"),
    [
        ("localhost", 0, r"'localhost' is not HOST:PORT, such as 192"),
        ("localhost:", 1, "is not HOST:PORT"),
        ("localhost:99999", 0, "is not HOST:PORT"),
        (
            "192.0.2.1:2345",
            0,
            r"'192.0.2.1:2345': process 0 cannot listen there \(.*\); give a free port of an",
        ),
        (
            "localhost:2345",
            2,
            "parallel.process_id=2 is not one of parallel.num_processes=2 processes",
        ),
    ],
)
def test_a_coordinator_that_cannot_be_is_named(monkeypatch, coordinator, process, says):
    monkeypatch.delenv("JAX_COORDINATOR_BIND_ADDRESS", raising=False)
    with pytest.raises(InputError, match=says):
        parallel.initialize(
            compilation_cache="", coordinator=coordinator, process_id=process, num_processes=2
        )


def test_the_users_own_bind_address_goes_first(monkeypatch):
    given = {}
    monkeypatch.setattr(jax.distributed, "initialize", lambda _, **fields: given.update(fields))
    at = f"127.0.0.1:{free_port()}"
    for variable, expected in (("", at), ("0.0.0.0:80", None)):
        monkeypatch.setenv("JAX_COORDINATOR_BIND_ADDRESS", variable)
        parallel.initialize(compilation_cache="", coordinator=at, process_id=0, num_processes=2)
        assert given["coordinator_bind_address"] == expected


def test_gathered_rows_keep_their_order_over_devices():
    assert parallel.device_count() == 4
    batch = parallel.shard({"x": np.arange(12, dtype=np.float32)})
    assert batch["x"].shape == (4, 3)
    predict = parallel.spmd_predict(lambda variables, batch, key: {"y": batch["x"] * variables})
    gathered = parallel.to_host(predict(np.float32(10), batch, jax.random.key(0)))
    np.testing.assert_array_equal(gathered["y"], np.arange(12) * 10)


def test_a_batch_that_does_not_divide_over_the_devices_is_refused():
    parallel.check_batch_size(8, field="train.batch_size")
    with pytest.raises(
        InputError, match="train.batch_size=10 does not divide over 4 devices; take a multiple of 4"
    ):
        parallel.check_batch_size(10, field="train.batch_size")


YNN = "--xla_cpu_experimental_ynn_fusion_type"


@pytest.mark.parametrize(
    ("version", "needed"),
    [("0.7.2", False), ("0.10.0", True), ("0.10.2", True), ("0.10.3.dev20260101", True),
     ("0.11.0", False),
     ("0.12.0", False), ("1.10.0", False)],
)  # fmt: skip
def test_the_cpu_flag_is_set_for_the_versions_that_know_and_need_it(monkeypatch, version, needed):
    monkeypatch.setattr(jax, "__version__", version)
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=4")
    parallel._set_xla_flags()
    flags = os.environ["XLA_FLAGS"].split()
    assert flags[0] == "--xla_force_host_platform_device_count=4"
    assert flags[1:] == ([f"{YNN}="] if needed else [])


def test_the_users_own_flag_stays(monkeypatch):
    monkeypatch.setattr(jax, "__version__", "0.10.2")
    monkeypatch.setenv("XLA_FLAGS", f"{YNN}=1")
    parallel._set_xla_flags()
    assert os.environ["XLA_FLAGS"] == f"{YNN}=1"


def test_without_flags_of_the_user_the_variable_is_clean(monkeypatch):
    monkeypatch.setattr(jax, "__version__", "0.10.2")
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    parallel._set_xla_flags()
    assert os.environ["XLA_FLAGS"] == f"{YNN}="
