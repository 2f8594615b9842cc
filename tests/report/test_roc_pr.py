"""ROC and precision-recall curves in the reports of runs and studies."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn import metrics

from jaxcxr.metrics import intervals
from jaxcxr.metrics.areas import BootstrapAreas
from jaxcxr.report import roc_pr, summary, tables
from jaxcxr.storage.predictions import Predictions
from tests.report import fakes
from tests.report.test_summary import read


def report(folder: Path, made: Predictions) -> tuple[dict[str, Any], str]:
    summary.write_run_report(fakes.write_run(folder, made))
    return read(folder)


def test_a_runs_areas_are_scikit_learns_with_intervals_over_patients(tmp_path: Path) -> None:
    made = fakes.predictions()
    facts, text = report(tmp_path, made)
    areas, test = facts["splits"]["test"]["areas"], made.select("test")
    truth = np.eye(4)[test.labels]
    for area, score in (
        ("roc_auc", metrics.roc_auc_score),
        ("pr_auc", metrics.average_precision_score),
    ):
        for average in ("micro", "macro"):
            expected = score(truth, test.probabilities, average=average)
            assert areas[area][average]["value"] == pytest.approx(expected)
        of_classes = [areas[area]["classes"][c]["value"] for c in fakes.CLASSES]
        np.testing.assert_allclose(of_classes, score(truth, test.probabilities, average=None))
    assert areas["undefined"] == {} and areas["method"] == "bootstrap over patients"
    scores = BootstrapAreas(test.labels, test.probabilities)
    low, high = intervals.bootstrap(scores, test.patient_ids)[
        :, scores.names.index("roc_auc/micro")
    ]
    assert areas["roc_auc"]["micro"]["interval"] == [low, high]
    assert f"{areas['roc_auc']['micro']['value']:.4f} | {low:.4f} to {high:.4f}" in text
    assert text.count("### ROC and precision-recall curves: ") == 2


def test_two_classes_have_one_curve_and_its_area_in_a_sentence(tmp_path: Path) -> None:
    made = fakes.predictions(classes=("other", "covid19"), skill=1.0)
    facts, text = report(tmp_path, made)
    test = made.select("test")
    area = metrics.roc_auc_score(test.labels, test.probabilities[:, 1])
    found = facts["splits"]["test"]["areas"]["roc_auc"]["classes"]["covid19"]
    assert found["value"] == pytest.approx(area)
    low, high = found["interval"]
    assert f"ROC-AUC **{area:.4f}** ({low:.4f} to {high:.4f}) for COVID-19 against Other." in text
    assert "Micro average" not in text


def chosen(made: Predictions, keep: np.ndarray) -> Predictions:
    names = ("ids", "patient_ids", "split", "labels", "probabilities")
    return dataclasses.replace(
        made,
        **{name: getattr(made, name)[keep] for name in names},
        extra={name: array[keep] for name, array in made.extra.items()},
    )


def test_a_class_without_images_is_named_and_not_averaged(tmp_path: Path) -> None:
    made = fakes.predictions()
    facts, text = report(tmp_path, chosen(made, made.labels != 3))
    areas = facts["splits"]["test"]["areas"]
    assert areas["undefined"] == {"normal": "no image is of it"}
    assert areas["roc_auc"]["macro"] == {"value": None, "interval": None}
    assert areas["roc_auc"]["micro"]["value"] > 0.5
    assert (
        "Not defined, for want of images, and so no macro average is given: Normal (no image is of "
        "it)." in text
    )


def test_images_that_chose_the_checkpoint_have_no_intervals(tmp_path: Path) -> None:
    made = fakes.predictions()
    valid = dataclasses.replace(made, split=np.full(len(made), "valid"))
    facts, text = report(tmp_path, valid)
    areas = facts["splits"]["valid"]["areas"]
    assert areas["level"] is None and areas["roc_auc"]["micro"]["interval"] is None
    assert "No intervals: the validation images are no new patients to the network." in text


def test_a_study_has_means_over_its_folds_and_its_ensembles_curves_first(tmp_path: Path) -> None:
    summary.write_study_report(fakes.write_study(tmp_path))
    facts, text = read(tmp_path)
    assert facts["areas"]["split"] == "test"
    models = facts["areas"]["models"]
    assert list(models) == ["DenseNet-161, patched", "Inception-v3, patched", "FLANNEL, patched"]
    folds = []
    for fold in range(3):
        path = tmp_path / f"learners/inception_v3/fold{fold}/predictions.npz"
        test = Predictions.load(path).select("test")
        folds.append(metrics.average_precision_score(np.eye(4)[test.labels], test.probabilities))
    assert models["Inception-v3, patched"]["pr_auc"]["macro"] == tables.mean_std(folds).to_json()
    assert "intervals" not in models["Inception-v3, patched"]
    ensemble = models["FLANNEL, patched"]
    low, high = ensemble["intervals"]["roc_auc/0"]
    assert low <= ensemble["roc_auc"]["classes"]["covid19"]["mean"] <= high
    order = [
        text.index(f"plots/roc_pr_test_patched_{name}.png")
        for name in ("flannel", "densenet161", "inception_v3")
    ]
    assert order == sorted(order) and order[0] < text.index("## Details") < order[1]


def test_a_class_that_a_fold_lacks_has_no_mean(tmp_path: Path) -> None:
    folder = fakes.write_study(tmp_path)
    for path in folder.glob("*/**/predictions.npz"):
        made = Predictions.load(path).select("oof")
        chosen(made, (made.labels > 0) | (made.fold != 1)).save(path)
    summary.write_study_report(folder)
    facts, text = read(folder)
    ensemble = facts["areas"]["models"]["FLANNEL, patched"]
    assert ensemble["undefined"] == {"covid19": "fold 1: no image is of it"}
    assert ensemble["roc_auc"]["macro"] is None and ensemble["roc_auc"]["micro"] is not None
    assert ensemble["intervals"] is None
    assert facts["areas"]["split"] == "oof" and "FLANNEL, patched: Not defined" in text
    assert "No intervals: the folds have different images" in text


def test_many_classes_and_odd_names_are_drawn() -> None:
    rng = np.random.default_rng(0)
    areas = BootstrapAreas(rng.integers(0, 15, 200), rng.dirichlet(np.ones(15), 200))
    titles = {str(c): f"class {c} $x_{c}" for c in range(15)} | {"micro": "Micro", "macro": "Macro"}
    texts = {area: dict.fromkeys(titles, "0.5") for area in ("roc_auc", "pr_auc")}
    figure = roc_pr.draw(areas.curves(), texts, titles, title="Many")
    left, right = figure.axes
    assert len(left.lines) == 18 and len(right.lines) == 17
    looks = {
        (line.get_color(), str(line.get_linestyle()), str(line._dash_pattern))
        for line in right.lines
    }
    assert len(looks) == 17
