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
        """The variables that predict, as `Module.apply` takes them."""
        return {"params": self.params, **self.model_state}

    def for_prediction(self) -> TrainState:
        """What a finished run keeps: the state of `variables`, without the optimiser's."""
        return TrainState(self.step, *_parts(self.variables), opt_state=())

    @property
    def for_training(self) -> Any:
        """The arrays that only training needs, beside those of `for_prediction`."""
        return self.opt_state

    def resumed(self, kept: TrainState, training: Any) -> TrainState:
        """A state of this kind of its two parts, `for_prediction` and `for_training`."""
        return kept.replace(opt_state=training)


class AveragedState(TrainState):
    """State of a training whose weights are averaged over its steps, and predict as the average.

    The exponential moving average of Polyak and Juditsky's kind that Inception's authors took
    (Szegedy et al., 2016): a step's weights are of the batches just before it, their average is of
    many, and is steadier.

    Attributes:
        average: of the parameters and other variables after each step.
    """

    average: Variables

    @property
    def variables(self) -> Variables:
        """The average."""
        return self.average

    @property
    def for_training(self) -> Any:
        """See `TrainState.for_training`."""
        return {
            "opt_state": self.opt_state,
            "params": self.params,
            "model_state": self.model_state,
        }

    def resumed(self, kept: TrainState, training: Any) -> TrainState:
        """See `TrainState.resumed`."""
        return self.replace(step=kept.step, average=kept.variables, **training)

    def averaged(self, decay: float) -> AveragedState:
        """The state with its own variables in the average, of which a fraction `decay` stays."""
        now = {"params": self.params, **self.model_state}
        mixed = jax.tree.map(lambda old, new: decay * old + (1 - decay) * new, self.average, now)
        return self.replace(average=mixed)


def create(
    variables: Variables, optimizer: optax.GradientTransformation, *, average: bool = False
) -> TrainState:
    """Step 0 for freshly initialised (or pretrained) variables.

    Args:
        variables: as `Module.init` gives them.
        optimizer: the update rule.
        average: their average over the steps is to predict.
    """
    params, model_state = _parts(variables)
    step, opt_state = jnp.zeros((), jnp.int32), optimizer.init(params)
    if not average:
        return TrainState(step, params, model_state, opt_state)
    # Arrays of its own: a step gives the memory of both away.
    own = jax.tree.map(lambda leaf: leaf.copy(), variables)
    return AveragedState(step, params, model_state, opt_state, own)


def _parts(variables: Variables) -> tuple[Any, Variables]:
    """(parameters, the other variables)."""
    return variables["params"], {n: tree for n, tree in variables.items() if n != "params"}
