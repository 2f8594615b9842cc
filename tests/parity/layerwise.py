"""Our layers beside torchvision's in a training step, each from the same input and the same
gradient of its output.

Through a whole network in training mode rounding grows, and ReLUs within rounding of 0 make
gradients jump (see `compare`). A layer by itself has neither: here float32 must agree as closely as
in evaluation.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxcxr import models
from jaxcxr.models.initialise import initialise
from jaxcxr.weights.merge import merge
from jaxcxr.weights.rules import rename
from tests.models.variables import quick_jit
from tests.parity import torch_side
from tests.parity.compare import is_layer, named, no_dropout, noise
from tests.parity.errors import relative


@dataclasses.dataclass(frozen=True)
class LayerErrors:
    """Largest absolute differences over all layers, each as a share of the largest absolute value
    of its array.

    Attributes:
        outputs: of the layers.
        of_inputs: of the gradients by their inputs.
        of_parameters: of the gradients by their parameters; a share of a hundredth of the sum of
            their terms (of the absolute gradient of an output's channel), where that is more.
        statistics: of the running means and variances after the step.
        layers: how many there were.
    """

    outputs: float
    of_inputs: float
    of_parameters: float
    statistics: float
    layers: int

    @property
    def worst(self) -> float:
        return max(self.outputs, self.of_inputs, self.of_parameters, self.statistics)


def compare_layers(
    arch: str, *, side: int, batch: int, classes: int = 5, seed: int = 0
) -> LayerErrors:
    """A training step of torchvision's network on noise in float32, and each of our layers on what
    its peer saw.
    """
    theirs = torch_side.network(arch, classes=classes, seed=seed)
    x, weight = noise(batch, side, classes, seed, np.float32)
    module = models.build(arch, num_classes=classes, **no_dropout(arch))
    template = initialise(module, None, jax.ShapeDtypeStruct(x.shape, jnp.float32))

    def ours_of(state: dict[str, np.ndarray]) -> dict[str, Any]:
        return merge(rename(state, torch_side.family(arch)), template).variables

    variables = ours_of(torch_side.state(theirs))
    recorded, gradients = torch_side.layers(theirs, x, weight=weight)
    recorded = {torch_side.our_name(arch, name): layer for name, layer in recorded.items()}
    of_parameters = rename(gradients, torch_side.family(arch)).arrays
    statistics = ours_of(torch_side.state(theirs)).get("batch_stats", {})
    ours = _layers(module, variables, x)
    assert ours.keys() == recorded.keys(), ours.keys() ^ recorded.keys()

    errors: dict[str, list[float]] = {
        "outputs": [],
        "of_inputs": [],
        "of_parameters": [],
        "statistics": [0.0],
    }
    for name, layer in ours.items():
        path, peer = tuple(name.split(".")), recorded[name]
        params, stats = (_at(variables.get(of, {}), path) for of in ("params", "batch_stats"))
        stats = {"batch_stats": stats} if stats else {}
        out, of_params, of_x, updated = jax.device_get(
            _step(layer, params, stats, _channels_last(peer.input), _channels_last(peer.of_output))
        )
        errors["outputs"].append(relative(out, _channels_last(peer.output)))
        if peer.of_input is not None:
            errors["of_inputs"].append(relative(of_x, _channels_last(peer.of_input)))
        expected = {key: of_parameters["/".join((*path, key))] for key in of_params}
        # Sums over all pixels, some of terms that cancel: a bias before a norm has gradient 0 but
        # for rounding.
        terms = float(
            np.abs(_channels_last(peer.of_output)).reshape(-1, out.shape[-1]).sum(0).max()
        )
        for key, value in of_params.items():
            errors["of_parameters"].append(relative(value, expected[key], floor=0.01 * terms))
        for key, value in named(updated.get("batch_stats", {})).items():
            errors["statistics"].append(relative(value, _at(statistics, path)[key]))
    return LayerErrors(**{key: max(values) for key, values in errors.items()}, layers=len(ours))


def _layers(module: nn.Module, variables: Any, x: np.ndarray) -> dict[str, nn.Module]:
    """The convolutions, norms and dense layers of a training step by name, outside of the network.

    Without what tells equal ones apart, so that these compile once.
    """
    found: dict[str, nn.Module] = {}

    def note(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
        layer = context.module
        if is_layer(layer, context.method_name):
            init = (
                {}
                if isinstance(layer, models.layers.BatchNorm)
                else {"kernel_init": _zeros, "bias_init": _zeros}
            )
            found[".".join(layer.path)] = layer.clone(parent=None, name=None, **init)
        return call(*args, **kwargs)

    def run(variables: Any, x: Any) -> Any:
        with nn.intercept_methods(note):
            return module.apply(
                variables,
                x,
                train=True,
                mutable=["batch_stats"],
                rngs={"dropout": jax.random.key(0)},
            )

    jax.eval_shape(run, variables, x)
    return found


_zeros = nn.initializers.zeros


@functools.partial(quick_jit, static_argnums=0)
def _step(layer: nn.Module, params: Any, stats: Any, x: jax.Array, gradient: jax.Array) -> Any:
    """(output, gradients by the parameters and by the input, updated statistics)."""

    def output(params: Any, x: jax.Array) -> Any:
        return layer.apply({"params": params, **stats}, x, mutable=["batch_stats"])

    out, backward, updated = jax.vjp(output, params, x, has_aux=True)
    return out, *backward(gradient), updated


def _at(tree: Any, path: tuple[str, ...]) -> Any:
    """The part of a tree, {} where it has none."""
    for key in path:
        tree = tree.get(key, {})
    return tree


def _channels_last(x: np.ndarray) -> np.ndarray:
    """[B, C, H, W] -> [B, H, W, C]; what is flat stays, in PyTorch's order in both."""
    return x.transpose(0, 2, 3, 1) if x.ndim == 4 else x
