"""The one check of a config's fields: that they exist, and that their values are allowed."""

from __future__ import annotations

import difflib
import functools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar, cast

from ml_collections import ConfigDict

from jaxcxr.errors import InputError
from jaxcxr.schema.field import Field, Section
from jaxcxr.schema.tasks import KINDS

P = ParamSpec("P")
T = TypeVar("T")

RETIRED = ("data.cache_dir",)  # fields of earlier versions, which their run folders have
# Fields and sections whose default is what runs did before there was the field.
LATER = (
    "augment.borders",
    "augment.contrast",
    "augment.gamma",
    "augment.inverted",
    "augment.noise",
    "augment.objects",
    "augment.quarter_turns",
    "data.form",
    "data.sources",
    "evaluate.data.form",
    "evaluate.data.sources",
    "evaluate.data",  # of segmenters; after its fields, which others had before
    "evaluate.same_source",
    "loss.alpha",
    "loss.dice",
    "masks.by_source",
    "masks.hull_margin",
    "masks.within",
    "model.norm_momentum",
    "model.norm_statistics",
    "optim.average",
    "optim.layer_rates",
    "patch_counts",
    "predict.data.form",
    "predict.data.sources",
    "predict.largest_pieces",
    "predict.structure",
    "split.file",
    "train.cache_features",
    "train.shuffle_labels",
)
# Fields whose default is something else -> what runs did before there was the field.
EARLIER = {"split.duplicates": "apart"}
_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


def section_of(config: Mapping[str, Any]) -> Section:
    """The fields of a config's kind.

    Raises:
        InputError: it is of no kind.
    """
    kind, field = config.get("task"), "task"
    if kind == "study":
        kind, field = (config.get("study") or {}).get("system"), "study.system"
    if kind not in KINDS:
        names = ["segment", "classify", "ensemble", "study"]
        raise unknown_value(field, kind, names if field == "task" else ["flannel", "classifiers"])
    return KINDS[kind]


def stages(config: ConfigDict, prefix: str = "") -> Iterator[tuple[str, ConfigDict]]:
    """('learners.densenet161.', its config) of every stage of a study; ('', config) first."""
    if "task" in config:
        yield prefix, config
    for name, item in config.items():
        if holds_stages(item):
            yield from stages(item, f"{prefix}{name}.")


def holds_stages(item: Any) -> bool:
    """Whether a field of a study is a stage, or a section of stages."""
    if not isinstance(item, ConfigDict):
        return False
    return "task" in item or any(holds_stages(inner) for inner in item.values())


def check(config: ConfigDict) -> None:
    """Checks the fields of a config and of its stages.

    A field that is missing is none of its faults: a run folder may be older than the field.

    Raises:
        InputError: a field is unknown, or a value is of another type or not an allowed one.
    """
    for prefix, stage in stages(config):
        section = section_of(stage)
        for name in _unknown(stage, section, prefix):
            if name.removeprefix(prefix) not in RETIRED:
                raise unknown_field(name, [prefix + known for known, _ in section.flat()])


def completed(saved: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of a run folder with the fields that it is older than."""
    complete = {k: completed(v) if isinstance(v, Mapping) else v for k, v in saved.items()}
    section = KINDS.get(str(saved.get("task")), Section({}))
    for name in (*LATER, *EARLIER):
        *parts, field = name.split(".")
        later, part = section.find(name), complete
        for key in parts:
            part = part.get(key) if isinstance(part, dict) else None
        if later is not None and isinstance(part, dict):
            part.setdefault(field, EARLIER.get(name, _json_default(later)))
    return complete


def _json_default(item: Field | Section) -> Any:
    """A field's default as JSON has it, or those of a section."""
    if isinstance(item, Section):
        return {name: _json_default(part) for name, part in item.items()}
    return list(item.default) if isinstance(item.default, tuple) else item.default


def checked(function: Callable[P, T]) -> Callable[P, T]:
    """A function of a config, such as a run mode, that checks the config first."""

    @functools.wraps(function)
    def with_check(*args: P.args, **kwargs: P.kwargs) -> T:
        config = kwargs["config"] if "config" in kwargs else args[0]
        check(cast("ConfigDict", config))
        return function(*args, **kwargs)

    return with_check


def _unknown(values: ConfigDict, section: Section, prefix: str) -> Iterator[str]:
    """The fields that a section does not have.

    Raises:
        InputError: one that it has is of another type, or has a value that is not allowed.
    """
    for name, value in values.items():
        item, field = section.get(name), f"{prefix}{name}"
        if isinstance(item, Field) and not isinstance(value, ConfigDict):
            checked_value(field, item, value)
        elif isinstance(item, Section) and isinstance(value, ConfigDict):
            yield from _unknown(value, item, f"{field}.")
        elif not section.is_open and not (holds_stages(value) or _is_empty_section(value)):
            yield field


def _is_empty_section(value: Any) -> bool:
    return isinstance(value, ConfigDict) and not value


def checked_value(name: str, field: Field, value: Any) -> Any:
    """The value as a config has it: a whole number is a number, too, and a list a tuple.

    Raises:
        InputError: it is of another type, no finite number, or not an allowed one.
    """
    wanted = field.item_type
    if not isinstance(field.default, tuple):
        value = _checked_type(name, wanted, value)
        items: Iterable[Any] = (value,)
    elif isinstance(value, (tuple, list)):
        items = value = tuple(_checked_type(name, wanted, item) for item in value)
    else:
        raise InputError(f"{name}={value!r}: give ({_WORDS[wanted]}, ...) with brackets and comma")
    if field.items and len(value) != field.items:
        raise InputError(f"{name}={value!r}: give {field.items} numbers")
    for item in items:
        if field.values and item not in field.values:
            raise unknown_value(name, item, field.values)
        if field.within is not None and not field.within.has(item):
            raise InputError(f"{name}={value!r}: give {field.within}")
    return value


def _checked_type(name: str, wanted: type, value: Any) -> Any:
    fits = isinstance(value, (int, float) if wanted is float else wanted)
    if not fits or (isinstance(value, bool) and wanted is not bool):
        raise InputError(f"{name}={value!r}: give {_WORDS[wanted]}")
    if wanted is float and not math.isfinite(value):
        raise InputError(f"{name}={value!r} is no finite number")
    return float(value) if wanted is float else value


def unknown_value(name: str, value: Any, known: Sequence[str]) -> InputError:
    """The error of a value that is not among the allowed ones."""
    return InputError(
        f"{name}={value!r} is unknown; known: {', '.join(known)}{_near(value, known)}"
    )


def _near(value: Any, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(str(value), known, 1)
    return f"; did you mean {near[0]}?" if near else ""


def unknown_field(name: str, known: Sequence[str]) -> InputError:
    """The error of a field that a config does not have; names the nearest one."""
    near = difflib.get_close_matches(name, known, 1, 0)
    return InputError(f"there is no field config.{name}; did you mean --config.{near[0]}?")


def field_names(config: ConfigDict, prefix: str = "") -> list[str]:
    """'optim.learning_rate', ...: what can be set."""
    names = []
    for name, value in config.items():
        if isinstance(value, ConfigDict):
            names += field_names(value, f"{prefix}{name}.")
        else:
            names.append(f"{prefix}{name}")
    return names
