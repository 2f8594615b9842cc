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
    """Values for all variables of `model` called on an input of `shape`, see `filled`."""
    return filled(shapes(model, *shape)[2])


def filled(tree: Any) -> Any:
    """Kernels N(0, 2 / fan_in), biases N(0, .1), norms at their initial values.

    By numpy, seeded: compiling a network's own initialisers takes longer than the test.
    """
    rng = np.random.default_rng(0)
    values = {}
    for path, leaf in flax.traverse_util.flatten_dict(tree).items():
        if path[-1] == "kernel":
            value = rng.normal(size=leaf.shape) * np.sqrt(2 / np.prod(leaf.shape[:-1]))
        elif path[-1] == "bias":
            value = rng.normal(size=leaf.shape) * 0.1
        else:
            value = np.full(leaf.shape, path[-1] != "mean")
        values[path] = jnp.asarray(value, jnp.float32)
    return flax.traverse_util.unflatten_dict(values)


def normal(*shape: int, seed: int = 1) -> jax.Array:
    """N(0, 1) float32 of `shape`."""
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def dropout_rates(model: Any, *shape: int) -> list[float]:
    """Rates of the `nn.Dropout` of `model` in the order of computation, on an input of `shape`, in
    training.
    """
    rates = []

    def note(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
        if isinstance(context.module, flax.linen.Dropout) and context.method_name == "__call__":
            assert not context.module.deterministic
            rates.append(context.module.rate)
        return call(*args, **kwargs)

    with flax.linen.intercept_methods(note):
        shapes(model, *shape, train=True)
    return rates
