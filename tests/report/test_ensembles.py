"""The ensemble beside simpler ways to combine the same learners."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from jaxcxr.report import ensembles
from jaxcxr.report.entries import Entry, read_entries
from jaxcxr.report.summary import write_study_report
from jaxcxr.storage.files import read_json, write_json
from tests.report import fakes
from tests.report.test_summary import read


def rewritten(folder: Path, name: str, change) -> None:
    """Changes the probabilities of every fold of a learner, or of the ensemble."""
    for path in sorted((folder / name).glob("fold*")):
        found = fakes.Predictions.load(path / "predictions.npz")
        changed = dataclasses.replace(found, probabilities=change(found, path.name), path="")
        changed.save(path / "predictions.npz")


@pytest.fixture
def folder(tmp_path) -> Path:
    return fakes.write_study(tmp_path / "study", images=120)


def ensemble_of(folder: Path) -> Entry:
    *members, ensemble = read_entries(folder)
    assert [member.name for member in ensemble.members] == [member.name for member in members]
    return ensemble


def test_the_mean_is_that_of_the_learners_of_the_same_fold(folder):
    ensemble = ensemble_of(folder)
    found = ensembles.combinations(ensemble)[ensembles.MEAN]
    for fold, probabilities in enumerate(found):
        expected = np.mean(
            [m.predictions[fold].select("test").probabilities for m in ensemble.members], axis=0
        )
        np.testing.assert_allclose(probabilities, expected, rtol=1e-6)


def test_the_logistic_regression_learns_what_a_learner_means(folder):
    """One that calls every class by the next one's name still knows the classes."""
    shift = lambda found, _: np.roll(found.probabilities, 1, axis=1)  # noqa: E731
    for name in ("densenet161", "inception_v3"):
        rewritten(folder, f"learners/{name}", shift)
    ensemble = ensemble_of(folder)
    labels = ensemble.predictions[0].select("test").labels
    found = ensembles.combinations(ensemble)
    accuracy = {
        name: np.mean([np.mean(p.argmax(1) == labels) for p in probabilities])
        for name, probabilities in found.items()
    }
    assert accuracy[ensembles.MEAN] < 0.1
    assert accuracy[ensembles.LOGISTIC] > 0.8


def test_it_is_trained_on_the_other_folds_alone(folder):
    before = ensembles.combinations(ensemble_of(folder))[ensembles.LOGISTIC]
    noise = np.random.default_rng(0).dirichlet(np.ones(4), 240).astype(np.float32)

    def spoil(found, fold):
        held_out = (found.split == "oof") & (fold == "fold0")
        return np.where(held_out[:, None], noise, found.probabilities)

    rewritten(folder, "learners/densenet161", spoil)
    after = ensembles.combinations(ensemble_of(folder))[ensembles.LOGISTIC]
    np.testing.assert_array_equal(after[0], before[0])
    assert np.abs(after[1] - before[1]).max() > 0.01


def test_without_two_classes_out_of_fold_there_is_no_logistic_regression(folder):
    for path in sorted(folder.glob("*/**/predictions.npz")):
        found = fakes.Predictions.load(path)
        labels = np.where(found.split == "oof", 0, found.labels)
        dataclasses.replace(found, labels=labels, path="").save(path)
    assert ensembles.LOGISTIC not in ensembles.combinations(ensemble_of(folder))


def test_the_best_learner_is_chosen_by_its_out_of_fold_images(folder):
    def only(split):
        def change(found, _):
            return np.where(
                (found.split == split)[:, None],
                np.eye(4, dtype=np.float32)[found.labels],
                np.full((1, 4), 0.25, np.float32),
            )

        return change

    rewritten(folder, "learners/densenet161", only("oof"))
    rewritten(folder, "learners/inception_v3", only("test"))
    assert list(ensembles.combinations(ensemble_of(folder)))[-1] == (
        "best learner: DenseNet-161, patched"
    )


def test_the_report_has_their_scores_and_the_differences_with_intervals(folder):
    def mean(found, fold):
        parts = [folder / "learners" / name / fold for name in ("densenet161", "inception_v3")]
        return np.mean(
            [fakes.Predictions.load(p / "predictions.npz").probabilities for p in parts], axis=0
        )

    rewritten(folder, "ensemble", mean)
    write_study_report(folder)
    facts, text = read(folder)
    found = facts["combinations"]["FLANNEL, patched"]
    same = found[ensembles.MEAN]
    assert same["minus_ensemble"] == 0 and same["interval"] == [0, 0]
    other, ensemble = found[ensembles.LOGISTIC], facts["learners"][-1]["splits"]["test"]["f1"]
    difference = other["macro_f1"]["mean"] - ensemble["macro_f1"]["mean"]
    assert other["minus_ensemble"] == pytest.approx(difference, abs=2e-4)
    low, high = other["interval"]
    assert low < other["minus_ensemble"] < high < low + 0.3
    assert "| mean of the learners " in text and "(+0.0000 to +0.0000)" in text


def test_other_combinations_read_what_the_ensemble_reads(folder):
    """Of patches: the mean of their softmaxes may be the input, and their votes the prediction."""
    path = folder / "ensemble/fold0/config.json"
    write_json(path, read_json(path) | {"inputs": {"base_output": "mean_softmax"}})
    for part in sorted((folder / "learners").glob("*/fold*")):
        found = fakes.Predictions.load(part / "predictions.npz")
        turned = np.roll(found.probabilities, 1, axis=1)
        extra = {**found.extra, "mean_softmax": turned}
        dataclasses.replace(found, extra=extra, path="").save(part / "predictions.npz")
    ensemble = ensemble_of(folder)
    for fold, probabilities in enumerate(ensembles.combinations(ensemble)[ensembles.MEAN]):
        expected = np.mean(
            [m.predictions[fold].select("test").extra["mean_softmax"] for m in ensemble.members],
            axis=0,
        )
        np.testing.assert_allclose(probabilities, expected, rtol=1e-6)


@pytest.mark.parametrize("stacking", ["out_of_fold", "in_sample"])
def test_published_stacking_is_not_said_to_be_that_of_the_regression(folder, stacking):
    for path in sorted((folder / "ensemble").glob("fold*/config.json")):
        write_json(path, read_json(path) | {"inputs": {"stacking": stacking}})
    write_study_report(folder)
    said = ", as the ensemble is" in read(folder)[1]
    assert said == (stacking == "out_of_fold")
