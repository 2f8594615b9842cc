"""What an installation holds, and that its dependencies are those of a checkout."""

import ast
import fnmatch
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import jaxcxr
from jaxcxr import shipped

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


def test_the_version_is_the_same_everywhere():
    assert PROJECT["version"] == jaxcxr.__version__
    citation = (ROOT / "CITATION.cff").read_text()
    assert re.search(r"^version: (.*)$", citation, re.MULTILINE)[1] == jaxcxr.__version__
    assert (
        re.search(r"^## (\d\S*)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[1]
        == jaxcxr.__version__
    )


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """A folder as setup.py lays out site-packages, and a folder of a user's own beside it."""
    site = tmp_path_factory.mktemp("site")
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "jaxcxr", site / "jaxcxr", ignore=ignore)
    for name in shipped.PACKAGES:
        shutil.copytree(ROOT / name, site / "jaxcxr" / f"_{name}", ignore=ignore)
    # A folder with a `configs` of another project, and a builder and an experiment of the user's
    # own.
    user = site.parent / "user"
    (user / "configs").mkdir(parents=True)
    (user / "configs" / "common.py").write_text("raise ImportError('another project')")
    (user / "mine.py").write_text(
        "from configs import fc_densenet103\n\n\ndef get_config(preset=''):\n"
        "    return fc_densenet103.EXPERIMENT.config(preset, name='mine')\n"
    )
    (user / "tfds_builders" / "own").mkdir(parents=True)
    (user / "tfds_builders" / "own" / "own_dataset_builder.py").write_text("class Builder: pass\n")
    return site


def run(site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=site.parent / "user",
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--help"], "patched_densenet"),
        (["patched_densenet:small", "--help"], "name = 'patched_densenet-small'"),
        (["--config=configs/patched_densenet.py", "--help"], "name = 'patched_densenet'"),
        (["--config=mine.py:paper", "--help"], "name = 'mine-paper'"),
    ],
    ids=["overview", "by name", "by its path in the repository", "own file"],
)
def test_an_installation_finds_experiments_from_any_folder(installed, arguments, text):
    answer = run(installed, "-m", "jaxcxr", *arguments)
    assert answer.returncode == 0, answer.stderr
    assert text in answer.stdout


def test_an_installation_finds_its_builders_and_the_users_own(installed):
    code = (
        "import sys\nfrom jaxcxr.data import prepared\n"
        "for name in ('tfds_builders.phantom_cxr', 'tfds_builders.own'):\n"
        "    print(prepared._builder_class(name)[0].__module__)\n"
        "print(sys.modules['tfds_builders.phantom_cxr'].__file__)"
    )
    answer = run(installed, "-c", code)
    assert answer.returncode == 0, answer.stderr
    phantoms, own, folder = answer.stdout.splitlines()
    assert phantoms == "tfds_builders.phantom_cxr.phantom_cxr_dataset_builder"
    assert own == "tfds_builders.own.own_dataset_builder"
    assert Path(folder).parent == installed / "jaxcxr" / "_tfds_builders" / "phantom_cxr"


def test_the_wheel_has_every_package_below_one_name(monkeypatch):
    setuptools = pytest.importorskip("setuptools", reason="only building needs it")
    given = {}
    monkeypatch.setattr(setuptools, "setup", lambda **arguments: given.update(arguments))
    monkeypatch.chdir(ROOT)
    exec((ROOT / "setup.py").read_text(), {})
    folders = {"jaxcxr": "jaxcxr", **{f"jaxcxr._{name}": name for name in shipped.PACKAGES}}
    expected = {
        ".".join([package, *path.parent.relative_to(ROOT / folder).parts])
        for package, folder in folders.items()
        for path in (ROOT / folder).rglob("__init__.py")
    }
    assert set(given["packages"]) == expected


def test_the_wheel_has_every_file_that_is_no_code():
    given = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    packages = {path.parent for path in (ROOT / "jaxcxr").rglob("__init__.py")}

    def is_given(path: Path) -> bool:
        of_any = path.parent in packages and any(
            fnmatch.fnmatch(path.name, pattern) for pattern in given["package-data"]["*"]
        )
        return of_any or any(
            path.relative_to(ROOT).match(f"{package.replace('.', '/')}/{pattern}")
            for package, patterns in given["package-data"].items()
            for pattern in patterns
            if package != "*"
        )

    files = [path for path in (ROOT / "jaxcxr").rglob("*") if path.is_file()]
    others = [path for path in files if path.suffix not in (".py", ".pyc")]
    assert others and [str(path) for path in others if not is_given(path)] == []
