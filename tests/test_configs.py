"""The experiment files: what they resolve to, and what a mistyped one says."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from ml_collections import ConfigDict

from jaxcxr import schema
from jaxcxr.models import MODELS
from tests import golden

ROOT = Path(__file__).resolve().parents[1]
BASES = ("densenet", "inception", "resnet", "resnext", "vgg")


def main(*arguments: str) -> subprocess.CompletedProcess[str]:
    """`python main.py ...` in a process of its own."""
    command = [sys.executable, "main.py", *arguments]
    return subprocess.run(
        command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=120
    )


def test_there_is_a_config_for_every_experiment():
    studies = {
        "flannel",
        "patched_flannel",
        "flannel_lite",
        "patched_flannel_lite",
        "mixed_flannel_lite",
        "lite_controls",
        "covid_cxnet_study",
        "covid_cxnet_hierarchical",
        "qatar_study",
        "v7_study",
    }
    learners = {*BASES, *(f"patched_{name}" for name in BASES)}
    cxnet = {
        f"covid_cxnet{name}" for name in ("", "_base", "_lungs", "_multiclass", "_resnet50")
    } | {"chexnet_probe"}
    others = {
        "qatar_cnn",
        "qatar_cnn_augmented",
        "qatar_lite",
        "qatar_vgg16",
        "v7_diagnosis",
        "v7_diagnosis_masked",
    }
    lites = {f"{of}efficientnet_lite{n}" for of in ("", "patched_") for n in range(3)}
    comparators = {"efficientnet", "covid_net", *lites}
    segmenters = {"fc_densenet103", "lung_unet", "lungs", "v7_unet"}
    assert set(golden.CONFIGS) == learners | cxnet | studies | others | comparators | segmenters


@pytest.mark.parametrize("name", golden.CONFIGS)
def test_resolved_config_is_the_golden_one(name):
    expected = (golden.FOLDER / f"{name}.txt").read_text()
    assert golden.resolved(name) == expected, "if this is meant: python -m tests.golden"


def test_no_golden_file_is_left_over():
    assert sorted(path.stem for path in golden.FOLDER.glob("*.txt")) == golden.CONFIGS


@pytest.mark.parametrize("name", golden.CONFIGS)
def test_presets_have_the_same_fields(name):
    """Then any override works with any preset."""
    fields = [set(golden.fields(golden.load(name, preset))) for preset in schema.PRESETS]
    assert fields[0] == fields[1] == fields[2]


@pytest.mark.parametrize("name", golden.CONFIGS)
def test_names_its_model_and_its_run_folder(name):
    names = set()
    for preset in schema.PRESETS:
        config = golden.load(name, preset)
        names.add(config.name)
        models = {
            value for field, value in golden.fields(config).items() if field.endswith("model.name")
        }
        assert models and models <= set(MODELS)
    assert len(names) == len(schema.PRESETS) and name in names


@pytest.mark.parametrize("name", golden.CONFIGS)
def test_docstring_gives_paper_command_time_and_number(name):
    text = ast.get_docstring(ast.parse((ROOT / "configs" / f"{name}.py").read_text()))
    assert text is not None
    for word in (
        "Paper:",
        f"Command: python main.py --config=configs/{name}.py",
        "Time:",
        "Number to reach:",
    ):
        assert word in text


@pytest.mark.parametrize("name", golden.CONFIGS)
def test_unknown_preset_names_the_known_ones(name):
    with pytest.raises(ValueError, match=r"unknown preset 'smal'.*known: '', 'small', 'paper'"):
        golden.load(name, "smal")


def test_types_are_kept():
    config = golden.load("patched_densenet", "")
    with pytest.raises(TypeError):
        config.train.epochs = "many"
    with pytest.raises(TypeError):
        config.data.manual_dir = 3


def test_empty_sections_count_as_values():
    assert golden.fields(ConfigDict({"a": {"b": 1}, "c": {}})) == {"a.b": 1, "c": {}}


@pytest.mark.parametrize(
    ("override", "answer"),
    [
        ("--config.optim.learning_rat=1", "optim.learning_rate"),
        ("--config.optm.learning_rate=1", "optim.learning_rate"),
        ("--config.trian.epochs=1", "train.epochs"),
        ("--config.train.epochs=many", "is no number, such as"),
    ],
)
def test_mistyped_override_fails_with_the_nearest_name(override, answer):
    run = main("--config=configs/patched_densenet.py", override)
    assert run.returncode != 0
    assert answer in run.stderr
    assert "Traceback" not in run.stderr
