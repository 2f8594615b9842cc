"""Results of prediction on a user's own X-rays.

Tables that grow by whole rows, and a summary.
"""

from __future__ import annotations

import collections
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from jaxcxr.data.xray_files import Found
from jaxcxr.errors import InputError
from jaxcxr.inference.xray_predictions import Result
from jaxcxr.storage import files
from jaxcxr.storage.names import PictureNames, csv_line, on_disk, printable

NOTE = "research use only; not a diagnosis"
CSV, JSONL, FAILED, SUMMARY, OVERLAYS, MASKS = (
    "predictions.csv", "predictions.jsonl", "failed.csv", "summary.json", "overlays", "masks",
)  # fmt: skip
_DIGITS = 6
_FIRST = 3  # names of a list that are printed
_LUNGS = ("lung_area_share", "left_out_share", "mask_confidence")  # of a `Result`


class Results:
    """The result files in a folder.

    predictions.csv, predictions.jsonl, failed.csv and, when all is done, summary.json.

    Use `with Results(...) as results:`, then `results.finish(...)`. A row is written at once and as
    a whole, so that a run that is stopped leaves only whole rows; give an X-ray its pictures first,
    then its row, so that no row names a picture that is not there. What an earlier call left in the
    folder goes first; a line says so.
    """

    def __init__(
        self,
        folder: Path,
        classes: Sequence[str],
        *,
        active: bool,
        pictures: Sequence[str] = (),
        note: str = "",
    ):
        """Begins again.

        Args:
            folder: where the files go.
            classes: of the probabilities.
            active: whether anything is written.
            pictures: which of OVERLAYS and MASKS every X-ray gets; rows then say under which name.
            note: what every row says besides NOTE.
        """
        self.folder, self.classes, self.active = folder, tuple(classes), active
        self.pictures, self.note = tuple(pictures), "; ".join(filter(None, (NOTE, note)))
        self.predicted = self.doubtful = self.failed = 0
        self._names = PictureNames()
        self._warned: collections.Counter[str] = collections.Counter()
        self._first_warned: dict[str, list[str]] = {}
        self._first_failures: list[str] = []
        self._tables: list[_Lines] = []
        if not active:
            return
        if earlier := _earlier(folder):
            print(earlier, flush=True)
        try:
            for name in (SUMMARY, CSV, JSONL, FAILED):
                (folder / name).unlink(missing_ok=True)
            for name in (OVERLAYS, MASKS):
                if (folder / name).exists():
                    shutil.rmtree(folder / name)
            folder.mkdir(parents=True, exist_ok=True)
            self._tables = [_Lines(folder / name) for name in (CSV, JSONL, FAILED)]
        except OSError as error:
            raise InputError(
                f"{error.filename}, of an earlier call, cannot be replaced: {error.strerror}"
            ) from error
        self._csv, self._jsonl, self._failed = self._tables
        columns = [
            f"{what}_{name}" for what in ("probability", "vote_share") for name in self.classes
        ]
        header = ["id", *columns, *_LUNGS, "warnings", "note"]
        # New columns go last: readers may count those that were there before.
        header += ["picture"] * bool(self.pictures) + ["structure"]
        self._csv.append(csv_line(header))
        self._failed.append(csv_line(["file", "reason"]))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for lines in self._tables:
            lines.close()

    def add(self, row: Result) -> None:
        """Writes a row to both tables."""
        self.predicted += 1
        self.doubtful += bool(row.warnings)
        self._warned.update(row.warnings)
        for text in row.warnings:
            if len(names := self._first_warned.setdefault(text, [])) < _FIRST:
                names.append(printable(row.id))
        if not self.active:
            return
        probabilities, votes = self._by_class(row.probabilities), self._by_class(row.vote_share)
        lungs = {name: getattr(row, name) for name in _LUNGS}
        lungs = {n: None if v is None else round(v, _DIGITS) for n, v in lungs.items()}
        cells = [
            (found or {}).get(name) for found in (probabilities, votes) for name in self.classes
        ]
        picture = [self._names.of(row.id)] if self.pictures else []
        texts = ["; ".join(row.warnings), self.note, *picture, row.structure]
        self._csv.append(csv_line([row.id, *cells, *lungs.values(), *texts]))
        record = {
            "id": row.id,
            "probabilities": probabilities,
            "vote_share": votes,
            **lungs,
            "warnings": list(row.warnings),
            "note": self.note,
            **({"picture": picture[0]} if picture else {}),
            "structure": row.structure or None,
        }
        self._jsonl.append(json.dumps(record, allow_nan=False) + "\n")

    def fail(self, name: str, reason: str) -> None:
        """Lists a file that could not be used, and takes back the pictures that it got."""
        self.failed += 1
        if len(self._first_failures) < _FIRST:
            shown = printable(name)
            self._first_failures.append(reason if shown in reason else f"{shown}: {reason}")
        if self.active:
            for kind in self.pictures:
                self._picture(kind, name).unlink(missing_ok=True)
            self._failed.append(csv_line([name, reason]))

    def picture(self, kind: str, name: str, png: bytes) -> None:
        """Writes `<kind>/<name>.png`, or under the nearest name that a file can have."""
        if self.active:
            files.write_bytes(self._picture(kind, name), png)

    def _picture(self, kind: str, name: str) -> Path:
        return self.folder / kind / on_disk(self._names.of(name))

    def finish(self, made_of: Mapping[str, Any], listed: Found) -> None:
        """Writes summary.json, with `made_of` in it; prints what was done.

        Args:
            made_of: what made the predictions.
            listed: the inputs, with those that were passed over.

        Raises:
            InputError: some file failed; says how many and where they are listed.
        """
        if self.active:
            counts = {
                "files": self.predicted + self.failed,
                "predicted": self.predicted,
                "failed": self.failed,
                "hidden": len(listed.hidden),
                "not_xray_files": len(listed.strays),
            }
            files.write_json(
                self.folder / SUMMARY,
                {
                    "note": self.note,
                    **counts,
                    "left_out": listed.strays,
                    "warnings": dict(self._warned),
                    "classes": self.classes,
                    **made_of,
                },
            )
            print(self._table(listed, made_of.get("model_warnings", ())))
        if self.failed:
            shown = "; ".join(self._first_failures) + (
                "; ..." if self.failed > len(self._first_failures) else ""
            )
            raise InputError(
                f"{self.failed} of {self.predicted + self.failed} files could not be used, listed "
                f"with the reason in {self.folder / FAILED}: {shown}"
            )

    def _by_class(self, values: np.ndarray | None) -> dict[str, float] | None:
        """[C] -> class -> value, rounded to the digits that float32 holds."""
        if values is None:
            return None
        rounded = [round(float(value), _DIGITS) for value in values]
        return dict(zip(self.classes, rounded, strict=True))

    def _table(self, listed: Found, model_warnings: Sequence[str]) -> str:
        several = " (an X-ray may have several)" * (self._warned.total() > self.doubtful)
        lines = [
            f"{'X-rays done':14} {self.predicted:>7,}",
            f"{'with warnings':14} {self.doubtful:>7,}{several}",
        ]
        for text, count in self._warned.most_common():
            names = ", ".join(self._first_warned[text]) + ", ..." * (count > _FIRST)
            lines.append(f"  {count:>5,} x {text}: {names}")
        lines += [
            f"{'not usable':14} {self.failed:>7,}",
        ]
        for text, ids in listed.passed_over.items():
            names = ", ".join(map(printable, ids[:_FIRST])) + ", ..." * (len(ids) > _FIRST)
            lines.append(f"{text:14} {len(ids):>7,} ({names})")
        if model_warnings:
            lines += ["", "of the training, which these predictions can be no better than:"]
            lines += [f"Warning. {text}" for text in model_warnings]
        lines += [
            "",
            f"wrote {self.folder / CSV} and {JSONL}",
            *(f"      {self.folder / kind}{os.sep}" for kind in self.pictures if self.predicted),
        ]
        return "\n".join([*lines, "Research use only. Not for diagnosis."])


def _earlier(folder: Path) -> str:
    """The line about results of an earlier call that are about to be replaced; '' without any."""
    try:
        rows = sum((folder / name).read_bytes().count(b"\n") for name in (JSONL, FAILED))
    except OSError:
        return ""
    # What FAILED has above its rows is a line, too.
    if rows < 2:
        return ""
    try:
        inputs = json.loads((folder / SUMMARY).read_bytes())["inputs"]
    except (OSError, ValueError, KeyError, TypeError):  # interrupted, or of an earlier version
        of = ""
    else:
        of = f" (inputs {printable(str(inputs))})"
    images = f"{rows - 1:,} X-ray{'s'[: rows != 2]}"
    return f"replaces the results of {images} in {printable(str(folder))}{of}"


class _Lines:
    """A text file that is written a whole line at a time."""

    def __init__(self, path: Path):
        self._path, self._file, self._size = path, open(path, "wb", buffering=0), 0  # noqa: SIM115 -- closed by `close`

    def append(self, line: str) -> None:
        encoded = line.encode()
        try:
            written = self._file.write(encoded)
            if written != len(encoded):  # the disk filled up in the middle
                self._file.write(encoded[written:])
            self._size += len(encoded)
        except OSError as error:
            self._file.truncate(self._size)
            if files.is_disk_full(error):
                raise InputError(
                    f"The disk is full: {self._path} ends with the last whole row. Free some "
                    "space and start the same command again."
                ) from error
            raise

    def close(self) -> None:
        os.fsync(self._file.fileno())
        self._file.close()
