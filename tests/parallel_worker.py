"""One process of a training on several devices, for test_parallel.py.

python -m tests.parallel_worker OUTPUT.npz PROCESS_ID NUM_PROCESSES COORDINATOR
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxcxr import data, optim, parallel, state
from jaxcxr.inference.programs import predict_rows
from jaxcxr.training import steps
from tests import tiny

BATCH, ROWS, STEPS = 8, 13, 3


def config():
    """BatchNorm and plain SGD: dropout differs by device, and Adam amplifies rounding."""
    return tiny.learner(patched=False, optim__name="sgd", optim__momentum=0.9)


def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "image": rng.integers(0, 256, (ROWS, 40, 40), dtype=np.uint8),
        "label": rng.integers(0, 4, ROWS).astype(np.int32),
    }


def train_and_predict() -> dict[str, np.ndarray]:
    """Parameters and batch statistics after three steps, and what they predict for every row."""
    with pytest.MonkeyPatch.context() as patch:
        tiny.add_networks(patch)
        compiled = steps.compile_for(config(), class_weights=np.ones(4, np.float32))
    where = {"process_index": parallel.process_index(), "process_count": parallel.process_count()}
    batches = data.train_iterator(arrays(), np.arange(ROWS), batch_size=BATCH, seed=0, **where)
    key = jax.random.key(0)
    variables = compiled.task.init(0)
    current = parallel.place(state.create(variables, compiled.optimizer))
    current = optim.with_learning_rate(current, parallel.place(np.float32(0.1)))
    first = parallel.shard(next(batches))
    sums = compiled.train_step.lower(current, first, key).as_text().count("all_reduce")
    current, metrics = compiled.train_step(current, first, key)
    for _ in range(STEPS - 1):
        current, metrics = compiled.train_step(current, parallel.shard(next(batches)), key)
    found = {"loss": parallel.to_host(metrics["loss"])}
    found |= {"devices": np.asarray(parallel.device_count()), "sums over devices": np.asarray(sums)}
    for path, leaf in jax.tree_util.tree_leaves_with_path(parallel.to_host(current.variables)):
        found[f"variables{jax.tree_util.keystr(path)}"] = leaf
    for path, leaf in jax.tree_util.tree_leaves_with_path(variables["params"]):
        found[f"start{jax.tree_util.keystr(path)}"] = leaf
    rows = data.eval_batches(arrays(), np.arange(ROWS)[::-1], batch_size=BATCH, **where)
    parts = list(predict_rows(compiled.predict(1), current.variables, rows, key))
    return found | {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def listening() -> list[str]:
    """'0100007F:1F90': the addresses at which this process listens, as the kernel writes them."""
    own = {os.readlink(link) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()}
    rows = [
        line.split()
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{table}").read_text(encoding="ascii").splitlines()[1:]
    ]
    return [row[1] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in own]


def main(output: str, process_id: str, num_processes: str, coordinator: str) -> None:
    parallel.initialize(
        compilation_cache="",
        coordinator=coordinator,
        process_id=int(process_id),
        num_processes=int(num_processes),
    )
    agreed = [parallel.agree(parallel.process_index() == 1), parallel.agree(False)]
    parallel.barrier("end")
    found = train_and_predict() | {"agreed": np.asarray(agreed)}
    found["listens at"] = np.asarray(listening(), dtype=str)
    np.savez(output, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
