"""Grad-CAM (Selvaraju et al., 2017, arXiv:1610.02391) on any feature map of any of the networks.

A feature map is named by the module that makes it, as in the parameter tree: `layer4`, `features/norm5`,
`Mixed_7c`. Its gradient is that of a zero that is added to it, so the networks need to know nothing of this.
"""

from __future__ import annotations

import difflib
from typing import Any

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen.module import InterceptorContext

from jaxcxr.types import InputError

FORMS = ("plain", "guided")


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

    jax.eval_shape(lambda variables, x: _apply(module, variables, x, note), variables, x)
    return shapes


def last_map(module: nn.Module, variables: Any, x: Any) -> str:
    """The feature map nearest to the logits that still has a place for everything: what Grad-CAM usually takes."""
    return list(feature_maps(module, variables, x))[-1]


def grad_cam(
    module: nn.Module,
    variables: Any,
    x: jax.Array,
    classes: jax.Array,
    *,
    layer: str = "",
    form: str = "plain",
) -> tuple[jax.Array, jax.Array]:
    """Heat of a class on a feature map, in evaluation mode.

    Args:
      module: a classifier of `jaxcxr.models`.
      variables: its variables.
      x: [B, H, W, channels], normalised.
      classes: [B] int, the class to explain of each image. A network of one logit has class 1, which is the
        logit, and class 0, which is its negative.
      layer: name of a feature map, see `feature_maps`; '' is `last_map`.
      form: "plain": channels are weighed by their mean gradient, negative heat becomes 0. "guided": the mean is
        over places where both value and gradient are positive (COVID-CXNet's code), and negative heat stays.

    Returns:
      (heat [B, h, w] float32, logits [B, C]).

    Raises:
      InputError: unknown layer or form.
    """
    chex.assert_rank(x, 4)
    chex.assert_shape(classes, (x.shape[0],))
    if form not in FORMS:
        raise InputError(f"explain.form={form!r} is unknown; known: {', '.join(FORMS)}")
    maps = feature_maps(module, variables, x)
    layer = layer or list(maps)[-1]
    if layer not in maps:
        near = ", ".join(difflib.get_close_matches(layer, maps, 3, 0.3)) or ", ".join(list(maps)[-3:])
        raise InputError(f"explain.layer={layer!r} is no feature map of this network; near: {near}")

    def score(delta: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        seen: list[jax.Array] = []

        def add(name: str, value: jax.Array) -> jax.Array:
            if name != layer:
                return value
            value = value + delta.astype(value.dtype)
            seen.append(value)
            return value

        logits = _apply(module, variables, x, add)
        if logits.shape[1] == 1:
            chosen = logits[:, 0] * jnp.where(classes > 0, 1, -1)
        else:
            chosen = jnp.take_along_axis(logits, classes[:, None], axis=1)[:, 0]
        return chosen.sum(), (seen[0].astype(jnp.float32), logits)

    zeros = jnp.zeros(maps[layer], jnp.float32)
    gradient, (value, logits) = jax.grad(score, has_aux=True)(zeros)
    if form == "guided":
        gradient = jnp.where((value > 0) & (gradient > 0), gradient, 0)
    heat = (value * gradient.mean((1, 2), keepdims=True)).sum(-1)
    return (jax.nn.relu(heat) if form == "plain" else heat), logits


def to_unit(heat: jax.Array) -> jax.Array:
    """Stretches each map [..., H, W] to [0, 1]; a constant one becomes 0."""
    low = heat.min((-2, -1), keepdims=True)
    span = heat.max((-2, -1), keepdims=True) - low
    return jnp.where(span > 0, (heat - low) / jnp.where(span > 0, span, 1), 0)


def _apply(module: nn.Module, variables: Any, x: Any, change: Any) -> jax.Array:
    """Logits, with every feature map replaced by `change(name, map)`."""

    def intercept(call: Any, args: Any, kwargs: Any, context: InterceptorContext) -> Any:
        value = call(*args, **kwargs)
        name = "/".join(context.module.path)
        if context.method_name == "__call__" and name and getattr(value, "ndim", 0) == 4:
            return change(name, value)
        return value

    with nn.intercept_methods(intercept):
        logits, _ = module.apply(variables, x, train=False)  # pyright: ignore[reportAssignmentType]
    return logits
