"""What is saved comes back, and what is to be kept is kept."""

from __future__ import annotations

import logging

import chex
import grain
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcxr.errors import InputError
from jaxcxr.storage import step_folders
from jaxcxr.storage.checkpoint import Checkpointer
from jaxcxr.storage.step_folders import MANIFEST, StepFolders
from tests.storage.states import files_of, flip_bit, make_state, restore_latest, save_steps


def test_a_step_comes_back_with_its_state_counters_metrics_and_config(folder):
    with Checkpointer(folder, config_json='{"seed": 3}') as checkpointer:
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
        with pytest.raises(InputError, match="step 1 in .* is missing"):
            checkpointer.restore(1, make_state(0))
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
    with Checkpointer(folder) as checkpointer:
        chex.assert_trees_all_equal(checkpointer.restore(1, abstract).state, make_state(1))


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
    ("scores", "options", "kept"),
    [
        ([0.1, 0.9, 0.3, 0.2, 0.4], {}, [2, 4, 5]),
        ([0.1, 0.9, 0.9, 0.2, 0.4], {"keep": 1}, [2, 5]),
        # 4 may have to be resumed from, and its best is 2.
        ([0.1, 0.9, 0.3, 0.2, 1.0], {}, [2, 4, 5]),
        ([0.1, 0.2, 0.3, 0.4, 0.5], {}, [4, 5]),
        ([float("nan"), 0.9, float("nan"), 0.2, float("nan")], {}, [2, 4, 5]),
        ([float("nan")] * 3, {}, [2, 3]),
    ],
)
def test_the_newest_steps_stay_each_with_its_best(folder, scores, options, kept):
    save_steps(folder, dict(enumerate(scores, start=1)), **options)
    with Checkpointer(folder, **options) as checkpointer:
        assert checkpointer.all_steps() == kept
        assert checkpointer.restore_latest(make_state(0)).step == kept[-1]


def test_a_step_that_is_there_is_not_written_again(folder):
    with Checkpointer(folder) as checkpointer:
        assert checkpointer.save(1, state=make_state(1), wait=True)
        before = {p: p.stat().st_mtime_ns for p in files_of(folder)}
        assert not checkpointer.save(1, state=make_state(1), wait=True)
    assert {p: p.stat().st_mtime_ns for p in files_of(folder)} == before


def test_keep_only_leaves_one_step_and_nothing_half_deleted_or_half_written(folder):
    save_steps(folder, {1: 0.9, 2: 0.1, 3: 0.2})
    (folder / "2" / MANIFEST).unlink()  # as a kill amid its deletion leaves it
    (folder / "4.orbax-checkpoint-tmp-1").mkdir()
    with Checkpointer(folder) as checkpointer:
        checkpointer.keep_only(1)
        assert [path.name for path in folder.iterdir()] == ["1"]
        flip_bit(max(files_of(folder / "1"), key=lambda p: p.stat().st_size), bit=9)
        with pytest.raises(InputError, match="step 1 .* is damaged"):
            checkpointer.keep_only(1)


def test_keep_only_goes_on_after_a_kill(folder, monkeypatch):
    """The manifest names the optimiser no more, and its files are still there."""
    with Checkpointer(folder) as checkpointer:
        checkpointer.save(1, state=make_state(1), optimizer={"mu": jnp.ones(9)})
        with monkeypatch.context() as patch:
            patch.setattr(step_folders.shutil, "rmtree", lambda *args, **kwargs: None)
            checkpointer.keep_only(1)
        assert (folder / "1" / "optimizer").exists()
        checkpointer.keep_only(1)
        assert not (folder / "1" / "optimizer").exists()
        assert checkpointer.restore(1, make_state(0)).step == 1


def test_a_finished_run_keeps_no_more_than_prediction_needs(folder):
    data = iter(grain.MapDataset.range(4).to_iter_dataset())
    optimizer = {"mu": {"kernel": jnp.arange(1000.0)}}
    with Checkpointer(folder) as checkpointer:
        checkpointer.save(1, state=make_state(1), optimizer=optimizer, data_iterator=data)
        restored = checkpointer.restore_latest(make_state(0), optimizer, data)
        chex.assert_trees_all_equal(restored.optimizer, optimizer)
        before = files_of(folder)
        assert checkpointer.restore_latest(make_state(0)).optimizer is None
        checkpointer.keep_only(1)
        gone = {p.relative_to(folder / "1").parts[0] for p in set(before) - set(files_of(folder))}
        assert gone == {"optimizer", "data"}
        assert StepFolders(folder).problem(1) is None
        chex.assert_trees_all_equal(checkpointer.restore(1, make_state(0)).state, make_state(1))
        with pytest.raises(InputError, match="has no optimizer state: it is of a finished"):
            checkpointer.restore_latest(make_state(0), optimizer)


def test_saving_says_nothing_to_the_user(folder, caplog):
    with caplog.at_level(logging.INFO):
        save_steps(folder, {1: 0.1, 2: 0.2})
        restore_latest(folder)
    assert [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING] == []


def test_no_fewer_than_one_step_is_kept(folder):
    with pytest.raises(ValueError, match="keep must be at least 1"):
        Checkpointer(folder, keep=0)
