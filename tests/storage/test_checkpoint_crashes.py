"""Checkpoints are whole or named as damaged; no crash and no full disk loses what was saved."""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import chex
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

from jaxcxr.errors import InputError
from jaxcxr.storage import checkpoint, files
from jaxcxr.storage.checkpoint import Checkpointer
from jaxcxr.storage.step_folders import MANIFEST, StepFolders
from tests.storage.states import files_of, flip_bit, make_state, restore_latest, save_steps

# Damage.


def test_every_flipped_bit_in_every_file_is_caught(folder):
    save_steps(folder, {1: 0.5})
    steps = StepFolders(folder)
    assert steps.problem(1) is None
    rng = np.random.default_rng(0)
    paths = [p for p in files_of(folder / "1") if p.stat().st_size]
    assert {"_METADATA", "manifest.ocdbt", "metadata", MANIFEST} <= {p.name for p in paths}
    for path in paths:
        intact, size = path.read_bytes(), path.stat().st_size * 8
        for bit in rng.choice(size, min(size, 40), replace=False):
            flip_bit(path, bit=int(bit))
            problem = steps.problem(1)
            assert problem is not None, f"bit {bit} of {path} was flipped unnoticed"
            assert path.name in problem
            path.write_bytes(intact)
    assert steps.problem(1) is None


def damage_bit(step: Path) -> str:
    largest = max(files_of(step / "state"), key=lambda p: p.stat().st_size)
    flip_bit(largest, bit=8 * largest.stat().st_size // 2)
    return f"the content of {largest.relative_to(step)} has changed"


def damage_truncate(step: Path) -> str:
    largest = max(files_of(step / "state"), key=lambda p: p.stat().st_size)
    size = largest.stat().st_size
    os.truncate(largest, size - 1)
    return f"{largest.relative_to(step)} has {size - 1} bytes instead of {size}"


def damage_lose_file(step: Path) -> str:
    (step / "state" / "_METADATA").unlink()
    return "state/_METADATA is missing"


def damage_half_deleted(step: Path) -> str:
    shutil.rmtree(step / "state")
    return "is missing"


def damage_no_manifest(step: Path) -> str:
    (step / MANIFEST).unlink()
    return f"has no {MANIFEST}: its saving was cut short"


def damage_manifest(step: Path) -> str:
    manifest = json.loads((step / MANIFEST).read_text())
    manifest["metrics"]["f1"] = 1.0  # a better score than it has
    (step / MANIFEST).write_text(json.dumps(manifest))
    return f"{MANIFEST} has changed"


def damage_other_step(step: Path) -> str:
    shutil.rmtree(step)
    shutil.copytree(step.with_name("2"), step)
    return f"{MANIFEST} has changed"


DAMAGES = [
    damage_bit, damage_truncate, damage_lose_file, damage_half_deleted, damage_no_manifest,
    damage_manifest, damage_other_step,
]  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_step_is_named_and_the_one_before_is_used(folder, caplog, damage):
    save_steps(folder, {1: 0.1, 2: 0.2, 3: 0.3})
    problem = damage(folder / "3")
    with Checkpointer(folder) as checkpointer:
        with caplog.at_level(logging.WARNING):
            restored = checkpointer.restore_latest(make_state(0))
        assert restored.step == 2
        chex.assert_trees_all_equal(restored.state, make_state(2))
        [message] = [
            r.getMessage() for r in caplog.records if r.name == "jaxcxr.storage.checkpoint"
        ]
        assert "step 3" in message
        assert problem in message
        assert "step 2 is used" in message
        # The run goes on and saves that step number again.
        assert checkpointer.save(3, state=make_state(3), metrics={"f1": 0.4}, wait=True)
        assert checkpointer.restore_latest(make_state(0)).step == 3
    assert (folder / "damaged" / "3").is_dir()


@pytest.mark.parametrize("damage", DAMAGES)
def test_no_other_step_stands_in_for_a_damaged_one(folder, damage):
    save_steps(folder, {1: 0.1, 2: 0.2, 3: 0.3})
    problem = damage(folder / "3")
    before = files_of(folder)
    with Checkpointer(folder) as checkpointer:
        for use in (
            lambda: checkpointer.restore(3, make_state(0)),
            lambda: checkpointer.keep_only(3),
        ):
            with pytest.raises(InputError, match="checkpoint of step 3 in") as error:
                use()
            assert problem in str(error.value)
        assert checkpointer.restore(2, make_state(0)).step == 2
    assert files_of(folder) == before


@pytest.mark.parametrize(
    "damage", [damage_bit, damage_no_manifest, damage_lose_file, shutil.rmtree]
)
def test_a_step_whose_best_step_is_damaged_is_not_resumed_from(folder, caplog, damage):
    """Training would end with a best step that nobody has."""
    save_steps(folder, {1: 0.1, 2: 0.5, 3: 0.9, 4: 0.3}, keep=3)
    damage(folder / "3")
    assert restore_latest(folder).step == 2
    assert (
        "step 4" in caplog.text and "goes with step 3, the best of its time, which" in caplog.text
    )
    with Checkpointer(folder) as checkpointer:  # both may be saved again
        assert checkpointer.save(3, state=make_state(3), best=3, wait=True)
        assert checkpointer.save(4, state=make_state(4), best=3, wait=True)
    assert restore_latest(folder).step == 4


@pytest.mark.parametrize("damage", [damage_bit, damage_no_manifest])
def test_with_no_whole_step_the_run_stops_and_touches_nothing(folder, damage):
    save_steps(folder, {1: 0.1, 2: 0.2})
    problems = [damage(folder / str(step)) for step in (1, 2)]
    before = files_of(folder)
    with pytest.raises(InputError, match=f"No checkpoint in {folder} is whole") as error:
        restore_latest(folder)
    for step, problem in enumerate(problems, start=1):
        assert f"step {step}" in str(error.value)
        assert problem in str(error.value)
    assert files_of(folder) == before


# Crashes and full disks.

# One process imports JAX, then forks a child to be killed at each moment; the fork comes before
# JAX starts any thread of its own.
_KILLED = """
import os, shutil, signal, sys
import jax.numpy as jnp
import orbax.checkpoint as ocp
from jaxcxr.storage.checkpoint import Checkpointer
from jaxcxr.storage.step_folders import StepFolders

def die(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)

def train(moment):
    checkpointer = Checkpointer(os.path.join(sys.argv[1], moment), keep=1)
    state = {"kernel": jnp.ones((64, 64))}
    if moment != "first save":
        checkpointer.save(1, state=state, wait=True)
    match moment:
        case "writing arrays":
            ocp.PyTreeCheckpointHandler.finalize = die
        case "before the manifest" | "first save":
            StepFolders.write_manifest = die
        case "deleting the old step":
            shutil.rmtree = die
    checkpointer.save(2, state={"kernel": 2 * state["kernel"]}, wait=True)

for moment in sys.argv[2:]:
    child = os.fork()
    if not child:
        train(moment)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status == -signal.SIGKILL, (moment, status)
"""

_MOMENTS = {
    "writing arrays": 1,
    "before the manifest": 1,
    "deleting the old step": 2,
    "first save": None,
}


@pytest.fixture(scope="module")
def killed(tmp_path_factory) -> Path:
    """Checkpoint folders as kill -9 left them, by the moment of the kill."""
    folder = tmp_path_factory.mktemp("killed")
    root = Path(checkpoint.__file__).parents[2]
    process = subprocess.run(
        [sys.executable, "-c", _KILLED, str(folder), *_MOMENTS],
        env={**os.environ, "PYTHONPATH": str(root), "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        timeout=300,
        check=False,
    )
    assert process.returncode == 0, process.stderr.decode()
    return folder


@pytest.mark.parametrize(("moment", "step"), _MOMENTS.items())
def test_kill_9_at_any_moment_of_a_save_leaves_the_last_whole_step(killed, moment, step):
    template = {"kernel": jnp.zeros((64, 64))}
    with Checkpointer(killed / moment) as checkpointer:
        restored = checkpointer.restore_latest(template)
        assert (restored.step if restored else None) == step
        if restored:
            np.testing.assert_array_equal(restored.state["kernel"], np.full((64, 64), step))
        assert checkpointer.save(3, state=template, wait=True)
        assert checkpointer.restore_latest(template).step == 3
    assert not list((killed / moment).glob("*tmp*"))


@pytest.mark.parametrize("moment", ["orbax", "manifest", "tensorstore"])
def test_a_disk_that_fills_up_is_named_and_loses_nothing(folder, monkeypatch, moment):
    def fill(*args, **kwargs):
        if moment == "tensorstore":  # its own words, as ValueError
            raise ValueError("Error writing local file: No space left on device [errno 28]")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with Checkpointer(folder) as checkpointer:
        checkpointer.save(1, state=make_state(1), wait=True)
        with monkeypatch.context() as patch:
            if moment == "manifest":
                patch.setattr(files.os, "fsync", fill)
            else:
                patch.setattr(ocp.PyTreeCheckpointHandler, "finalize", fill)
            checkpointer.save(2, state=make_state(2))
            with pytest.raises(InputError, match=r"disk is full.*step 2.*intact: \[1\]"):
                checkpointer.wait()
        assert sorted(p.name for p in folder.iterdir()) == ["1"]
        assert checkpointer.restore_latest(make_state(0)).step == 1
        assert checkpointer.save(2, state=make_state(2), wait=True)
        assert checkpointer.all_steps() == [1, 2]


def test_too_little_space_is_noticed_before_anything_is_written(folder, monkeypatch):
    with Checkpointer(folder) as checkpointer:
        checkpointer.save(1, state=make_state(1), wait=True)
        monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=100))
        with pytest.raises(InputError, match=r"disk is full.*step 2.*intact: \[1\]"):
            checkpointer.save(2, state=make_state(2))
    assert sorted(p.name for p in folder.iterdir()) == ["1"]
