"""The command line: flags and config -> one run mode, and nothing else.

`python main.py` in the repository and `jaxcxr` where it is installed are the same command. Only
light modules are imported before the run starts, so that help and mistakes are answered at once.
"""

from __future__ import annotations

import difflib
import os
import re
import shlex
import sys
import traceback
from logging import Formatter
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from absl import app, flags, logging
from ml_collections import ConfigDict
from ml_collections.config_flags import config_flags

import jaxcxr
from jaxcxr import hints, run_modes, schema, shipped
from jaxcxr.cli import command_help, interrupts
from jaxcxr.cpu import host_memory
from jaxcxr.errors import InputError
from jaxcxr.storage import names, streams

_CONFIG = config_flags.DEFINE_config_file(
    "config", None, "experiment: a file or a name, with :PRESET where it has one (small, paper)"
)
_WORKDIR = flags.DEFINE_string("workdir", None, "run folder; default: runs/<name of the config>")
_RUN_CONFIG = "config.json"  # of a run folder
_HELP = {"--help", "-help", "-h", "--helpshort", "-helpshort"}


class _ExperimentParser(config_flags.ConfigFileFlagParser):
    """Reads experiment files by path or by name, and the config.json of a run folder."""

    def parse(self, path: str) -> ConfigDict:
        if Path(path).name == _RUN_CONFIG:
            return _run_config().read(Path(path).parent).lock()
        name, colon, preset = path.partition(":")
        return super().parse(f"{shipped.experiment_file(name)}{colon}{preset}")


_PARSER = _ExperimentParser("config")
flags.FLAGS["config"].parser = _PARSER


def start() -> None:
    """Runs the command that `sys.argv` gives and ends the process with its exit status."""
    interrupts.install()
    _open_closed_streams()
    names.print_whatever_comes()
    shipped.make_importable()
    with streams.quiet_when_unread():
        app.run(main, flags_parser=parse_flags)


def _open_closed_streams() -> None:
    """Gives a process that was started without standard streams, as daemons are, /dev/null.

    The next file to be opened would else get the number of standard error, and what is printed
    there.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))


def parse_flags(argv: list[str]) -> list[str]:
    """Answers calls for help, checks names, then leaves the flags to absl.

    Args:
        argv: the program and its arguments; the first one may be an experiment without
            `--config=`.

    Returns:
        What is left beside the flags.

    Raises:
        SystemExit: help was asked for, or a mistake, as one line with the nearest name.
    """
    argv = _with_config_flag(argv)
    sys.argv = argv  # where ml_collections looks for overrides
    _check_flags(argv)
    asks_help = not _HELP.isdisjoint(argv[1:])
    if "--version" in argv[1:]:
        print(f"jaxcxr {jaxcxr.__version__}")
        sys.exit(0)
    text, folder = _last_value(argv, "config"), _last_value(argv, "workdir")
    if (
        text is None
        and folder
        and not asks_help
        and _last_value(argv, "config.run") in run_modes.READING
    ):
        return _parse_alone(argv, Path(folder))
    if text is None:
        if asks_help or len(argv) == 1:
            print(command_help.overview(shlex.join(hints.program())))
        if asks_help:
            sys.exit(0)
        if "--helpfull" not in argv:
            _fail(
                (
                    "no experiment is named: give one of --help's list, or --config=FILE; the "
                    "--workdir of a finished run alone goes with "
                    f"--config.run={'|'.join(run_modes.READING)}"
                ),
                status=2,
            )
        return app.parse_flags_with_usage(argv)
    if not text or text.startswith("--"):
        _fail(f"--config is empty: name an experiment or its file. {_for_help()}")
    config = _load(text)
    if asks_help:
        print(command_help.experiment(text, config))
        sys.exit(0)
    _check_overrides(argv, config)
    return _parse(argv, config)


def _parse_alone(argv: list[str], folder: Path) -> list[str]:
    """Leaves the flags to absl with the configuration of a run folder as what they change."""
    argv = sys.argv = [argv[0], f"--config={folder / _RUN_CONFIG}", *argv[1:]]
    try:
        config = _run_config().read(folder)
        _check_overrides(argv, config)
        rest = _parse(argv, config)
        _run_config().check_overrides(_CONFIG.value, folder)
    except InputError as error:
        _fail(names.printable(str(error), keep="\n"))
    return rest


def _run_config() -> ModuleType:
    """`jaxcxr.storage.run_config`, which imports NumPy."""
    host_memory.keep_freed()  # before NumPy starts threads
    from jaxcxr.storage import run_config

    return run_config


def main(argv: list[str]) -> None:
    """Runs the experiment that the flags name; `argv` may hold nothing but the program."""
    if len(argv) > 1:
        _fail(
            f"unexpected argument {argv[1]!r}; a run mode is written --config.run=MODE, other "
            "overrides --config.FIELD=VALUE"
        )
    config, workdir = _CONFIG.value, _WORKDIR.value
    if workdir is not None and not workdir.strip():
        _fail("--workdir is empty; name a folder, or leave it out for runs/<name of the config>")
    try:
        schema.check(config)
        run_modes.check(config)
    except InputError as error:
        _fail(str(error))
    if not flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.WARNING)  # JAX reports at INFO which backends it did not find
        logging.get_absl_handler().setFormatter(Formatter("{levelname}: {message}", style="{"))
    # From here on heavy modules are imported.
    host_memory.keep_freed()  # before NumPy and JAX start threads
    from jaxcxr.cli import dispatch

    folder = Path(workdir or Path("runs") / config.name)
    if Path(_last_value(sys.argv, "config") or "").name != _RUN_CONFIG:
        dispatch.start(config, folder)
        return
    try:
        with _run_config().complete(folder):
            dispatch.start(config, folder)
    except InputError as error:
        _fail(names.printable(str(error), keep="\n\t"))


def _with_config_flag(argv: list[str]) -> list[str]:
    """`jaxcxr patched_densenet:small ...` -> `jaxcxr --config=patched_densenet:small ...`."""
    if len(argv) < 2 or argv[1].startswith("-"):
        return argv
    return [argv[0], f"--config={argv[1]}", *argv[2:]]


def _last_value(argv: list[str], flag: str) -> str | None:
    """What `--FLAG=` or `--FLAG` gives, as it was typed; None without one."""
    matches = [
        re.fullmatch(rf"--?{re.escape(flag)}(?:=(.*))?", argument, re.DOTALL) for argument in argv
    ]
    texts = [
        m[1] if m[1] is not None else "".join(argv[i + 1 : i + 2])
        for i, m in enumerate(matches)
        if m
    ]
    return texts[-1] if texts else None


def _load(text: str) -> ConfigDict:
    """The config of `FILE[:PRESET]`, without overrides."""
    name = text.partition(":")[0]
    file = shipped.experiment_file(name)
    if not file.is_file():
        near = _nearest_experiment(file)
        hint = f"; did you mean {near}?" if near else ""
        if file.suffix == ".py":
            _fail(f"--config: there is no file {file}{hint}")
        _fail(f"--config: there is no experiment {name!r}{hint or f'. {_for_help()}'}")
    try:
        config = _PARSER.parse(text)
        _ = config.task  # ml_collections keeps an OSError until something is asked for
    except Exception as error:  # of the file, which may be the user's own
        _fail(f"--config: {_reason(error, file)}")
    return config


def _reason(error: Exception, file: Path) -> str:
    """An experiment file's error and its line; a check's own words stand alone."""
    # ml_collections raises some again: with the traceback as text, or when a field is asked for.
    again = str(error).startswith("Error whilst parsing config file")
    original = error.__cause__ or (error.__context__ if again else None) or error
    if isinstance(original, ValueError):
        return str(original)
    frames = traceback.extract_tb(original.__traceback__)
    lines = [frame.lineno for frame in frames if Path(frame.filename).name == file.name]
    place = f"{file}, line {lines[-1]}" if lines else str(file)
    message = (str(original).splitlines() or [""])[0]
    return f"{place}: {type(original).__name__}: {message}"


def _nearest_experiment(file: Path) -> str:
    """The nearest name, as a path where a path was typed; "" where none is near."""
    if file.suffix == ".py" and file.parent.is_dir():
        known = [other.stem for other in file.parent.glob("*.py")]
    else:
        known = list(shipped.experiments())
    near = difflib.get_close_matches(file.stem, known, 1)
    if not near:
        return ""
    return str(file.with_stem(near[0])) if file.suffix == ".py" else near[0]


def _check_flags(argv: list[str]) -> None:
    """Ends at the first flag that nobody has defined."""
    known = [name for name in flags.FLAGS if not name.startswith("config.")]
    for argument in argv[1:]:
        if argument == "--":
            return
        match = re.match(r"--?([A-Za-z_][\w-]*)(?=$|=)", argument)
        if not match or argument in {*_HELP, "--version"}:
            continue
        name = match[1]
        if name not in known and name.removeprefix("no") not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean --{near[0]}?" if near else f". {_for_help()}"
            _fail(f"there is no flag --{name}{hint}")


def _for_help() -> str:
    return f"For help: {shlex.join(hints.program())} --help"


def _parse(argv: list[str], config: ConfigDict) -> list[str]:
    """Absl's reading of the flags; a value of the wrong kind is one line as other mistakes are."""
    try:
        return flags.FLAGS(argv)
    except flags.Error as error:
        match = re.match(r"flag --(config\.[\w.]+)=(.*?): (.*)", str(error), re.DOTALL)
        if not match:
            _fail(str(error))
        name, value, reason = match.groups()
        field: Any = config
        for part in name.split(".")[1:]:
            field = field[part]
        kind = _KINDS.get(type(field), f"cannot be read ({reason}); write it like {field!r}")
        _fail(f"{name}={value!r} {kind}")


_KINDS = {
    bool: "is neither True nor False",
    int: "is no whole number, such as 3",
    float: "is no number, such as 0.5",
}


def _check_overrides(argv: list[str], config: ConfigDict) -> None:
    """Ends at the first `--config.FIELD` that is no field, or not one that the run mode reads."""
    known = schema.field_names(config)
    given = [m[1] for a in argv if (m := re.match(r"--?config\.([\w.]+)", a))]
    for field in given:
        if field not in known:
            _fail(str(schema.unknown_field(field, known)))
    run = _last_value(argv, "config.run") or config.run
    if run not in run_modes.RUN_MODES:
        return  # `main` names the known ones
    try:
        schema.check_read(config, run, given)
    except InputError as error:
        _fail(str(error))


def _fail(message: str, *, status: int = 1) -> NoReturn:
    """Ends the process with one line on stderr."""
    if status == 1:
        sys.exit(f"error: {message}")
    print(f"error: {message}", file=sys.stderr)
    sys.exit(status)
