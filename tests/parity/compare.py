"""Our networks beside torchvision's, with torchvision's numbers: how far apart is the furthest
value?
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcxr import models
from jaxcxr.models import layers
from jaxcxr.models.initialise import initialise
from jaxcxr.weights.merge import merge
from jaxcxr.weights.rules import ConvertedWeights, rename
from tests.models.variables import quick_jit
from tests.parity import torch_side
from tests.parity.errors import relative


@dataclasses.dataclass(frozen=True)
class Errors:
    """Largest absolute differences, each as a share of the largest absolute value of its array.

    Attributes:
        logits, features: in evaluation; features are the outputs of every convolution, norm and
            dense layer.
        train_logits, train_features: in training mode, on batch statistics.
        gradients: of every parameter.
        statistics: of the running means and variances after the step.
        cosine: between the two gradients of all parameters.
        maps: how many feature maps were compared.
    """

    logits: float
    features: float
    train_logits: float
    train_features: float
    gradients: float
    statistics: float
    cosine: float
    maps: int

    @property
    def worst(self) -> float:
        return max(
            v for name, v in dataclasses.asdict(self).items() if name not in ("maps", "cosine")
        )


@dataclasses.dataclass(frozen=True)
class Rounding:
    """How far torchvision's own float32 training step is from its float64 one; the fields are those
    of `Errors`.
    """

    train_logits: float
    statistics: float
    gradients: float


def rounding(arch: str, *, side: int, batch: int, classes: int = 5, seed: int = 0) -> Rounding:
    """torchvision in float32 beside torchvision in float64, on the noise of `compare`."""
    maps, grads, after = [], [], []
    for dtype in (np.float32, np.float64):
        network = torch_side.network(arch, classes=classes, seed=seed, double=dtype is np.float64)
        x, weight = noise(batch, side, classes, seed, dtype)
        outputs, gradients = torch_side.run(network, x, train=True, weight=weight)
        maps.append(outputs)
        grads.append(gradients)
        after.append({n: v for n, v in torch_side.state(network).items() if "running_" in n})
    heads = [name for name in ("logits", "aux_logits") if name in maps[0]]
    return Rounding(
        train_logits=max(relative(maps[0][n], maps[1][n]) for n in heads),
        statistics=max((relative(after[0][n], after[1][n]) for n in after[0]), default=0.0),
        gradients=_gradients_apart(grads[0], grads[1]),
    )


def noise(
    batch: int, side: int, classes: int, seed: int, dtype: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Images and the weights of the logits in the sum whose gradient is taken: float32 numbers in
    any precision.
    """
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(batch, side, side, 3)).astype(np.float32)
    return x.astype(dtype), rng.normal(size=(batch, classes)).astype(np.float32).astype(dtype)


def _gradients_apart(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> float:
    # A bias before a norm has gradient 0 but for rounding: a thousandth of the largest one is its
    # measure.
    largest = max(float(np.abs(value).max()) for value in expected.values())
    return max(
        relative(found[name], value, floor=1e-3 * largest) for name, value in expected.items()
    )


def _cosine(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> float:
    products = np.zeros(3)
    for name, value in expected.items():
        a, b = (np.ravel(v).astype(np.float64) for v in (found[name], value))
        products += a @ b, a @ a, b @ b
    return float(products[0] / np.sqrt(products[1] * products[2]))


def compare(
    arch: str, *, side: int, batch: int, double: bool = False, classes: int = 5, seed: int = 0
) -> Errors:
    """Runs both networks on the same noise; `double`: both in float64, from the same float32
    numbers.

    A gradient jumps where a ReLU's or a pool's input passes another value. In float32 some of the
    millions of inputs always lie within rounding of such a place, in either framework, and in the
    last small maps one of them is felt. Batch statistics of a few pixels make rounding grow, too.
    Whether the two are
    the same functions shows in float64.
    """
    with jax.enable_x64(double):
        return _compare(arch, side, batch, np.float64 if double else np.float32, classes, seed)


def _compare(arch: str, side: int, batch: int, dtype: Any, classes: int, seed: int) -> Errors:
    theirs = torch_side.network(arch, classes=classes, seed=seed, double=dtype is np.float64)
    x, weight = noise(batch, side, classes, seed, dtype)
    module = models.build(arch, num_classes=classes, dtype=dtype, **no_dropout(arch))
    template = initialise(module, None, jax.ShapeDtypeStruct(x.shape, jnp.float32))

    def renamed(state: dict[str, np.ndarray]) -> ConvertedWeights:
        """In their precision, where `rename` makes float32 of everything."""
        names = rename(state, torch_side.family(arch))
        if dtype is np.float64:
            for name, source in names.sources.items():
                value = state[source]
                low = rename({source: value - value.astype(np.float32)}, torch_side.family(arch))
                names.arrays[name] = names.arrays[name].astype(np.float64) + low.arrays[name]
        return names

    variables = merge(renamed(torch_side.state(theirs)), template).variables
    expected, _ = torch_side.run(theirs, x, train=False, weight=weight)
    found = _evaluate(module, variables, x)
    logits, features, maps = _apart(found, _called_as_ours(arch, expected))

    expected, gradients = torch_side.run(theirs, x, train=True, weight=weight)
    after = renamed(
        {name: v for name, v in torch_side.state(theirs).items() if "running_" in name}
    ).arrays
    del theirs  # VGG-19 in float64 is a gigabyte, and as much for its gradients
    found, grads, stats = _train(module, variables, x, weight)
    del variables
    train_logits, train_features, _ = _apart(found, _called_as_ours(arch, expected))
    our_grads, their_grads = named(grads), renamed(gradients).arrays
    return Errors(
        logits=logits,
        features=features,
        train_logits=train_logits,
        train_features=train_features,
        gradients=_gradients_apart(our_grads, their_grads),
        cosine=_cosine(our_grads, their_grads),
        statistics=max((relative(v, after[n]) for n, v in named(stats).items()), default=0.0),
        maps=maps,
    )


def no_dropout(arch: str) -> dict[str, float]:
    depth = {"stochastic_depth": 0.0} if arch.startswith("efficientnet") else {}
    return (
        {"dropout": 0.0, **depth} if arch.startswith(("vgg", "inception", "efficientnet")) else {}
    )


def is_layer(module: Any, method: str) -> bool:
    return (
        isinstance(module, layers.Conv | layers.BatchNorm | layers.nn.Dense)
        and method == "__call__"
    )


def _outputs(logits: Any, out: Any, updated: Any) -> dict[str, Any]:
    kept = named(updated["intermediates"])
    kept = {
        name.removesuffix("/__call__/0").replace("/", "."): value for name, value in kept.items()
    }
    kept["logits"] = logits
    if "aux_logits" in out:
        kept["aux_logits"] = out["aux_logits"]
    return kept


def _evaluate(module: Any, variables: Any, x: np.ndarray) -> dict[str, np.ndarray]:
    @quick_jit
    def run(variables: Any, x: jax.Array) -> dict[str, Any]:
        (logits, out), updated = module.apply(
            variables, x, train=False, capture_intermediates=is_layer, mutable=["intermediates"]
        )
        return _outputs(logits, out, updated)

    return jax.device_get(run(variables, x))


def _train(module: Any, variables: Any, x: np.ndarray, weight: np.ndarray) -> tuple[Any, Any, Any]:
    @quick_jit
    def run(params: Any, stats: Any, x: jax.Array) -> tuple[Any, Any, Any]:
        def total(params: Any) -> tuple[jax.Array, Any]:
            (logits, out), updated = module.apply(
                {"params": params, **stats},
                x,
                train=True,
                capture_intermediates=is_layer,
                mutable=["batch_stats", "intermediates"],
                rngs={"dropout": jax.random.key(0)},
            )
            value = (logits * weight).sum()
            if "aux_logits" in out:
                value += (out["aux_logits"] * weight).sum()
            return value, (_outputs(logits, out, updated), updated.get("batch_stats", {}))

        grads, (kept, after) = jax.grad(total, has_aux=True)(params)
        return kept, grads, after

    stats = {name: value for name, value in variables.items() if name != "params"}
    return jax.device_get(run(variables["params"], stats, x))


def _called_as_ours(arch: str, kept: dict[str, Any]) -> dict[str, Any]:
    heads = ("logits", "aux_logits")
    return {n if n in heads else torch_side.our_name(arch, n): v for n, v in kept.items()}


def _apart(found: dict[str, Any], expected: dict[str, Any]) -> tuple[float, float, int]:
    """(logits, worst of the feature maps, how many of them)."""
    features = found.keys() - {"logits", "aux_logits"}
    assert features == expected.keys() - {"logits", "aux_logits"}, features ^ expected.keys()
    worst = 0.0
    for name in features:
        value = np.asarray(found[name])
        value = value.transpose(0, 3, 1, 2) if value.ndim == 4 else value
        worst = max(worst, relative(value, expected[name]))
    heads = [name for name in ("logits", "aux_logits") if name in expected]
    return max(relative(np.asarray(found[n]), expected[n]) for n in heads), worst, len(features)


def named(tree: Any) -> dict[str, Any]:
    return {
        jax.tree_util.keystr(keys, simple=True, separator="/"): leaf
        for keys, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]
    }
