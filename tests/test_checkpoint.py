"""Checkpoints are whole or named as damaged; nothing that was saved is ever lost."""

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
import grain
import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest
from flax import struct

from jaxcxr import checkpoint, files
from jaxcxr.checkpoint import Checkpointer
from jaxcxr.step_folders import MANIFEST, StepFolders
from jaxcxr.types import InputError


@struct.dataclass
class State:
    step: jax.Array
    params: dict
    opt_state: optax.OptState


def make_state(step: int, width: int = 4) -> State:
    """A state whose every number depends on the step."""
    params = {
        "conv": {"kernel": jnp.arange(3.0 * width).reshape(3, width) + step},
        "head": {"bias": jnp.full(width, step, jnp.bfloat16)},
    }
    optimizer = optax.adam(optax.cosine_decay_schedule(1e-2, 10))
    return State(jnp.asarray(step, jnp.int32), params, optimizer.init(params))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "checkpoints"


def save_steps(folder: Path, scores: dict[int, float], **options) -> None:
    with Checkpointer(folder, monitor="f1", **options) as checkpointer:
        for step, f1 in scores.items():
            checkpointer.save(step, state=make_state(step), metrics={"f1": f1})


def restore_latest(folder: Path):
    with Checkpointer(folder, monitor="f1") as checkpointer:
        return checkpointer.restore_latest(make_state(0))


def files_of(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file())


# What is saved comes back.


def test_a_step_comes_back_with_its_state_counters_metrics_and_config(folder):
    with Checkpointer(folder, monitor="f1", config_json='{"seed": 3}') as checkpointer:
        loop = {"best": float("-inf"), "since_best": 2}
        saved = checkpointer.save(7, state=make_state(7), loop=loop, metrics={"f1": 0.25})
        restored = checkpointer.restore_latest(make_state(0))
    assert saved
    assert restored is not None
    chex.assert_trees_all_equal(restored.state, make_state(7))
    chex.assert_trees_all_equal_dtypes(restored.state, make_state(7))
    assert (restored.step, restored.loop, restored.metrics) == (7, loop, {"f1": 0.25})
    assert restored.config_json == '{"seed": 3}'


def test_an_empty_folder_has_nothing_to_restore_and_is_not_created(folder):
    with Checkpointer(folder) as checkpointer:
        assert checkpointer.restore_latest(make_state(0)) is None
        assert checkpointer.best_step() is None
        with pytest.raises(InputError, match="has no checkpoint.*train first"):
            checkpointer.restore_best(make_state(0))
    assert not folder.exists()


def test_the_state_may_be_donated_as_soon_as_save_returns(folder):
    overwrite = jax.jit(lambda s: jax.tree.map(jnp.zeros_like, s), donate_argnums=0)
    state = {"kernel": jnp.arange(2_000_000.0)}
    with Checkpointer(folder) as checkpointer:
        checkpointer.save(1, state=state)
        jax.block_until_ready(overwrite(state))
        restored = checkpointer.restore_latest({"kernel": jnp.zeros(2_000_000)})
    np.testing.assert_array_equal(restored.state["kernel"], np.arange(2_000_000.0))


def test_a_template_of_shapes_is_enough(folder):
    save_steps(folder, {1: 0.5})
    abstract = jax.eval_shape(lambda: make_state(0))
    with Checkpointer(folder, monitor="f1") as checkpointer:
        chex.assert_trees_all_equal(checkpointer.restore_best(abstract).state, make_state(1))


def test_a_restored_state_can_be_trained_on_several_devices(folder):
    save_steps(folder, {1: 0.5})
    state = restore_latest(folder).state
    assert all(not leaf.committed for leaf in jax.tree.leaves(state))


class _Jitter(grain.transforms.RandomMap):
    def random_map(self, element, rng):
        return element + rng.normal()


def test_the_data_iterator_goes_on_exactly_where_it_was_saved(folder):
    def batches():
        source = grain.MapDataset.source(np.arange(40.0)).seed(1).shuffle().repeat()
        batched = source.random_map(_Jitter()).batch(8, drop_remainder=True)
        return iter(batched.to_iter_dataset(grain.ReadOptions(num_threads=2)))

    data = batches()
    for _ in range(7):  # into the second epoch
        next(data)
    with Checkpointer(folder) as checkpointer:
        checkpointer.save(7, state=make_state(7), data_iterator=data)
        expected = [next(data) for _ in range(6)]  # while the save is still under way
        resumed = batches()
        checkpointer.restore_latest(make_state(0), data_iterator=resumed)
    np.testing.assert_array_equal([next(resumed) for _ in range(6)], expected)


def test_a_checkpoint_without_a_data_position_says_so(folder):
    save_steps(folder, {1: 0.5})
    data = iter(grain.MapDataset.range(4).to_iter_dataset())
    with (
        Checkpointer(folder) as checkpointer,
        pytest.raises(InputError, match="no position of the data for process 0 of 1"),
    ):
        checkpointer.restore_latest(make_state(0), data_iterator=data)


def test_another_model_in_the_same_folder_is_named_by_its_parameters(folder):
    save_steps(folder, {1: 0.5})
    other = make_state(0, width=5)
    other.params["extra"] = jnp.zeros(2)
    with (
        Checkpointer(folder) as checkpointer,
        pytest.raises(InputError, match="does not fit") as error,
    ):
        checkpointer.restore_latest(other)
    assert "- state/params/conv/kernel: float32[3, 4]" in str(error.value)
    assert "+ state/params/conv/kernel: float32[3, 5]" in str(error.value)
    assert "+ state/params/extra: float32[2]" in str(error.value)


# What is kept.


@pytest.mark.parametrize(
    ("scores", "options", "kept", "best"),
    [
        ([0.1, 0.9, 0.3, 0.2, 0.4], {}, [2, 4, 5], 2),
        ([0.1, 0.9, 0.9, 0.2, 0.4], {"keep": 1}, [2, 5], 2),  # the first of equals
        ([0.5, 0.1, 0.3, 0.2, 0.4], {"mode": "min"}, [2, 4, 5], 2),
        ([0.1, 0.2, 0.3, 0.4, 0.5], {}, [4, 5], 5),
        ([float("nan"), 0.9, float("nan"), 0.2, float("nan")], {}, [2, 4, 5], 2),
        ([float("nan")] * 3, {}, [2, 3], None),
    ],
)
def test_the_newest_and_the_best_step_stay(folder, scores, options, kept, best):
    save_steps(folder, dict(enumerate(scores, start=1)), **options)
    with Checkpointer(folder, monitor="f1", **options) as checkpointer:
        assert checkpointer.all_steps() == kept
        assert checkpointer.best_step() == best
        if best is not None:
            assert int(checkpointer.restore_best(make_state(0)).state.step) == best
        assert checkpointer.restore_latest(make_state(0)).step == kept[-1]


def test_a_step_that_was_not_evaluated_is_never_the_best(folder):
    with Checkpointer(folder, monitor="f1") as checkpointer:
        checkpointer.save(1, state=make_state(1), metrics={"f1": 0.0})
        checkpointer.save(2, state=make_state(2))
        assert checkpointer.best_step() == 1
        with pytest.raises(ValueError, match="ranked by 'f1'.*'loss'"):
            checkpointer.save(3, state=make_state(3), metrics={"loss": 1.0})


def test_without_a_monitor_the_newest_is_the_best(folder):
    with Checkpointer(folder) as checkpointer:
        for step in (1, 2, 3):
            checkpointer.save(step, state=make_state(step))
        assert checkpointer.best_step() == 3
        assert checkpointer.all_steps() == [2, 3]


def test_a_step_that_is_there_is_not_written_again(folder):
    with Checkpointer(folder) as checkpointer:
        assert checkpointer.save(1, state=make_state(1), wait=True)
        before = {p: p.stat().st_mtime_ns for p in files_of(folder)}
        assert not checkpointer.save(1, state=make_state(1), wait=True)
    assert {p: p.stat().st_mtime_ns for p in files_of(folder)} == before


def test_keep_best_only_leaves_the_best(folder):
    save_steps(folder, {1: 0.9, 2: 0.1, 3: 0.2})
    with Checkpointer(folder, monitor="f1") as checkpointer:
        checkpointer.keep_best_only()
        assert checkpointer.all_steps() == [1]
        flip_bit(max(files_of(folder / "1"), key=lambda p: p.stat().st_size), bit=9)
        with pytest.raises(InputError, match="step 1 .* is damaged"):
            checkpointer.keep_best_only()


def test_a_finished_run_keeps_no_more_than_prediction_needs(folder):
    data = iter(grain.MapDataset.range(4).to_iter_dataset())
    optimizer = {"mu": {"kernel": jnp.arange(1000.0)}}
    with Checkpointer(folder) as checkpointer:
        checkpointer.save(1, state=make_state(1), optimizer=optimizer, data_iterator=data)
        restored = checkpointer.restore_latest(make_state(0), optimizer, data)
        chex.assert_trees_all_equal(restored.optimizer, optimizer)
        before = files_of(folder)
        assert checkpointer.restore_latest(make_state(0)).optimizer is None
        checkpointer.keep_best_only()
        gone = {p.relative_to(folder / "1").parts[0] for p in set(before) - set(files_of(folder))}
        assert gone == {"optimizer", "data"}
        assert StepFolders(folder, monitor=None, mode="max").problem(1) is None
        chex.assert_trees_all_equal(checkpointer.restore_best(make_state(0)).state, make_state(1))
        with pytest.raises(InputError, match=r"does not fit.*\n  \+ optimizer/mu/kernel: float32\[1000\]"):
            checkpointer.restore_latest(make_state(0), optimizer)


# Damage.


def flip_bit(path: Path, *, bit: int) -> None:
    content = bytearray(path.read_bytes())
    content[bit // 8 % len(content)] ^= 1 << bit % 8
    path.write_bytes(content)


def test_every_flipped_bit_in_every_file_is_caught(folder):
    save_steps(folder, {1: 0.5})
    steps = StepFolders(folder, monitor=None, mode="max")
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
    with Checkpointer(folder, monitor="f1") as checkpointer:
        with caplog.at_level(logging.WARNING):
            restored = checkpointer.restore_latest(make_state(0))
        assert restored.step == 2
        chex.assert_trees_all_equal(restored.state, make_state(2))
        [message] = [r.getMessage() for r in caplog.records if r.name == "jaxcxr.checkpoint"]
        assert "step 3" in message
        assert problem in message
        assert "step 2 is used" in message
        # The run goes on and saves that step number again.
        assert checkpointer.save(3, state=make_state(3), metrics={"f1": 0.4}, wait=True)
        assert checkpointer.restore_latest(make_state(0)).step == 3
    assert (folder / "damaged" / "3").is_dir()


@pytest.mark.parametrize("damage", [damage_bit, damage_no_manifest, damage_manifest])
def test_a_damaged_best_step_is_named_and_the_next_best_is_used(folder, caplog, damage):
    save_steps(folder, {1: 0.1, 2: 0.2, 3: 0.3}, keep=3)
    damage(folder / "3")
    before = files_of(folder)
    with Checkpointer(folder, monitor="f1") as checkpointer:
        assert checkpointer.restore_best(make_state(0)).step == 2
    assert files_of(folder) == before  # reading changes nothing
    if damage is damage_bit:
        assert "step 3" in caplog.text


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
from jaxcxr.checkpoint import Checkpointer
from jaxcxr.step_folders import StepFolders

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
            StepFolders.vouch = die
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
    "writing arrays": 1, "before the manifest": 1, "deleting the old step": 2, "first save": None,
}  # fmt: skip


@pytest.fixture(scope="module")
def killed(tmp_path_factory) -> Path:
    """Checkpoint folders as kill -9 left them, by the moment of the kill."""
    folder = tmp_path_factory.mktemp("killed")
    root = Path(checkpoint.__file__).parents[1]
    process = subprocess.run(
        [sys.executable, "-c", _KILLED, str(folder), *_MOMENTS],
        env={**os.environ, "PYTHONPATH": str(root), "JAX_PLATFORMS": "cpu"},
        capture_output=True, timeout=300, check=False,
    )  # fmt: skip
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


def test_saving_says_nothing_to_the_user(folder, caplog):
    with caplog.at_level(logging.INFO):
        save_steps(folder, {1: 0.1, 2: 0.2})
        restore_latest(folder)
    assert [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING] == []


@pytest.mark.parametrize(("options", "match"), [({"mode": "best"}, "mode"), ({"keep": 0}, "keep")])
def test_impossible_options_are_refused(folder, options, match):
    with pytest.raises(ValueError, match=match):
        Checkpointer(folder, **options)
