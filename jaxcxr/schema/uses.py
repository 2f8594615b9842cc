"""Who reads a field: run modes, the identity of runs, compiled programs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

from ml_collections import ConfigDict

from jaxcxr.errors import InputError
from jaxcxr.schema.checking import section_of, stages
from jaxcxr.schema.field import Field, Section
from jaxcxr.schema.tasks import KINDS


def names_without(use: Literal["identity", "compiled"]) -> tuple[str, ...]:
    """Fields that do not belong to a run's identity, or that no compiled program depends on.

    A section of nothing else stands by its own name, "predict" for "predict.splits" and the like.
    """

    def names(section: Section, prefix: str = "") -> Iterator[str]:
        for name, item in section.items():
            if not getattr(item, use):
                yield prefix + name
            elif isinstance(item, Section):
                yield from names(item, f"{prefix}{name}.")

    return tuple(dict.fromkeys(name for section in KINDS.values() for name in names(section)))


def check_read(config: ConfigDict, run: str, fields: Iterable[str]) -> None:
    """Checks that a run mode reads the fields that a command sets.

    A field of a run's identity is read by all: the run folder is compared with it.

    Args:
        config: whose fields they are.
        run: the run mode.
        fields: dotted names, of a study with those of its stages.

    Raises:
        InputError: it does not read one of them; names the run modes that do.
    """
    by_prefix = dict(stages(config))
    for name in fields:
        prefix = max((p for p in by_prefix if name.startswith(p)), key=len)
        stage = by_prefix[prefix]
        field = section_of(stage).find(name.removeprefix(prefix))
        if not isinstance(field, Field) or field.read_by is None:
            continue
        modes = _modes(stage) if prefix else {run}
        if modes.isdisjoint(field.read_by):
            raise InputError(
                f"--config.{name} is not read by --config.run={run}, but by "
                f"{' and '.join(field.read_by)}: leave it out, or name that run mode"
            )


def is_read(name: str, run: str) -> bool:
    """Whether a run mode reads a field, of whichever kind of config; a field of none is read."""
    fields = [section.find(name) for section in KINDS.values()]
    readers = [field.read_by for field in fields if isinstance(field, Field)]
    return not readers or any(modes is None or run in modes for modes in readers)


def _modes(stage: ConfigDict) -> set[str]:
    """The run modes that a study's stage goes through."""
    return {"train", "predict"} if stage.task == "segment" else {"train"}
