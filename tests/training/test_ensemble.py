"""The ensemble run over files of learners, without images."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import pytest

from jaxcxr.commands import train
from jaxcxr.errors import InputError
from jaxcxr.storage import files
from jaxcxr.storage.predictions import Predictions
from jaxcxr.training.prepare import prepare
from tests import tiny

CLASSES = ("covid19", "viral", "bacterial", "normal")
PATIENTS, FOLDS = 192, 3
LABELS = np.arange(PATIENTS) % 4
PART = np.arange(PATIENTS) // 4 % 4  # patients of fold 0, 1, 2 and, 3, of the test set


def learner_file(name: str, fold: int, *, good_at: int, train_rows: bool = False) -> Predictions:
    """A learner that knows one class from all others and guesses among the rest."""
    split = np.where(PART == 3, "test", np.where(PART == fold, "oof", "train"))
    split[(split == "train") & (np.arange(PATIENTS) // 16 % 4 == 0)] = "valid"
    rng = np.random.default_rng([good_at, fold])
    guess = rng.dirichlet(np.ones(4), PATIENTS)
    knows = np.where(LABELS == good_at, 0.95, 0.05 / 3)
    others = guess.copy()
    others[:, good_at] = 0
    others *= (1 - knows[:, None]) / others.sum(axis=1, keepdims=True)
    others[:, good_at] = knows
    kept = np.ones(PATIENTS, bool) if train_rows else np.isin(split, ("oof", "test"))
    ids = np.array([f"x{i:03d}" for i in range(PATIENTS)])
    return Predictions(
        ids=ids[kept],
        patient_ids=np.array([f"p{i:03d}" for i in range(PATIENTS)])[kept],
        split=split[kept],
        labels=LABELS[kept],
        probabilities=others[kept],
        classes=CLASSES,
        fold=fold,
        learner=name,
        split_sha256=hashlib.sha256(b"folds").hexdigest(),
        dataset_fingerprint=hashlib.sha256(b"data").hexdigest(),
        extra={
            "mean_softmax": others[kept].astype(np.float32),
            "source": np.full(kept.sum(), "synthetic"),
            "age_group": np.full(kept.sum(), "adult"),
        },
    )


def write_learners(folder: Path, **options) -> tuple[str, ...]:
    """Three learners, good at classes 0, 1 and 2, with a file for each of three folds."""
    for number, name in enumerate(("a", "b", "c")):
        for fold in range(FOLDS):
            predictions = learner_file(name, fold, good_at=number, **options)
            predictions.save(folder / name / f"fold{fold}" / "predictions.npz")
    return tuple(str(folder / name) for name in ("a", "b", "c"))


@pytest.fixture(scope="module")
def learners(tmp_path_factory) -> tuple[str, ...]:
    return write_learners(tmp_path_factory.mktemp("learners"))


def config(learners, **fields):
    c = tiny.load("patched_flannel").ensemble
    c.parallel.compilation_cache = ""
    c.split.folds = FOLDS
    c.inputs.learners = learners
    c.train.epochs, c.train.eval_every = 60.0, 20.0
    return tiny.change(c, **fields)


def accuracy(predictions: Predictions) -> float:
    return float((predictions.probabilities.argmax(1) == predictions.labels).mean())


def test_trains_on_the_other_folds_rows_and_beats_its_learners(learners, tmp_path, capsys):
    train.run(config(learners, split__fold=1), tmp_path)
    result = Predictions.load(tmp_path / "predictions.npz")
    assert result.fold == 1 and set(result.split) == {"oof", "test"}
    assert len(result.select("oof")) == 48 and len(result.select("test")) == 48
    assert result.extra["weights"].shape == (96, 3)
    alone = [
        accuracy(Predictions.load(Path(name) / "fold1" / "predictions.npz").select("test"))
        for name in learners
    ]
    assert accuracy(result.select("test")) > min(alone) + 0.2
    assert accuracy(result.select("test")) > max(alone)
    printed = capsys.readouterr().out
    assert "Macro average" in printed and "Research use only. Not for diagnosis." in printed


def test_files_of_another_fold_than_their_folder_are_refused(tmp_path):
    """Their rows are other images: stacked by position they would go unnoticed."""
    learners = write_learners(tmp_path)
    for name in ("fold0", "fold1"):
        (tmp_path / "b" / name).rename(tmp_path / "b" / f"{name}.was")
    (tmp_path / "b" / "fold0.was").rename(tmp_path / "b" / "fold1")
    (tmp_path / "b" / "fold1.was").rename(tmp_path / "b" / "fold0")
    with pytest.raises(InputError, match=r"b/fold0/predictions.npz is of fold 1 and lies in fold0"):
        prepare(config(learners))


def test_one_fold_in_two_folders_is_refused_though_all_learners_agree(tmp_path):
    learners = write_learners(tmp_path)
    for name in learners:
        first = (Path(name) / "fold0" / "predictions.npz").read_bytes()
        (Path(name) / "fold1" / "predictions.npz").write_bytes(first)
    with pytest.raises(InputError, match=r"is of fold 0 and lies in fold1: .*split.fold=1"):
        prepare(config(learners))


def test_another_split_than_the_learners_is_refused(tmp_path):
    learners = write_learners(tmp_path)
    used = {**config(learners).split.to_dict(), "seed": 5}
    files.write_json(tmp_path / "a" / "fold2" / "config.json", {"split": used})
    with pytest.raises(InputError, match=r"split.seed is 20200622, and .*a/fold2 .* 5: .*seed=5"):
        prepare(config(learners))
    prepare(config(learners, split__seed=5, split__fold=1))


def test_the_held_out_fold_is_not_among_the_training_rows(learners):
    for fold in range(FOLDS):
        experiment = prepare(config(learners, split__fold=fold))
        parts = {
            name: experiment.examples.patient_ids[rows] for name, rows in experiment.splits.items()
        }
        ours = {f"p{i:03d}" for i in range(PATIENTS) if PART[i] == fold}
        assert set(parts["oof"]) == set(parts["valid"]) == ours
        assert set(parts["test"]) == {f"p{i:03d}" for i in range(PATIENTS) if PART[i] == 3}
        assert (
            set(parts["train"])
            == {f"p{i:03d}" for i in range(PATIENTS)} - set(parts["test"]) - ours
        )
        # An out-of-fold row comes from the learner that did not train on its patient.
        for row in experiment.splits["train"][:20]:
            own = PART[int(experiment.examples.ids[row][1:])]
            expected = learner_file("b", own, good_at=1)
            at = np.flatnonzero(expected.ids == experiment.examples.ids[row])[0]
            np.testing.assert_allclose(
                experiment.arrays["inputs"][row, 1], expected.probabilities[at], atol=1e-6
            )


def test_in_sample_stacking_needs_the_training_rows(learners, tmp_path):
    with pytest.raises(
        InputError, match="holds no rows of split 'train'; write them with --config.run=predict"
    ):
        prepare(config(learners, inputs__stacking="in_sample"))
    whole = write_learners(tmp_path, train_rows=True)
    experiment = prepare(config(whole, inputs__stacking="in_sample", split__fold=2))
    sizes = {name: len(rows) for name, rows in experiment.splits.items()}
    assert sum(sizes.values()) == PATIENTS and sizes["oof"] == 48 and sizes["test"] == 48
    assert sizes["train"] > 0 and sizes["valid"] > 0


def test_unknown_or_missing_inputs_are_named(learners, tmp_path):
    with pytest.raises(InputError, match="inputs.learners is empty"):
        prepare(config(()))
    with pytest.raises(
        InputError, match="inputs.stacking='sideways' is unknown; known: out_of_fold, in_sample"
    ):
        prepare(config(learners, inputs__stacking="sideways"))
    with pytest.raises(
        InputError, match="holds no 'vote_fraction'; it holds: probabilities, mean_softmax"
    ):
        prepare(config(learners, inputs__base_output="vote_fraction"))
    with pytest.raises(InputError, match="nowhere/fold0/predictions.npz does not exist"):
        prepare(config((*learners, str(tmp_path / "nowhere"))))


def test_files_of_another_split_are_refused_by_name(tmp_path):
    names = write_learners(tmp_path)
    odd = tmp_path / "c" / "fold2" / "predictions.npz"
    sha256 = hashlib.sha256(b"other folds").hexdigest()
    dataclasses.replace(Predictions.load(odd), split_sha256=sha256).save(odd)
    with pytest.raises(
        InputError, match="c/fold2/predictions.npz does not belong with .*a/fold0/.*: split_sha256"
    ):
        prepare(config(names))


def test_any_number_of_learners(learners):
    experiment = prepare(config(learners[:2]))
    assert experiment.arrays["inputs"].shape == (PATIENTS, 2, 4)
    assert len(experiment.record.upstream) == 2 * FOLDS
