"""First values of the parameters, drawn on the host.

`module.init` compiles one program of hundreds of small random draws, which takes longer than a
first epoch of phantoms (docs/PERFORMANCE.md). `initialise` only traces the shapes, lets every
initialiser note its distribution, and draws with numpy: fast, and the same values on any platform.
"""

from __future__ import annotations

import contextvars
import math
import zlib
from collections.abc import Callable, Sequence
from typing import Any, Literal

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from flax.core import meta

Initializer = Callable[..., Any]
Fan = Literal["fan_in", "fan_out"]
_noting = contextvars.ContextVar("noting", default=False)


class Draw(flax.struct.PyTreeNode, meta.AxisMetadata[Any]):
    """Stands for a parameter while shapes are traced; says what to draw.

    Attributes:
        value: of the parameter's shape.
        distribution: "normal" (mean 0) or "uniform" (symmetric about 0).
        size: standard deviation, or half the width.
    """

    value: Any
    distribution: str = flax.struct.field(pytree_node=False)
    size: float = flax.struct.field(pytree_node=False)

    def unbox(self) -> Any:
        """See `AxisMetadata.unbox`."""
        return self.value

    def replace_boxed(self, val: Any) -> Draw:
        """See `AxisMetadata.replace_boxed`."""
        return self.replace(value=val)

    def add_axis(self, index: int, params: dict[Any, Any]) -> Draw:
        """See `AxisMetadata.add_axis`: a draw has no named axes."""
        return self

    def remove_axis(self, index: int, params: dict[Any, Any]) -> Draw:
        """See `AxisMetadata.remove_axis`: a draw has no named axes."""
        return self


def _noted(
    plain: Initializer, distribution: str, size: Callable[[Sequence[int]], float]
) -> Initializer:
    def init(key: jax.Array, shape: Sequence[int], dtype: Any = jnp.float32) -> Any:
        if _noting.get():
            return Draw(jnp.zeros(shape, dtype), distribution, size(shape))
        return plain(key, shape, dtype)

    return init


def _fan(shape: Sequence[int], mode: Fan) -> int:
    return math.prod(shape[:-2]) * (shape[-2] if mode == "fan_in" else shape[-1])


def kaiming_normal(mode: Fan) -> Initializer:
    """torch.nn.init.kaiming_normal_(mode=mode, nonlinearity="relu"); not truncated."""
    plain = nn.initializers.variance_scaling(2.0, mode, "normal")
    return _noted(plain, "normal", lambda shape: math.sqrt(2.0 / _fan(shape, mode)))


def kaiming_uniform(mode: Fan) -> Initializer:
    """torch.nn.init.kaiming_uniform_(mode=mode, nonlinearity="relu")."""
    plain = nn.initializers.variance_scaling(2.0, mode, "uniform")
    return _noted(plain, "uniform", lambda shape: math.sqrt(6.0 / _fan(shape, mode)))


def glorot_uniform() -> Initializer:
    """Keras's default: U(+-sqrt(6 / (fan in + fan out)))."""
    plain = nn.initializers.glorot_uniform()
    return _noted(
        plain,
        "uniform",
        lambda shape: math.sqrt(6.0 / (_fan(shape, "fan_in") + _fan(shape, "fan_out"))),
    )


def normal(std: float) -> Initializer:
    """N(0, std^2)."""
    return _noted(nn.initializers.normal(std), "normal", lambda shape: std)


def zeros() -> Initializer:
    """0 everywhere: for a parameter whose name says otherwise, as the scale of a norm."""
    return _noted(nn.initializers.zeros, "normal", lambda shape: 0.0)


def torch_uniform(fan_in: int) -> Initializer:
    """U(-1/sqrt(fan_in), 1/sqrt(fan_in)): what `torch.nn.Linear` draws kernel and bias from."""
    bound = 1.0 / math.sqrt(fan_in)

    def plain(key: jax.Array, shape: Sequence[int], dtype: Any = jnp.float32) -> jax.Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return _noted(plain, "uniform", lambda shape: bound)


def initialise(
    module: nn.Module, seed: int | None, x: jax.ShapeDtypeStruct, train: bool = True
) -> dict[str, Any]:
    """First variables {"params", "batch_stats" where there are any} of a module, as numpy arrays.

    Each parameter's draw depends on the seed and its own path alone.

    Args:
        module: called as `module(x, train)`.
        seed: of the draws; None: nothing is drawn, shapes and types are given.
        x: shape and type of an input.
        train: whether parts that exist only in training get their parameters too.
    """
    token = _noting.set(True)
    try:
        keys = {"params": jax.random.key(0), "dropout": jax.random.key(0)}
        # A fresh function, so that no cached trace without the notes is taken.
        shapes = jax.eval_shape(lambda: module.init(keys, jnp.zeros(x.shape, x.dtype), train))
    finally:
        _noting.reset(token)
    is_draw = lambda leaf: isinstance(leaf, Draw)  # noqa: E731
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: _value(jax.tree_util.keystr(path), leaf, seed),
        dict(shapes),
        is_leaf=is_draw,
    )


def _value(path: str, leaf: Any, seed: int | None) -> np.ndarray | jax.ShapeDtypeStruct:
    if seed is None:
        return jax.ShapeDtypeStruct(getattr(leaf, "value", leaf).shape, jnp.float32)
    if isinstance(leaf, Draw):
        rng = np.random.default_rng([seed, zlib.crc32(path.encode())])
        if leaf.distribution == "normal":
            return rng.standard_normal(leaf.value.shape, np.float32) * np.float32(leaf.size)
        return rng.uniform(-leaf.size, leaf.size, leaf.value.shape).astype(np.float32)
    name = path.split("'")[-2]
    if name in ("scale", "var"):
        return np.ones(leaf.shape, np.float32)
    if name in ("bias", "mean"):
        return np.zeros(leaf.shape, np.float32)
    raise ValueError(f"{path} has no initialiser of jaxcxr.models.initialise")
