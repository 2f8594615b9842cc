"""`--config.run=explain` on a trained run."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from jaxcxr.artifacts import Predictions, read_json
from jaxcxr.runs import explain, train
from jaxcxr.types import InputError
from tests import tiny


@pytest.mark.parametrize("patched", [True, False])
def test_heat_maps_of_some_test_images_of_each_class(tmp_path, patched, capsys):
    config = tiny.learner(patched=patched, explain__per_class=2)
    train.run(config, tmp_path)
    finished = read_json(tmp_path / "finished.json")
    explain.run(config, tmp_path)
    assert read_json(tmp_path / "finished.json") == finished
    index = read_json(tmp_path / "explain" / "index.json")
    predictions = Predictions.load(tmp_path / "predictions.npz").select("test")
    row_of = {name: n for n, name in enumerate(predictions.ids.tolist())}
    assert index["images"]
    for entry in index["images"]:
        row = row_of[entry["id"]]
        assert entry["label"] == predictions.classes[predictions.labels[row]]
        assert entry["explained"] == predictions.classes[predictions.probabilities[row].argmax()]
        np.testing.assert_allclose(entry["probability"], predictions.probabilities[row].max(), atol=1e-5)
        assert entry["heat_in_lungs"] is None or 0 <= entry["heat_in_lungs"] <= 1
        assert 0.05 < entry["lung_area"] < 0.6
        with Image.open(tmp_path / "explain" / f"{entry['id']}.png") as picture:
            assert (picture.size, picture.mode) == ((48, 48), "RGB")
        assert (tmp_path / "explain" / "votes" / f"{entry['id']}.png").exists() == patched
    for name, row in index["classes"].items():
        assert row["images"] == min(2, (predictions.labels == predictions.classes.index(name)).sum())
        assert (tmp_path / "explain" / f"sheet_{name}.png").exists()
    printed = capsys.readouterr().out
    assert "heat in lungs" in printed
    assert f"{len(index['classes'])} contact sheets" in printed


def test_mistakes_are_named(tmp_path):
    with pytest.raises(InputError, match="only classifiers are explained, and this config's task is 'segment'"):
        explain.run(tiny.load("fc_densenet103"), tmp_path / "a")
    with pytest.raises(InputError, match=r"explain\.of='truth' is unknown; known: predicted, true"):
        explain.run(tiny.learner(explain__of="truth"), tmp_path / "b")
    with pytest.raises(InputError, match=r"explain\.split='tset' is unknown; known: train, valid, oof, test"):
        explain.run(tiny.learner(explain__split="tset"), tmp_path / "c")
    with pytest.raises(InputError, match="holds no trained checkpoint"):
        explain.run(tiny.learner(), tmp_path / "d")
