"""What the guard of the per-step overhead runs in a process of its own, which has one device."""

from __future__ import annotations

import time
from pathlib import Path

import jax
import numpy as np

from benchmarks import experiments
from benchmarks.ours import training
from jaxcxr import parallel
from jaxcxr.training import steps


def seconds(folder: Path, *, calls: int) -> dict[str, float]:
    """Least CPU seconds of a call, in turn: 'loop', the step as the loop calls it; 'bare', the same
    function jitted.

    The network is the ensemble's, 2,005 parameters on 20 examples.
    """
    del folder
    config = experiments.load("flannel.ensemble", {})
    compiled = steps.compile_for(config, learners=5, class_counts=np.full(4, 100))
    step = steps.train_step(compiled.task, compiled.optimizer)
    rng = np.random.default_rng(0)
    labels = rng.integers(4, size=20).astype(np.int32)
    batch = training.complete(
        {"inputs": rng.uniform(size=(20, 5, 4)).astype(np.float32), "label": labels}
    )
    key = jax.random.key(0)

    @jax.jit
    def bare(state, batch, key):
        def named(batch):
            return step(state, batch, key, axis_name=parallel.AXIS)

        return jax.vmap(named, axis_name=parallel.AXIS)(jax.tree.map(lambda x: x[None], batch))

    state = training.first_state(config, compiled, compiled.task.init(0))
    same = training.first_state(config, compiled, compiled.task.init(0))
    least = {"loop": float("inf"), "bare": float("inf")}
    for _ in range(calls):
        started = time.process_time()
        state, _ = jax.block_until_ready(compiled.train_step(state, parallel.shard(batch), key))
        least["loop"] = min(least["loop"], time.process_time() - started)
        started = time.process_time()
        jax.block_until_ready(bare(same, batch, key))
        least["bare"] = min(least["bare"], time.process_time() - started)
    return least
