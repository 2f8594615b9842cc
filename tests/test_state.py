"""The training state is a tree of arrays and nothing else."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxcxr import state


def test_step_zero_holds_parameters_model_state_and_fresh_moments():
    variables = {
        "params": {"w": np.ones(3, np.float32)},
        "batch_stats": {"mean": np.zeros(2, np.float32)},
    }
    created = state.create(variables, optax.adam(1e-3))
    assert created.step.dtype == jnp.int32 and created.step == 0
    assert created.params is variables["params"]
    assert created.model_state == {"batch_stats": variables["batch_stats"]}
    np.testing.assert_array_equal(created.opt_state[0].mu["w"], np.zeros(3))
    assert created.variables == variables


def test_a_model_without_batch_statistics_has_an_empty_model_state():
    created = state.create({"params": {"w": jnp.ones(1)}}, optax.sgd(0.1))
    assert created.model_state == {}
    assert created.variables.keys() == {"params"}


def test_it_is_one_tree_of_arrays():
    created = state.create({"params": {"w": jnp.ones(2)}}, optax.adam(1e-3))
    doubled = jax.tree.map(lambda leaf: leaf * 2, created)
    np.testing.assert_array_equal(doubled.params["w"], [2, 2])
    assert all(hasattr(leaf, "dtype") for leaf in jax.tree.leaves(created))
