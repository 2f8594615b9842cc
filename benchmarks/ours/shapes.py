"""What programs are lowered with where nothing is run: shapes, as a single device gets them from
the seam.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from jaxcxr import state as states
from jaxcxr.state import TrainState
from jaxcxr.training import steps


def state(compiled: steps.Compiled) -> TrainState:
    """Of a training's first step."""
    return jax.eval_shape(lambda v: states.create(v, compiled.optimizer), compiled.task.init(None))  # pyright: ignore


def batch(config: ConfigDict, size: int) -> dict[str, jax.ShapeDtypeStruct]:
    """Images with masks, [1, size, ...]."""
    side = (1, size, config.data.image_size, config.data.image_size)
    return {
        "image": jax.ShapeDtypeStruct(side, jnp.uint8),
        "mask": jax.ShapeDtypeStruct(side, jnp.uint8),
        **{name: jax.ShapeDtypeStruct((1, size), jnp.int32) for name in ("label", "index")},
        "weight": jax.ShapeDtypeStruct((1, size), jnp.float32),
    }
