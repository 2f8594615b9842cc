"""The configuration that a run folder was made with, as commands take it."""

from __future__ import annotations

import contextlib
import os
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from jaxcxr import hints
from jaxcxr.errors import InputError
from jaxcxr.storage import files, run_files, run_identity
from jaxcxr.storage.run_files import CONFIG


def read(folder: Path) -> ConfigDict:
    """config.json with tuples for lists, paths where the folder is now, and a single process.

    Raises:
        InputError: there is none, or it is damaged or of no single run.
    """
    path = folder / CONFIG
    if not os.path.lexists(path):
        raise InputError(
            f"{folder} is no run folder: it has no {CONFIG}. Name one that a training made, or "
            f"start one with --config=EXPERIMENT {hints.in_folder(folder)}"
        )
    saved = run_identity.moved(run_files.read(path), folder)
    _check_names(path, saved)
    saved.pop("workdir", None)
    if not {"task", "run"} <= saved.keys():
        raise InputError(
            f"{path} is of no single run: name a run folder below {folder}, or give the "
            "experiment file too (--config=...)"
        )
    config = _restored(saved)
    if "parallel" in config:  # of the machines that trained it
        config.parallel.update(coordinator="", process_id=0, num_processes=1)
    return config


def check_overrides(config: ConfigDict, folder: Path) -> None:
    """Compares a config that was read from a folder, and then changed, with the run there.

    Raises:
        InputError: a field was changed that the run's identity covers; names it with both values.
    """
    saved, requested = (
        run_identity.fields(fields, run_identity.OTHER_LUNGS)
        for fields in (files.jsonable(read(folder).to_dict()), files.jsonable(config.to_dict()))
    )
    changed = [name for name in requested if saved.get(name) != requested[name]]
    if changed:
        listed = "\n".join(
            (
                f"  --config.{name}: the run has {saved.get(name)!r}, and {requested[name]!r} is "
                "asked for"
            )
            for name in changed
        )
        raise InputError(
            f"{folder} was trained with other values of what its results depend on:\n{listed}\n"
            "Leave these out, or train a run of its own with them (--config=... --workdir=...)."
        )


@contextlib.contextmanager
def complete(folder: Path) -> Iterator[None]:
    """Turns the error of a field that an earlier version did not write into an InputError."""
    try:
        yield
    except (AttributeError, KeyError) as error:
        raised_by = traceback.extract_tb(error.__traceback__)[-1].filename
        if "ml_collections" not in raised_by:
            raise
        name = str(error).strip("\"'").partition("'")[0]
        raise InputError(
            f"{folder / CONFIG} lacks the field {name}, which this version of jaxcxr reads: give "
            "the experiment file with it (--config=...), or train again"
        ) from error


def _check_names(path: Path, section: Mapping[str, Any]) -> None:
    """Raises InputError where a name or a text is one that no config can have."""
    for name, value in section.items():
        if not name or "." in name or (isinstance(value, str) and "\0" in value):
            raise InputError(
                f"{path} is damaged ({name!r} is no field of a config): put the file back, or "
                "delete the run folder and start the run again."
            )
        if isinstance(value, Mapping):
            _check_names(path, value)


def _restored(value: Any) -> Any:
    if isinstance(value, Mapping):
        return ConfigDict({name: _restored(item) for name, item in value.items()})
    return tuple(value) if isinstance(value, list) else value
