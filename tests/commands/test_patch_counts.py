"""`--config.run=patch_counts` on a trained run: score and time over the number of patches."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from jaxcxr.commands import patch_counts, train
from jaxcxr.errors import InputError
from jaxcxr.storage.predictions import Predictions
from tests import tiny

FEW = {"patch_counts__counts": (4, 1, 2), "patch_counts__most": 4, "patch_counts__timed": 4}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    train.run(tiny.learner(**FEW), folder)
    return folder


def table(folder):
    with (folder / "patch_counts" / "patch_counts.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_every_number_of_patches_has_a_score_and_a_time(trained, capsys):
    capsys.readouterr()
    patch_counts.run(tiny.learner(**FEW), trained)
    rows = table(trained)
    assert tuple(rows[0]) == patch_counts.COLUMNS
    assert [(row["patches"], row["draws"]) for row in rows] == [("1", "4"), ("2", "2"), ("4", "1")]
    for row in rows:
        assert 0 <= float(row["lowest"]) <= float(row["macro_f1"]) <= float(row["highest"]) <= 1
        assert float(row["seconds_per_image"]) > 0
    assert (trained / "patch_counts" / "patch_counts.png").exists()
    printed = capsys.readouterr().out
    assert "Research use only. Not for diagnosis." in printed
    experiment = patch_counts.prepare(tiny.learner(**FEW))
    assert f"{len(experiment.splits['oof'])} out-of-fold images of " in printed
    assert "which should not choose" not in printed


def test_a_batch_that_is_not_full_takes_the_time_of_a_full_one(trained, monkeypatch):
    config = tiny.learner(**FEW)
    experiment = patch_counts.prepare(config)

    class Predictor:
        def rows(self, arrays, index, *, count):
            clock[0] += 10.0
            yield {}

    clock = [0.0]
    monkeypatch.setattr(patch_counts.time, "monotonic", lambda: clock[0])
    batch = config.evaluate.batch_size
    for images, batches in ((1, 1), (batch, 1), (batch + 1, 2)):
        found = patch_counts._seconds_per_image(experiment, Predictor(), np.arange(images), count=1)
        assert found == 10.0 / (batches * batch)


def test_scores_do_not_depend_on_the_day(trained):
    timeless = [
        [{k: v for k, v in row.items() if k != "seconds_per_image"} for row in table(trained)]
        for _ in range(2)
        if patch_counts.run(tiny.learner(**FEW), trained) is None
    ]
    assert timeless[0] == timeless[1]


def test_the_run_that_is_read_stays_as_it_was(trained):
    before = Predictions.load(trained / "predictions.npz")
    patch_counts.run(tiny.learner(**FEW), trained)
    after = Predictions.load(trained / "predictions.npz")
    np.testing.assert_array_equal(before.probabilities, after.probabilities)


def test_a_draw_is_the_mean_of_its_own_patches():
    # Two images, two classes. The first image's patches say 0, 0, 1, 0; the second's 1, 1, 1, 0.
    of_patches = np.array(
        [
            [[0.9, 0.1], [0.4, 0.6]],
            [[0.6, 0.4], [0.1, 0.9]],
            [[0.1, 0.9], [0.2, 0.8]],
            [[0.8, 0.2], [0.7, 0.3]],
        ]
    )
    labels = np.array([0, 1])
    # One patch: right, right, half (all say 1), half (all say 0).
    assert patch_counts.scores(of_patches, labels, count=1) == pytest.approx(
        (4, (1 + 1 + 1 / 3 + 1 / 3) / 4, 1 / 3, 1.0, 0.75)
    )
    # Two: means (0.75, 0.25), (0.25, 0.75); then (0.45, 0.55), (0.45, 0.55).
    assert patch_counts.scores(of_patches, labels, count=2) == pytest.approx(
        (2, (1 + 1 / 3) / 2, 1 / 3, 1.0, 0.75)
    )
    # Three are one draw; the patch that is left is not used.
    assert patch_counts.scores(of_patches, labels, count=3)[0] == 1


def test_one_patch_is_drawn_again_by_its_number(trained):
    """Mean probabilities over patches one by one are those of one prediction with K of them."""
    config = tiny.learner(**FEW)
    experiment = patch_counts.prepare(config)
    with patch_counts.RunFolder.open(trained, config.to_dict(), active=True) as folder:
        predictor = experiment.predictor(patch_counts.best_variables(experiment.task, folder))
        index = experiment.splits["test"][:4]
        singles = patch_counts._of_single_patches(experiment, predictor, index, most=2)
    assert singles.shape == (2, 4, len(experiment.examples.classes))
    assert np.abs(singles[0] - singles[1]).max() > 0  # other patches
    [own] = predictor.rows(experiment.inputs, index, count=1)
    np.testing.assert_allclose(singles[0], own["probabilities"], atol=1e-6)


@pytest.mark.parametrize(
    ("of_counts", "enough"),
    [
        ({1: 0.5, 10: 0.701, 50: 0.704, 100: 0.7}, 10),
        ({1: 0.7, 10: 0.6, 50: 0.704, 100: 0.7}, 50),  # one was enough by chance
    ],
)
def test_enough_is_what_more_does_not_change(of_counts, enough):
    rows = [(count, 1, macro, macro, macro, macro, 0.1) for count, macro in of_counts.items()]
    assert f"--config.patches.eval_count={enough}" in patch_counts.sentence(rows)


def test_where_all_are_needed_none_is_proposed():
    rows = [(count, 1, macro, macro, macro, macro, 0.1) for count, macro in ((1, 0.5), (10, 0.6))]
    told = patch_counts.sentence(rows)
    assert told == "with K = 1 macro-F1 is still more than 0.005 from that with K = 10"
    assert "should not choose" in patch_counts.sentence(
        [(count, 1, 0.5, 0.5, 0.5, 0.5, 0.1) for count in (1, 2)], test=True
    )
    assert "tells nothing" in patch_counts.sentence(rows[1:])


def test_whole_images_have_no_patches(tmp_path):
    with pytest.raises(InputError, match=r"patches\.enabled=False"):
        patch_counts.run(tiny.learner(patched=False), tmp_path)


def test_no_more_patches_than_are_drawn(tmp_path):
    config = tiny.learner(patch_counts__counts=(10, 200))
    with pytest.raises(InputError, match=r"counts=\(10, 200\) .* patch_counts\.most=100"):
        patch_counts.run(config, tmp_path)
