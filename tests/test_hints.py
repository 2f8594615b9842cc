"""What messages tell the user to type exists, and can be typed."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
import shlex
import sys
import tomllib
from pathlib import Path

import pytest
from absl import flags
from ml_collections import ConfigDict

from jaxcxr import hints, schema
from jaxcxr.cli import command_line as command
from jaxcxr.cli.dispatch import RUNS
from jaxcxr.storage.files import write_json
from jaxcxr.studies import stages
from tests import tiny

ROOT = Path(__file__).parent.parent
HOLE = "\N{HORIZONTAL ELLIPSIS}"  # a value in an f-string
pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")


def _texts() -> list[tuple[str, str]]:
    """Where and what: the strings of the package, but for docstrings; pieces that touch are one."""
    found = []
    for path in sorted(
        [
            *(ROOT / "jaxcxr").rglob("*.py"),
            *(ROOT / "tfds_builders").rglob("*.py"),
            ROOT / "main.py",
        ]
    ):
        tree = ast.parse(path.read_text())
        inner = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                inner.add(node.value)  # a docstring
            if isinstance(node, ast.JoinedStr):
                inner |= set(node.values)
        for node in ast.walk(tree):
            if node in inner:
                continue
            if isinstance(node, ast.JoinedStr):
                parts = [str(p.value) if isinstance(p, ast.Constant) else HOLE for p in node.values]
                found.append((f"{path.relative_to(ROOT)}:{node.lineno}", "".join(parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append((f"{path.relative_to(ROOT)}:{node.lineno}", node.value))
    return found


TEXTS = _texts()


def _fields(config: ConfigDict, prefix: str = "") -> set[str]:
    names = set()
    for key, value in config.items():
        names.add(f"{prefix}{key}")
        if isinstance(value, ConfigDict):
            names |= _fields(value, f"{prefix}{key}.")
    return names


@pytest.fixture(scope="module")
def fields() -> set[str]:
    """Of all configs, sections among them, and of an ensemble, as it names them itself."""
    names = _fields(schema.config("ensemble"))
    for path in (ROOT / "configs").glob("*.py"):
        module = importlib.import_module(f"configs.{path.stem}")
        if hasattr(module, "get_config"):
            names |= _fields(module.get_config())
    return names


def _matches(pattern: str) -> list[tuple[str, str]]:
    return [(where, match) for where, text in TEXTS for match in re.findall(pattern, text)]


def test_fields_that_messages_name_exist(fields):
    named = _matches(r"--config\.([a-z_]+(?:\.[a-z0-9_]+)*)")
    sections = "|".join(
        sorted({name.partition(".")[0] for name in fields if "." in name} - {"learners", "models"})
    )
    named += _matches(rf"(?<![\w./'{HOLE}])((?:{sections})\.[a-z_]+(?:\.[a-z_]+)*)(?=[ =,:;]|$)")
    assert len(named) > 200
    files = r"\.(jsonl?|npz|png|csv|txt|md|py|h5|stablehlo|safetensors|pkl|pth\.tar)$"
    known = fields | {"data.cache_dir"}  # of earlier versions
    wrong = [
        (where, name) for where, name in named if name not in known and not re.search(files, name)
    ]
    assert not wrong


def test_runs_that_messages_name_exist():
    named = _matches(r"config\.run=([a-z_]+)")
    assert len(named) > 5 and not [pair for pair in named if pair[1] not in RUNS]


def test_config_files_and_presets_that_messages_name_exist():
    pattern = r"configs/(\w+)\.py(?::(\w+))?"
    named = [("hints", found) for found in re.findall(pattern, hints.any_segmenter("SEGMENTER"))]
    assert named
    named += _matches(pattern)
    for where, (name, preset) in named:
        assert (ROOT / "configs" / f"{name}.py").exists(), where
        importlib.import_module(f"configs.{name}").get_config(preset)


def test_modules_that_messages_start_exist():
    named = [(where, name) for where, name in _matches(r"python -m ([\w.]+)") if name]
    assert named
    for where, name in named:
        spec = importlib.util.find_spec(name)
        assert spec, where
        if spec.submodule_search_locations:
            assert importlib.util.find_spec(f"{name}.__main__"), where


def test_packages_that_messages_install_are_those_of_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    wanted = [*project["dependencies"], *(name for extra in extras for name in extra)]
    known = {re.match(r"[\w-]+", text)[0].lower() for text in wanted}
    named = _matches(r"pip install '?([A-Za-z][\w-]*)")
    assert named
    optional = {"torch", "h5py"}  # to convert weights with, in an environment of its own
    assert {name.lower() for _, name in named} <= known | optional


@pytest.fixture
def parsed(monkeypatch, tmp_path):
    """A proposed command as main.py reads it -> its config."""

    def parse(line: str) -> ConfigDict:
        words = shlex.split(line.replace("...", str(tmp_path)))
        assert words[:2] == ["python", "main.py"]
        argv = words[1:]
        monkeypatch.setattr(sys, "argv", argv)
        command.parse_flags(argv)
        return flags.FLAGS["config"].value

    monkeypatch.chdir(ROOT)
    yield parse
    for name in [name for name in flags.FLAGS if name.startswith("config.")]:
        delattr(flags.FLAGS, name)
    flags.FLAGS["config"].unparse()
    flags.FLAGS["workdir"].unparse()


LEARNERS = [
    ("patched_densenet", ""),
    ("patched_densenet", "small"),
    ("covid_cxnet_lungs", "paper"),
    ("qatar_cnn", ""),
]


@pytest.mark.parametrize(("name", "preset"), LEARNERS)
@pytest.mark.parametrize("number", [0, 1], ids=["train", "predict"])
def test_the_segmenter_that_is_proposed_masks_the_learners_own_images(parsed, name, preset, number):
    learner = tiny.load(name, preset)
    if preset:
        learner.data.manual_dir = "/x rays/of 'ours'"
    segmenter = parsed(hints.segmenter_commands(learner.data)[number])
    assert segmenter.task == "segment"
    phantoms = learner.data.builders == ("tfds_builders.phantom_cxr",)
    assert (segmenter.data.builders == ("tfds_builders.phantom_cxr",)) == phantoms
    if number == 0:
        return
    assert segmenter.run == "predict"
    for field in ("builders", "classes", "relabel", "patient_key"):
        assert segmenter.predict.data[field] == learner.data[field], field
    if not phantoms:
        assert segmenter.predict.data.manual_dir == learner.data.manual_dir
    for module in learner.data.builders:
        builder = module.rpartition(".")[2]
        options = learner.data.options.get(builder, ConfigDict()).to_dict()
        assert segmenter.predict.data.options.get(builder, ConfigDict()).to_dict() == options


def test_the_same_command_with_another_run(monkeypatch, parsed, tmp_path):
    typed = [
        "main.py",
        "-config=configs/densenet.py:small",
        "--config.seed=3",
        "--config.run=train",
        "--workdir=a",
    ]
    monkeypatch.setattr(sys, "argv", typed)
    typed = "python main.py --config=configs/densenet.py:small --config.seed=3 --config.run=train"
    assert hints.again("train", tmp_path) == f"{typed} --workdir={tmp_path}"
    run = tmp_path / "a b"
    proposed = hints.again("evaluate", run)  # what was trained is read without its experiment file
    assert proposed == f"python main.py --config.run=evaluate '--workdir={run}'"
    write_json(run / "config.json", tiny.change(tiny.load("densenet", "small"), seed=3).to_dict())
    config = parsed(proposed)
    assert (config.name, config.run, config.seed) == ("densenet-small", "evaluate", 3)
    monkeypatch.setattr(sys, "argv", ["notebook"])
    assert hints.again("evaluate", "a") == "python main.py --config.run=evaluate --workdir=a"


def test_a_proposed_command_is_readable_and_has_only_what_differs_and_what_is_read(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["main.py"])
    told = hints.segmenter(tiny.load("patched_densenet", "small").data)
    assert told == (
        "  python main.py --config=configs/fc_densenet103.py:small --config.data.manual_dir=... "
        "--workdir=SEGMENTER\n"
        "  python main.py --config=configs/fc_densenet103.py:small --config.data.manual_dir=... "
        "--config.run=predict --workdir=SEGMENTER\n"
        "then this command again with --config.masks.workdir=SEGMENTER"
    )
    typed = ["--config=configs/resnet.py", "--config.run=predict", "--config.predict.inputs=x"]
    typed += ["--config.explain.method=lime", "--config.predict.splits=('test',)"]
    monkeypatch.setattr(sys, "argv", ["main.py", *typed])
    assert hints.again("train", "w") == (
        "python main.py --config=configs/resnet.py --config.predict.splits=\"('test',)\" "
        "--config.run=train --workdir=w"
    )
    assert "--config.predict.inputs=x" in hints.again("predict", "w")
    value = hints.command("a", "--config.x='$HOME'").removeprefix("python main.py ")
    assert shlex.split(value) == ["--config=a", "--config.x='$HOME'"]


def test_a_command_in_two_words_and_from_another_folder_is_proposed_whole(monkeypatch, parsed):
    typed = [
        "/a b/main.py",
        "--config",
        "configs/densenet.py",
        "--config.seed",
        "3",
        "--config.train.epochs",
        "-1",
    ]
    monkeypatch.setattr(sys, "argv", typed)
    assert hints.again("train", "x") == (
        "python '/a b/main.py' --config=configs/densenet.py --config.seed=3 "
        "--config.train.epochs=-1 --config.run=train --workdir=x"
    )
    # What predicts with a finished run may be told where its data are now.
    typed_with_it = ["main.py", "--config.run", "predict", "--config.data.manual_dir=b"]
    monkeypatch.setattr(sys, "argv", typed_with_it)
    assert hints.again("evaluate", "x") == (
        "python main.py --config.data.manual_dir=b --config.run=evaluate --workdir=x"
    )
    # And what the other run mode does not read, which would be refused, is left out.
    inputs = ["main.py", "--config.run=predict", "--config.predict.inputs=b", "--config.seed=1"]
    monkeypatch.setattr(sys, "argv", inputs)
    assert hints.again("evaluate", "x") == (
        "python main.py --config.seed=1 --config.run=evaluate --workdir=x"
    )
    monkeypatch.setattr(sys, "argv", typed)
    assert hints.any_segmenter("S").startswith("  python '/a b/main.py' --config=lungs ")
    assert hints.in_folder("a b") == "'--workdir=a b'"


STUDY = tiny.load("patched_flannel", "paper")


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("add --config.masks.on_implausible=warn", "add --config.masks.on_implausible=warn"),
        ("with --config.data.max_dropped=0.5", "with --config.data.max_dropped=0.5"),
        ("add --config.model.head=new", "add --config.learners.vgg19_bn.model.head=new"),
        ("x\n  python main.py --config=configs/a.py --config.model.head=new", None),
    ],
)
def test_a_study_names_the_fields_that_it_has(message, expected):
    told = hints.of_stage(message, "learners.vgg19_bn", STUDY)
    assert told == (expected or message)
    for name in re.findall(r"--config\.([\w.]+)", told if expected else ""):
        assert name in _fields(STUDY)


def test_what_a_study_decides_reaches_every_stage():
    study = tiny.change(
        STUDY.copy_and_resolve_references(), data__max_dropped=0.7, masks__on_implausible="warn"
    )
    for stage in (study.segment, study.learners.densenet161):
        assert stages.own(stage, study).data.max_dropped == 0.7
        assert stages.own(stage, study).masks.on_implausible == "warn"
    assert stages.own(study.ensemble, study).data.max_dropped == 0.7
