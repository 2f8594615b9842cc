"""The run modes.

train, evaluate, predict, explain, compare, export, patch_counts, lr_find, check_data, probe,
enhance, study.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path

from ml_collections import ConfigDict

from jaxcxr import parallel, run_modes, schema
from jaxcxr.cli import interrupts
from jaxcxr.errors import DivergedError, InputError
from jaxcxr.storage.names import printable


def _of(module: str) -> Callable[[ConfigDict, Path], None]:
    """The module's `run`, which is imported when it runs: all of them take seconds."""

    def run(config: ConfigDict, workdir: Path) -> None:
        importlib.import_module(module).run(config, workdir)

    return run


RUNS = {
    "train": _of("jaxcxr.studies.repeats"),
    "evaluate": _of("jaxcxr.commands.evaluate"),
    "predict": _of("jaxcxr.commands.predict"),
    "explain": _of("jaxcxr.commands.explain"),
    "compare": _of("jaxcxr.commands.compare"),
    "export": _of("jaxcxr.commands.export"),
    "patch_counts": _of("jaxcxr.commands.patch_counts"),
    "lr_find": _of("jaxcxr.commands.lr_find"),
    "check_data": _of("jaxcxr.commands.check_data"),
    "probe": _of("jaxcxr.commands.probe"),
    "enhance": _of("jaxcxr.commands.enhance"),
    "study": _of("jaxcxr.studies.study"),
}
_LAYOUT = "\n\t"  # what messages are laid out with


def start(config: ConfigDict, workdir: Path) -> None:
    """Runs the command that `config.run` names, as a program: errors of the product are one line.

    Raises:
        SystemExit: what ended it, with the exit status or the line.
    """
    try:
        schema.check(config)
        run_modes.check(config)
        interrupts.running(config.run)
        parallel.initialize(**config.parallel)
        RUNS[config.run](config, workdir)
    except (InputError, DivergedError) as error:
        sys.exit(f"error: {printable(str(error), keep=_LAYOUT)}")
    except KeyboardInterrupt:  # in a notebook; a program's end is that of `interrupts`
        print(f"interrupted; {interrupts.rerun()}", file=sys.stderr)
        sys.exit(130)
