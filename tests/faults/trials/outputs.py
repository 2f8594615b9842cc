"""What prediction on a user's own X-rays is called, lists and prints, whatever the files' names and
the locale.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from jaxcxr.commands.xray_results import CSV, FAILED, JSONL, MASKS, Results
from jaxcxr.data import xray_files
from jaxcxr.errors import InputError
from jaxcxr.inference.xray_predictions import Result
from tests.faults.promises import Context, promise

# Of names: what readers, shells, terminals, spreadsheets, Windows and Unicode make something of.
_PIECES = (
    "a", "A", "b", ".png", ".PNG", "~", "胸", "é", "e\u0301", "ß", "SS", "ﬁ", "İ", " ", ".", "..",
    "\n", "\r", "\t", "\x1b[2J", "\x07", "\x7f", "\x9b", "\u202e", "\u2028", "\u200d", "=", "+",
    "-", "@", "'", '"', ",", ";", "|", "$", "\\", ":", "*", "?", "<", ">", "[", "]", "{", "%", "#",
    "con", "NUL", "com1", "\udcff", "\udcc3", "😀",
)  # fmt: skip
_FILES = 12


@promise(
    "outputs/names",
    "files of any names are in one row of one table each, with pictures of their own",
    full=500,
    quick=25,
)
def names(context: Context) -> Iterator[str]:
    for trial in range(context.trials):
        inputs, outputs = (context.folder / f"{trial}-{kind}" for kind in ("in", "out"))
        inputs.mkdir()
        made = _make(context.rng, inputs)
        try:
            problem = _problem(context.rng, inputs, outputs, made)
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
        yield f"{inputs}: {problem}" if problem else ""


def _make(rng: np.random.Generator, inputs: Path) -> int:
    """Files, links, pipes and folders; returns how many must be found."""
    made = 0
    folders = [inputs]
    for _ in range(_FILES):
        path = folders[int(rng.integers(len(folders)))] / _name(rng)
        if os.path.lexists(path) or path.name.startswith("."):
            continue
        kind = rng.random()
        try:
            if kind < 0.2:
                path.mkdir()
                folders.append(path)
                continue
            if kind < 0.25:
                path.symlink_to("nowhere")
            elif kind < 0.3:
                path.symlink_to(inputs)
            elif kind < 0.35:
                os.mkfifo(path)
            else:
                path.write_bytes(b"x")
        except OSError:  # a name that this disk does not take
            continue
        made += 1
    (inputs / "z").write_bytes(b"x")
    return made + 1


def _name(rng: np.random.Generator) -> str:
    name = "".join(rng.choice(_PIECES) for _ in range(int(rng.integers(1, 5))))
    if rng.random() < 0.15:
        name *= 255 // len(os.fsencode(name)) + 1
    encoded = os.fsencode(name)[:255]
    return os.fsdecode(encoded) if encoded.strip(b".") else "x"


def _problem(rng: np.random.Generator, inputs: Path, outputs: Path, made: int) -> str:
    found = xray_files.find(str(inputs)).files
    ids = [file.id for file in found]
    if len(found) != made:
        return f"{len(found)} of {made} files were found"
    if len(set(ids)) < made:
        return "two files have one id"
    with Results(outputs, (), active=True, pictures=(MASKS,)) as results:
        for file in found:
            if file.problem or rng.random() < 0.2:
                try:
                    xray_files.read_file(file)
                    return f"{file.id!r} was read"
                except InputError as error:
                    results.fail(file.id, xray_files.reason(file.name, error))
            else:
                results.picture(MASKS, file.id, file.id.encode())
                results.add(Result(id=file.id))
    lines = [
        json.loads(line) for line in (outputs / JSONL).read_text(encoding="utf-8").splitlines()
    ]
    predicted, failed = _cells(outputs / CSV), _cells(outputs / FAILED)
    if sorted([*(line["id"] for line in lines), *_plain(failed)]) != sorted(ids):
        return "a file is in no table, or in two"
    if _plain(predicted) != [line["id"] for line in lines]:
        return "the tables differ"
    if formulas := [
        cell for cell in (*predicted, *failed) if cell.startswith(("=", "+", "-", "@", "\t", "\r"))
    ]:
        return f"a formula: {formulas[0]!r}"
    pictures = [line["picture"] for line in lines]
    if len({unicodedata.normalize("NFC", name).casefold() for name in pictures}) < len(pictures):
        return "two pictures have one name on some disks"
    for line in lines:
        if (outputs / MASKS / line["picture"]).read_bytes().decode() != line["id"]:
            return f"{line['id']!r} has another's picture"
    if len(list((outputs / MASKS).rglob("*.png"))) - sum(
        p.is_dir() for p in (outputs / MASKS).rglob("*.png")
    ) != len(lines):
        return "a picture without a row"
    if shown := [
        file.name
        for file in found
        if any(unicodedata.category(c) in ("Cc", "Cs") for c in file.name)
    ]:
        return f"a terminal would obey {shown[0]!r}"
    return ""


def _cells(path: Path) -> list[str]:
    with open(path, newline="", encoding="utf-8") as file:
        return [row[0] for row in csv.reader(file)][1:]


def _plain(cells: list[str]) -> list[str]:
    """Without the ' before what a spreadsheet would take for a formula."""
    return [
        cell[1:] if cell.lstrip("'")[:1] in tuple("=+-@\t\r\n") and cell[0] == "'" else cell
        for cell in cells
    ]


_LOCALES = (
    {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    {"LC_ALL": "POSIX", "PYTHONUTF8": "1"},
    {"PYTHONIOENCODING": "ascii", "LC_ALL": "C.UTF-8"},
    {"PYTHONIOENCODING": "latin-1", "LC_ALL": "C.UTF-8"},
    {"LC_ALL": "de_DE.UTF-8", "LANG": "de_DE"},
    {"LC_ALL": "no_such_locale", "PYTHONUTF8": "0"},
)
_SCRIPT = """
import sys
from pathlib import Path
import numpy as np
from jaxcxr.storage import names
from jaxcxr.data import xray_files
from jaxcxr.report import plots
from jaxcxr.inference.xray_predictions import Result
from jaxcxr.commands.xray_results import MASKS, Results
from jaxcxr.errors import InputError
names.print_whatever_comes()
inputs, outputs = sys.argv[1:]
with Results(Path(outputs), ("normal",), active=True, pictures=(MASKS,)) as results:
    listed = xray_files.find(inputs)
    for file in listed.files:
        print(file.name)
        try:
            xray_files.read_file(file)
        except InputError as error:
            results.fail(file.id, xray_files.reason(file.name, error))
            continue
        figure = plots.mask_overlay(np.eye(8), None, title=file.name)
        results.picture(MASKS, file.id, plots.to_png(figure))
        results.add(Result(id=file.id, prediction={"probabilities": np.array([1.0])}))
try:
    results.finish({"model": "x"}, listed)
except InputError as error:
    print(f"error: {error}", file=sys.stderr)
"""


@promise(
    "outputs/locale",
    "names and files are the same in every locale and on every terminal",
    full=60,
    quick=1,
)
def locale(context: Context) -> Iterator[str]:
    usual: dict[bytes, bytes] | str = ""
    for trial in range(context.trials):
        inputs = context.folder / f"{trial // len(_LOCALES)}-in"
        if not inputs.exists():
            inputs.mkdir()
            _make(context.rng, inputs)
            for path in [path for path in sorted(inputs.rglob("*")) if path.is_file()][::2]:
                Image.fromarray(np.eye(256, dtype=np.uint8) * 255).save(path, format="PNG")
            usual = _outputs(inputs, inputs.with_suffix(".out"), {"LC_ALL": "C.UTF-8"})
        locale = _LOCALES[trial % len(_LOCALES)]
        other = _outputs(inputs, context.folder / f"{trial}-other", locale)
        same = usual == other and isinstance(usual, dict)
        yield "" if same else f"{inputs} with {locale}: {str(usual)[:400]} {str(other)[:400]}"


def _outputs(inputs: Path, outputs: Path, locale: dict[str, str]) -> dict[bytes, bytes] | str:
    """Name -> content of what a process with this locale writes; else what it said."""
    own = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("LC_", "LANG", "PYTHON"))
    }
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", _SCRIPT, str(inputs), str(outputs)],
        env={**own, **locale, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
    )
    if run.returncode or b"Traceback" in run.stderr:
        return run.stderr.decode(errors="replace")[-400:]
    files = [path for path in outputs.rglob("*") if path.is_file()]
    return {os.fsencode(path.relative_to(outputs)): path.read_bytes() for path in files}
