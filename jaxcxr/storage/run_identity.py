"""Identity of runs: the comparison of two configurations, or of two manifests.

The fields that differ, and the lines that show them.
"""

from __future__ import annotations

import difflib
import fnmatch
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jaxcxr import schema
from jaxcxr.storage.names import is_weights_file

# Fields and sections that do not change what a run computes: those of the schema, and what
# config.json has besides. In a study each also matches in the configurations of its stages:
# `learners.densenet161.train.log_every`, `learners.densenet161.name`, not `model.name`.
VOLATILE = (*schema.names_without("identity"), "workdir", *schema.RETIRED)
# Where other X-rays than the run's own are predicted: a network stays what it is, whoever finds
# the lungs of these, and whatever is done about masks of theirs that are empty or doubtful.
OTHER_LUNGS = (
    *VOLATILE,
    "masks.workdir",
    "masks.on_empty",
    "masks.on_implausible",
)
# Fields that name files and folders: where these lie may change, as when a study is moved.
_PATHS = (
    "masks.workdir",
    "inputs.learners",
    "study.learners_of",
    "study.beside",
    "model.pretrained",
    "data.manual_dir",
    "data.data_dir",
)


def differing_fields(
    one: Mapping[str, Any], other: Mapping[str, Any]
) -> dict[str, tuple[Any, Any]]:
    """Returns {'train.epochs': (value, value)} where two configurations compute something else.

    Where only one of them has a field the other value is None.
    """
    ours, theirs = fields(one, VOLATILE), fields(other, VOLATILE)
    pairs = {name: (ours.get(name), theirs.get(name)) for name in [*ours, *theirs]}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def fields(config: Mapping[str, Any], volatile: tuple[str, ...]) -> dict[str, Any]:
    """Returns 'optim.learning_rate' -> value for the fields that are not volatile.

    Args:
        config: nested.
        volatile: dotted names of fields and sections.
    """
    return {
        name: value
        for name, (own, value) in _flatten(config).items()
        if not any(own == part or own.startswith(f"{part}.") for part in volatile)
    }


def inputs(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of a manifest that a resumed run must find unchanged."""
    flat = {name: dict(manifest[name]) for name in ("dataset", "split") if name in manifest}
    # Whether the images are the same is told by the fingerprint.
    for listed in ("dropped", "notices", "builders"):
        flat.get("dataset", {}).pop(listed, None)
    for listed in ("counts", "composition"):
        flat.get("split", {}).pop(listed, None)
    if "upstream" in manifest:  # where the files lie may change
        flat["upstream"] = {
            f"{number} ({Path(entry['path']).name})": entry["sha256"]
            for number, entry in enumerate(manifest["upstream"])
        }
    return {name: value for name, (_, value) in _flatten(flat).items()}


def difference(saved: Mapping[str, Any], requested: Mapping[str, Any]) -> list[str]:
    """Returns '-'/'+' lines for what differs.

    A field that is gone or new shows the nearest name.
    """
    lines = []
    for name in sorted(saved.keys() | requested.keys()):
        if name in saved and name in requested and saved[name] == requested[name]:
            continue
        for mark, side, other in (("-", saved, requested), ("+", requested, saved)):
            if name in side:
                near = [] if name in other else difflib.get_close_matches(name, other, 1, 0.85)
                hint = f"   (the other side has {near[0]})" if near else ""
                lines.append(f"  {mark} {name} = {side[name]!r}{hint}")
    return lines


def with_absolute_paths(config: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """A configuration as config.json keeps it: its paths absolute, and `workdir`.

    From where they are elsewhere.
    """

    def absolute(text: str) -> str:
        return os.path.abspath(os.path.expanduser(text))

    return {**_map_paths(config, absolute), "workdir": os.path.abspath(folder)}


def moved(saved: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """A saved configuration whose run folder is now `folder`, with `schema.completed`'s fields.

    Paths that moved along with it lead there again.
    """
    saved = schema.completed(saved)
    before = saved.get("workdir")
    if not isinstance(before, str) or not before or before == os.path.abspath(folder):
        return saved

    def follow(text: str) -> str:
        new = os.path.normpath(os.path.join(os.path.abspath(folder), os.path.relpath(text, before)))
        return new if os.path.isabs(text) and os.path.exists(new) else text

    return _map_paths(saved, follow)


def same_paths(
    saved: dict[str, Any], requested: dict[str, Any], is_recorded: Callable[[str], bool]
) -> dict[str, Any]:
    """`saved` with the paths of `given` where both lead to the same place or masks.

    Both are flat.

    Args:
        saved: configuration of the run folder, dotted name -> value.
        requested: configuration of this start, in the same form.
        is_recorded: whether the masks of a segment run are those that the saved run was made from.
    """
    same = dict(saved)
    for name in saved.keys() & requested.keys():
        if _matches(name, _PATHS):
            moved_masks = (
                name == "masks.workdir" and requested[name] and is_recorded(requested[name])
            )
            if moved_masks or _real(name, saved[name]) == _real(name, requested[name]):
                same[name] = requested[name]
    return same


def _real(name: str, value: Any) -> Any:
    if isinstance(value, list):
        return [_real(name, item) for item in value]
    return os.path.realpath(os.path.expanduser(value)) if _is_path(name, value) else value


def _is_path(name: str, value: Any) -> bool:
    """Returns whether a value of _PATHS names a file, not catalogued weights or nothing."""
    if not isinstance(value, str) or not value or "://" in value:
        return False
    return not name.endswith("model.pretrained") or is_weights_file(value)


def _map_paths(
    config: Mapping[str, Any], change: Callable[[str], str], prefix: str = ""
) -> dict[str, Any]:
    flat = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            value = _map_paths(value, change, f"{name}.")
        elif _matches(name, _PATHS):
            if isinstance(value, list):
                value = [change(item) if _is_path(name, item) else item for item in value]
            elif _is_path(name, value):
                value = change(value)
        flat[key] = value
    return flat


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(
        fnmatch.fnmatchcase(name, p) or fnmatch.fnmatchcase(name, f"*.{p}") for p in patterns
    )


def _flatten(
    value: Mapping[str, Any], prefix: str = "", own: str = ""
) -> dict[str, tuple[str, Any]]:
    """Dotted name -> (the name within the innermost configuration, value).

    A section with `run` is a configuration.
    """
    flat = {}
    for key, item in value.items():
        if not isinstance(item, Mapping):
            flat[f"{prefix}{key}"] = f"{own}{key}", item
        else:
            flat |= _flatten(item, f"{prefix}{key}.", "" if "run" in item else f"{own}{key}.")
    return flat
