"""`python -m jaxcxr.weights list | info NAME | convert IN OUT | verify NAME FILE`."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from jaxcxr import models
from jaxcxr.errors import InputError
from jaxcxr.models.initialise import initialise
from jaxcxr.storage import files, names, streams
from jaxcxr.weights import catalog, fetch
from jaxcxr.weights.catalog import CATALOG
from jaxcxr.weights.loading import Source, best_family, find, load, save
from jaxcxr.weights.merge import matches
from jaxcxr.weights.read import read
from jaxcxr.weights.rules import FAMILIES, ConvertedWeights, rename

_SIDE = 299  # pixels: enough for every network
_NO_NETWORK = "no network here has arrays of such shapes"


def list_entries() -> None:
    """Prints one line per entry."""
    print(f"{'name':30} {'input':>9}  {'classes':>7}  {'top-1':>6}  {'here':6}  licence")
    for entry in CATALOG.values():
        here = "yes" if fetch.place(entry).is_file() else ""
        size = f"{entry.input_size} x {entry.in_channels}"
        top1 = f"{entry.top1:.2f}" if entry.top1 else ""
        print(
            f"{entry.name:30} {size:>9}  {entry.classes or '-':>7}  {top1:>6}  {here:6}  "
            f"{entry.licence}"
        )


def info(name: str) -> None:
    """Everything that is known of an entry."""
    entry = catalog.find(name)
    low, high = entry.value_range
    print(f"{entry.name}: {entry.paper}")
    print(f"  licence    {entry.licence}")
    print(
        f"  input      {entry.input_size} px, {entry.in_channels} channel(s), "
        f"{entry.interpolation} resizing"
    )
    print(f"  mean, std  {_numbers(entry.mean)}; {_numbers(entry.std)} of values in [0, 1]")
    print(f"  range      black {low:.4g}, white {high:.4g} in the first channel")
    print(f"  first conv {catalog.first_conv_of(entry.arch)}")
    head = ", ".join(catalog.head_of(entry.arch)) if entry.classes else "not in the file"
    print(f"  head       {head}" + (f", {entry.classes} classes" if entry.classes else ""))
    if entry.labels:
        print(f"  labels     {', '.join(entry.labels)}")
    if entry.top1:
        print(f"  ImageNet   {entry.top1:.3f} % top-1, as published")
    print(fetch.download_instructions(entry))


def convert(given: str, out: str) -> None:
    """Writes a file's arrays under our names as safetensors.

    After finding them a network that they fill.
    """
    path = Path(out)
    if path.suffix != ".safetensors":
        raise InputError(
            f"{out}: what is written is safetensors, so the name must end in .safetensors"
        )
    source = find(given)
    arrays = read(source.path)
    with files.reading(source.path, _NO_NETWORK):
        arch, family, renamed = identify(
            arrays, [source.entry.arch] if source.entry else sorted(_archs())
        )
        headless = f"{catalog.head_of(arch)[0]}/kernel" not in renamed.arrays
        # Features alone may fit another head's network better, with fewer arrays of its own.
        if headless:
            arch = models.backbone(arch)
        # Raises unless it fits.
        loaded = load(source, _template(arch, renamed), arch=arch, new_head=headless)
    save(path, renamed, origin=given)
    for name in loaded.newly_initialized:
        print(f"not in the file: {name}")
    unused: dict[str, list[str]] = {}
    for name, reason in renamed.unused.items():
        unused.setdefault(reason, []).append(name)
    for reason, sources in unused.items():
        more = f" and {len(sources) - 1} more" if len(sources) > 1 else ""
        print(f"not used, {reason}: {sources[0]}{more}")
    print(f"{path}: {arch}, {len(renamed.arrays)} arrays, read as {family}")


def verify(name: str, file: str) -> None:
    """Checks that a file is the published one and fills the network."""
    entry, path = catalog.find(name), Path(file)
    if not path.is_file():
        raise InputError(f"{file} does not exist")
    problem = fetch.problem_with(path, entry)
    if problem is not None:
        raise InputError(f"{file} {problem}")
    renamed = rename(read(path), FAMILIES[entry.family])
    with files.reading(path, _NO_NETWORK):
        template = _template(entry.arch, renamed)
        load(Source(name, entry, path), template, arch=entry.arch, new_head=entry.classes == 0)
    hashed = (
        "size and hash are the published ones"
        if entry.sha256 or entry.md5
        else "no hash is published"
    )
    print(f"{file} fills {entry.arch} ({len(renamed.arrays)} arrays); {hashed}")


def identify(arrays: Mapping[str, Any], archs: list[str]) -> tuple[str, str, ConvertedWeights]:
    """(architecture, naming, arrays under our names) of a file.

    The network is the one in which most of them have a place.
    """
    best: tuple[float, str, str, ConvertedWeights] | None = None
    for arch in archs:
        template = _shapes(arch, 1000, 3)
        family, renamed = best_family(arrays, template, arch)
        matched = matches(renamed, template)
        score = matched / (len(renamed.arrays) + len(jax.tree.leaves(template)) - matched)
        if best is None or score > best[0]:
            best = (score, arch, family, renamed)
    assert best is not None
    return best[1:]


def _archs() -> set[str]:
    """The catalogue's networks, and those that have the features of one."""
    published = {entry.arch for entry in CATALOG.values()}
    return {arch for arch in models.MODELS if models.backbone(arch) in published}


def _template(arch: str, renamed: ConvertedWeights) -> dict[str, Any]:
    """Shapes of the network with the file's own head and input channels."""
    head = renamed.arrays.get(f"{catalog.head_of(arch)[0]}/kernel")
    first = renamed.arrays.get(f"{catalog.first_conv_of(arch)}/kernel")
    return _shapes(
        arch,
        1000 if head is None else head.shape[-1],
        first.shape[2] if first is not None and first.ndim == 4 else 3,
        _side(renamed) if arch == "covid_cxnet_base" else _SIDE,
    )


def _side(renamed: ConvertedWeights) -> int:
    """Smallest image that fits the file's first dense layer: all other networks take any."""
    dense, conv = (renamed.arrays.get(f"{name}/kernel") for name in ("fc_layer1", "conv_layer5"))
    if dense is None or conv is None:
        return _SIDE
    side = math.isqrt(dense.shape[0] // conv.shape[-1])
    for window in (3, 3, 3, 3, 5):
        side = 2 * (side - 1) + window
    return side


def _shapes(arch: str, classes: int, channels: int, side: int = _SIDE) -> dict[str, Any]:
    module = models.build(arch, num_classes=classes, in_channels=channels)
    return initialise(module, None, jax.ShapeDtypeStruct((1, side, side, channels), jnp.float32))


def _numbers(values: tuple[float, ...]) -> str:
    return " ".join(f"{value:.6g}" for value in values)


def main(arguments: list[str]) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m jaxcxr.weights", description="Pretrained weights."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="the catalogue")
    commands.add_parser("info", help="one entry").add_argument("name")
    into = commands.add_parser(
        "convert", help="any weight file, or an entry, into safetensors with our names"
    )
    into.add_argument("given", metavar="IN")
    into.add_argument("out", metavar="OUT")
    check = commands.add_parser(
        "verify", help="whether a file is an entry's, and fills its network"
    )
    check.add_argument("name")
    check.add_argument("file")
    given = parser.parse_args(arguments)
    try:
        if given.command == "list":
            list_entries()
        elif given.command == "info":
            info(given.name)
        elif given.command == "convert":
            convert(given.given, given.out)
        else:
            verify(given.name, given.file)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    names.print_whatever_comes()
    with streams.quiet_when_unread():
        sys.exit(main(sys.argv[1:]))
