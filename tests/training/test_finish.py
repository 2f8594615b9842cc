"""A training ends with the step that training.json names, or is not finished."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from jaxcxr.commands import evaluate, predict, train
from jaxcxr.errors import InputError
from jaxcxr.storage.checkpoint import Checkpointer
from jaxcxr.storage.files import read_json
from jaxcxr.storage.orbax_files import OrbaxFiles
from jaxcxr.storage.predictions import Predictions
from jaxcxr.storage.run_folder import RunFolder
from jaxcxr.storage.step_folders import StepFolders
from jaxcxr.training import loop
from tests import tiny
from tests.storage.states import files_of, flip_bit


def config(**fields):
    return tiny.learner(**{"train__epochs": 2.0, "train__eval_every": 0.5, **fields})


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A finished run."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    train.run(config(), folder)
    return folder


@pytest.fixture
def copied(whole, tmp_path) -> Path:
    shutil.copytree(whole, tmp_path / "run")
    return tmp_path / "run"


def assert_same(workdir: Path, whole: Path) -> None:
    ours, theirs = (Predictions.load(path / "predictions.npz") for path in (workdir, whole))
    np.testing.assert_array_equal(ours.probabilities, theirs.probabilities)
    assert (workdir / "table.txt").read_text() == (whole / "table.txt").read_text()
    [step] = [p.name for p in (workdir / "checkpoints").iterdir() if p.name.isdecimal()]
    assert int(step) == read_json(workdir / "training.json")["best_step"]
    assert not (workdir / "checkpoints" / step / "optimizer").exists()


def test_a_training_is_marked_as_finished_after_its_last_checkpoint_is_on_the_disk(
    whole, tmp_path, monkeypatch
):
    """Orbax writes in another thread; the mark once came first."""
    write, mark, committed = OrbaxFiles.write, RunFolder.mark_finished, []

    def write_slowly(self, path, contents):
        time.sleep(0.3)
        write(self, path, contents)

    def marked(self, stage, info=None):
        if stage == "fit":
            committed.extend(StepFolders(self.path / "checkpoints").committed())
        mark(self, stage, info)

    monkeypatch.setattr(OrbaxFiles, "write", write_slowly)
    monkeypatch.setattr(RunFolder, "mark_finished", marked)
    train.run(config(), tmp_path / "run")
    training = read_json(tmp_path / "run" / "training.json")
    assert {training["step"], training["best_step"]} <= set(committed)
    assert_same(tmp_path / "run", whole)


def test_a_kill_right_after_the_mark_changes_nothing(whole, tmp_path, monkeypatch):
    def killed(self, step):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Checkpointer, "keep_only", killed)
        train.run(config(), tmp_path / "run")
    assert len(StepFolders(tmp_path / "run" / "checkpoints").committed()) > 1
    train.run(config(), tmp_path / "run")
    assert_same(tmp_path / "run", whole)


def test_the_report_names_the_step_that_was_used(whole):
    training = read_json(whole / "training.json")
    report = read_json(whole / "report.json")
    assert report["checkpoint"] == {"step": training["best_step"], "steps": training["step"]}
    assert f"- Checkpoint: step {training['best_step']} of 4" in (whole / "report.md").read_text()


def damage_largest_file(run: Path) -> None:
    flip_bit(max(files_of(run / "checkpoints"), key=lambda path: path.stat().st_size), bit=99)


def name_another_step(run: Path) -> None:
    training = read_json(run / "training.json")
    (run / "training.json").write_text(json.dumps({**training, "best_step": 77}))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damage_largest_file, r"checkpoint of step \d in .* is damaged"),
        (name_another_step, r"training.json|checkpoint of step 77 in .* is missing"),
        (lambda run: shutil.rmtree(run / "checkpoints"), r"checkpoint of step \d in .* is missing"),
        (lambda run: (run / "training.json").unlink(), "training.json"),
    ],
)
def test_no_other_model_is_used_or_reported(copied, damage, message):
    damage(copied)
    with pytest.raises(InputError, match=message):
        train.run(config(), copied)
    before = files_of(copied)
    for command in (predict, evaluate):
        with pytest.raises(InputError, match=message):
            command.run(config(), copied)
    assert files_of(copied) == before


@pytest.mark.parametrize("name", ["report.md", "predictions.npz", "manifest.json", "table.txt"])
def test_a_result_that_changed_after_the_end_is_named(copied, name, capsys):
    (copied / name).write_bytes((copied / name).read_bytes() + b" ")
    mended = (
        "train again$"
        if name == "manifest.json"
        else r"again:\n  python main\.py .*--config\.run=evaluate"
    )
    with pytest.raises(InputError, match=f"is damaged: {name} has .* since it finished.*{mended}"):
        train.run(config(), copied)
    assert "is finished" not in capsys.readouterr().out


def test_a_lost_mark_of_the_training_is_named_and_costs_no_checksums(copied):
    content = (copied / "finished.json").read_bytes()
    (copied / "finished.json").unlink()
    with pytest.raises(
        InputError, match=r"finished\.json is missing or damaged: the run has results"
    ):
        train.run(config(), copied)
    (copied / "finished.json").write_bytes(content)
    (copied / "report.md").write_text("better")
    with pytest.raises(InputError, match=r"report\.md"):
        train.run(config(), copied)


def test_lost_checksums_are_named(copied):
    (copied / "checksums.json").unlink()
    with pytest.raises(InputError, match=r"has no checksums\.json since it finished"):
        train.run(config(), copied)
    evaluate.run(config(), copied)
    train.run(config(), copied)


def test_evaluating_again_seals_the_results_again(copied, whole):
    (copied / "report.md").write_text("mine")
    evaluate.run(config(), copied)
    train.run(config(), copied)
    assert_same(copied, whole)


def test_evaluating_again_covers_no_damage_that_it_does_not_mend(copied):
    (copied / "metrics.jsonl").write_bytes((copied / "metrics.jsonl").read_bytes()[1:])
    before = files_of(copied)
    for command in (evaluate, predict):
        with pytest.raises(InputError, match="metrics.jsonl has .* since it finished. Restore it"):
            command.run(config(), copied)
    assert files_of(copied) == before


def test_the_last_checkpoint_is_chosen_where_no_metric_is_to_choose(tmp_path, monkeypatch):
    """However good an earlier one was: an evaluation of few images is a coin that is thrown."""
    found = {}
    for monitor in ("last", "accuracy"):
        falling = iter((0.9, 0.7, 0.5, 0.4, 0.3, 0.2, 0.1))

        def evaluated(*_, scores=falling, **__) -> dict[str, float]:
            return dict.fromkeys(("accuracy", "macro_f1", "loss"), next(scores))

        monkeypatch.setattr(loop, "evaluate", evaluated)
        c = tiny.learner(train__monitor=monitor, train__epochs=3.0, train__eval_every=0.5)
        train.run(c, tmp_path / monitor)
        found[monitor] = read_json(tmp_path / monitor / "training.json")
    assert found["accuracy"]["best_step"] < found["accuracy"]["step"]
    assert found["last"]["best_step"] == found["last"]["step"] == found["last"]["best"]


def test_the_last_checkpoint_is_not_one_whose_evaluation_is_no_number(tmp_path, monkeypatch):
    losses = iter((1.0, 0.9, float("nan"), float("nan"), float("nan"), float("nan"), float("nan")))

    def evaluated(*_, **__) -> dict[str, float]:
        return {"accuracy": 0.5, "macro_f1": 0.5, "loss": next(losses)}

    monkeypatch.setattr(loop, "evaluate", evaluated)
    c = tiny.learner(train__monitor="last", train__epochs=3.0, train__eval_every=0.5)
    train.run(c, tmp_path)
    training = read_json(tmp_path / "training.json")
    assert 0 < training["best_step"] < training["step"]


@pytest.mark.parametrize(
    "field", ["train__patience", "optim__plateau_patience", "train__min_delta"]
)
def test_nothing_waits_for_a_metric_where_none_chooses(tmp_path, field):
    c = tiny.learner(train__monitor="last", **{field: 3})
    with pytest.raises(
        InputError, match=field.replace("__", r"\.") + r"=3(\.0)? is of evaluations"
    ):
        train.run(c, tmp_path)


def test_the_best_step_is_that_of_early_stopping_whatever_counts_as_better(tmp_path):
    """With this slack each evaluation is an improvement: the last one, good or bad, is the best."""
    slack = config(train__min_delta=-2.0)
    train.run(slack, tmp_path / "run")
    assert read_json(tmp_path / "run" / "training.json")["best_step"] == 4
    assert [p.name for p in (tmp_path / "run" / "checkpoints").iterdir()] == ["4"]
