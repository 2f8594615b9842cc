"""Areas and curves are scikit-learn's, for any choice of the images, with ties."""

import numpy as np
import pytest
from sklearn import metrics

from jaxcxr.metrics.areas import BootstrapAreas, mean_pr, mean_roc

SCIKIT_LEARN = {"roc_auc": metrics.roc_auc_score, "pr_auc": metrics.average_precision_score}


def made_up(rows=80, classes=4, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(rows) ** 2 % classes if classes == 2 else rng.integers(0, classes, rows)
    scores = rng.normal(size=(rows, classes)).round(1)  # with ties
    scores[np.arange(rows), labels] += 1
    return BootstrapAreas(labels, np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True))


def one_hot(areas):
    return np.eye(areas.probabilities.shape[1])[areas.labels]


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("area", SCIKIT_LEARN)
def test_areas_of_chosen_rows_are_scikit_learns(classes, area):
    areas = made_up(classes=classes)
    counts = np.random.default_rng(1).integers(0, 3, (80, 3))  # some twice, some not at all
    found = areas(counts.astype(float))
    for draw in range(3):
        rows = np.repeat(np.arange(80), counts[:, draw])
        truth, scores = one_hot(areas)[rows], areas.probabilities[rows]
        named = dict(zip(areas.names, found[:, draw], strict=True))
        of_classes = [SCIKIT_LEARN[area](truth[:, c], scores[:, c]) for c in range(classes)]
        np.testing.assert_allclose([named[f"{area}/{c}"] for c in range(classes)], of_classes)
        assert named[f"{area}/macro"] == pytest.approx(np.mean(of_classes))
        micro = SCIKIT_LEARN[area](truth.ravel(), scores.ravel())
        assert named[f"{area}/micro"] == pytest.approx(micro)
        for average in ("micro", "macro"):
            expected = SCIKIT_LEARN[area](truth, scores, average=average)
            assert named[f"{area}/{average}"] == pytest.approx(expected)


def area_under(area, curve):
    assert curve.x[0] == 0 and curve.x[-1] == 1 and (np.diff(curve.x) >= 0).all()
    if area == "roc_auc":
        return metrics.auc(curve.x, curve.y)
    return float((np.diff(curve.x) * curve.y[1:]).sum())


@pytest.mark.parametrize("area", SCIKIT_LEARN)
def test_the_area_under_each_curve_is_the_area_that_is_given(area):
    areas = made_up()
    values, curves = areas.of_all(), areas.curves()[area]
    assert set(curves) == set(areas.averages_and_classes)
    for of, curve in curves.items():
        assert area_under(area, curve) == pytest.approx(values[f"{area}/{of}"]), of


def test_curves_are_scikit_learns():
    areas = made_up()
    positive, scores = areas.labels == 1, areas.probabilities[:, 1]
    curves = areas.curves()
    false, true, _ = metrics.roc_curve(positive, scores, drop_intermediate=False)
    np.testing.assert_allclose(curves["roc_auc"]["1"].x, false)
    np.testing.assert_allclose(curves["roc_auc"]["1"].y, true)
    precision, recall, _ = metrics.precision_recall_curve(positive, scores)
    for x, y in zip(*curves["pr_auc"]["1"], strict=True):
        if x:
            assert y == pytest.approx(max(precision[np.isclose(recall, x)]))


@pytest.mark.parametrize(("area", "mean"), [("roc_auc", mean_roc), ("pr_auc", mean_pr)])
def test_the_mean_curve_of_folds_has_the_mean_area(area, mean):
    folds = [made_up(rows=rows, seed=rows).curves()[area]["micro"] for rows in (31, 80, 55)]
    areas = [area_under(area, curve) for curve in folds]
    assert area_under(area, mean(folds)) == pytest.approx(np.mean(areas))


def test_a_class_without_images_has_no_area_and_leaves_no_macro_average():
    labels = np.array([0, 0, 1, 1])
    probabilities = np.array([[0.9, 0.1, 0], [0.4, 0.5, 0.1], [0.1, 0.9, 0], [0.3, 0.6, 0.1]])
    areas = BootstrapAreas(labels, probabilities)
    found, curves = areas.of_all(), areas.curves()
    assert [n for n, value in found.items() if np.isnan(value)] == [
        "roc_auc/macro", "roc_auc/2", "pr_auc/macro", "pr_auc/2",
    ]  # fmt: skip
    assert found["roc_auc/0"] == 1.0
    for area in SCIKIT_LEARN:
        assert set(curves[area]) == {"micro", "0", "1"}


def test_of_one_class_alone_precision_is_certain_and_there_is_no_false_positive_rate():
    found = BootstrapAreas(np.zeros(3, int), np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]]))
    values = found.of_all()
    assert values["pr_auc/0"] == 1.0 and np.isnan(values["roc_auc/0"])
    assert set(found.curves()["roc_auc"]) == {"micro"}
