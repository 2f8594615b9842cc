"""Grad-CAM (Selvaraju et al., 2017, arXiv:1610.02391) on any feature map of any of the networks.

A feature map is named by the module that makes it, as in the parameter tree: `layer4`,
`features/norm5`, `Mixed_7c`. Its gradient is that of a zero that is added to it, so the networks
need to know nothing of this.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen.module import InterceptorContext

from jaxcxr.errors import InputError

FORMS = ("plain", "guided")
MIN_POSITIONS = 4  # per side; a smaller map cannot tell one part of the image from another


def feature_maps(module: nn.Module, variables: Any, x: Any) -> dict[str, tuple[int, ...]]:
    """Every feature map of a network by name, in the order of computation.

    Args:
        module: a classifier of `jaxcxr.models`.
        variables: its variables, or their shapes.
        x: input [B, H, W, channels], or its shape.

    Returns:
        Name -> [B, h, w, c].
    """
    shapes: dict[str, tuple[int, ...]] = {}

    def note(name: str, value: jax.Array) -> jax.Array:
        shapes[name] = value.shape
        return value

    jax.eval_shape(lambda variables, x: apply_changed(module, variables, x, note), variables, x)
    return shapes


def apply_changed(
    module: nn.Module, variables: Any, x: Any, change: Callable[[str, jax.Array], jax.Array]
) -> jax.Array:
    """Logits in evaluation mode, with every feature map replaced by `change(name, map)`."""

    def intercept(call: Any, args: Any, kwargs: Any, context: InterceptorContext) -> Any:
        value = call(*args, **kwargs)
        name = "/".join(context.module.path)
        if context.method_name == "__call__" and name and getattr(value, "ndim", 0) == 4:
            return change(name, value)
        return value

    with nn.intercept_methods(intercept):
        logits, _ = module.apply(variables, x, train=False)  # pyright: ignore[reportAssignmentType]
    return logits


def find_layer(
    module: nn.Module, variables: Any, x: Any, layer: str = ""
) -> tuple[str, tuple[int, ...]]:
    """A feature map by name, or the one that Grad-CAM takes by default.

    That is the last one of at least MIN_POSITIONS x MIN_POSITIONS positions through which all paths
    to the logits lead: inside a branch of a block, saliency would miss the other branches. On 224
    pixels it is the usual one, such as `layer4`, which on small patches has a single position.
    Without a map of that size the largest serves.

    Args:
        module: a classifier of `jaxcxr.models`.
        variables: its variables, or their shapes.
        x: input [B, H, W, channels], or its shape.
        layer: name, see `feature_maps`; '' is the default.

    Returns:
        (name, shape [B, h, w, c]).

    Raises:
        InputError: there is no such map.
    """
    maps = feature_maps(module, variables, x)
    if layer:
        if layer not in maps:
            near = ", ".join(difflib.get_close_matches(layer, maps, 3, 0.3)) or ", ".join(
                list(maps)[-3:]
            )
            raise InputError(
                f"explain.layer={layer!r} is no feature map of this network; near: {near}"
            )
        return layer, maps[layer]

    def side(name: str) -> int:
        return min(maps[name][1:3])

    # Of equally large ones the last: `sorted` keeps the order, and from MIN_POSITIONS on all count
    # as equally large.
    candidates = sorted(reversed(maps), key=lambda name: -min(side(name), MIN_POSITIONS))
    is_passed = bottlenecks(module, variables, x)
    layer = next(name for name in candidates if is_passed(name))
    return layer, maps[layer]


def check_form(form: str) -> None:
    """Raises InputError unless `form` is one of FORMS."""
    if form not in FORMS:
        raise InputError(f"explain.form={form!r} is unknown; known: {', '.join(FORMS)}")


def grad_cam(
    module: nn.Module,
    variables: Any,
    x: jax.Array,
    classes: jax.Array,
    *,
    layer: str = "",
    form: str = "plain",
) -> tuple[jax.Array, jax.Array]:
    """Saliency of a class on a feature map, in evaluation mode.

    Args:
        module: a classifier of `jaxcxr.models`.
        variables: its variables.
        x: [B, H, W, channels], normalised.
        classes: [B] int, the class to explain of each image. A network of one logit has class 1,
            which is the logit, and class 0, which is its negative.
        layer: name of a feature map, see `feature_maps`; '' is the default of `find_layer`.
        form: "plain": channels are weighed by their mean gradient, negative saliency becomes 0.
            "guided": the mean is over positions where both value and gradient are positive
            (COVID-CXNet's code), and negative saliency stays.

    Returns:
        (heat [B, h, w] float32, logits [B, C]).

    Raises:
        InputError: unknown layer or form.
    """
    chex.assert_rank(x, 4)
    chex.assert_shape(classes, (x.shape[0],))
    check_form(form)
    layer, shape = find_layer(module, variables, x, layer)

    def score(delta: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        maps: list[jax.Array] = []

        def add(name: str, value: jax.Array) -> jax.Array:
            if name != layer:
                return value
            value = value + delta.astype(value.dtype)
            maps.append(value)
            return value

        logits = apply_changed(module, variables, x, add)
        if logits.shape[1] == 1:
            chosen = logits[:, 0] * jnp.where(classes > 0, 1, -1)
        else:
            chosen = jnp.take_along_axis(logits, classes[:, None], axis=1)[:, 0]
        return chosen.sum(), (maps[0].astype(jnp.float32), logits)

    zeros = jnp.zeros(shape, jnp.float32)
    gradient, (value, logits) = jax.grad(score, has_aux=True)(zeros)
    if form == "guided":
        gradient = jnp.where((value > 0) & (gradient > 0), gradient, 0)
    heat = (value * gradient.mean((1, 2), keepdims=True)).sum(-1)
    return (jax.nn.relu(heat) if form == "plain" else heat), logits


def bottlenecks(module: nn.Module, variables: Any, x: Any) -> Callable[[str], bool]:
    """Predicate of a feature map's name: the logits depend on the input through this map alone.

    Read off the traced program.
    """

    def forward(variables: Any, x: Any) -> tuple[jax.Array, dict[str, jax.Array]]:
        maps: dict[str, jax.Array] = {}

        def note(name: str, value: jax.Array) -> jax.Array:
            maps[name] = value
            return value

        return apply_changed(module, variables, x, note), maps

    closed, (_, shapes) = jax.make_jaxpr(forward, return_shape=True)(variables, x)
    program = closed.jaxpr
    logits, *maps = (id(value) for value in program.outvars)
    # The order in which JAX flattens a dict.
    value_of = dict(zip(sorted(shapes), maps, strict=True))

    def is_passed(name: str) -> bool:
        reached = {id(program.invars[-1])}  # values that hang on x by another way than this map
        for equation in program.eqns:
            if any(id(value) in reached for value in equation.invars):
                reached |= {id(value) for value in equation.outvars} - {value_of[name]}
        return logits not in reached

    return is_passed
