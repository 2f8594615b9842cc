"""What is done with a config: train, evaluate, predict, explain, compare, export, lr_find, probe, enhance, study."""

from __future__ import annotations

import sys
from pathlib import Path

from ml_collections import ConfigDict

from jaxcxr import parallel
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
_LAYOUT = "\n\t"  # what messages are laid out with


def start(config: ConfigDict, workdir: Path) -> None:
    """Runs the command that `config.run` names, as a program: errors of the product are one line.

    Raises:
      SystemExit: what ended it, with the exit status or the line.
    """
    try:
        if config.run not in RUNS:
            raise InputError(f"config.run={config.run!r} is unknown; known: {', '.join(RUNS)}")
        if (config.task == "study") != (config.run == "study"):
            raise InputError(
                f"config.run={config.run!r} does not go with config.task={config.task!r}: a study "
                "config runs as 'study', its stages by their own configs, and no other config does"
            )
        parallel.initialize(**config.parallel)
        RUNS[config.run](config, workdir)
    except (InputError, DivergedError) as error:
        sys.exit(f"error: {printable(str(error), keep=_LAYOUT)}")
    except KeyboardInterrupt:  # outside training, or the second one within: nothing to be saved
        print("interrupted; rerun the same command to go on from what is finished", file=sys.stderr)
        sys.exit(130)
