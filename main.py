"""jaxcxr: `python main.py --config=configs/patched_densenet.py [--config.run=...] [--workdir=...]`."""

import difflib
import re
import sys
from logging import Formatter
from pathlib import Path

from absl import app, flags, logging
from ml_collections import ConfigDict, config_flags

from jaxcxr import names

_CONFIG = config_flags.DEFINE_config_file(
    "config", None, "experiment file, with :PRESET where it has one (small, paper)", lock_config=True
)
_WORKDIR = flags.DEFINE_string("workdir", None, "run folder; default: runs/<name of the config>")


def parse_flags(argv: list[str]) -> list[str]:
    """absl's parser, but a mistyped --config is one line with the nearest name, not a traceback."""
    given = [re.fullmatch(r"--?config(?:=(.*))?", argument) for argument in argv]
    paths = [m[1] if m[1] is not None else "".join(argv[i + 1 : i + 2]) for i, m in enumerate(given) if m]
    if not paths:
        return app.parse_flags_with_usage(argv)
    file = Path(paths[-1].partition(":")[0])
    if not file.is_file():
        near = difflib.get_close_matches(file.stem, [other.stem for other in file.parent.glob("*.py")], 1)
        hint = f"; did you mean {file.with_stem(near[0])}?" if near else ""
        sys.exit(f"error: --config: there is no file {file}{hint}")
    try:
        config = flags.FLAGS["config"].parser.parse(paths[-1])
    except ValueError as error:  # of the file's own checks; the last line is what it says
        sys.exit(f"error: --config: {str(error).strip().splitlines()[-1].strip().removeprefix('ValueError: ')}")
    fields = _fields(config)
    for argument in argv:
        match = re.match(r"--?config\.([\w.]+)", argument)
        if match and match[1] not in fields:
            near = difflib.get_close_matches(match[1], fields, 1, 0)
            sys.exit(f"error: there is no field config.{match[1]}; did you mean --config.{near[0]}?")
    return app.parse_flags_with_usage(argv)


def _fields(config: ConfigDict, prefix: str = "") -> list[str]:
    """'optim.learning_rate', ...: what can be overridden."""
    found = []
    for key, value in config.items():
        found += _fields(value, f"{prefix}{key}.") if isinstance(value, ConfigDict) else [prefix + key]
    return found


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"unexpected argument {argv[1]!r}; overrides are written --config.FIELD=VALUE")
    if not flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.WARNING)  # JAX reports at INFO which backends it did not find
        logging.get_absl_handler().setFormatter(Formatter("{levelname}: {message}", style="{"))
    # Here, so that --help and mistyped flags answer at once.
    from jaxcxr import host_memory

    host_memory.keep_freed()  # before NumPy and JAX start threads
    from jaxcxr import runs

    config = _CONFIG.value
    if _WORKDIR.value is not None and not _WORKDIR.value.strip():
        sys.exit("error: --workdir is empty; name a folder, or leave it out for runs/<name of the config>")
    runs.start(config, Path(_WORKDIR.value or Path("runs") / config.name))


if __name__ == "__main__":
    names.print_whatever_comes()
    flags.mark_flag_as_required("config")
    app.run(main, flags_parser=parse_flags)
