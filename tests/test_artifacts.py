"""Run folders belong to one configuration and to one process at a time, and remember both."""

from __future__ import annotations

import calendar
import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import ml_collections
import numpy as np
import pytest

import jaxcxr
from jaxcxr import artifacts, files
from jaxcxr.artifacts import RunFolder, upstream
from jaxcxr.types import InputError

CONFIG = {
    "run": "train",
    "seed": 0,
    "optim": {"learning_rate": 1e-3, "milestones": (0.5, 0.75)},
    "train": {"epochs": 2.0, "log_every": 10},
    "predict": {"splits": ("oof", "test")},
}


def changed(**fields) -> dict:
    """CONFIG with dotted fields (written with __) replaced or added."""
    config = json.loads(json.dumps(CONFIG))
    for name, value in fields.items():
        *parents, last = name.split("__")
        section = config
        for parent in parents:
            section = section[parent]
        section[last] = value
    return config


# The configuration of a folder.


def test_the_same_configuration_opens_the_folder_again(tmp_path):
    for _ in range(2):
        with RunFolder.open(tmp_path / "run", CONFIG) as folder:
            assert files.read_json(folder.path / "config.json")["optim"]["milestones"] == [
                0.5,
                0.75,
            ]
    with RunFolder.open(tmp_path / "run", ml_collections.ConfigDict(CONFIG)):
        pass


def test_another_configuration_is_refused_with_the_difference(tmp_path):
    with RunFolder.open(tmp_path / "run", CONFIG):
        pass
    before = (tmp_path / "run" / "config.json").read_bytes()
    config = changed(optim__learning_rate=1e-4, train__balance="class", seed=1)
    config["train"]["epoch"] = config["train"].pop("epochs")
    with pytest.raises(InputError) as error:
        RunFolder.open(tmp_path / "run", config)
    lines = [line.strip() for line in str(error.value).splitlines()]
    assert lines[0].endswith("run holds a run of another configuration (- there, + given now):")
    assert lines[1:-1] == [
        "- optim.learning_rate = 0.001",
        "+ optim.learning_rate = 0.0001",
        "- seed = 0",
        "+ seed = 1",
        "+ train.balance = 'class'",
        "+ train.epoch = 2.0   (the other side has train.epochs)",
        "- train.epochs = 2.0   (the other side has train.epoch)",
    ]
    assert "--workdir" in lines[-1]
    assert (tmp_path / "run" / "config.json").read_bytes() == before


@pytest.mark.parametrize(
    "fields", [{"run": "predict"}, {"train__log_every": 1}, {"predict__splits": ["train"]}]
)
def test_what_does_not_change_the_result_may_change(tmp_path, fields):
    with RunFolder.open(tmp_path / "run", CONFIG):
        pass
    with RunFolder.open(tmp_path / "run", changed(**fields)) as folder:
        assert folder.path == tmp_path / "run"
    with RunFolder.open(tmp_path / "study", {"learners": {"vgg": CONFIG}}):
        pass
    with RunFolder.open(tmp_path / "study", {"learners": {"vgg": changed(**fields)}}) as folder:
        assert folder.path == tmp_path / "study"


def test_a_damaged_config_is_named(tmp_path):
    with RunFolder.open(tmp_path, CONFIG):
        pass
    (tmp_path / "config.json").write_text("{")
    for _ in range(2):  # and the lock was given back
        with pytest.raises(InputError, match=r"config\.json is damaged"):
            RunFolder.open(tmp_path, CONFIG)


def test_an_inactive_process_writes_nothing(tmp_path):
    with (
        RunFolder.open(tmp_path / "run", CONFIG, active=False) as folder,
        RunFolder.open(tmp_path / "run", CONFIG, active=False),
    ):
        folder.write_text("a.txt", "a")
        folder.write_manifest({"seed": 1})
        folder.mark_finished("train")
        folder.add_timing("train", seconds=1.0)
    assert not (tmp_path / "run").exists()


# One process at a time.

_HOLD = """
import sys, time
from jaxcxr.artifacts import RunFolder
with RunFolder.open(sys.argv[1], {}):
    if sys.argv[2] == "fork":
        import os
        if not os.fork():
            time.sleep(60)
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("workers", ["alone", "fork"])
def test_a_second_process_is_told_who_is_at_work_until_that_one_dies(tmp_path, workers):
    root = str(Path(jaxcxr.__file__).parents[1])
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(tmp_path / "run"), workers],
        env={**os.environ, "PYTHONPATH": root}, stdout=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(InputError, match=f"run is in use by process {process.pid} on "):
            RunFolder.open(tmp_path / "run", {})
        process.kill()  # kill -9: the lock goes with it, even if its workers live on
        process.wait()
        with RunFolder.open(tmp_path / "run", {}):
            pass
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        process.wait()
        process.stdout.close()


def test_a_folder_is_opened_once_in_a_process(tmp_path):
    with (
        RunFolder.open(tmp_path, {}),
        pytest.raises(InputError, match=f"this very process \\({os.getpid()}\\)"),
    ):
        RunFolder.open(tmp_path, {})
    with RunFolder.open(tmp_path, {}):
        pass


def test_rests_of_dead_processes_are_removed(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    rests = [tmp_path / "masks" / f".a.png.{pid}.tmp" for pid in (dead.pid, os.getppid())]
    for rest in rests:
        files.write_bytes(rest, b"half")
    with RunFolder.open(tmp_path, {}):
        assert [rest.exists() for rest in rests] == [False, True]


# The manifest, what is finished, and times.


def test_the_manifest_tells_versions_machine_command_and_time(tmp_path):
    with RunFolder.open(tmp_path, {}) as folder:
        folder.write_manifest({"task": "classify", "seed": np.int64(3)})
        manifest = folder.read_json("manifest.json")
    assert (manifest["task"], manifest["seed"]) == ("classify", 3)
    assert manifest["versions"]["numpy"] == np.__version__
    assert set(manifest["versions"]) == {
        "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "tensorflow-datasets", "numpy",
    }  # fmt: skip
    assert manifest["python"].split(".")[:2] == [str(v) for v in sys.version_info[:2]]
    assert manifest["cpus"] == os.cpu_count()
    assert manifest["command"].startswith("python ")
    assert abs(time.time() - _seconds(manifest["time"])) < 60
    assert manifest["platform"]
    assert "earlier_starts" not in manifest


def _seconds(text: str) -> float:
    return calendar.timegm(time.strptime(text, "%Y-%m-%dT%H:%M:%SZ"))


def test_a_resumed_run_remembers_its_earlier_starts(tmp_path, monkeypatch):
    with RunFolder.open(tmp_path, {}) as folder:
        for version in ("3.11", "3.12", "3.13"):
            monkeypatch.setattr(artifacts.platform, "python_version", lambda v=version: v)
            folder.write_manifest({"seed": 0})
        manifest = folder.read_json("manifest.json")
    assert manifest["python"] == "3.13"
    assert [start["python"] for start in manifest["earlier_starts"]] == ["3.11", "3.12"]


def test_a_run_whose_inputs_changed_is_not_resumed(tmp_path):
    mask = tmp_path / "index.json"
    mask.write_text("a")

    def fields(fingerprint="f1", split="s1"):
        return {
            "dataset": {"fingerprint": fingerprint}, "split": {"sha256": split},
            "upstream": [upstream(mask)], "seed": 0,
        }  # fmt: skip

    with RunFolder.open(tmp_path / "run", {}) as folder:
        folder.write_manifest(fields())
        before = (folder.path / "manifest.json").read_bytes()
        for other in (fields(fingerprint="f2"), fields(split="s2")):
            with pytest.raises(InputError, match=r"has changed since it began.*\n  - .*1'\n  \+ "):
                folder.write_manifest(other)
        mask.write_text("b")
        with pytest.raises(InputError, match=r"- upstream\.0 \(index\.json\) = 'ca978112"):
            folder.write_manifest(fields())
        assert (folder.path / "manifest.json").read_bytes() == before


def test_upstream_is_the_hash_of_a_file_or_of_a_folders_manifest(tmp_path):
    files.write_bytes(tmp_path / "run" / "manifest.json", b"abc")
    expected = {"path": str(tmp_path / "run" / "manifest.json"), "sha256": "ba7816bf8f01cfea"}
    for path in (tmp_path / "run", tmp_path / "run" / "manifest.json"):
        found = upstream(path)
        assert {**found, "sha256": found["sha256"][:16]} == expected
    with pytest.raises(InputError, match="masks.* does not exist: finish the run"):
        upstream(tmp_path / "masks" / "index.json")


def test_finished_stages_are_remembered(tmp_path):
    with RunFolder.open(tmp_path, {}) as folder:
        assert not folder.is_finished("train")
        folder.mark_finished("train", {"split_sha256": "abc"})
        folder.mark_finished("predict")
    with RunFolder.open(tmp_path, {}) as folder:
        assert folder.is_finished("train")
        assert folder.is_finished("predict")
        assert not folder.is_finished("explain")
        assert folder.finished_info("train")["split_sha256"] == "abc"


def test_times_are_kept_per_stage(tmp_path):
    with RunFolder.open(tmp_path, {}) as folder:
        folder.add_timing("train", seconds=2.0, images=10, patches=100)
        folder.add_timing("predict", seconds=0.0)
        folder.add_timing("train", seconds=4.0, images=10, patches=100)
    assert files.read_json(tmp_path / "timings.json")["stages"] == {
        "train": {"seconds": 4.0, "images": 10, "patches": 100, "patches_per_second": 25.0},
        "predict": {"seconds": 0.0, "images": 0, "patches": 0, "patches_per_second": None},
    }
