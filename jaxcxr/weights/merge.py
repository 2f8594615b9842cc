"""Puts a file's arrays into the variables of one of our networks: each is used, or named."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from jaxcxr.types import InputError
from jaxcxr.weights.rules import Renamed

_SHOWN = 12  # lines of one kind of problem


@dataclasses.dataclass(frozen=True)
class Merged:
    """A network's variables with a file's arrays in them.

    Attributes:
        variables: shaped like the template.
        fresh: names that keep the template's values (a new head, parts that the file lacks).
        left_out: name in the file -> why it was not used.
        checked_by: the check of the file's bytes in words, "" if unknown.
    """

    variables: dict[str, Any]
    fresh: list[str]
    left_out: dict[str, str]
    checked_by: str = ""


def merge(
    renamed: Renamed,
    template: Mapping[str, Any],
    *,
    new_head: Sequence[str] = (),
    first_conv: str = "",
    lacks: Sequence[str] = (),
) -> Merged:
    """Fills a network's variables.

    Args:
        renamed: the file's arrays under our names.
        template: {"params": ..., "batch_stats": ...} of the network; shapes do where nothing stays
            fresh.
        new_head: modules of the classifier that keep the template's values, whatever the file has
            there.
        first_conv: the first convolution. A file of 3 input channels fills a network of 1 by the
            sum over the channels: the same for a grey image, if all channels are normalised alike.
            A file of 1 fills a network of n by an n-th in each.
        lacks: modules that the file need not have.

    Raises:
        InputError: names every array without a place, every place without an array, and every wrong
            shape.
    """
    leaves = jax.tree_util.tree_flatten_with_path(dict(template))[0]
    places = {_name(keys): leaf for keys, leaf in leaves}
    left_out, filled = dict(renamed.left_out), {}
    unknown, shapes = [], []
    for name, value in renamed.arrays.items():
        source, place = renamed.sources[name], places.get(name)
        if _below(name, new_head):
            left_out[source] = "a new head takes its place"
        elif place is None:
            unknown.append(f"{source} {list(value.shape)}")
        else:
            if first_conv and name == f"{first_conv}/kernel":
                value = _with_channels(value, place.shape[2])
            filled[name] = value
            if value.shape != tuple(place.shape):
                shapes.append(
                    f"{source}: here it would be {list(value.shape)}, {name} is {list(place.shape)}"
                )
    fresh = [name for name in places if name not in filled and _below(name, [*new_head, *lacks])]
    missing = [name for name in places if name not in filled and name not in fresh]
    problems = {
        "arrays of the file have no place in the network": unknown,
        "arrays of the network are not in the file": missing,
        "arrays have another shape": shapes,
    }
    if any(problems.values()):
        raise InputError(_describe(problems))
    variables = jax.tree_util.tree_map_with_path(
        lambda keys, leaf: filled.get(_name(keys), leaf), dict(template)
    )
    return Merged(variables, fresh, left_out)


def matches(renamed: Renamed, template: Mapping[str, Any]) -> int:
    """The number of the file's arrays that have a place in the network."""
    leaves = jax.tree_util.tree_flatten_with_path(dict(template))[0]
    return len(renamed.arrays.keys() & {_name(keys) for keys, _ in leaves})


def _with_channels(kernel: np.ndarray, channels: int) -> np.ndarray:
    given = kernel.shape[2] if kernel.ndim == 4 else channels
    if given == channels:
        return kernel
    if channels == 1:
        return kernel.sum(axis=2, keepdims=True)
    return np.repeat(kernel, channels, axis=2) / np.float32(channels) if given == 1 else kernel


def _below(name: str, modules: Sequence[str]) -> bool:
    return any(name.startswith(f"{module}/") for module in modules)


def _name(keys: Any) -> str:
    """The path without its collection: params/fc/kernel -> fc/kernel (no leaf is in both)."""
    return jax.tree_util.keystr(keys, simple=True, separator="/").partition("/")[2]


def _describe(problems: Mapping[str, Sequence[str]]) -> str:
    lines = []
    for kind, found in problems.items():
        if found:
            lines.append(f"{len(found)} {kind}:")
            lines += [f"  {line}" for line in found[:_SHOWN]]
            if len(found) > _SHOWN:
                lines.append(f"  ... and {len(found) - _SHOWN} more")
    return "\n".join(lines)
