"""CheXNet's findings without fine-tuning, and the paper's enhancement figures, for files of one's
own.
"""

from __future__ import annotations

import csv

import jax
import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file
from sklearn.metrics import roc_auc_score

from jaxcxr.commands import enhance, probe
from jaxcxr.errors import InputError
from jaxcxr.storage.files import read_json
from jaxcxr.training.prepare import prepare
from jaxcxr.weights.catalog import CHESTXRAY14
from tests import tiny
from tests.weights import forms


def config(**fields):
    c = tiny.shrink(tiny.load("chexnet_probe"))
    own = {"model__width": 0.1, "model__depth": forms.DEPTH["densenet121"], "model__input_size": 64}
    return tiny.change(c, **{**own, "model__mean": (0.5,), "model__std": (0.25,), **fields})


def test_the_score_is_the_networks_own_pneumonia_neuron(tmp_path, capsys):
    variables = forms.network("densenet121", classes=14)
    save_file(forms.as_torch(variables), tmp_path / "chexnet.safetensors")
    c = config(model__pretrained=str(tmp_path / "chexnet.safetensors"))
    probe.run(c, tmp_path / "run")
    experiment = prepare(c)
    index, rows = experiment.splits["test"], experiment.examples
    pixels = np.asarray(experiment.arrays["image"][index], np.float32)[:, 8:40, 8:40, None] / 255
    pixels = jax.image.resize(pixels, (len(index), 64, 64, 1), "bilinear")
    logits, _ = forms.module("densenet121", classes=14).apply(
        variables, (np.repeat(pixels, 3, axis=-1) - 0.5) / 0.25, train=False
    )
    expected = np.asarray(jax.nn.sigmoid(logits))
    with open(tmp_path / "run" / "probe.csv", newline="") as file:
        table = {row["id"]: row for row in csv.DictReader(file)}
    assert set(table) == set(rows.ids[index])
    for n, i in enumerate(index):
        row = table[rows.ids[i]]
        np.testing.assert_allclose(
            [float(row[name]) for name in CHESTXRAY14], expected[n], atol=2e-4
        )
        assert row["score"] == row["Pneumonia"] and row["label"] == rows.classes[rows.labels[i]]
    found = read_json(tmp_path / "run" / "probe.json")
    positive, scores = rows.labels[index] == 1, [float(table[rows.ids[i]]["score"]) for i in index]
    assert found["roc_auc"] == pytest.approx(roc_auc_score(positive, scores), abs=1e-6)
    assert "not fine-tuned" in capsys.readouterr().out


def test_it_needs_weights(tmp_path):
    with pytest.raises(
        InputError, match="the weights it reads, such as model.pretrained=densenet121.chexnet"
    ):
        probe.run(config(model__pretrained=""), tmp_path / "run")


class TestEnhance:
    def test_two_figures_of_each_file_and_the_unreadable_is_named_at_the_end(
        self, tmp_path, capsys
    ):
        folder = tmp_path / "in"
        folder.mkdir()
        pixels = np.random.default_rng(0).integers(0, 256, (300, 260), np.uint8)
        Image.fromarray(pixels).save(folder / "one.png")
        (folder / "two.png").write_bytes(b"\x89PNG no image")
        c = tiny.change(tiny.load("covid_cxnet"), predict__inputs=str(folder))
        with pytest.raises(
            InputError, match=r"1 of 2 files could not be used, .*failed\.csv: two\.png"
        ):
            enhance.run(c, tmp_path / "run")
        there = sorted(path.name for path in (tmp_path / "run" / "enhance").iterdir())
        assert there == ["failed.csv", "one.png_figure2.png", "one.png_figure3.png"]
        failed = (tmp_path / "run" / "enhance" / "failed.csv").read_text()
        assert failed.startswith('file,reason\ntwo.png,"two.png is unreadable: ')
        assert "two figures of each of 1 X-rays" in capsys.readouterr().out

    def test_figures_of_files_whose_names_collide(self, tmp_path):
        folder = tmp_path / "in"
        for name in ("a", "a_figure2.png/b", "胸" * 80):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.eye(64, dtype=np.uint8) * 200).save(folder / name, format="PNG")
        enhance.run(
            tiny.change(tiny.load("covid_cxnet"), predict__inputs=str(folder)), tmp_path / "run"
        )
        assert len(list((tmp_path / "run" / "enhance").rglob("*.png"))) == 6

    def test_it_needs_files(self, tmp_path):
        with pytest.raises(InputError, match="predict.inputs is empty"):
            enhance.run(tiny.load("covid_cxnet"), tmp_path / "run")
