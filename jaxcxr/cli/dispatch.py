"""The run modes.

train, evaluate, predict, explain, compare, export, lr_find, probe, enhance, study.
"""

from __future__ import annotations

import sys
from pathlib import Path

from ml_collections import ConfigDict

from jaxcxr import parallel, run_modes, schema
from jaxcxr.cli import interrupts
from jaxcxr.commands import compare, enhance, evaluate, explain, export, lr_find, predict, probe
from jaxcxr.errors import DivergedError, InputError
from jaxcxr.storage.names import printable
from jaxcxr.studies import repeats, study

RUNS = {
    "train": repeats.run,
    "evaluate": evaluate.run,
    "predict": predict.run,
    "explain": explain.run,
    "compare": compare.run,
    "export": export.run,
    "lr_find": lr_find.run,
    "probe": probe.run,
    "enhance": enhance.run,
    "study": study.run,
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
