"""Commands that messages propose.

Made from the configuration they are about: right by construction.

A `...` stands for what only the user knows. tests/test_proposed_commands.py follows each.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Collection, Sequence
from typing import Any

from ml_collections import ConfigDict

from jaxcxr import schema, shipped
from jaxcxr.run_modes import READING

_PHANTOMS = "tfds_builders.phantom_cxr"
_SEGMENTER = "fc_densenet103"
_READY = "lungs"  # trains nothing
FURTHER = "study.ensembles"  # what a further ensemble changes is said there


def program() -> list[str]:
    """The words that start jaxcxr: as this process was started, else those of the repository."""
    return _started() or ["python", "main.py"]


def _started() -> list[str]:
    """`python main.py`, `jaxcxr` or `python -m jaxcxr`.

    Empty where this process is another program.
    """
    folder, name = os.path.split(sys.argv[0])
    if name == "__main__.py" and os.path.basename(folder) == "jaxcxr":
        return ["python", "-m", "jaxcxr"]
    words = {"main.py": ["python", sys.argv[0]], "jaxcxr": ["jaxcxr"]}
    return words.get(name.removesuffix(".exe"), [])


def command(config_file: str, *overrides: str, workdir: str | os.PathLike[str] = "") -> str:
    """`python main.py --config=... --config.FIELD=... --workdir=...`, or the same of `jaxcxr`."""
    words = [*program(), *([f"--config={config_file}"] if config_file else []), *overrides]
    if workdir:
        words.append(f"--workdir={os.fspath(workdir)}")
    return " ".join(map(_quoted, words)).replace("'...'", "...")


def _quoted(word: str) -> str:
    """A word for a shell: `--config.data.classes="('a',)"`, which shlex would make unreadable."""
    name, sign, value = word.partition("=")
    if sign and "'" in value and shlex.quote(name) == name and not re.search(r'["$`\\!]', value):
        return f'{name}="{value}"'
    return shlex.quote(word)


def _experiment(name: str, preset: str = "") -> str:
    """`configs/NAME.py` where that is the file's name from here, else the name alone.

    The latter is known anywhere.
    """
    in_repository = program()[-1] in ("main.py", "./main.py")
    return f"configs/{name}.py{preset}" if in_repository else name + preset


def experiment_of(workdir: str | os.PathLike[str]) -> str:
    """The command of the experiment whose run folder has this name; '' where none has."""
    folder = os.path.normpath(os.fspath(workdir))
    name, _, preset = os.path.basename(folder).partition("-")
    if name not in shipped.experiments():
        return ""
    data = ["--config.data.manual_dir=..."] if preset else []
    is_default = folder == os.path.join("runs", os.path.basename(folder))
    return command(
        _experiment(name, f":{preset}" if preset else ""),
        *data,
        workdir="" if is_default else workdir,
    )


def in_folder(workdir: str | os.PathLike[str]) -> str:
    """`--workdir=FOLDER`, to be pasted."""
    return _quoted(f"--workdir={os.fspath(workdir)}")


def again(
    run: str, workdir: str | os.PathLike[str], *, leave_out: Collection[str] = frozenset()
) -> str:
    """The command of this process with another config.run, and with the fields that this one reads.

    `--config=...` where main.py was not started.

    The folder of a finished run has its configuration, with all that its training was told.
    `leave_out`: fields that are not repeated.
    """
    given = _joined(sys.argv[1:]) if _started() else []
    given = [re.sub(r"^--?config", "--config", word) for word in given]
    file = next(
        (word.removeprefix("--config=") for word in given if word.startswith("--config=")), "..."
    )
    fields = [w for w in given if w.startswith("--config.") and not w.startswith("--config.run=")]
    kept = [w for w in fields if schema.is_read(_field(w), run) and _field(w) not in leave_out]
    if run in READING:
        file = ""
        # A training's, or a study's.
        if not {f"--config.run={mode}" for mode in READING} & {*given}:
            kept = []
    return command(file, *kept, f"--config.run={run}", workdir=workdir)


def another_configuration(
    run: str, workdir: str | os.PathLike[str], differing: Collection[str]
) -> str:
    """What to do where a run folder belongs to another configuration than the one given.

    A run mode that reads a run needs none: the folder has it. `differing`: the fields that differ.
    """
    if run in READING:
        return (
            "The folder has its run's configuration: leave out --config and the fields of the "
            "training, or give another folder (--workdir=...).\n"
            f"  {again(run, workdir, leave_out=differing)}"
        )
    return (
        "Give the new run a folder of its own (--workdir=...), set these fields back, or delete "
        "the folder."
    )


def _field(word: str) -> str:
    """`optim.name` of `--config.optim.name=sgd`."""
    return word.removeprefix("--config.").partition("=")[0]


def of_stage(message: str, section: str, study: ConfigDict) -> str:
    """A stage's message as its study's.

    `--config.model.head` is `--config.learners.vgg19_bn.model.head` there.

    Whole commands, which name a config of their own, stay what they are.

    Args:
        message: of an error.
        section: where the study's config has the stage's fields; '': nowhere; `FURTHER`: in the
            texts of `study.ensembles`, without `--config.`.
        study: the study's config, whose own fields hold for every stage.
    """

    def replaced(match: re.Match[str]) -> str:
        part: Any = study
        for name in match[1].split("."):
            part = part.get(name) if isinstance(part, ConfigDict) else None
        return match[0] if part is not None else f"--config.{section}.{match[1]}"

    if not section:
        return message
    if section == FURTHER:
        message, replaced = f"study.ensembles: {message}", lambda match: match[1]
    lines = message.split("\n")
    fields = re.compile(r"--config\.([a-z_]+(?:\.[a-z0-9_]+)+)")
    return "\n".join(line if "--config=" in line else fields.sub(replaced, line) for line in lines)


def _joined(words: Sequence[str]) -> list[str]:
    """`--config.seed 3`, which absl takes too, as `--config.seed=3`."""
    joined: list[str] = []
    for word in words:
        is_value = not word.startswith("-") or re.fullmatch(r"-[\d.e+-]+", word)
        if joined and is_value and joined[-1].startswith("-") and "=" not in joined[-1]:
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


def segmenter(data: Any, workdir: str | os.PathLike[str] = "SEGMENTER") -> str:
    """The commands that make lung masks of a data section.

    A segmenter's training, then its predict, then the user's own with its folder.
    """
    return f"{_lines(segmenter_commands(data, workdir))}\n{_then(workdir)}"


def segmenter_commands(data: Any, workdir: str | os.PathLike[str] = "SEGMENTER") -> list[str]:
    """As `segmenter`, a command an item.

    `:small` learns from real X-rays, without it from phantoms.
    """
    phantoms = tuple(data.builders) == (_PHANTOMS,)
    file = _experiment(_SEGMENTER, "" if phantoms else ":small")
    places = [] if phantoms else ["--config.data.manual_dir=..."]
    fields = ["builders", "classes", "relabel", "patient_key", "manual_dir", "data_dir"]
    values = {name: data[name] for name in fields if data[name]}
    for module in data.builders:
        name = module.rpartition(".")[2]
        values |= {
            f"options.{name}.{key}": value for key, value in data.options.get(name, {}).items()
        }
    own = shipped.config(_SEGMENTER, "" if phantoms else "small").predict.data
    images = [
        f"--config.predict.data.{name}={_literal(value)}"
        for name, value in values.items()
        if not _has(own, name, value)
    ]
    return [
        command(file, *places, workdir=workdir),
        command(file, *places, *images, "--config.run=predict", workdir=workdir),
    ]


def any_segmenter(workdir: str | os.PathLike[str]) -> str:
    """The commands that make a segment run, where nothing says of which kind the X-rays are."""
    ready = command(_experiment(_READY), workdir=workdir)
    real = command(
        _experiment(_SEGMENTER, ":small"), "--config.data.manual_dir=...", workdir=workdir
    )
    return f"  {ready}\nof the ready-made weights, or of your own\n  {real}\n{_then(workdir)}"


def _then(workdir: str | os.PathLike[str]) -> str:
    word = _quoted(f"--config.masks.workdir={os.fspath(workdir)}")
    return f"then this command again with {word}"


def _has(section: Any, name: str, value: Any) -> bool:
    """Whether a section has this value of a dotted name anyway."""
    *parents, last = name.split(".")
    for parent in parents:
        section = section.get(parent, {})
    own = section.get(last)
    both_sequences = isinstance(own, (list, tuple)) and isinstance(value, (list, tuple))
    return tuple(own) == tuple(value) if both_sequences else own == value


def _lines(commands: Sequence[str]) -> str:
    return "\n".join(f"  {line}" for line in commands)


def _literal(value: Any) -> str:
    """As absl reads it."""
    return repr(tuple(value)) if isinstance(value, (list, tuple)) else str(value)
