"""What keeps the models' tests fast: variables drawn by numpy, and a compiler in a hurry."""

from __future__ import annotations

import functools
from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np

# Each of these programs runs once or twice: half the compile time is worth slower code.
quick_jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def shapes(model: Any, *shape: int, train: bool = False) -> tuple[Any, dict[str, Any], Any]:
    """(logits, out, variables) of `model` on an input of `shape`, as shapes: nothing is run."""
    rngs = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
    (logits, out), variables = jax.eval_shape(
        lambda x: model.init_with_output(rngs, x, train),
        jax.ShapeDtypeStruct(shape, jnp.float32),
    )
    return logits, out, variables


def random_variables(model: Any, *shape: int) -> Any:
    """Kernels N(0, 2 / fan_in), biases N(0, .1), norms at their initial values.

    By numpy, seeded: compiling a network's own initialisers takes longer than the test.
    """
    rng = np.random.default_rng(0)
    flat = flax.traverse_util.flatten_dict(shapes(model, *shape)[2])
    values = {}
    for path, leaf in flat.items():
        if path[-1] == "kernel":
            spread = np.sqrt(2 / np.prod(leaf.shape[:-1]))
            values[path] = rng.normal(size=leaf.shape) * spread
        elif path[-1] == "bias":
            values[path] = rng.normal(size=leaf.shape) * 0.1
        else:
            values[path] = np.full(leaf.shape, path[-1] != "mean")
    values = {path: jnp.asarray(value, jnp.float32) for path, value in values.items()}
    return flax.traverse_util.unflatten_dict(values)
