"""Steps on arrays that the devices hold, without the host between them: a line fitted by hand
beside them.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxcxr import data, optim, parallel, state
from jaxcxr.inference.programs import gather
from jaxcxr.training import steps

ROWS, BATCH, MOST = 20, 8, 4
RATES = np.array([0.1, 0.05, 0.2, 0.025], np.float32)
_RNG = np.random.default_rng(0)
ARRAYS = {
    "image": _RNG.integers(0, 256, (ROWS, 3, 2), dtype=np.uint8),
    "label": _RNG.integers(0, 4, ROWS).astype(np.int32),
}


@dataclasses.dataclass
class Line:
    """The task "label = slope x mean pixel", which counts how often it is traced."""

    traced: int = 0
    inputs = ("image", "label")
    monitor, mode = "loss", "min"
    train_scores = ("close",)

    def init(self, seed: int | None) -> Any:
        del seed
        return {"params": {"slope": jnp.float32(1)}}

    def loss_and_scores(
        self, params: Any, model_state: Any, batch: Any, key: Any, *, axis_name: str
    ) -> tuple[Any, Any, dict[str, Any]]:
        del key, axis_name
        self.traced += 1
        x = batch["image"].mean((1, 2)) / 255
        losses = jnp.square(params["slope"] * x - batch["label"])
        return losses, model_state, {"close": (losses < 1).astype(jnp.float32)}


def by_hand(rows: np.ndarray) -> tuple[list[float], list[float], list[float]]:
    """Losses, scores and slopes of gradient descent on rows [BATCH, T], a column a step."""
    slope, losses, scores, slopes = 1.0, [], [], []
    for index, rate in zip(rows.T, RATES, strict=False):
        x, y = ARRAYS["image"][index].mean((1, 2)) / 255, ARRAYS["label"][index]
        losses.append(float(np.square(slope * x - y).mean()))
        scores.append(float((np.square(slope * x - y) < 1).mean()))
        slope -= float(rate) * float((2 * (slope * x - y) * x).mean())
        slopes.append(slope)
    return losses, scores, slopes


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    """[BATCH, MOST], a column for each step."""
    batches = data.train_iterator({}, np.arange(ROWS), batch_size=BATCH, seed=0)
    return np.stack([batch["index"] for batch in itertools.islice(batches, MOST)], axis=1)


def test_each_step_has_its_own_rows_and_learning_rate_in_one_program_for_any_number_of_steps(rows):
    assert parallel.device_count() == 4
    line = Line()
    optimizer = optim.build("sgd", weight_decay=0.0, l1=0.0, momentum=0.0, clip_norm=0.0)
    take = parallel.spmd_step(steps.train_steps(line, optimizer))
    given = {"arrays": parallel.place(ARRAYS), "key": jax.random.key(0), "rates": RATES}
    losses, scores, slopes = by_hand(rows)
    assert 0 < min(scores) < max(scores) < 1
    for count in (1, 4, 3):
        start = parallel.place(state.create(line.init(0), optimizer))
        end, found = take(
            start, parallel.shard({"index": rows}), {**given, "count": np.int32(count)}
        )
        np.testing.assert_allclose(
            found["loss"], losses[:count] + [0.0] * (MOST - count), rtol=1e-5
        )
        np.testing.assert_allclose(found["close"], scores[:count] + [0.0] * (MOST - count))
        assert float(end.params["slope"]) == pytest.approx(slopes[count - 1], rel=1e-5)
        assert int(end.step) == count
        # The learning rate in force is saved with the state.
        *_, last = end.opt_state
        assert float(last.hyperparams["learning_rate"]) == RATES[count - 1]
        if count == 1:
            traced = line.traced
    assert line.traced == traced


def test_gathered_rows_are_the_batch_that_the_host_reads():
    whole = next(data.train_iterator(ARRAYS, np.arange(ROWS), batch_size=BATCH, seed=3))
    rows = next(data.train_iterator({}, np.arange(ROWS), batch_size=BATCH, seed=3))
    assert rows.keys() == {"index", "weight"}
    found = jax.jit(gather)(
        {name: jnp.asarray(array) for name, array in ARRAYS.items()}, rows["index"]
    )
    assert found.keys() == whole.keys()
    for name, array in whole.items():
        assert found[name].dtype == array.dtype, name
        np.testing.assert_array_equal(found[name], array, err_msg=name)


def test_resident_arrays_are_not_copied_by_a_step(rows):
    """What a step needs besides its arguments does not depend on how many images there are."""
    optimizer = optax.chain(
        optax.identity(), optax.inject_hyperparams(optax.scale_by_learning_rate)(0.0)
    )
    step = steps.train_steps(Line(), optimizer)

    def temporaries(images: int) -> int:
        arrays = {
            name: jax.ShapeDtypeStruct((images, *array.shape[1:]), array.dtype)
            for name, array in ARRAYS.items()
        }
        given = {"arrays": arrays, "key": jax.random.key(0), "rates": RATES, "count": np.int32(1)}

        def alone(current: Any, batch: Any, given: Any) -> Any:
            one = jax.vmap(
                lambda rows: step(current, {"index": rows}, given, axis_name="data"),
                axis_name="data",
            )
            return one(batch[None])

        start = state.create({"params": {"slope": jnp.float32(1)}}, optimizer)
        compiled = jax.jit(alone).lower(start, rows, given).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    assert temporaries(100_000) == temporaries(1_000) < 100_000
