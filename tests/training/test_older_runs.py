"""Run folders that are older than a field of the schema."""

from __future__ import annotations

import pytest

from jaxcxr import schema
from jaxcxr.commands import train
from jaxcxr.errors import InputError
from jaxcxr.inference.predictor import Predictor
from jaxcxr.storage.files import read_json, write_json
from tests import tiny


def test_a_run_older_than_a_field_did_what_its_default_says(tmp_path):
    """It predicts with the folder alone, and the same command goes on."""
    folder, config = tmp_path / "run", tiny.learner(train__epochs=0.0)
    train.run(config, folder)
    saved, marks = (read_json(folder / name) for name in ("config.json", "finished.json"))
    for name in schema.LATER:
        section, _, field = name.partition(".")
        del saved[section][field]
    write_json(folder / "config.json", saved)
    (folder / "checksums.json").unlink()  # of the whole config.json
    write_json(folder / "finished.json", {k: v for k, v in marks.items() if k != "checksums"})
    assert Predictor.load(folder).config.model.norm_statistics == "batch"
    train.run(config, folder)
    config.model.norm_momentum = 0.5
    with pytest.raises(InputError, match="different configuration"):
        train.run(config, folder)


def test_fields_that_came_later_are_those_of_the_task(tmp_path):
    of = {task: schema.completed({"task": task, "model": {}, "train": {}}) for task in schema.KINDS}
    assert of["classify"]["train"] == {"cache_features": False, "shuffle_labels": False}
    assert set(of["segment"]["model"]) == {"norm_momentum", "norm_statistics"}
    assert of["segment"]["train"] == of["ensemble"]["model"] == {}
    study = schema.completed({"learners": {"vgg": {"task": "classify", "model": {}}}})
    assert study["learners"]["vgg"]["model"] == {"norm_momentum": 0.0, "norm_statistics": "batch"}
