"""The run modes.

train, evaluate, predict, explain, compare, export, lr_find, probe, enhance, study.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from types import FrameType

from ml_collections import ConfigDict

from jaxcxr import parallel, run_modes
from jaxcxr.names import printable
from jaxcxr.runs import (
    compare,
    enhance,
    evaluate,
    explain,
    export,
    lr_find,
    predict,
    probe,
    repeats,
    study,
)
from jaxcxr.types import DivergedError, InputError

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
_RERUN = "rerun the same command to go on from what is finished"
_LAYOUT = "\n\t"  # what messages are laid out with


def start(config: ConfigDict, workdir: Path) -> None:
    """Runs the command that `config.run` names, as a program: errors of the product are one line.

    Raises:
        SystemExit: what ended it, with the exit status or the line.
    """
    signal.signal(signal.SIGTERM, _end)
    try:
        run_modes.check(config)
        parallel.initialize(**config.parallel)
        RUNS[config.run](config, workdir)
    except (InputError, DivergedError) as error:
        sys.exit(f"error: {printable(str(error), keep=_LAYOUT)}")
    except KeyboardInterrupt:  # outside training, or the second one within: nothing to be saved
        print(f"interrupted; {_RERUN}", file=sys.stderr)
        sys.exit(130)


def _end(number: int, frame: FrameType | None) -> None:
    """Ends at once, as the signal would without a handler, but says what comes next.

    Any moment will do.
    """
    del frame
    os.write(2, f"\ninterrupted by {signal.Signals(number).name}; {_RERUN}\n".encode())
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
