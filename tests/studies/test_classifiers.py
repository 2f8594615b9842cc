"""A study of several classifiers: models, repeats and pairs in one table, a hierarchy composed of
its levels.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from jaxcxr.commands import lr_find, predict, train
from jaxcxr.errors import InputError
from jaxcxr.report.models import read_models
from jaxcxr.report.models_report import table_6
from jaxcxr.storage.files import read_json
from jaxcxr.storage.predictions import Predictions
from jaxcxr.studies import hierarchy, repeats, stages, study
from jaxcxr.training.prepare import prepare
from tests import tiny

PAIRS = ("base:cxnet_v1",)


def small(config):
    """A network of one block instead of DenseNet-121."""
    return tiny.change(
        config, model__name=tiny.ONE_BLOCK, model__width=0.1, model__depth=1.0, model__input_size=0
    )


def config(*models: str, **fields):
    c = tiny.shrink(tiny.load("covid_cxnet_study"))
    for model in c.models.values():
        for part in model.values() if "level1" in model else [model]:
            small(part)
    c.study.models = models
    c.study.training_sizes = (0.5,) if "base" in models else ()
    return tiny.change(c, **fields)


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> Path:
    """A finished study of a binary model with two repeats, and the hierarchy."""
    workdir = tmp_path_factory.mktemp("study") / "study"
    study.run(config("base", "cxnet_v1", "hierarchical", repeats=2, study__pairs=PAIRS), workdir)
    return workdir


def test_every_stage_is_remembered(done):
    assert list(read_json(done / "stages.json")) == [
        "models/base/repeat0",
        "models/base/repeat1",
        "models/cxnet_v1/repeat0",
        "models/cxnet_v1/repeat1",
        *(
            f"models/hierarchical/repeat{r}{part}"
            for r in (0, 1)
            for part in ("/level1", "/level2", "")
        ),
        "training_sizes/base/50percent",
    ]


def test_results_of_a_level_that_are_made_again_change_no_other_stage(done, tmp_path, capsys):
    shutil.copytree(done, tmp_path / "study")
    c = config("base", "cxnet_v1", "hierarchical", repeats=2, study__pairs=PAIRS)
    folder = tmp_path / "study" / "models" / "hierarchical" / "repeat0"
    level = stages.own(c.models.hierarchical.level1, c)
    predict.run(level, folder / "level1")
    capsys.readouterr()
    study.run(c, tmp_path / "study")
    printed = capsys.readouterr().out
    assert printed.count(": done before") == len(read_json(done / "stages.json"))
    hierarchy.run(
        ConfigDict({n: stages.own(c.models.hierarchical[n], c) for n in ("level1", "level2")}),
        folder,
    )


def test_repeats_differ_in_their_seed_and_share_their_split(done):
    one, two = (Predictions.load(done / f"models/base/repeat{r}/predictions.npz") for r in (0, 1))
    assert one.split_sha256 == two.split_sha256
    np.testing.assert_array_equal(one.ids, two.ids)
    assert not np.allclose(one.probabilities, two.probabilities)


def test_the_hierarchy_is_the_product_of_its_levels(done):
    folder = done / "models" / "hierarchical" / "repeat0"
    whole = Predictions.load(folder / "predictions.npz").select("test")
    first, second = (
        Predictions.load(folder / f"level{k}" / "predictions.npz").select("test") for k in (1, 2)
    )
    assert whole.classes == ("normal", "consolidation", "ground_glass")
    assert first.classes == ("normal", "pneumonia") and second.classes == (
        "consolidation",
        "ground_glass",
    )
    np.testing.assert_array_equal(whole.ids, first.ids)
    assert set(second.ids) == set(whole.ids[whole.labels > 0])
    np.testing.assert_array_equal(first.labels, np.minimum(whole.labels, 1))
    np.testing.assert_allclose(whole.probabilities[:, 0], first.probabilities[:, 0], atol=1e-6)
    row = {name: n for n, name in enumerate(whole.ids)}
    at = [row[name] for name in second.ids]
    expected = first.probabilities[at, 1:] * second.probabilities
    np.testing.assert_allclose(whole.probabilities[at][:, 1:], expected, atol=1e-6)


def test_no_patient_of_the_test_set_trained_a_level(done):
    folder = done / "models" / "hierarchical" / "repeat0"
    whole = Predictions.load(folder / "predictions.npz")
    tested = set(whole.patient_ids[whole.split == "test"])
    c = config("hierarchical").models.hierarchical
    for level in c.values():
        experiment = prepare(level)
        assert not tested & set(experiment.examples.patient_ids[experiment.splits["train"]])


def test_half_of_the_training_patients_are_some_of_them_and_the_test_images_are_the_same(done):
    whole = prepare(config("base").models.base)
    half = prepare(tiny.change(config("base"), models__base__split__train_fraction=0.5).models.base)
    assert set(half.splits["train"]) < set(whole.splits["train"])
    assert len(half.splits["train"]) == pytest.approx(len(whole.splits["train"]) / 2, abs=2)
    np.testing.assert_array_equal(half.splits["test"], whole.splits["test"])
    found = read_json(done / "report.json")["training_sizes"]["base"]
    assert [images for images, *_ in found] == [
        len(half.splits["train"]),
        len(whole.splits["train"]),
    ]


def test_the_table_holds_the_means_and_ranges(done):
    header, rows = table_6(read_models(done))
    assert [row[0] for row in rows] == [
        "Base Model v2",
        "COVID-CXNet v1",
        "Hierarchical Multiclass COVID-CXNet",
    ]
    scores = [
        float((p.probabilities.argmax(1) == p.labels).mean())
        for p in (
            Predictions.load(done / f"models/base/repeat{r}/predictions.npz").select("test")
            for r in (0, 1)
        )
    ]
    row = dict(zip(header[:-1], rows[0], strict=False))
    assert row["Accuracy"] == f"{np.mean(scores):.4f}"
    assert row["Range"] == f"{min(scores):.4f} – {max(scores):.4f}"
    low, high = map(float, row["95 % interval"].split(" – "))
    assert 0 <= low <= np.mean(scores) <= high <= 1
    assert (
        row["F-score of"] == "Ground glass"
        and row["Sees"] == "whole image"
        and row["Children"] == "0 %"
    )
    report = (done / "report.md").read_text()
    assert (
        "not for diagnosis" in report.lower() and "the classes are not those of the paper" in report
    )
    assert {p.stem for p in (done / "plots").glob("*.png")} == {
        "class_sources", "confusion_base", "confusion_cxnet_v1", "confusion_hierarchical", "roc",
        "training_sizes_base",
    }  # fmt: skip


def test_started_again_it_runs_nothing(done, monkeypatch, capsys):
    monkeypatch.setattr(train, "run", None)
    study.run(config("base", "cxnet_v1", "hierarchical", repeats=2, study__pairs=PAIRS), done)
    assert capsys.readouterr().out.count("done before") == 11


def test_pairs_are_compared_on_the_same_images(done):
    found = read_json(done / "compare" / "base-cxnet_v1" / "compare.json")
    for letter, name in (("a", "base"), ("b", "cxnet_v1")):
        p = Predictions.load(done / f"models/{name}/repeat0/predictions.npz").select("test")
        assert found["scores"]["accuracy"][letter] == pytest.approx(
            (p.probabilities.argmax(1) == p.labels).mean()
        )
    assert read_json(done / "report.json")["pairs"] == {PAIRS[0]: found["verdicts"]}
    assert "[base-cxnet_v1](compare/base-cxnet_v1/compare.md)" in (done / "report.md").read_text()


@pytest.mark.parametrize("pair", ["base", "base:base", "base:other"])
def test_a_pair_is_two_models_of_the_study(pair, tmp_path):
    with pytest.raises(InputError, match=rf"study\.pairs has '{pair}'"):
        study.run(config("base", "cxnet_v1", study__pairs=(pair,)), tmp_path / "study")


def test_an_unknown_model_is_named(tmp_path):
    with pytest.raises(InputError, match=r"study.models=\('base', 'cxnet_v3'\) names no model"):
        study.run(config("base", "cxnet_v3"), tmp_path / "study")


def test_one_config_repeated_is_a_table_too(tmp_path, capsys):
    c = small(tiny.shrink(tiny.load("covid_cxnet")))
    repeats.run(tiny.change(c, repeats=2), tmp_path / "run")
    assert "Range" in capsys.readouterr().out
    assert len(read_json(tmp_path / "run" / "report.json")["models"][0]["scores"]) == 2


def test_compose_multiplies_along_the_tree():
    root = np.array([[0.3, 0.7], [1.0, 0.0]])
    leaf = np.array([[0.5, 0.5], [0.9, 0.1]])
    levels = [
        (root, {"n": "n", "a": "p", "b": "p"}, ("n", "p")),
        (leaf, {"n": "", "a": "a", "b": "b"}, ("a", "b")),
    ]
    found = hierarchy.compose(levels, ("n", "a", "b"))
    np.testing.assert_allclose(found, [[0.3, 0.35, 0.35], [1.0, 0.0, 0.0]])
    with pytest.raises(InputError, match=r"data\.targets are no tree"):
        hierarchy.compose(levels[:1], ("n", "a", "b"))


class TestRangeTest:
    def test_finds_where_the_loss_falls_fastest(self):
        """A loss that falls by a logistic step around 1e-4."""
        rates = np.geomspace(1e-7, 1e-1, 121)
        curve = 1 / (1 + (rates / 1e-4) ** 2)
        assert lr_find.steepest(rates, curve) == pytest.approx(1e-4, rel=0.15)

    def test_a_loss_that_only_rises_has_no_steepest_point(self):
        assert lr_find.steepest(np.geomspace(1e-3, 1, 20), np.linspace(1, 2, 20)) is None

    def test_smoothing_is_a_corrected_running_mean(self):
        np.testing.assert_allclose(lr_find.smoothed([3.0, 3.0, 3.0], 0.9), 3.0)
        np.testing.assert_allclose(lr_find.smoothed([1.0, 2.0], 0.5), [1.0, 5 / 3])
        np.testing.assert_allclose(lr_find.smoothed([1.0, 2.0], 0.0), [1.0, 2.0])

    def test_the_run_leaves_a_curve_and_nothing_trained(self, tmp_path, capsys):
        c = small(tiny.shrink(tiny.load("covid_cxnet")))
        tiny.change(c, lr_find__steps=12, lr_find__low=1e-6, lr_find__high=10.0)
        lr_find.run(c, tmp_path)
        found = read_json(tmp_path / "lr_find.json")
        np.testing.assert_allclose(
            found["learning_rate"], np.geomspace(1e-6, 10, 12)[: len(found["loss"])]
        )
        assert "the loss falls" in capsys.readouterr().out
        assert (tmp_path / "plots" / "lr_find.png").exists() and not (
            tmp_path / "checkpoints"
        ).exists()

    def test_wrong_settings_are_named(self, tmp_path):
        c = small(tiny.shrink(tiny.load("covid_cxnet")))
        with pytest.raises(InputError, match=r"lr_find\.low=1\.0, high=0\.1"):
            lr_find.run(tiny.change(c, lr_find__low=1.0), tmp_path)


def test_one_logit_is_two_classes():
    """softmax(0, z) = (1 - sigmoid(z), sigmoid(z)): loss and probabilities are those of the
    sigmoid.
    """
    from jaxcxr import losses
    from jaxcxr.tasks.network import Network

    network = Network(small(tiny.shrink(tiny.load("covid_cxnet"))), axis_name=None)
    z = np.array([[-3.0], [0.0], [2.5]], np.float32)
    two = network.as_classes(z)
    np.testing.assert_allclose(jax.nn.softmax(two)[:, 1:], jax.nn.sigmoid(z), rtol=1e-6)
    labels = np.array([1, 0, 1], np.int32)
    np.testing.assert_allclose(
        losses.cross_entropy(two, labels, label_smoothing=0.1),
        losses.binary_cross_entropy(z[:, 0], labels, label_smoothing=0.1),
        rtol=1e-5,
    )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"model__outputs": "sigmoid"},
            "model.outputs='sigmoid' tells two classes apart, and there are 3",
        ),
        (
            {"model__outputs": "logits"},
            "model.outputs='logits' is unknown; known: softmax, sigmoid",
        ),
        (
            {"data__enhance": ("clahe", "beasf")},
            "data.enhance makes 2 channels, and model.in_channels is 3",
        ),
        ({"data__targets": ("normal=normal",)}, "data.targets must map each of data.classes"),
        ({"data__relabel": ("interstitial",)}, "data.relabel has 'interstitial': write 'from=to'"),
        (
            {"data__relabel": ("interstitial=other",)},
            "data.relabel names other, which is not in data.classes",
        ),
        ({"split__train_fraction": 0.0}, "split.train_fraction=0.0: give above 0, at most 1"),
    ],
)
def test_what_does_not_go_together_is_named(fields, message):
    with pytest.raises(InputError, match=message):
        prepare(tiny.change(small(tiny.shrink(tiny.load("covid_cxnet_multiclass"))), **fields))
