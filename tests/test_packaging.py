"""The two lists of dependencies are one: requirements*.txt for a checkout, pyproject.toml for an installation."""

import ast
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
NAMES = {
    "absl": "absl-py",
    "array_record": "array-record",
    "cv2": "opencv-python-headless",
    "gdcm": "python-gdcm",
    "ml_dtypes": "ml-dtypes",
    "openjpeg": "pylibjpeg-openjpeg",
    "orbax": "orbax-checkpoint",
    "PIL": "pillow",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
}


def requirements(name: str) -> list[str]:
    lines = (line.partition("#")[0].strip() for line in (ROOT / name).read_text().splitlines())
    return [line for line in lines if line and not line.startswith("-")]


@pytest.mark.parametrize(
    ("file", "listed"),
    [
        ("requirements.txt", PROJECT["dependencies"]),
        ("requirements-test.txt", PROJECT["optional-dependencies"]["test"]),
        ("requirements-cuda12.txt", PROJECT["optional-dependencies"]["cuda12"]),
        ("requirements-tpu.txt", PROJECT["optional-dependencies"]["tpu"]),
    ],
)
def test_requirements_equal_the_project_file(file, listed):
    assert requirements(file) == listed


def test_every_range_is_bounded():
    groups = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    for line in (line for group in groups for line in group):
        assert ">=" in line and ",<" in line, line


def test_every_imported_package_is_listed():
    imported = set()
    for package in ("jaxcxr", "configs", "tfds_builders"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Import):
                    imported |= {alias.name.split(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom):
                    imported.add(str(node.module).split(".")[0])
    ours = {"jaxcxr", "configs", "tfds_builders"}
    needed = {NAMES.get(name, name) for name in imported - set(sys.stdlib_module_names) - ours}
    listed = {line.split(">=")[0].replace("_", "-") for line in PROJECT["dependencies"]}
    assert {name.replace("_", "-") for name in needed} <= listed
