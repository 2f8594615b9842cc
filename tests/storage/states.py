"""A small train state whose numbers depend on its step, and what is done with it again and
again.
"""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import optax
from flax import struct

from jaxcxr.storage.checkpoint import Checkpointer


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


def save_steps(folder: Path, scores: dict[int, float], **options) -> None:
    """Saves steps as training does: the best so far is the first of the highest scores."""
    best: int | None = None
    with Checkpointer(folder, **options) as checkpointer:
        for step, f1 in scores.items():
            if f1 == f1 and (best is None or f1 > scores[best]):
                best = step
            checkpointer.save(step, state=make_state(step), metrics={"f1": f1}, best=best)


def restore_latest(folder: Path):
    with Checkpointer(folder) as checkpointer:
        return checkpointer.restore_latest(make_state(0))


def files_of(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file())


def flip_bit(path: Path, *, bit: int) -> None:
    content = bytearray(path.read_bytes())
    content[bit // 8 % len(content)] ^= 1 << bit % 8
    path.write_bytes(content)
