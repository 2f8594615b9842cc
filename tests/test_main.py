"""The command line: what it refuses, how it says so, and where a run goes."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from absl import flags

import main as command
from jaxcxr.artifacts import Predictions
from tests.runs.test_ensemble import write_learners

ROOT = Path(__file__).parent.parent
# ml_collections loads config files in a way that Python will give up.
pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")


def start(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """`python main.py ...` in a process of its own."""
    return subprocess.run(
        [sys.executable, ROOT / "main.py", *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture
def run(monkeypatch, tmp_path):
    """`main.main` in this process, in a folder of its own: (arguments) -> nothing, or SystemExit."""

    def run(*arguments: str) -> None:
        argv = ["main.py", *arguments]
        monkeypatch.setattr(sys, "argv", argv)  # where ml_collections looks for overrides
        command.main(flags.FLAGS(argv))

    monkeypatch.chdir(tmp_path)
    yield run
    for name in [name for name in flags.FLAGS if name.startswith("config.")]:
        delattr(flags.FLAGS, name)
    flags.FLAGS["config"].unparse()
    flags.FLAGS["workdir"].unparse()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "Flag --config must have a value other than None"),
        (["--config=configs/resnet.py", "train"], "unexpected argument 'train'; overrides are written --config.FIELD"),
        (["--config=configs/resnet.py:papr"], "unknown preset 'papr' after the colon of --config; known: '', 'small'"),
        (
            ["--config=configs/resnet.py", "--config.train.epoch=3"],
            "there is no field config.train.epoch; did you mean --config.train.epochs?",
        ),
        (["--config=configs/resnet.py", "--config.train.epochs=many"], "epochs"),
        (["--config=configs/resnet.py", "--workdir="], "--workdir is empty; name a folder"),
        (["--config=configs/resnett.py"], "there is no file configs/resnett.py; did you mean configs/resnet.py?"),
    ],
    ids=["no config", "argument", "preset", "field", "value", "workdir", "file"],
)
def test_mistakes_on_the_command_line_are_answered_in_one_line(arguments, says):
    answer = start(*arguments)
    assert answer.returncode != 0
    said = answer.stdout + answer.stderr
    assert says in said
    assert "Traceback" not in said


def test_an_unknown_run_names_the_known_ones(run):
    with pytest.raises(SystemExit) as left:
        run("--config=" + str(ROOT / "configs/resnet.py"), "--config.run=trian")
    known = "train, evaluate, predict, explain, compare, export, lr_find, probe, enhance, study"
    assert left.value.code == f"error: config.run='trian' is unknown; known: {known}"


def test_a_study_config_does_not_train_and_a_learner_is_no_study(run):
    with pytest.raises(SystemExit, match="config.run='train' does not go with config.task='study'"):
        run("--config=" + str(ROOT / "configs/flannel.py"), "--config.run=train")


def ensemble_file(folder: Path, **fields) -> str:
    """A config file of an ensemble of three synthetic learners: seconds to run, no images."""
    learners = write_learners(folder / "learners")
    file = folder / "stacking.py"
    changes = "".join(f"    c.{name.replace('__', '.')} = {value!r}\n" for name, value in fields.items())
    file.write_text(
        "from configs import common\n\n\n"
        "def get_config(preset=''):\n"
        "    c = common.named(common.ensemble(preset=preset), 'stacking', preset)\n"
        "    c.parallel.compilation_cache = ''\n"
        "    c.split.folds = 3\n"
        "    c.train.epochs = 20.0\n"
        f"    c.inputs.learners = {learners!r}\n{changes}"
        "    return c\n"
    )
    return f"--config={file}"


def contents(folder: Path) -> dict[str, tuple[str, int]]:
    """File -> (hash, time of its last change), but for the lock."""
    return {
        str(path): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".lock"
    }


def test_a_run_goes_to_its_own_folder_and_a_finished_one_is_left_alone(run, tmp_path, capsys):
    config = ensemble_file(tmp_path)
    run(config)
    first = capsys.readouterr().out
    folder = tmp_path / "runs" / "stacking"
    assert len(Predictions.load(folder / "predictions.npz")) > 0
    before = contents(folder)
    assert len(before) > 8
    run(config)
    second = capsys.readouterr().out
    assert "is finished; nothing to do. Its result:" in second
    assert second.splitlines()[-10:] == first.splitlines()[-10:]  # the table and the places
    assert contents(folder) == before
    with pytest.raises(SystemExit) as left:
        run(config, "--config.optim.learning_rate=0.5")
    message = str(left.value.code)
    assert "holds a run of another configuration" in message
    assert "- optim.learning_rate = 0.01" in message and "+ optim.learning_rate = 0.5" in message
    assert "--workdir" in message
    assert contents(folder) == before


def test_evaluate_and_predict_need_a_trained_run(run, tmp_path):
    config = ensemble_file(tmp_path)
    with pytest.raises(SystemExit, match="holds no finished training; start or resume it"):
        run(config, "--config.run=predict", f"--workdir={tmp_path / 'new'}")


def test_a_diverged_run_ends_with_code_1_and_a_message(tmp_path):
    """A learning rate that overflows float32, in a process of its own."""
    file = ensemble_file(tmp_path, optim__name="sgd", optim__learning_rate=1e38, loss__alpha_scale=1e38)
    answer = start(file, f"--workdir={tmp_path / 'run'}", cwd=tmp_path)
    assert answer.returncode == 1, answer.stderr[-2000:]
    last = [line for line in answer.stderr.splitlines() if line][-1]
    assert last.startswith("error: the training loss is ") and "Lower optim.learning_rate" in last
    assert "Traceback" not in answer.stderr
    assert not (tmp_path / "run" / "finished.json").exists()
