"""The folder of data that users download themselves: found, checked, and explained in errors."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import tensorflow_datasets as tfds


def find(dl_manager: tfds.download.DownloadManager) -> Path | None:
    """The manual folder of TFDS (`DownloadConfig(manual_dir=...)`), None if absent or empty."""
    try:
        return Path(dl_manager.manual_dir)
    except AssertionError:  # how TFDS says it; the caller's own message shows the expected tree
        return None


def missing_data(name: str, problem: str, instructions: str) -> FileNotFoundError:
    """The error for data that are not where they should be: problem, tree, and how to pass it."""
    return FileNotFoundError(
        f"{name}: {problem}\n{instructions.strip()}\n"
        "Pass the folder that contains this tree as config.data.manual_dir, or in Python as "
        "tfds.download.DownloadConfig(manual_dir=...)."
    )


def require(
    dl_manager: tfds.download.DownloadManager, *, name: str, paths: Iterable[str], instructions: str
) -> Path:
    """The manual folder, checked to have every one of `paths`.

    Raises:
        FileNotFoundError: shows what is missing and the tree that is expected.
    """
    root = find(dl_manager)
    if root is None:
        raise missing_data(name, "the manual folder is not given, absent or empty.", instructions)
    missing = [path for path in paths if not (root / path).exists()]
    if missing:
        hints = [one_level_too_deep(root, instructions), spreadsheet(root / p for p in missing)]
        problem = " ".join(filter(None, [f"{root} lacks {', '.join(missing)}.", *hints]))
        raise missing_data(name, problem, instructions)
    return root


def one_level_too_deep(root: Path, instructions: str) -> str:
    """A sentence where the manual folder holds what belongs in a folder of it, else ''.

    Args:
        root: the manual folder.
        instructions: with the tree, whose folders are indented by two blanks, what is in them by
            four.
    """
    folder = ""
    for line in instructions.splitlines():
        if match := re.match(r"  (\S+)/", line):
            folder = match[1]
        elif folder and (match := re.match(r"    (\S.*?)(/|,| {2}|$)", line)):
            found = root / match[1]
            if found.exists() and not (root / folder).exists():
                place = (
                    f"give {root.parent} as the manual folder"
                    if root.name == folder
                    else f"make the folder {folder} and move it there"
                )
                return f"{match[1]} lies in {root} itself and must be in {root / folder}: {place}."
    return ""


def spreadsheet(tables: Iterable[Path]) -> str:
    """A sentence where a spreadsheet stands in place of a CSV file, else ''."""
    for table in tables:
        for suffix in (".xlsx", ".xls", ".ods"):
            if table.suffix == ".csv" and table.with_suffix(suffix).exists():
                return f"{table.with_suffix(suffix)} is there: save it as CSV, {table.name}."
    return ""
