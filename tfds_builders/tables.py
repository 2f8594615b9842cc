"""Data sets with a CSV file: reading the table and choosing its rows."""

from __future__ import annotations

import codecs
import collections
import csv
import dataclasses
import io
import re
import textwrap
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from tfds_builders import file_names, rejection

Row = Mapping[str, str]
MAX_BYTES = 64 << 20  # NIH's table, the largest, has 8 MB
# What the needed columns have in them, for the message about a missing one.
_VALUES = {
    "view": "PA, AP, AP Supine or AP Erect",
    "view position": "PA or AP",
    "projection": "PA or AP",
    "modality": "X-ray, CR or DX",
    "finding": "COVID-19 or No Finding",
    "label": "COVID-19",
    "finding labels": "No Finding or Infiltration|Pneumonia",
    "patientid": "the patient, such as 12",
    "patient_id": "the patient, such as 12",
    "patient id": "the patient, such as 12",
    "filename": "the file's name, such as a.png",
    "imagename": "the file's name, such as a.png",
    "image index": "the file's name, such as 00000001_000.png",
    "image_id": "the file's name without .png, such as 00870a9c",
    "image": "the file's name, such as a.png",
    "file name": "the image, such as COVID-1",
    "age": "years, such as 58",
    "patient age": "years, such as 58",
    "admission_offset": "the days from the X-ray to the admission, such as -4",
    "url": "the address, or nothing",
    "v7_id": "the mask's number, such as 964597",
    "kcx_same_image": "kcx's file, such as person3_virus_15.jpeg, or nothing",
    "ccx_same_image": "ccx's file, such as a.png, or nothing",
}
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
_BYTE_ORDER_MARKS = (  # UTF-32 before UTF-16, whose mark it begins with
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclasses.dataclass(frozen=True)
class Table:
    """A CSV file.

    columns: their names. rows: column -> text, for every column. notices: assumptions made in
    reading.
    """

    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    notices: tuple[str, ...] = ()


def read_table(path: Path, *, required: Sequence[str]) -> Table:
    """Parses a CSV file with a header line, strictly: what may have lost rows or cells is refused.

    UTF-8, UTF-16 and UTF-32 with a byte-order mark, and Windows-1252 where it is no UTF-8.
    Separated by commas, or by the one of ';' and tabs that gives the columns.

    Args:
        path: the file.
        required: columns that it must have; further ones are kept.

    Returns:
        Columns in lower case without outer blanks, cells without outer blanks; '' where a line ends
        early or has no such cell. Lines without any text are skipped.

    Raises:
        ValueError: a needed column is missing (names those it has), one is there twice, a quotation
            mark is never closed or has swallowed a row, a row has more cells than the header or
            text in a column without a name, or the file is no text; names the line.
    """
    text, notices = _decode(path)
    separator, header = _header(path, text, required)
    if separator != ",":
        notices.append(f"{path.name} is separated by {_SEPARATORS[separator]}")
    names = [name.strip().lower() for name in header]
    twice = [name for name, count in collections.Counter(filter(None, names)).items() if count > 1]
    if twice:
        raise ValueError(f"{path}: more than one column {', '.join(twice)}: rename or remove one")
    rows, several_lines = [], []
    for record in _records(path, text, separator):
        cells = [cell.strip() for cell in record.cells]
        _check_all_named(path, record.line, cells, names)
        if any(cells):
            cells += [""] * (len(names) - len(cells))
            rows.append({name: cell for name, cell in zip(names, cells, strict=False) if name})
            if len(record.text) > 1:
                several_lines.append(record)
    rows = rows[1:]  # the first is the header itself
    if several_lines:
        is_row = _row_of(rows, {name: names.index(name) for name in required}, separator)
        for record in several_lines:
            _check_no_row_within(path, record, is_row)
    return Table(tuple(filter(None, names)), tuple(rows), tuple(notices))


def read_list(path: Path) -> tuple[tuple[str, ...], list[str]]:
    """The names in a text file, separated by blanks or lines, in any encoding of `read_table`.

    Returns:
        The names, each once; notices of assumptions made in reading.

    Raises:
        ValueError: the file is no text, or names nothing.
    """
    text, notices = _decode(path)
    names = tuple(dict.fromkeys(text.split()))
    if not names:
        raise ValueError(f"{path}: no name in it")
    return names, notices


def find_listed(
    names: Collection[str], known: Collection[str], *, origin: Path
) -> tuple[frozenset[str], list[str]]:
    """The names of a table that a list names, and a notice about those that match nothing.

    Args:
        names: of the list.
        known: the table's names; spelling may differ as in `file_names.match`.
        origin: the list's file.

    Raises:
        ValueError: none of the names is known.
    """
    found = file_names.match(names, known)
    left = [name for name in names if name not in found]
    shown = ", ".join(map(repr, left[:3])) + (", ..." if len(left) > 3 else "")
    if not found:
        raise ValueError(f"{origin}: none of its {len(left)} names is in the table: {shown}")
    notices = [f"{len(left)} names in {origin.name} match nothing: {shown}"] if left else []
    return frozenset(found.values()), notices


def _decode(path: Path) -> tuple[str, list[str]]:
    """The file's text, and a notice if its encoding was guessed."""
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise ValueError(f"{path}: {size} bytes are more than the allowed {MAX_BYTES} of a table")
    data = path.read_bytes()
    notices = []
    encoding = next((name for mark, name in _BYTE_ORDER_MARKS if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        if encoding != "utf-8":
            raise ValueError(f"{path}: damaged {encoding.upper()} text ({error.reason})") from error
        # Five bytes have no character in Windows-1252; Latin-1 has one for each.
        text = data.decode("cp1252", errors="replace")
        notices.append(f"{path.name} is no UTF-8 and was read as Windows-1252")
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise ValueError(
            f"{path}, line {line}: a NUL byte: damaged, no text, or UTF-16 without "
            "its mark; save it as UTF-8"
        )
    return text, notices


def _header(path: Path, text: str, required: Sequence[str]) -> tuple[str, list[str]]:
    """The separator that gives the needed columns, and the cells of the first line."""
    columns = {}
    for separator in _SEPARATORS:
        header = next(_reader(text.lstrip("\r\n"), separator), [])
        names = [name.strip().lower() for name in header]
        if set(names).issuperset(required):
            return separator, header
        columns[separator] = [name for name in names if name]
    missing = [name for name in required if name not in columns[","]]
    shown = textwrap.shorten(", ".join(columns[","]), 500) or "none"
    fixes = [
        f"`{name}`" + (f" with {_VALUES[name]}" if name in _VALUES else "") for name in missing
    ]
    raise ValueError(
        f"{path}: no column {', '.join(missing)}; it has {shown}. Add {'; '.join(fixes)}"
    )


def _reader(text: str, separator: str) -> Iterator[list[str]]:
    """The records up to the first damaged one; for reading the header."""
    try:
        yield from csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    except csv.Error:
        return


@dataclasses.dataclass(frozen=True)
class _Record:
    """A row: the number of its first line, its cells, its lines (several if cells have breaks)."""

    line: int
    cells: list[str]
    text: list[str]


def _records(path: Path, text: str, separator: str) -> Iterator[_Record]:
    lines: list[str] = []

    def read() -> Iterator[str]:
        for line in io.StringIO(text, newline=""):
            lines.append(line)
            yield line

    reader = csv.reader(read(), delimiter=separator, strict=True)
    while True:
        line = reader.line_num + 1
        lines.clear()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise ValueError(f"{path}, line {line}: {_explain(error)}") from error
        yield _Record(line, cells, lines.copy())


def _explain(error: csv.Error) -> str:
    text = str(error)
    if "unexpected end of data" in text or "field larger" in text:
        return "a quotation mark that opens in this row is never closed: close or remove it"
    if "expected after" in text:
        return (
            f"text after a closing quotation mark ({text}): a quotation mark in a cell is written "
            "twice"
        )
    return f"not CSV ({text})"


def _check_all_named(path: Path, line: int, cells: Sequence[str], names: Sequence[str]) -> None:
    """Refuses text in a column without a name: an unquoted separator may have moved it there."""
    advice = "put quotation marks around a cell that has the separator in it"
    if any(cells[len(names) :]):
        raise ValueError(
            f"{path}, line {line}: {len(cells)} cells, but the header has {len(names)}: {advice}"
        )
    # The row numbers that pandas writes have no name either, but are in front: nothing moves there.
    first = next((at for at, name in enumerate(names) if name), 0)
    for at in range(first, len(cells)):
        if cells[at] and not names[at]:
            shown = textwrap.shorten(cells[at], 50)
            raise ValueError(
                f"{path}, line {line}: {shown!r} is in column {at + 1}, which has no name: "
                f"{advice}, or name the column"
            )


def _check_no_row_within(path: Path, record: _Record, is_row: Callable[[str], bool]) -> None:
    """Refuses a cell that contains rows, between an unclosed quotation mark and a later one.

    Notes may have line breaks: then one of the lines at most looks like a row, or has the cells
    that a row needs.
    """
    found = [number for number, text in enumerate(record.text) if is_row(text)]
    if len(found) > 1:
        raise ValueError(
            f"{path}, line {record.line}: a cell of this row has whole rows in it "
            f"(line {record.line + found[1]}): is a quotation mark not closed?"
        )


def _row_of(
    rows: Sequence[Row], required: Mapping[str, int], separator: str
) -> Callable[[str], bool]:
    """A predicate of lines: true for rows like `rows`, with half of the required cells alike.

    Args:
        rows: all rows.
        required: the needed columns and their places.
        separator: of cells.
    """
    known = {name: {_form(row[name]) for row in rows} for name in required}

    def is_row(line: str) -> bool:
        cells = [cell.strip().strip('"').strip() for cell in _cells(line, separator)]
        needed = {name: cells[at] for name, at in required.items() if at < len(cells)}
        filled = [name for name, cell in needed.items() if cell]
        alike = sum(_form(needed[name]) in known[name] for name in filled)
        return len(needed) == len(required) and alike > 0 and 2 * alike >= len(filled)

    return is_row


def _cells(line: str, separator: str) -> list[str]:
    """The cells of a line that may begin or end within quotation marks."""
    whole = line.rstrip("\r\n")
    if whole.count('"') % 2:  # the odd one opens or closes what goes on in another line
        at = whole.rfind(separator + '"')
        ends_inside = at >= 0 and whole.count('"', at) % 2
        if ends_inside:
            before, inside = whole[:at], whole[at + len(separator) :]
            return [*next(_reader(before, separator), []), *inside.split(separator)]
        return whole.split(separator)
    return next(_reader(whole, separator), [])


def _form(cell: str) -> str:
    """The pattern of a cell: digits and letters are replaced in cells with digits, no others."""
    text = cell.casefold()
    if not re.search(r"\d", text):
        return text
    return re.sub(r"[^\W\d_]+", "a", re.sub(r"\d+", "0", text))


def choose_rows(
    table: Table,
    files: Mapping[str, Path],
    *,
    file_name: Callable[[Row], str],
    reject_reason: Callable[[Row], rejection.Reason | None],
    origin: Path,
    missing: rejection.Reason = rejection.MISSING,
    every_image_has_row: bool = True,
) -> tuple[dict[str, Row], rejection.Rejected, list[str]]:
    """The usable rows by file name, in the order of the table; the rejected ones; and notices.

    Args:
        table: the rows.
        files: images by name. Only these names can match, so that a name such as ../x is never
            followed; see `file_names.match`.
        file_name: the file name in a row.
        reject_reason: the reason to reject a row, or None.
        origin: the table's file, for errors.
        missing: the reason to reject a row without a file.
        every_image_has_row: whether images without a row are reported in a notice.

    Raises:
        ValueError: two usable rows of one image that differ.
    """
    kept: dict[str, Row] = {}
    rejected = rejection.Rejected()
    file_of = file_names.match(map(file_name, table.rows), files)
    for row in table.rows:
        reason, name = reject_reason(row), file_of.get(file_name(row))
        if reason is None and name is None:
            reason = missing
        if reason is None and name in kept:
            if row != kept[name]:
                raise ValueError(f"{origin}: two rows of {name} differ: keep the right one")
            reason = rejection.Reason("row given again", is_fault=False)
        if reason is None and name is not None:
            kept[name] = row
        elif reason is not None:
            rejected.add(reason, [file_name(row)])
    notices = [
        *table.notices,
        *file_names.respelt({n: f for n, f in file_of.items() if f in kept}),
        *(
            file_names.not_named(files, file_of.values(), table=origin.name)
            if every_image_has_row
            else ()
        ),
    ]
    return kept, rejected, notices


def unknown(findings: Iterable[str], known: Collection[str]) -> set[str]:
    """The findings that are not in `known`, ignoring case."""
    known = {name.casefold() for name in known}
    return {finding for finding in findings if finding.casefold() not in known}
