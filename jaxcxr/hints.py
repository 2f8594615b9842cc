"""Commands that messages propose, made from the configuration they are about: right by construction.

A `...` stands for what only the user knows. tests/test_hints.py runs each.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Sequence
from typing import Any

_PHANTOMS = "tfds_builders.phantom_cxr"
_SEGMENTER = "configs/fc_densenet103.py"


def command(config_file: str, *overrides: str, workdir: str | os.PathLike[str] = "") -> str:
    """`python main.py --config=... [--config.FIELD=...] [--workdir=...]`."""
    words = ["python", "main.py", f"--config={config_file}", *overrides]
    if workdir:
        words.append(f"--workdir={os.fspath(workdir)}")
    return shlex.join(words).replace("'...'", "...")


def again(run: str, workdir: str | os.PathLike[str]) -> str:
    """The command of this process with another config.run; `--config=...` where main.py was not started."""
    given = sys.argv[1:] if os.path.basename(sys.argv[0]) == "main.py" else []
    given = [re.sub(r"^--?config", "--config", word) for word in given]
    file = next((word.removeprefix("--config=") for word in given if word.startswith("--config=")), "...")
    kept = [w for w in given if w.startswith("--config.") and not w.startswith("--config.run=")]
    return command(file, *kept, f"--config.run={run}", workdir=workdir)


def segmenter(data: Any, workdir: str | os.PathLike[str] = "SEGMENTER") -> str:
    """The two commands that make lung masks of a data section: a segmenter's training, then its predict."""
    return "\n".join(f"  {line}" for line in segmenter_commands(data, workdir))


def segmenter_commands(data: Any, workdir: str | os.PathLike[str] = "SEGMENTER") -> list[str]:
    """As `segmenter`, a command an item. `:small` learns from real X-rays, without it from phantoms."""
    phantoms = tuple(data.builders) == (_PHANTOMS,)
    file = _SEGMENTER if phantoms else f"{_SEGMENTER}:small"
    places = [f"--config.data.{name}={data[name]}" for name in ("manual_dir", "data_dir") if data[name]]
    if not phantoms and not data.manual_dir:
        places.insert(0, "--config.data.manual_dir=...")
    images = [
        f"--config.predict.data.{name}={_literal(data[name])}"
        for name in ("builders", "classes", "relabel", "patient_key")
        if data[name]
    ]
    if phantoms:
        options = data.options["phantom_cxr"]
        images += [f"--config.predict.data.options.phantom_cxr.{name}={options[name]}" for name in sorted(options)]
    return [
        command(file, *places, workdir=workdir),
        command(file, *places, *images, "--config.run=predict", workdir=workdir),
    ]


def _literal(value: Any) -> str:
    """As absl reads it."""
    return value if isinstance(value, str) else repr(tuple(value)) if isinstance(value, Sequence) else str(value)
