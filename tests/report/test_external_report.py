"""The report of an external test, from predictions alone."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from PIL import Image
from sklearn import metrics

from jaxcxr.report import external_report
from tests.report import fakes

BINARY = ("normal", "covid19")


def write(tmp_path, *, classes=BINARY, keep=lambda p: np.ones(len(p), bool), **settings):
    """A run and its predictions for other images; the printed text and the report's facts and
    Markdown.
    """
    run = fakes.write_run(tmp_path / "run", fakes.predictions(classes=classes))
    made = fakes.predictions(classes=classes, learner="vgg19_bn", images=50, skill=1.0).select(
        "test"
    )
    made = made._take(np.flatnonzero(keep(made)))
    folder = run / "external" / "hannover"
    dataclasses.replace(made, learner="densenet161").save(folder / "predictions.npz")
    given = {"left_out": {"no class of the study: Lipoid": 3}, "warnings": ["Beware."], **settings}
    said = external_report.write_external_report(
        folder,
        run,
        name="hannover",
        settings={"builders": ["tfds_builders.hannover"]},
        draws=200,
        **given,
    )
    return (
        said,
        json.loads((folder / "report.json").read_text()),
        (folder / "report.md").read_text(),
        folder,
        made,
    )


def test_scores_stand_beside_those_of_the_own_test(tmp_path):
    said, facts, text, folder, made = write(tmp_path)
    own = fakes.predictions(classes=BINARY).select("test")
    for side, p in (("external", made), ("own_test", own)):
        scores, predicted = facts["scores"][side], p.probabilities.argmax(1)
        assert scores["accuracy"]["value"] == pytest.approx(
            metrics.accuracy_score(p.labels, predicted)
        )
        assert scores["macro_f1"]["value"] == pytest.approx(
            metrics.f1_score(p.labels, predicted, average="macro")
        )
        area = metrics.roc_auc_score(p.labels, p.probabilities[:, 1])
        assert scores["roc_auc/1"]["value"] == pytest.approx(area)
        for score in scores.values():
            low, high = score["interval"]
            assert low <= score["value"] <= high
    value = facts["scores"]["external"]["accuracy"]["value"]
    assert any(line.startswith("Accuracy") and f"{value:.4f}" in line for line in said.splitlines())
    assert "DenseNet-161, fold 0: external test set hannover" in said
    assert (
        facts["confusion"]
        == metrics.confusion_matrix(made.labels, made.probabilities.argmax(1)).tolist()
    )
    for name in ("confusion", "roc"):
        with Image.open(folder / "plots" / f"{name}.png") as picture:
            assert picture.size[0] > 300
    assert text.index("Research use only. Not for diagnosis.") < text.index(
        "> **Warning.** Beware."
    )
    assert text.index("> **Warning.** Beware.") < text.index("## Result")


def test_what_was_left_out_is_counted(tmp_path):
    said, facts, text, *_ = write(tmp_path, left_out={"lateral": 1200, "same file": 2})
    assert "1,202 images were excluded:\n   1,200  lateral\n       2  same file" in said
    assert facts["images_left_out"] == {"lateral": 1200, "same file": 2}
    assert "| lateral   |  1,200 |" in text
    assert "0 images were excluded." in write(tmp_path, left_out={})[0]


def test_a_class_without_images_has_no_scores_and_no_part_in_an_average(tmp_path):
    said, facts, *_ = write(tmp_path, keep=lambda p: p.labels == 1)
    scores = facts["scores"]["external"]
    for name in ("macro_f1", "recall/0", "precision/0", "f1/0", "roc_auc/1"):
        assert scores[name] == {"value": None, "interval": [None, None]}
    assert scores["recall/1"]["value"] == scores["accuracy"]["value"]
    assert "hannover has no image of Normal" in said
    assert "plots/roc.png" not in facts["plots"]


def test_one_patient_has_scores_and_no_interval(tmp_path):
    def one_patient(p):
        return p.patient_ids == p.patient_ids[0]

    said, facts, *_ = write(tmp_path, keep=one_patient)
    scores = facts["scores"]["external"]
    assert scores["accuracy"]["value"] is not None
    assert all(score["interval"] == [None, None] for score in scores.values())
    assert "No interval for fewer than two patients: hannover has one of all classes." in said


def test_a_class_of_one_patient_has_no_interval_of_its_recall(tmp_path):
    said, facts, *_ = write(
        tmp_path, keep=lambda p: (p.labels == 1) | (p.ids == p.ids[p.labels == 0][0])
    )
    recalls = [facts["scores"]["external"][f"recall/{k}"] for k in (0, 1)]
    assert recalls[0]["interval"] == [None, None] and recalls[0]["value"] is not None
    assert None not in recalls[1]["interval"]
    assert "hannover has one of Normal" in said


def test_more_classes_have_an_area_each(tmp_path):
    said, facts, *_ = write(tmp_path, classes=fakes.CLASSES)
    assert sum(line.startswith("ROC-AUC, ") for line in said.splitlines()) == 4
    assert {f"recall/{c}" for c in range(4)} <= facts["scores"]["external"].keys()
