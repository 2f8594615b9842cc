"""The training state: arrays only.

So it can be donated, sharded and checkpointed as one tree.
"""

from __future__ import annotations

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax

Variables = dict[str, Any]


class TrainState(flax.struct.PyTreeNode):
    """State of training: the arrays that one optimiser step reads and writes.

    Random keys are not part of it: every draw uses `fold_in(key(seed), step)`, so a resumed run
    repeats them.

    Attributes:
        step: int32 scalar, number of optimiser steps taken.
        params: trainable arrays.
        model_state: other model variables, {"batch_stats": ...} or {}.
        opt_state: the optimiser's arrays, the learning rate in force among them.
    """

    step: jax.Array
    params: Any
    model_state: Variables
    opt_state: optax.OptState

    @property
    def variables(self) -> Variables:
        """The variables that `Module.apply` takes."""
        return {"params": self.params, **self.model_state}

    def without_optimizer(self) -> TrainState:
        """The state without the optimiser's, as a finished run needs it."""
        return self.replace(opt_state=())


def create(variables: Variables, optimizer: optax.GradientTransformation) -> TrainState:
    """Step 0 for freshly initialised (or pretrained) variables."""
    params = variables["params"]
    model_state = {name: tree for name, tree in variables.items() if name != "params"}
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        model_state=model_state,
        opt_state=optimizer.init(params),
    )
