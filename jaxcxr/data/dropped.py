"""Images of a data set that a run does not use: counts, names and reasons.

Too many of them at fault are an error.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from jaxcxr.errors import InputError

NAMES = 3  # shown of each reason


@dataclasses.dataclass(frozen=True)
class Dropped:
    """Images, or rows of a table, that are not used for one reason.

    Attributes:
        count: their number.
        names: the first of them, at most `NAMES`.
        is_fault: they should have been usable (a missing file), and were not excluded on purpose (a
            lateral view).
    """

    count: int
    names: tuple[str, ...] = ()
    is_fault: bool = False

    @classmethod
    def of(cls, names: Sequence[str], *, is_fault: bool) -> Dropped:
        """All of these."""
        return cls(len(names), tuple(names[:NAMES]), is_fault)

    def __str__(self) -> str:
        names = ", ".join(self.names) + (", ..." if self.count > len(self.names) else "")
        return f"{self.count:,} ({names})" if self.names else f"{self.count:,}"

    def to_json(self) -> dict[str, Any]:
        """The fields by name, as JSON values."""
        return dataclasses.asdict(self)


def check(
    dropped: Mapping[str, Dropped],
    *,
    name: str,
    images: int,
    max_dropped: float,
    known_findings: Collection[str] = (),
) -> None:
    """Refuses a data set of which too much is at fault.

    Args:
        dropped: of this data set.
        name: of the data set.
        images: their number, without those at fault.
        max_dropped: the fraction that may be at fault, `data.max_dropped`.
        known_findings: those that the data set may have, where some have another one.

    Raises:
        InputError: more is; gives the reasons with counts and names.
    """
    faults = {reason: entry for reason, entry in dropped.items() if entry.is_fault}
    count = sum(entry.count for entry in faults.values())
    fraction = count / max(count + images, 1)
    if fraction <= max_dropped:
        return
    findings = ""
    if known_findings:
        names = sorted(filter(None, known_findings), key=str.casefold)
        findings = f" Findings that {name} has: {', '.join(map(repr, names))}."
    if not images:
        raise InputError(
            f"none of the {count:,} images of {name} can be used: {'; '.join(lines(faults))}. "
            f"Correct the data set.{findings}"
        )
    needed = math.ceil(100 * fraction) / 100
    raise InputError(
        f"{count:,} of {count + images:,} images of {name} cannot be used, and data.max_dropped "
        f"allows {100 * max_dropped:.0f} %: {'; '.join(lines(faults))}.{findings} Correct the data "
        f"set, or go on without them with --config.data.max_dropped={needed}"
    )


def lines(dropped: Mapping[str, Dropped]) -> list[str]:
    """'missing file: 12 (a.png, b.png, c.png, ...)', faults first, then the largest."""
    order = sorted(
        dropped.items(), key=lambda item: (not item[1].is_fault, -item[1].count, item[0])
    )
    return [f"{reason}: {entry}" for reason, entry in order if entry.count]


_printed: set[str] = set()


def print_once(dropped: Mapping[str, Dropped], notices: Sequence[str]) -> None:
    """Prints the images that are not used and the assumptions.

    The same text is printed once per process.
    """
    text = "\n".join(
        [f"note: {notice}" for notice in notices] + [f"not used: {line}" for line in lines(dropped)]
    )
    if text and text not in _printed:
        _printed.add(text)
        print(text, flush=True)
