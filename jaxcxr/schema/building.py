"""Configs made from tables of values: 'optim.learning_rate' -> 1e-3."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from jaxcxr.errors import InputError
from jaxcxr.schema.checking import check, checked_value, section_of, unknown_field
from jaxcxr.schema.field import Field, Section, Value
from jaxcxr.schema.tasks import KINDS

PRESETS = ("", "small", "paper")
Table = Mapping[str, Value]
Stages = Mapping[str, Any]  # name -> config of a stage, or further stages by name


@dataclasses.dataclass(frozen=True)
class Experiment:
    """What an experiment file gives: a kind of config and its values, in all presets and in each.

    Attributes:
        kind: see `config`.
        fields: tables of what all presets have.
        presets: preset -> tables of what it adds. No field is set twice.
    """

    kind: str
    fields: Sequence[Table]
    presets: Mapping[str, Sequence[Table]]

    def config(
        self, preset: str = "", *, name: str = "", changed: Table | None = None
    ) -> ConfigDict:
        """The config of a preset.

        Args:
            preset: the word after the colon.
            name: of the run folder, to which the preset is added; '' for a stage of a study.
            changed: values that take the place of those here, as a study's stage has them.

        Raises:
            InputError: there is no such preset, or see `config`.
        """
        check_preset(preset, self.presets)
        values = merged(*self.fields, *self.presets[preset])
        return config(self.kind, {**values, **(changed or {}), "name": run_name(name, preset)})


def check_preset(preset: str, known: Iterable[str] = PRESETS) -> None:
    """Checks the word after the colon of --config.

    Raises:
        InputError: there is no such preset.
    """
    if preset not in (known := tuple(known)):
        raise InputError(
            f"unknown preset {preset!r} after the colon of --config; known: "
            f"{', '.join(map(repr, known))}"
        )


def run_name(name: str, preset: str) -> str:
    """The name of a run folder: of the experiment, and of the preset where it has one."""
    return f"{name}-{preset}" if name and preset else name


def config(kind: str, *tables: Table, **stages: Stages) -> ConfigDict:
    """A config with all fields of its kind: the given values, and defaults elsewhere.

    Args:
        kind: segment, classify or ensemble; of studies flannel or classifiers.
        *tables: dotted field -> value. No two of them may set the same field.
        **stages: of a study: its stages.

    Raises:
        InputError: a field is unknown, or set twice, or its value is not allowed.
    """
    if kind not in KINDS:
        raise InputError(f"there is no kind of config {kind!r}; known: {', '.join(KINDS)}")
    made = _defaults(KINDS[kind])
    known = [name for name, _ in KINDS[kind].flat()]
    for name, value in merged(*tables).items():
        if not _set(made, KINDS[kind], name, value):
            raise unknown_field(name, known)
    for name, stage in stages.items():
        made[name] = stage if isinstance(stage, ConfigDict) else ConfigDict(dict(stage))
    check(made)
    return made


def changed(made: ConfigDict, values: Table) -> ConfigDict:
    """A copy of a config with other values of some of its fields.

    Raises:
        InputError: a field is unknown, or its value is not allowed.
    """
    copy, section = made.copy_and_resolve_references(), section_of(made)
    for name, value in values.items():
        if not _set(copy, section, name, value):
            raise unknown_field(name, [known for known, _ in section.flat()])
    return copy


def merged(*tables: Table) -> dict[str, Value]:
    """One table of several that set different fields.

    Raises:
        InputError: two of them set the same field: then neither shows what it is.
    """
    values: dict[str, Value] = {}
    for table in tables:
        twice = values.keys() & table.keys()
        if twice:
            raise InputError(
                f"{', '.join(sorted(twice))}: set by two tables of one config; give it in one"
            )
        values |= table
    return values


def _defaults(section: Section) -> ConfigDict:
    made = ConfigDict()
    for name, item in section.items():
        made[name] = item.default if isinstance(item, Field) else _defaults(item)
    return made


def _set(config: ConfigDict, section: Section, field: str, value: Any) -> bool:
    """Sets a dotted field, in an open section any; returns False where there is no such field."""
    *names, last = field.split(".")
    for name in names:
        item = section.get(name)
        if isinstance(item, Section):
            section = item
        elif not section.is_open:
            return False
        if name not in config:
            config[name] = ConfigDict()
        config = config[name]
    item = section.get(last)
    if isinstance(item, Field):
        value = checked_value(field, item, value)
    elif item is not None or not section.is_open:
        return False
    config[last] = value
    return True
