"""Shape of each JSON file of a run folder; a file of another shape is damaged."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxcxr.errors import InputError
from jaxcxr.storage import files

CONFIG, MANIFEST, FINISHED, TIMINGS, TRAINING, STAGES, SEGMENTATION, PRETRAINED, LR_FIND = (
    "config.json", "manifest.json", "finished.json", "timings.json", "training.json", "stages.json",
    "segmentation.json", "pretrained.json", "lr_find.json",
)  # fmt: skip
DATA_CHECKS = "data_checks"  # a folder: what --config.run=check_data writes
SEALED = "checksums"  # the mark in finished.json that checksums.json is there
REFERENCE = "reference.png"  # the image that all histograms are matched to
_DEPTH = 60  # of objects in objects


class Closed(dict[str, Any]):
    """A shape {name: shape} of an object that has no other names."""


# A shape is a type, a tuple of types, NUMBER, [shape] of a list, {str: shape} of any names, or
# {name: shape}, where a name with ? may be missing and names beyond these are free, or `Closed`.
NUMBER = "number"
_COUNT = (int, type(None))
_SCORES = {
    "accuracy": NUMBER,
    "jaccard": NUMBER,
    "dice": NUMBER,
    "pooled_jaccard": NUMBER,
    "pooled_dice": NUMBER,
}
_MEAN = {"mean": NUMBER, "low": NUMBER, "high": NUMBER}
_PER_IMAGE = {  # of segmentation.csv
    "file": str,
    "threshold": NUMBER,
    "side": int,
    "groups": [
        {
            "group": str, "name": str, "structure": str, "images": int, "patients": int,
            "dice": {**_MEAN, "worst_decile": NUMBER},
            "jaccard": _MEAN,
            "hd95": {"images": int, "mean": NUMBER, "median": NUMBER, "mean_percent": NUMBER},
            "hd95_undefined": {
                "no_prediction": int, "no_reference": int, "neither": int, "no_outline": int,
            },
        }
    ],
    "worst": [
        {
            "id": str, "patient": str, "source": str, "class": str, "structure": str,
            "dice": NUMBER, "jaccard": NUMBER, "hd95": NUMBER,
        }
    ],
}  # fmt: skip
_TABLES = {field: {str: {str: int}} for field in ("source", "age_group")}
_NUMBERS = {"images": int, "patients": int}
_ROW = {**_NUMBERS, "classes": {str: _NUMBERS}}
_COMPOSITION = {
    "views?": bool,
    "splits?": {
        str: {"all": _ROW, "source": {str: _ROW}, "view": {str: _ROW},
              "source_view": {str: {str: _ROW}}}
    },
}  # fmt: skip
_UPSTREAM = {"path": str, "sha256": str}
_SECTION = {"enabled?": (bool, str)}
SHAPES: Mapping[str, Any] = {
    CONFIG: {
        "task?": str, "workdir?": str, "seed?": int, "patches?": _SECTION, "level1?": dict,
        "masks?": {"workdir?": str},
        **{f"{name}?": dict for name in ("model", "optim", "train", "split", "study", "explain",
                                         "parallel")},
        "data?": {"data_dir?": str, "manual_dir?": str},
    },
    MANIFEST: {
        "dataset?": {"images?": _COUNT, "fingerprint?": str, "builders?": {str: str}},
        "split?": {"sha256?": str, "sizes?": {str: int}, "counts?": {str: _TABLES},
                   "composition?": _COMPOSITION},
        "upstream?": [_UPSTREAM],
        "earlier_starts?": [dict],
        "versions?": dict,
    },
    # Nothing else says that a run was trained: a mark whose name is damaged must not be missed.
    FINISHED: Closed({"fit?": dict, "train?": dict, f"{SEALED}?": dict}),
    TIMINGS: {"stages": {str: {"seconds": NUMBER, "images?": _COUNT, "patches?": _COUNT}}},
    TRAINING: {"step": int, "best_step?": _COUNT, "best?": NUMBER},
    STAGES: {str: {"inputs": {str: str}, "seconds": NUMBER}},
    SEGMENTATION: {
        "structures": {str: {"jaccard": NUMBER, "jaccard_smoothed": NUMBER, "dice": NUMBER}},
        "split": str,
        "images": int,
        "scores?": [{"choice": str, "threshold": NUMBER, **_SCORES}],
        "classes?": {str: {"images": int, **_SCORES}},
        "per_image?": _PER_IMAGE,
    },
    PRETRAINED: {"name": str, "file": _UPSTREAM, "note?": str},
}  # fmt: skip


def read(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Reads a JSON file of a run folder.

    Raises:
        InputError: it is missing, or it is not what its name says.
    """
    value = files.read_json(path)
    problem = "" if _depth(value) <= _DEPTH else f"is nested more than {_DEPTH} deep"
    problem = problem or misfit(value, SHAPES.get(Path(path).name, dict))
    if not problem and Path(path).name == FINISHED and "train" in value and "fit" not in value:
        problem = "train without fit"
    if problem:
        raise InputError(
            f"{path} is damaged ({problem}): put the file back, or delete the run folder and "
            "start the run again."
        )
    return value


def misfit(value: Any, shape: Any, name: str = "") -> str:
    """Description of the place where a JSON value departs from a shape; '' where it fits."""
    where = name or "the whole"
    if shape is NUMBER:
        return "" if value is None or is_number(value) else f"{where} is no number"
    if isinstance(shape, (type, tuple)):
        kinds = shape if isinstance(shape, tuple) else (shape,)
        if isinstance(value, bool):
            fits = bool in kinds
        else:
            fits = isinstance(value, kinds) and (not isinstance(value, int) or is_number(value))
        if fits:
            return ""
        return f"{where} is no {' or '.join(_NAMES.get(kind, kind.__name__) for kind in kinds)}"
    if isinstance(shape, list):
        if not isinstance(value, list):
            return f"{where} is no list"
        return _first(misfit(item, shape[0], f"{name}[{n}]") for n, item in enumerate(value))
    if not isinstance(value, dict):
        return f"{where} is no object"
    prefix = f"{name}." if name else ""
    if str in shape:
        return _first(misfit(item, shape[str], f"{prefix}{key}") for key, item in value.items())
    for key, part in shape.items():
        plain = key.removesuffix("?")
        if plain not in value:
            if plain == key:
                return f"{prefix}{plain} is missing"
            continue
        if problem := misfit(value[plain], part, f"{prefix}{plain}"):
            return problem
    if isinstance(shape, Closed):
        known = {key.removesuffix("?") for key in shape}
        return _first(f"{prefix}{key} is unknown" for key in value if key not in known)
    return ""


def is_number(value: Any) -> bool:
    """Returns whether a JSON value is a finite number that a float can hold."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False


_NAMES = {
    dict: "object",
    list: "list",
    str: "text",
    int: "whole number",
    type(None): "null",
    bool: "true or false",
}


def _first(problems: Any) -> str:
    return next(filter(None, problems), "")


def _depth(value: Any) -> int:
    """Depth of nested containers, computed without recursion."""
    depth, level = 0, [value]
    while level := [v for v in level if isinstance(v, (dict, list))]:
        depth += 1
        level = [item for v in level for item in (v.values() if isinstance(v, dict) else v)]
    return depth
