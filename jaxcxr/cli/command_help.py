"""The answers to `--help`.

Run modes and experiments, or the fields of one experiment with their comments.

The comments are read from the sources of `configs/common*.py`, where every field stands once.
"""

from __future__ import annotations

import ast
import functools
import io
import textwrap
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

import jaxcxr
from jaxcxr import shipped
from jaxcxr.run_modes import RUN_MODES

WIDTH = 100
_PRESETS = {
    "": "phantoms (drawn X-rays that come with jaxcxr), minutes on two CPU cores",
    ":small": (
        "real X-rays at reduced resolution, for two CPU cores (--config.data.manual_dir=FOLDER)"
    ),
    ":paper": (
        "real X-rays with the paper's settings, for a GPU or TPU (--config.data.manual_dir=FOLDER)"
    ),
}
# The functions of configs/common*.py that say what the fields of a task mean, the later ones first.
_FUNCTIONS = {
    "segment": ("segment", "base"),
    "classify": ("classify", "base"),
    "ensemble": ("ensemble", "base"),
    "study": ("flannel", "classifiers", "_study", "base"),
}


def overview(program: str) -> str:
    """Usage, run modes, presets and experiments.

    Args:
        program: the words that start jaxcxr.
    """
    experiments = {name: shipped.title(path) for name, path in shipped.experiments().items()}
    presets = {name or "(none)": text for name, text in _PRESETS.items()}
    return "\n".join(
        [
            (
                f"jaxcxr {jaxcxr.__version__}: COVID-19 chest X-ray systems of five papers in JAX "
                "and Flax."
            ),
            "Research use only; not for diagnosis.",
            "",
            f"usage: {program} EXPERIMENT[:PRESET] [--config.FIELD=VALUE ...] [--workdir=FOLDER]",
            f"       {program} --config=FILE.py[:PRESET] ...   an experiment file of your own",
            (
                f"       {program} EXPERIMENT --help               its fields, values and their "
                "meaning"
            ),
            "",
            f"example: {program} patched_densenet --config.seed=3",
            "",
            "run modes, --config.run=MODE",
            *_table(RUN_MODES),
            "",
            "presets, after a colon",
            *_table(presets),
            "",
            "experiments",
            *_table(experiments),
            "",
            "The run folder is runs/EXPERIMENT[-PRESET] unless --workdir names another one.",
            "--version prints the version, --helpfull the flags of all libraries.",
        ]
    )


def experiment(name: str, config: ConfigDict) -> str:
    """The fields of an experiment, their values and comments.

    Args:
        name: as it was typed, with its preset.
        config: its config.
    """
    file = shipped.experiment_file(name.partition(":")[0])
    lines = [f"{name}: {shipped.title(file)}", "", "Set a field by --config.FIELD=VALUE.", ""]
    shown: dict[str, tuple[str, dict[str, Any]]] = {}
    for prefix, stage in _stages(config):
        values = dict(_values(stage))
        if stage.task not in shown:
            shown[stage.task] = (prefix, values)
            lines += _field_lines(prefix, values, stage.task)
            continue
        first, shared = shown[stage.task]
        differing = {
            field: value
            for field, value in values.items()
            if field not in shared or shared[field] != value
        }
        lines += ["", f"{prefix}*: as {first}*, but", *_field_lines(prefix, differing, "")]
    return "\n".join(lines)


def field_names(config: ConfigDict) -> list[str]:
    """'optim.learning_rate', ...: what can be overridden."""
    return [field for field, value in _values(config) if not isinstance(value, ConfigDict)]


def _values(config: ConfigDict, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Each field and its value, a section before its fields; plain fields come first."""
    plain_first = sorted(config.items(), key=lambda item: isinstance(item[1], ConfigDict))
    for key, value in plain_first:
        yield f"{prefix}{key}", value
        if isinstance(value, ConfigDict):
            yield from _values(value, f"{prefix}{key}.")


def _stages(config: ConfigDict, prefix: str = "") -> Iterator[tuple[str, ConfigDict]]:
    """(prefix of its fields, its config) of the config without its stages, then of every stage."""
    stages = {key: value for key, value in config.items() if _holds_stages(value)}
    if "task" in config:
        yield prefix, ConfigDict({k: v for k, v in config.items() if k not in stages})
    for key, value in stages.items():
        yield from _stages(value, f"{prefix}{key}.")


def _holds_stages(value: Any) -> bool:
    if not isinstance(value, ConfigDict):
        return False
    return "task" in value or any(_holds_stages(inner) for inner in value.values())


def _field_lines(prefix: str, values: dict[str, Any], task: str) -> list[str]:
    """A line per field, its comment beside it or, where there is no room, below.

    task "": no comments.
    """
    lines: list[str] = []
    for field, value in values.items():
        is_repeated = ".data." in field  # the fields of `data` again
        comment = "" if is_repeated else _comment(task, field)
        if isinstance(value, ConfigDict):
            if not value:
                lines += _line(f"{prefix}{field} = {{}}", comment)
            elif comment:
                lines += ["", f"{prefix}{field}.*", *_wrapped(comment)]
            elif task and "." not in field:
                lines.append("")
        else:
            lines += _line(f"{prefix}{field} = {value!r}", comment)
    return lines


def _line(text: str, comment: str) -> list[str]:
    column = 44
    if len(text) < column and len(comment) <= WIDTH - column - 2:
        return [f"{text:{column}}# {comment}" if comment else text]
    return [text, *_wrapped(comment)]


def _wrapped(comment: str) -> list[str]:
    indent = "    # "
    return textwrap.wrap(comment, WIDTH, initial_indent=indent, subsequent_indent=indent)


def _table(rows: dict[str, str]) -> list[str]:
    column = 4 + max(map(len, rows))
    lines = []
    for name, text in rows.items():
        lines += textwrap.wrap(
            text,
            WIDTH,
            initial_indent=f"  {name}".ljust(column),
            subsequent_indent=" " * column,
        )
    return lines


def _comment(task: str, field: str) -> str:
    """The comment on a field; "" where there is none."""
    comments = _comments()
    parts = field.split(".")
    if parts[0] == "data" and (
        comment := comments.get("data_section", {}).get(".".join(parts[1:]))
    ):
        return comment
    return next(
        (c for name in _FUNCTIONS.get(task, ()) if (c := comments.get(name, {}).get(field))), ""
    )


@functools.cache
def _comments() -> dict[str, dict[str, str]]:
    """Function of configs/common*.py -> field that it sets -> comment."""
    comments: dict[str, dict[str, str]] = {}
    for path in sorted(shipped.folder("configs").glob("common*.py")):
        for name, of_fields in _comments_of(path).items():
            comments.setdefault(name, of_fields)
    return comments


def _comments_of(path: Path) -> dict[str, dict[str, str]]:
    """Comments beside or right above the assignments in the body of each function."""
    source = path.read_text(encoding="utf-8")
    lines = source.splitlines()
    comment_at = {
        token.start[0]: token.string.removeprefix("#").strip()
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }

    def is_alone(number: int) -> bool:
        return number in comment_at and lines[number - 1].lstrip().startswith("#")

    comments: dict[str, dict[str, str]] = {}
    for function in ast.parse(source).body:
        if not isinstance(function, ast.FunctionDef):
            continue
        for statement in function.body:
            if not isinstance(statement, ast.Assign) or not isinstance(
                statement.targets[0], ast.Attribute
            ):
                continue
            field = ast.unparse(statement.targets[0]).partition(".")[2]
            start = statement.lineno
            while is_alone(start - 1):
                start -= 1
            above = [comment_at[n] for n in range(start, statement.lineno)]
            end = statement.end_lineno or statement.lineno
            beside = [comment_at[n] for n in range(statement.lineno, end + 1) if n in comment_at]
            comment = " ".join(beside or above)
            comments.setdefault(function.name, {}).setdefault(field, comment)
    return comments
