"""The scores of a run come from its training, not from the way it is scored."""

from __future__ import annotations

import numpy as np

from jaxcxr.commands import train
from jaxcxr.report.tables import classification_scores
from jaxcxr.storage.files import read_json
from jaxcxr.storage.predictions import Predictions
from jaxcxr.training import prepare
from tests import tiny


def test_a_run_of_no_steps_stays_near_chance(tmp_path):
    """Four classes, equally many images each: chance is an accuracy of 0.25 and a macro-F1 no
    higher.
    """
    config = tiny.learner(train__epochs=0.0)
    config.data.options.phantom_cxr.patients = 60
    train.run(config, tmp_path / "run")
    assert read_json(tmp_path / "run" / "training.json")["step"] == 0
    scores = classification_scores(Predictions.load(tmp_path / "run" / "predictions.npz"))
    assert scores["macro_f1"] < 0.4


def test_shuffled_labels_are_those_of_training_and_validation_and_the_run_says_so(tmp_path, capsys):
    config = tiny.learner(train__epochs=0.0, train__shuffle_labels=True)
    experiment = prepare.prepare(config)
    true, learnt = experiment.examples.labels, experiment.arrays["label"]
    for name, rows in experiment.splits.items():
        np.testing.assert_array_equal(np.bincount(true[rows]), np.bincount(learnt[rows]))
        assert (true[rows] == learnt[rows]).all() == (name in ("test", "oof"))
    train.run(config, tmp_path / "run")
    note = "the labels of the training and validation images are shuffled"
    assert note in capsys.readouterr().out
    assert note in (tmp_path / "run" / "report.md").read_text()
    predictions = Predictions.load(tmp_path / "run" / "predictions.npz")
    assert set(predictions.labels[predictions.split == "test"]) == set(true)
