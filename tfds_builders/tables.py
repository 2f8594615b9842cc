"""Sets whose images are listed in a CSV file: reading it, choosing its rows, yielding examples."""

from __future__ import annotations

import collections
import csv
import dataclasses
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

Row = Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class Table:
    """A CSV file: names of the columns, and rows that map every one of them to its text."""

    columns: tuple[str, ...]
    rows: tuple[Row, ...]


def read_table(path: Path, *, required: Sequence[str]) -> Table:
    """Parses a CSV file with a header line; a byte-order mark and bytes that are no UTF-8 do no harm.

    Args:
      path: the file.
      required: columns that it must have; further ones are kept.

    Returns:
      Columns in lower case without outer blanks, cells without outer blanks; '' where a line ends
      early or has no such cell.

    Raises:
      ValueError: a needed column is missing (names those it has), or the file is no CSV.
    """
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        reader = csv.DictReader(file, restval="")
        try:
            header = reader.fieldnames or ()
            names = {name.strip().lower(): name for name in header if name.strip()}
            missing = [name for name in required if name not in names]
            if missing:
                found = textwrap.shorten(", ".join(names), 500) or "none"
                raise ValueError(f"{path}: no column {', '.join(missing)}; it has {found}")
            rows = tuple(
                {name: record[key].strip() for name, key in names.items()} for record in reader
            )
        except csv.Error as error:
            raise ValueError(f"{path}, after line {reader.line_num}: not CSV ({error})") from error
    return Table(columns=tuple(names), rows=rows)


def choose_rows(
    table: Table,
    files: Mapping[str, Path],
    *,
    file_name: Callable[[Row], str],
    reject_reason: Callable[[Row], str | None],
    origin: Path,
) -> tuple[dict[str, Row], dict[str, int]]:
    """Usable rows by the name of their image, in the order of the table; the others by reason.

    Args:
      table: the rows.
      files: images by name. Being a key of it is the only way to be found, so a name such as
        ../x can never be followed.
      file_name: the key of `files` that a row names.
      reject_reason: why a row is not used, or None.
      origin: the table's file, for errors.

    Raises:
      ValueError: two usable rows of one image that differ.
    """
    kept: dict[str, Row] = {}
    rejected: collections.Counter[str] = collections.Counter()
    for row in table.rows:
        name = file_name(row)
        reason = reject_reason(row)
        if reason is None and name not in files:
            reason = "missing file"
        if reason is None and name in kept:
            if row != kept[name]:
                raise ValueError(f"{origin}: two rows of {name} differ: keep the right one")
            reason = "row given again"
        if reason is None:
            kept[name] = row
        else:
            rejected[reason] += 1
    return kept, dict(rejected)


@dataclasses.dataclass(frozen=True)
class Listed:
    """An image and what is said of it: the texts of `common.cxr_features`."""

    image: Path
    patient_id: str
    strict_patient_id: str
    label: str
    finding: str
    view: str
    age_group: str


def examples(
    images: Iterable[tuple[str, Listed]],
    *,
    source: str,
    read: Callable[[Path], bytes] = Path.read_bytes,
) -> Iterator[tuple[str, dict]]:
    """What a builder yields for `images`, pairs of an id and a `Listed`; `read` loads the bytes."""
    for key, listed in images:
        texts = {
            field.name: getattr(listed, field.name)
            for field in dataclasses.fields(listed)
            if field.name != "image"
        }
        yield key, {"image": read(listed.image), "id": key, "source": source, **texts}
