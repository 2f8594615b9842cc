"""A field of a config, and the sections that fields stand in."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

Value = bool | int | float | str | tuple[Any, ...]


class Range(NamedTuple):
    """The numbers that a field allows.

    Attributes:
        low: the least one.
        high: the largest one.
        above: whether `low` itself is too low.
        below: whether `high` itself is too high.
    """

    low: float = -math.inf
    high: float = math.inf
    above: bool = False
    below: bool = False

    def has(self, number: float) -> bool:
        """Whether a number is one of them."""
        if (self.above and number == self.low) or (self.below and number == self.high):
            return False
        return self.low <= number <= self.high

    def __str__(self) -> str:
        low = f"above {_text(self.low)}" if self.above else f"{_text(self.low)} or more"
        if math.isinf(self.high):
            return low
        high = f"below {_text(self.high)}" if self.below else f"at most {_text(self.high)}"
        return f"{low}, {high}"


def _text(number: float) -> str:
    return str(int(number)) if number == int(number) else str(number)


NOT_NEGATIVE, POSITIVE, COUNT = Range(0), Range(0, above=True), Range(1)
FRACTION, BELOW_ONE, PART = Range(0, 1), Range(0, 1, below=True), Range(0, 1, above=True)
ROTATION = Range(0, 180)  # degrees
SEED_RANGE = Range(0, 2**32 - 1)  # what JAX makes a key of


@dataclasses.dataclass(frozen=True)
class Field:
    """A field of a config, all that is known of it.

    Attributes:
        default: its value where an experiment gives none; the type is that of all its values.
        meaning: for `--help`.
        values: the allowed ones, of a tuple those of its items; (): any of the type.
        of: type of the items of a tuple, where the default is an empty one.
        within: the allowed numbers, of a tuple those of its items; None: any finite one.
        items: how many a tuple has; 0: any number of them.
        read_by: run modes that read it; None: all, of those that open the section's data.
        identity: whether it belongs to what a run is: the same command with another value is
            another run, which needs a folder of its own.
        compiled: whether a compiled program may depend on it.
    """

    default: Value
    meaning: str = ""
    values: tuple[str, ...] = ()
    of: type = str
    within: Range | None = None
    items: int = 0
    read_by: tuple[str, ...] | None = None
    identity: bool = True
    compiled: bool = True

    @property
    def item_type(self) -> type:
        """The type of its value, of a tuple that of its items."""
        if not isinstance(self.default, tuple):
            return type(self.default)
        return type(self.default[0]) if self.default else self.of


class Section(Mapping[str, "Field | Section"]):
    """Fields and sections by name, in the order in which a config has them.

    `section | {...}` is a section with more fields; a plain value there is another default.
    """

    def __init__(
        self,
        fields: Mapping[str, Field | Section],
        meaning: str = "",
        *,
        read_by: tuple[str, ...] | None = None,
        identity: bool = True,
        compiled: bool = True,
        is_open: bool = False,
    ):
        """A section whose fields have what is said of it.

        Args:
            fields: name -> field or section.
            meaning: for `--help`.
            read_by: of all its fields that do not say it themselves, see `Field`.
            identity: False: no field of it belongs to a run's identity.
            compiled: False: no compiled program depends on it.
            is_open: whether a config may have further fields and sections in it.
        """
        self._fields = dict(fields)
        self.meaning = meaning
        self.read_by, self.identity, self.compiled = read_by, identity, compiled
        self.is_open = is_open

    def __getitem__(self, name: str) -> Field | Section:
        return self._fields[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __or__(self, more: Mapping[str, Field | Section | Value]) -> Section:
        return self.but(more)

    def but(
        self, more: Mapping[str, Field | Section | Value], *, meaning: str | None = None
    ) -> Section:
        """The section with other fields, other defaults or another meaning."""
        fields = dict(self._fields)
        for name, item in more.items():
            if isinstance(item, (Field, Section)):
                fields[name] = item
            else:
                known = fields[name]
                assert isinstance(known, Field), f"{name} is a section"
                fields[name] = dataclasses.replace(known, default=item)
        return Section(
            fields,
            self.meaning if meaning is None else meaning,
            read_by=self.read_by,
            identity=self.identity,
            compiled=self.compiled,
            is_open=self.is_open,
        )

    def resolved(self, name: str) -> Field | Section:
        """A field or section of this one with what it has from here."""
        item = self._fields[name]
        inherited: dict[str, Any] = {
            "read_by": self.read_by if item.read_by is None else item.read_by,
            "identity": item.identity and self.identity,
            "compiled": item.compiled and self.compiled,
        }
        if isinstance(item, Field):
            return dataclasses.replace(item, **inherited)
        return Section(item._fields, item.meaning, is_open=item.is_open, **inherited)

    def find(self, name: str) -> Field | Section | None:
        """A field or section by its dotted name, with what it has from its sections."""
        first, _, rest = name.partition(".")
        item = self.resolved(first) if first in self else None
        if not rest:
            return item
        return item.find(rest) if isinstance(item, Section) else None

    def flat(self, prefix: str = "") -> Iterator[tuple[str, Field]]:
        """('optim.learning_rate', field) of every field, with what it has from its sections."""
        for name in self._fields:
            item = self.resolved(name)
            if isinstance(item, Field):
                yield prefix + name, item
            else:
                yield from item.flat(f"{prefix}{name}.")
