"""Every command of README, docs/ and CONTRIBUTING: run where phantoms suffice, else parsed.

Commands run in one process, in a folder of their own, in the order of the documents, so that a
command finds the runs of those before it, as for a reader. Networks and data are shrunk after the
command line was read.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from absl import flags
from ml_collections import ConfigDict
from PIL import Image

from jaxcxr import run_modes, schema, shipped
from jaxcxr.cli import command_line
from jaxcxr.cli.dispatch import RUNS
from jaxcxr.weights.catalog import LUNGS
from tests import tiny
from tfds_builders.phantom_cxr import drawing

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), ROOT / "CONTRIBUTING.md"]
# ml_collections loads config files in a way that Python will give up.
pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")

# Commands that are not run, and why. Those of main.py are parsed: their experiment, fields, values
# and run mode exist.
ONLY_PARSED = {
    "--config.data.manual_dir=": "needs real X-rays",
    "patched_flannel.py": "a study: half an hour on phantoms",
    "flannel_lite.py": "studies of twelve trainings; tests/studies/test_study.py has minute ones",
    "--config.repeats=10": "ten trainings; tests/training/test_finish.py has two",
    "--config.parallel.coordinator=": "several processes; tests/test_parallel.py starts them",
    "--config.run=lr_find": "a program of its own to compile; tests/studies/test_classifiers.py",
    "--config.explain.method=occlusion": "gradcam is drawn above; tests/commands/test_explain.py",
    "--config.model.dtype=bfloat16": "another program to compile; tests/training/test_precision.py",
    "--workdir=runs/resnet18": "the full ResNet-18: minutes of compiling",
    "--config.model.pretrained=runs/": "tests/training/test_pretrained.py starts from an export",
    "--config.train.epochs=40": "trains as the first command; tests/test_shipped_configs.py",
    "--config.run=evaluate": "predicts what training just predicted; tests/training/test_finish.py",
}
# Commands of other programs: what has to be true of them instead of running them.
OTHER_PROGRAMS = {
    "pip install": "the files and packages exist",
    "pre-commit install": "changes the user's git",
    "tensorboard": "a server",
    "ruff": "what .ci/run does",
    "pyright": "what .ci/run does",
    "pytest": "the tests themselves",
    "git diff": "shows what python -m tests.golden changed",
    "python -m": "the module exists",
}


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(
        rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )


def commands() -> Iterator[tuple[str, str]]:
    """(page, command), each once; continued lines are joined."""
    known = set()
    for page in PAGES:
        for block in blocks(page, "bash"):
            for line in block.replace("\\\n", " ").splitlines():
                command = " ".join(line.split())
                if command and command not in known:
                    known.add(command)
                    yield page.name, command


COMMANDS = list(commands())
MAIN = [(page, c) for page, c in COMMANDS if c.startswith(("python main.py", "jaxcxr "))]
OTHER = [(page, c) for page, c in COMMANDS if (page, c) not in MAIN]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """The reader's folder: two X-rays of their own, nothing else."""
    folder = tmp_path_factory.mktemp("docs")
    (folder / "xrays").mkdir()
    for name, label in (("first", "normal"), ("second", "ground_glass")):
        phantom = drawing.draw(seed=7, patient=0, image=0, size=64, label=label)
        Image.fromarray(phantom.image).save(folder / "xrays" / f"{name}.png")
    return folder


@pytest.fixture(scope="module", autouse=True)
def _small_networks():
    with pytest.MonkeyPatch.context() as patch:
        tiny.add_networks(patch)
        yield


@pytest.fixture
def parse(monkeypatch):
    """A command as the command line reads it -> its config; SystemExit where it asks for help."""

    def parse(command: str) -> ConfigDict:
        words = shlex.split(command)
        argv = words[1:] if words[0] == "python" else words
        monkeypatch.setattr(sys, "argv", argv)
        command_line.parse_flags(argv)
        return flags.FLAGS["config"].value

    yield parse
    for name in [name for name in flags.FLAGS if name.startswith("config.")]:
        delattr(flags.FLAGS, name)
    flags.FLAGS["config"].unparse()
    flags.FLAGS["workdir"].unparse()


def shrunk(config: ConfigDict) -> ConfigDict:
    """The same experiment in seconds."""
    if config.get("model", {}).get("pretrained") == LUNGS:  # as they are: nothing is trained
        config.parallel.compilation_cache = ""
        return config
    config = tiny.shrink(config)
    small = {"segment": (tiny.ONE_DOWN, 0.25), "classify": (tiny.ONE_BLOCK, 0.1)}[config.task]
    config.model.name, config.model.width = small
    config.model.depth = 1.0
    if config.task == "classify":
        config.explain.per_class = 1
    return config


@pytest.mark.parametrize(("page", "command"), MAIN, ids=[f"{p}: {c}"[:100] for p, c in MAIN])
def test_a_command_of_main_does_what_the_page_says(
    parse, folder, monkeypatch, capsys, page, command
):
    monkeypatch.chdir(folder)
    if "--help" in command:
        with pytest.raises(SystemExit) as left:
            parse(command)
        assert left.value.code == 0
        return
    config = parse(command)
    run_modes.check(config)
    if any(part in command for part in ONLY_PARSED):
        return
    workdir = flags.FLAGS["workdir"].value or f"runs/{config.name}"
    if config.run == "enhance":
        config.data.image_size = 64
    else:
        config = shrunk(config)
    RUNS[config.run](config, folder / workdir)
    assert "Traceback" not in capsys.readouterr().err
    assert any((folder / workdir).iterdir())


def test_what_the_commands_wrote_is_what_the_guide_says(folder):
    """After the commands above, in this process: the files that the table of a run folder names."""
    run = folder / "runs" / "patched_densenet"
    if not run.is_dir():
        pytest.skip("the commands were not run before this test")
    results = (
        "report.md predictions.npz explain/index.json xrays/predictions.csv export/run.py compare"
    )
    for (
        name
    ) in f"{results} overlays config.json metrics.jsonl checksums.json finished.json".split():
        assert (run / name).exists(), name
    rows = (run / "xrays" / "predictions.csv").read_text(encoding="utf-8").splitlines()
    assert len(rows) == 3 and all("not a diagnosis" in row for row in rows[1:])


@pytest.mark.parametrize(("page", "command"), OTHER, ids=[f"{p}: {c}"[:100] for p, c in OTHER])
def test_a_command_of_another_program_names_what_exists(folder, page, command):
    words = shlex.split(command)
    if words[0] == "python" and words[1].endswith("run.py"):
        if not (folder / words[1]).exists():
            pytest.skip("the export was not made before this test")
        answer = subprocess.run(
            [sys.executable, *words[1:]], cwd=folder, capture_output=True, text=True, timeout=300
        )
        assert answer.returncode == 0, answer.stderr
        assert "first" in answer.stdout
        return
    assert command.startswith(tuple(OTHER_PROGRAMS)), f"{command}: run it here, or say why not"
    if command.startswith("python -m"):
        assert (ROOT / words[2].replace(".", "/") / "__main__.py").is_file() or words[
            2
        ] == "tests.golden"
    for word in words:
        if word.endswith((".txt", ".py")) or word.startswith("tests/"):
            assert (ROOT / word).exists(), word


def test_the_lists_of_what_is_not_run_have_no_idle_entry():
    for part in ONLY_PARSED:
        assert any(part in command for _, command in MAIN), part
    for program in OTHER_PROGRAMS:
        assert any(command.startswith(program) for _, command in OTHER), program


def test_the_python_of_the_api_page_runs(folder, monkeypatch):
    monkeypatch.chdir(folder)
    names: dict[str, object] = {}  # one session, as a reader has
    ran = 0
    for block in blocks(ROOT / "docs" / "API.md", "python"):
        if "runs/" in block and not (folder / "runs/patched_densenet/export").is_dir():
            continue
        exec(compile(block, "docs/API.md", "exec"), names)
        ran += 1
    assert ran >= 3


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    text = re.sub(
        r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE
    )
    targets = [t for t in re.findall(r"\]\(([^)\s]+)\)|src=\"([^\"]+)\"", text) for t in t if t]
    for target in targets:
        if target.startswith("http"):
            continue
        name, _, anchor = target.partition("#")
        file = page.parent / name if name else page
        assert file.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {
                re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings
            }, target


def test_fields_and_run_modes_that_the_pages_name_exist():
    fields = set()
    for name in shipped.experiments():
        for preset in ("", "paper"):
            fields |= set(schema.field_names(tiny.load(name, preset)))
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        named = re.findall(r"--config\.([a-z_]+(?:\.[a-z0-9_]+)*)=", text)
        assert set(named) <= fields | {"run"}, page.name
        assert set(re.findall(r"--config\.run=([a-z_]+)", text)) <= set(run_modes.RUN_MODES), (
            page.name
        )


def test_files_and_folders_that_the_pages_name_exist():
    path = re.compile(r"`((?:jaxcxr|tests|configs|tfds_builders|docs)/[\w/.-]*)`")
    named = {(page.name, name) for page in PAGES for name in path.findall(page.read_text())}
    to_fill_in = re.compile("NAME|PAPER")
    assert {
        (p, n) for p, n in named if not to_fill_in.search(n) and not (ROOT / n).exists()
    } == set()


def test_every_experiment_is_on_the_page_of_experiments():
    text = (ROOT / "docs" / "CONFIGS.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`configs/(\w+)\.py`", text))
    for start, names in re.findall(r"`configs/(\w*)\{([\w,]+)\}\.py`", text):
        named |= {start + name for name in names.split(",")}
    named |= {"v7_diagnosis"} if "v7_diagnosis{,_masked}" in text else set()
    assert named == set(shipped.experiments())


def test_readme_is_for_the_first_half_hour():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 150
    assert "Not for diagnosis" in text.partition("## ")[0]
    packages = "jax[cuda12] flax optax orbax-checkpoint tensorflow-datasets grain numpy chex"
    for package in packages.split():
        assert f"`{package}`" in text, package


def test_pre_commit_runs_the_ruff_of_the_tests():
    hooks = (ROOT / ".pre-commit-config.yaml").read_text()
    versions = re.findall(r'additional_dependencies: \["(.*)"\]', hooks)
    listed = re.findall("^ruff.*$", (ROOT / "requirements-test.txt").read_text(), re.MULTILINE)
    assert set(versions) == set(listed) and len(listed) == 1
