"""The answers to `--help`.

Run modes and experiments, or the fields of one experiment with what the config schema says of
them.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

from ml_collections import ConfigDict

import jaxcxr
from jaxcxr import schema, shipped
from jaxcxr.run_modes import RUN_MODES
from jaxcxr.schema import Field, Section

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
    """The fields of an experiment, their values, meaning and allowed values.

    Args:
        name: as it was typed, with its preset.
        config: its config.
    """
    file = shipped.experiment_file(name.partition(":")[0])
    lines = [f"{name}: {shipped.title(file)}", "", "Set a field by --config.FIELD=VALUE.", ""]
    shown: dict[str, tuple[str, dict[str, Any]]] = {}
    for prefix, stage in schema.stages(config):
        own = {key: value for key, value in stage.items() if not schema.holds_stages(value)}
        values = dict(_values(ConfigDict(own)))
        if stage.task not in shown:
            shown[stage.task] = (prefix, values)
            lines += _field_lines(prefix, values, schema.section_of(stage))
            continue
        first, shared = shown[stage.task]
        differing = {
            field: value
            for field, value in values.items()
            if field not in shared or shared[field] != value
        }
        lines += ["", f"{prefix}*: as {first}*, but", *_field_lines(prefix, differing, None)]
    return "\n".join(lines)


def _values(config: ConfigDict, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Each field and its value, a section before its fields; plain fields come first."""
    plain_first = sorted(config.items(), key=lambda item: isinstance(item[1], ConfigDict))
    for key, value in plain_first:
        yield f"{prefix}{key}", value
        if isinstance(value, ConfigDict):
            yield from _values(value, f"{prefix}{key}.")


def _field_lines(prefix: str, values: dict[str, Any], section: Section | None) -> list[str]:
    """A line per field, what is said of it beside it or, where there is no room, below.

    section: the fields of the config's kind; None: nothing is said.
    """
    lines: list[str] = []
    for field, value in values.items():
        item = section.find(field) if section else None
        is_repeated = ".data." in field  # the fields of `data` again
        comment = "" if is_repeated or item is None else _comment(item)
        if isinstance(value, ConfigDict):
            if not value:
                lines += _line(f"{prefix}{field} = {{}}", comment)
            elif comment:
                lines += ["", f"{prefix}{field}.*", *_wrapped(comment)]
            elif section and "." not in field:
                lines.append("")
        else:
            lines += _line(f"{prefix}{field} = {value!r}", comment)
    return lines


def _comment(item: Field | Section) -> str:
    """Meaning and allowed values; of a section also the run modes that read it."""
    if isinstance(item, Field):
        if item.values:
            return f"[{' | '.join(item.values)}] {item.meaning}"
        return f"[{item.within}] {item.meaning}" if item.within else item.meaning
    modes = f"[read by {', '.join(item.read_by)}] " if item.read_by and item.meaning else ""
    return modes + item.meaning


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
