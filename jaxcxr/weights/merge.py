"""Puts a file's arrays into the variables of one of our networks: each is used, or named."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from jaxcxr.errors import InputError
from jaxcxr.weights.rules import ConvertedWeights

_SHOWN = 12  # lines of one kind of problem


@dataclasses.dataclass(frozen=True)
class LoadResult:
    """A network's variables with a file's arrays in them.

    Attributes:
        variables: shaped like the template.
        newly_initialized: names that keep the template's values (a new head, modules that are not
            in the file).
        unused: name in the file -> why it was not used.
        checked_by: the check of the file's bytes in words, "" if unknown.
        header: what a safetensors file of a user says of itself.
        doubts: sentences about values that are hardly a training's.
    """

    variables: dict[str, Any]
    newly_initialized: list[str]
    unused: dict[str, str]
    checked_by: str = ""
    header: Mapping[str, str] = dataclasses.field(default_factory=dict)
    doubts: tuple[str, ...] = ()


def merge(
    renamed: ConvertedWeights,
    template: Mapping[str, Any],
    *,
    new_head: Sequence[str] = (),
    first_conv: str = "",
    allow_missing: Sequence[str] = (),
) -> LoadResult:
    """Fills a network's variables.

    Args:
        renamed: the file's arrays under our names.
        template: {"params": ..., "batch_stats": ...} of the network; shapes suffice if no value
            of it is used.
        new_head: modules of the classifier that keep the template's values, whatever the file has
            there.
        first_conv: the first convolution. A file of 3 input channels fills a network of 1 by the
            sum over the channels: the same for a grey image, if all channels are normalised alike.
            A file of 1 fills a network of n by an n-th in each.
        allow_missing: modules that the file need not have.

    Raises:
        InputError: names every array without a place, every place without an array, and every wrong
            shape.
    """
    places = places_of(template)
    unused, filled = dict(renamed.unused), {}
    unknown, shapes = [], []
    for name, value in renamed.arrays.items():
        source, place = renamed.sources[name], places.get(name)
        if _below(name, new_head):
            unused[source] = "new values take its place (model.head=new)"
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
    newly_initialized = [
        name for name in places if name not in filled and _below(name, [*new_head, *allow_missing])
    ]
    missing = [name for name in places if name not in filled and name not in newly_initialized]
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
    return LoadResult(variables, newly_initialized, unused)


def matches(renamed: ConvertedWeights, template: Mapping[str, Any]) -> int:
    """The number of the file's arrays that have a place in the network."""
    return len(renamed.arrays.keys() & places_of(template).keys())


def places_of(variables: Mapping[str, Any]) -> dict[str, Any]:
    """The leaves of a network's variables under our names."""
    leaves = jax.tree_util.tree_flatten_with_path(dict(variables))[0]
    return {_name(keys): leaf for keys, leaf in leaves}


def _with_channels(kernel: np.ndarray, channels: int) -> np.ndarray:
    file_channels = kernel.shape[2] if kernel.ndim == 4 else channels
    if file_channels == channels:
        return kernel
    if channels == 1:
        return kernel.sum(axis=2, keepdims=True)
    return (
        np.repeat(kernel, channels, axis=2) / np.float32(channels) if file_channels == 1 else kernel
    )


def _below(name: str, modules: Sequence[str]) -> bool:
    return any(name.startswith(f"{module}/") for module in modules)


def _name(keys: Any) -> str:
    """The path without its collection: params/fc/kernel -> fc/kernel (no leaf is in both)."""
    return jax.tree_util.keystr(keys, simple=True, separator="/").partition("/")[2]


def _describe(problems: Mapping[str, Sequence[str]]) -> str:
    lines = []
    for kind, entries in problems.items():
        if entries:
            lines.append(f"{len(entries)} {kind}:")
            lines += [f"  {line}" for line in entries[:_SHOWN]]
            if len(entries) > _SHOWN:
                lines.append(f"  ... and {len(entries) - _SHOWN} more")
    return "\n".join(lines)
