"""The command line: what it refuses, how it says so, and where a run goes."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from absl import flags

from jaxcxr import hints, run_modes, shipped
from jaxcxr.cli import command_line, dispatch
from jaxcxr.storage.predictions import Predictions
from tests import golden, tiny
from tests.training.test_ensemble import write_learners

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
    """`command_line.main` in this process, in a folder of its own: (arguments) -> nothing, or
    SystemExit.
    """

    def run(*arguments: str) -> None:
        argv = ["main.py", *arguments]
        monkeypatch.setattr(sys, "argv", argv)  # where ml_collections looks for overrides
        command_line.main(flags.FLAGS(argv))

    monkeypatch.chdir(tmp_path)
    yield run
    for name in [name for name in flags.FLAGS if name.startswith("config.")]:
        delattr(flags.FLAGS, name)
    flags.FLAGS["config"].unparse()
    flags.FLAGS["workdir"].unparse()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "error: no experiment is named"),
        (["--workdir=a"], "error: no experiment is named"),
        (
            ["--config=configs/resnet.py", "train"],
            "unexpected argument 'train'; a run mode is written --config.run=",
        ),
        (
            ["--config=configs/resnet.py:papr"],
            "unknown preset 'papr' after the colon of --config; known: '', 'small'",
        ),
        (
            ["--config=configs/resnet.py", "--config.train.epoch=3"],
            "there is no field config.train.epoch; did you mean --config.train.epochs?",
        ),
        (
            ["--config=configs/resnet.py", "--config.train.epochs=many"],
            "error: config.train.epochs='many' is no number, such as 0.5\n",
        ),
        (["--conifg=resnet"], "error: there is no flag --conifg; did you mean --config?\n"),
        (
            ["--config"],
            "error: --config is empty: name an experiment or its file. For help: python ",
        ),
        (["help"], "error: --config: there is no experiment 'help'. For help: python "),
        (["--config=configs/resnet.py", "--workdir="], "--workdir is empty; name a folder"),
        (
            ["--config=configs/resnett.py"],
            "there is no file configs/resnett.py; did you mean configs/resnet.py?",
        ),
        (["resnett"], "there is no experiment 'resnett'; did you mean resnet?"),
        (["resnet", "--config.run=trian"], "run='trian' is unknown; known: train, evaluate"),
        (["resnet", "--config.optim.name=adma"], "known: adam, sgd; did you mean adam?"),
        (["resnet", "--config.train.epochs=nan"], "train.epochs=nan is no finite number"),
        (
            ["resnet", "--config.run=explain", "--config.predict.inputs=a.png"],
            "predict.inputs is not read by --config.run=explain, but by predict and enhance",
        ),
    ],
    ids=[
        "nothing",
        "no config",
        "argument",
        "preset",
        "field",
        "value",
        "flag",
        "empty config",
        "help",
        "workdir",
        "file",
        "name",
        "run",
        "name of a value",
        "no number",
        "field of another run mode",
    ],
)
def test_mistakes_on_the_command_line_are_answered_in_one_line(arguments, says):
    answer = start(*arguments)
    assert answer.returncode != 0
    said = answer.stdout + answer.stderr
    assert says in said
    assert "Traceback" not in said


@pytest.fixture
def asked(monkeypatch, capsys):
    """What the command prints before it ends: (arguments) -> (exit status, stdout, stderr)."""

    def ask(*arguments: str) -> tuple[object, str, str]:
        argv = ["main.py", *arguments]
        monkeypatch.setattr(sys, "argv", argv)
        with pytest.raises(SystemExit) as left:
            command_line.parse_flags(argv)
        output = capsys.readouterr()
        return left.value.code, output.out, output.err

    yield ask
    flags.FLAGS["config"].unparse()


@pytest.mark.parametrize(("arguments", "status"), [(["--help"], 0), (["-h"], 0), ([], 2)])
def test_help_lists_run_modes_presets_and_experiments(asked, arguments, status):
    code, text, _ = asked(*arguments)
    assert code == status
    words = {line.split()[0] for line in text.splitlines() if line.startswith("  ")}
    assert words >= {*dispatch.RUNS, *shipped.experiments(), ":small", ":paper"}
    assert max(map(len, text.splitlines())) <= 100
    assert "not for diagnosis" in text


@pytest.mark.parametrize("name", shipped.experiments())
def test_the_title_of_an_experiment_is_a_whole_sentence_of_one_line(name):
    title = shipped.title(shipped.experiments()[name])
    assert title.endswith((".", "?")) and len(title) + len('"""') <= 100


def test_the_run_modes_of_help_are_those_that_run():
    assert list(run_modes.RUN_MODES) == list(dispatch.RUNS)


@pytest.mark.parametrize("name", shipped.experiments())
def test_help_of_an_experiment_shows_its_fields_values_and_comments(asked, name):
    config = tiny.load(name, "paper")
    code, text, _ = asked(f"--config=configs/{name}.py:paper", "--help")
    assert code == 0
    lines = text.splitlines()
    assert f"name = {config.name!r}" in text
    if config.task == "study":
        assert any(line.startswith("study.system = ") for line in lines)
        return
    for field, value in golden.fields(config).items():
        assert any(line.partition(" # ")[0].rstrip() == f"{field} = {value!r}" for line in lines), (
            field
        )
    field = lines.index(next(line for line in lines if line.startswith("train.patience = ")))
    assert "evaluations without improvement before stopping early" in " ".join(
        lines[field : field + 2]
    )
    bare = {
        match[1].rpartition(".")[2]
        for line, below in itertools.pairwise([*lines, ""])
        if (match := re.match(r"([\w.]+) = ", line))
        if not re.search(r"\.data\.|data\.options\.|explain\.masks\.", line)  # their section has it
        if " # " not in line and not below.startswith("    # ")
    }
    assert bare <= PLAIN, "these have no comment"


PLAIN = {"process_id", "num_processes", "decay", "learning_rate", "seed", "size", "label_smoothing"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("import nonesuch", r"mine.py, line 1: ModuleNotFoundError: No module named 'nonesuch'"),
        ("x = 1", r"mine.py: AttributeError: module 'config_config' has no attribute 'get_config'"),
        (
            "def get_config():\n    pass",
            r"mine.py: TypeError: get_config\(\) takes 0 positional arguments",
        ),
        ("def get_config(preset):\n    open('nofile')", r"mine.py, line 2: FileNotFoundError"),
        ("def get_config(preset):\n    raise ValueError('its own words')", r"its own words$"),
    ],
    ids=["import", "no get_config", "no preset", "file", "check"],
)
def test_what_an_experiment_file_of_the_user_raises_is_one_line(
    asked, monkeypatch, tmp_path, text, says
):
    # ml_collections' name for it: a process reads one, and a second would find what the first had.
    monkeypatch.delitem(sys.modules, "config_config", raising=False)
    file = tmp_path / "mine.py"
    file.write_text(text)
    code, _, _ = asked(f"--config={file}:small", "--help")
    assert re.fullmatch(rf"error: --config: .*{says}.*", str(code)), code


def test_help_and_mistakes_need_no_heavy_module():
    """Then they are answered at once: JAX alone takes seconds to import on a busy machine."""
    code = "import sys; from jaxcxr.cli import command_line; print(*sorted(sys.modules))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert not {"jax", "numpy", "flax", "scipy", "PIL", "tensorflow_datasets"} & set(
        loaded.stdout.split()
    )


def test_an_experiment_is_found_by_name_by_path_and_by_its_path_in_the_repository(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    ours = shipped.experiments()["resnet"]
    names = ("resnet", "resnet.py", "configs/resnet.py", str(ours))
    assert {shipped.experiment_file(name) for name in names} == {ours}
    own = tmp_path / "configs" / "resnet.py"
    own.parent.mkdir()
    own.touch()
    # The user's own.
    assert shipped.experiment_file("configs/resnet.py") == Path("configs/resnet.py")
    assert shipped.experiment_file("resnet") == ours
    assert shipped.experiment_file("common") == Path("common")  # what experiments share is none


def test_the_first_argument_may_be_the_experiment(monkeypatch):
    argv = ["jaxcxr", "patched_densenet:small", "--config.seed=3"]
    monkeypatch.setattr(sys, "argv", argv)
    assert command_line.parse_flags(argv) == ["jaxcxr"]
    config = flags.FLAGS["config"].value
    assert (config.name, config.seed) == ("patched_densenet-small", 3)
    again = hints.again("explain", "RUN")
    assert again == "jaxcxr --config.run=explain --workdir=RUN"
    delattr(flags.FLAGS, "config.seed")
    flags.FLAGS["config"].unparse()


def test_a_study_config_does_not_train_and_a_learner_is_no_study(run):
    with pytest.raises(SystemExit, match="config.run='train' does not go with config.task='study'"):
        run("--config=" + str(ROOT / "configs/flannel.py"), "--config.run=train")


def ensemble_file(folder: Path, **fields) -> str:
    """A config file of an ensemble of three synthetic learners: seconds to run, no images."""
    learners = write_learners(folder / "learners")
    file = folder / "stacking.py"
    changes = "".join(
        f"    c.{name.replace('__', '.')} = {value!r}\n" for name, value in fields.items()
    )
    file.write_text(
        "from configs.common_flannel import ENSEMBLE\n\n\n"
        "def get_config(preset=''):\n"
        "    c = ENSEMBLE.config(preset, name='stacking')\n"
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
    assert "contains a run with a different configuration" in message
    assert "- optim.learning_rate = 0.01" in message and "+ optim.learning_rate = 0.5" in message
    assert "--workdir" in message
    assert contents(folder) == before


@pytest.fixture
def run_alone(run, monkeypatch):
    """The command with arguments that it parses itself: (arguments) -> nothing, or SystemExit."""

    def run_alone(*arguments: str) -> None:
        for name in [name for name in flags.FLAGS if name.startswith("config.")]:
            delattr(flags.FLAGS, name)  # of an earlier call: a process has one
        argv = ["main.py", *arguments]
        monkeypatch.setattr(sys, "argv", argv)
        command_line.main(command_line.parse_flags(argv))

    return run_alone


def test_a_finished_run_is_read_by_its_folder_alone(run, run_alone, tmp_path, capsys):
    config = ensemble_file(tmp_path)
    for name in ("a", "b"):
        run(config, f"--workdir={tmp_path / name}")
    folder = tmp_path / "a"
    expected = Predictions.load(folder / "predictions.npz")
    (folder / "predictions.npz").unlink()
    saved = (folder / "config.json").read_bytes()
    folder = folder.rename(tmp_path / "mo:ved")
    capsys.readouterr()
    run_alone("--config.run=evaluate", f"--workdir={folder}", "--config.evaluate.batch_size=16")
    found = Predictions.load(folder / "predictions.npz")
    assert found.probabilities.tobytes() == expected.probabilities.tobytes()
    run_alone(
        "--config.run=compare",
        "--config.compare.other",
        str(tmp_path / "b"),
        "--workdir",
        str(folder),
    )
    assert (folder / "compare" / "b" / "compare.json").exists()
    assert (folder / "config.json").read_bytes() == saved


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ["--config.run=predict", "--config.seed=3", "--config.predict.splits=('oof',)"],
            (
                r"(?s)other values .*\n  --config\.seed: the run has 0, and 3 is asked for\nLeave "
                r"these out"
            ),
        ),
        (
            ["--config.run=predict", "--config.sed=3"],
            r"there is no field config\.sed; did you mean --config\.seed\?",
        ),
        (["--config.run=export"], "export goes with one network that looks at X-rays"),
    ],
    ids=["identity", "unknown field", "its own errors"],
)
def test_what_a_folder_alone_cannot_do_is_said(run, run_alone, tmp_path, arguments, says):
    run(ensemble_file(tmp_path), f"--workdir={tmp_path / 'run'}")
    with pytest.raises(SystemExit) as left:
        run_alone(*arguments, f"--workdir={tmp_path / 'run'}")
    assert re.search(says, str(left.value.code))


def test_a_field_that_an_earlier_version_did_not_write_is_named(run, run_alone, tmp_path):
    run(ensemble_file(tmp_path), f"--workdir={tmp_path / 'run'}")
    file = tmp_path / "run" / "config.json"
    saved = json.loads(file.read_text())
    del saved["inputs"]
    file.write_text(json.dumps(saved))
    with pytest.raises(SystemExit, match=r"run/config\.json lacks the field inputs, which this"):
        run_alone("--config.run=evaluate", f"--workdir={tmp_path / 'run'}")


@pytest.mark.parametrize("arguments", [[], ["--config.run=train"]])
def test_a_folder_alone_trains_nothing(run_alone, capsys, tmp_path, arguments):
    with pytest.raises(SystemExit):
        run_alone(*arguments, f"--workdir={tmp_path}")
    assert (
        "goes with --config.run=predict|explain|evaluate|export|compare" in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("saved", "says"),
    [
        (None, "is no run folder: it has no config.json"),
        ({"level1": {}}, "is of no single run"),
        ([], "is damaged"),
    ],
)
def test_a_folder_of_no_run_is_named(run_alone, tmp_path, saved, says):
    if saved is not None:
        (tmp_path / "config.json").write_text(json.dumps(saved))
    with pytest.raises(SystemExit, match=says):
        run_alone("--config.run=predict", f"--workdir={tmp_path}")


def test_evaluate_and_predict_need_a_trained_run(run, tmp_path):
    config = ensemble_file(tmp_path)
    with pytest.raises(SystemExit, match="holds no finished training; start or resume it"):
        run(config, "--config.run=predict", f"--workdir={tmp_path / 'new'}")


def test_a_diverged_run_ends_with_code_1_and_a_message(tmp_path):
    """A learning rate that overflows float32, in a process of its own."""
    file = ensemble_file(
        tmp_path, optim__name="sgd", optim__learning_rate=1e38, loss__alpha_scale=1e38
    )
    answer = start(file, f"--workdir={tmp_path / 'run'}", cwd=tmp_path)
    assert answer.returncode == 1, answer.stderr[-2000:]
    last = [line for line in answer.stderr.splitlines() if line][-1]
    assert last.startswith("error: the training loss is ") and "Lower optim.learning_rate" in last
    assert "Traceback" not in answer.stderr
    assert not (tmp_path / "run" / "finished.json").exists()
