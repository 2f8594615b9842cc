"""jaxcxr: `python main.py --config=configs/patched_densenet.py [--config.run=...] [--workdir=...]`."""

import sys
from pathlib import Path

from absl import app, flags, logging
from ml_collections import config_flags

_CONFIG = config_flags.DEFINE_config_file(
    "config", None, "experiment file, with :PRESET where it has one (small, paper)", lock_config=True
)
_WORKDIR = flags.DEFINE_string("workdir", None, "run folder; default: runs/<name of the config>")


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"unexpected argument {argv[1]!r}; overrides are written --config.FIELD=VALUE")
    if not flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.WARNING)  # JAX reports at INFO which backends it did not find
    # Here, so that --help and mistyped flags answer at once.
    from jaxcxr import parallel
    from jaxcxr.runs import RUNS
    from jaxcxr.types import DivergedError, InputError

    config = _CONFIG.value
    workdir = Path(_WORKDIR.value or Path("runs") / config.name)
    try:
        if config.run not in RUNS:
            raise InputError(f"config.run={config.run!r} is unknown; known: {', '.join(RUNS)}")
        if (config.task == "study") != (config.run == "study"):
            raise InputError(
                f"config.run={config.run!r} does not go with config.task={config.task!r}: a study config runs as "
                "'study', its stages by their own configs, and no other config does"
            )
        parallel.initialize(**config.parallel)
        RUNS[config.run](config, workdir)
    except (InputError, DivergedError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    flags.mark_flag_as_required("config")
    app.run(main)
