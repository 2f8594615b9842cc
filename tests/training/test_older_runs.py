"""Run folders that are older than a field of the schema."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ml_collections import ConfigDict

from jaxcxr import schema
from jaxcxr.commands import train
from jaxcxr.errors import InputError
from jaxcxr.inference.predictor import Predictor
from jaxcxr.storage.files import read_json, write_json
from tests import tiny

FIRST = Path(__file__).with_name("first_fields.txt")  # of the tasks, before any was added


def segmenter(**fields):
    c = tiny.shrink(tiny.load("fc_densenet103"))
    c.model.name, c.model.width = tiny.ONE_DOWN, 0.2
    return tiny.change(c, **fields)


def without_later_fields(config: dict) -> set[str]:
    """Deletes the fields of LATER and EARLIER from a configuration, and says which it had."""
    had = set()
    for name in (*schema.LATER, *schema.EARLIER):
        *parts, field = name.split(".")
        section = config
        for part in parts:
            section = section.get(part, {})
        if field in section:
            had.add(name)
            del section[field]
    return had


@pytest.mark.parametrize("make", [tiny.learner, segmenter])
def test_a_run_older_than_a_field_did_what_its_default_says(make, tmp_path):
    """It predicts with the folder alone, and the same command goes on."""
    folder, config = tmp_path / "run", make(train__epochs=0.0, split__duplicates="apart")
    train.run(config, folder)
    saved, marks = (read_json(folder / name) for name in ("config.json", "finished.json"))
    had = without_later_fields(saved)
    assert {"data.sources", "model.norm_momentum", "optim.layer_rates"} <= had
    write_json(folder / "config.json", saved)
    (folder / "checksums.json").unlink()  # of the whole config.json
    write_json(folder / "finished.json", {k: v for k, v in marks.items() if k != "checksums"})
    assert Predictor.load(folder).config.model.norm_statistics == "batch"
    train.run(config, folder)
    config.split.duplicates = "together"  # the default, which runs before it did not do
    with pytest.raises(InputError, match=r"split\.duplicates"):
        train.run(config, folder)
    config.split.duplicates, config.model.norm_momentum = "apart", 0.5
    with pytest.raises(InputError, match="different configuration"):
        train.run(config, folder)


def test_every_later_field_is_one_of_some_task():
    had = [
        without_later_fields(section_defaults(task)) for task in ("classify", "segment", "ensemble")
    ]
    assert set.union(*had) == {*schema.LATER, *schema.EARLIER}


@pytest.mark.parametrize("task", ["classify", "segment", "ensemble"])
def test_every_field_is_of_the_first_run_folders_or_came_later(task):
    """A field that is added goes into `schema.LATER`: else older run folders are of no use."""
    config = json.loads(schema.config(task, {}).to_json_best_effort())
    without_later_fields(config)
    first = FIRST.read_text(encoding="utf-8").split()
    now = {f"{task}:{name}" for name in schema.field_names(ConfigDict(config))}
    assert now == {name for name in first if name.startswith(f"{task}:")}


def section_defaults(task: str) -> dict:
    if task == "ensemble":
        return json.loads(schema.config("ensemble").to_json_best_effort())
    config = tiny.learner() if task == "classify" else segmenter()
    return json.loads(config.to_json_best_effort())


def test_fields_that_came_later_are_those_of_the_task(tmp_path):
    of = {task: schema.completed({"task": task, "model": {}, "train": {}}) for task in schema.KINDS}
    assert of["classify"]["train"] == {"cache_features": False, "shuffle_labels": False}
    assert set(of["segment"]["model"]) == {"norm_momentum", "norm_statistics"}
    assert of["segment"]["train"] == of["ensemble"]["model"] == {}
    evaluate = schema.completed({"task": "segment", "evaluate": {"batch_size": 4}})["evaluate"]
    assert evaluate["data"]["builders"] == [] and evaluate["same_source"] == "left_out"
    assert evaluate["data"]["options"]["phantom_cxr"]["size"] == 128
    study = schema.completed({"learners": {"vgg": {"task": "classify", "model": {}}}})
    assert study["learners"]["vgg"]["model"] == {"norm_momentum": 0.0, "norm_statistics": "batch"}
