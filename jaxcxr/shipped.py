"""Experiment files and data set builders that come with jaxcxr.

In the repository `configs/` and `tfds_builders/` are top-level packages. In an installation they
lie inside the package, so that site-packages has one name of ours and no other project's `configs`
is overwritten. `make_importable` gives them the same module names in both.
"""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

_PACKAGE = Path(__file__).resolve().parent
# setup.py installs each as jaxcxr/_<name>.
PACKAGES = ("configs", "tfds_builders")


def folder(package: str) -> Path:
    """The folder of `configs` or `tfds_builders`."""
    installed = _PACKAGE / f"_{package}"
    return installed if installed.is_dir() else _PACKAGE.parent / package


def experiments() -> dict[str, Path]:
    """Name of each experiment -> its file, in alphabetical order."""
    files = sorted(folder("configs").glob("*.py"))
    return {path.stem: path for path in files if not path.stem.startswith(("__", "common"))}


def experiment_file(name: str) -> Path:
    """The file that `--config=` means.

    Args:
        name: a path, or the name of an experiment that comes with jaxcxr ("patched_densenet",
            "configs/patched_densenet.py" in any folder).

    Returns:
        The path where there is such a file, or else the experiment of that name; the path as it
        is where there is neither.
    """
    path = Path(name)
    if path.is_file() or path.parent not in (Path(), Path("configs")):
        return path
    return experiments().get(path.name.removesuffix(".py"), path)


def config(name: str, preset: str = "") -> Any:
    """The config of an experiment that comes with jaxcxr."""
    make_importable()
    return importlib.import_module(f"configs.{name}").get_config(preset)


def title(file: Path) -> str:
    """The first line of a file's docstring; "" where it has none."""
    docstring = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return docstring.partition("\n")[0]


def make_importable() -> None:
    """Lets `configs` and `tfds_builders` be imported under these names, ahead of others so called.

    Folders `configs` and `tfds_builders` in the folder where the process was started belong to
    them: a builder of the user's own in `tfds_builders/mine/` is `tfds_builders.mine`.
    """
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    """Finds the two packages; their modules are then found in the package's folders as usual."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        del path, target
        if fullname not in PACKAGES:
            return None
        ours, theirs = folder(fullname), Path.cwd() / fullname
        places = [str(ours)]
        if theirs.is_dir() and theirs != ours:
            places.append(str(theirs))
        return spec_from_file_location(
            fullname, ours / "__init__.py", submodule_search_locations=places
        )
