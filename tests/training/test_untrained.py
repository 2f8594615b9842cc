"""The scores of a run come from its training, not from the way it is scored."""

from __future__ import annotations

from jaxcxr.commands import train
from jaxcxr.report.tables import classification_scores
from jaxcxr.storage.files import read_json
from jaxcxr.storage.predictions import Predictions
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
