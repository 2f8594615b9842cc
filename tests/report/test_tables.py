"""Scores equal scikit-learn's; tables are these characters exactly; the paper's table is
consistent.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from sklearn import metrics

from jaxcxr.errors import InputError
from jaxcxr.models import MODELS
from jaxcxr.report import tables
from tests.report import fakes


def test_scores_equal_scikit_learn() -> None:
    made = fakes.predictions(images=60, skill=1.0).select("test")
    scores = tables.classification_scores(made, fakes.CLASSES)
    predicted = made.probabilities.argmax(1)
    columns: Any = metrics.precision_recall_fscore_support(made.labels, predicted, labels=range(4))
    precision, recall, f1, support = columns
    for k, row in enumerate(scores["per_class"].values()):
        one = made.labels == k
        assert row["precision"] == pytest.approx(precision[k], abs=1e-12)
        assert row["recall"] == pytest.approx(recall[k], abs=1e-12)
        assert row["f1"] == pytest.approx(f1[k], abs=1e-12)
        assert row["support"] == support[k]
        assert row["roc_auc"] == pytest.approx(metrics.roc_auc_score(one, made.probabilities[:, k]))
        assert row["pr_auc"] == pytest.approx(
            metrics.average_precision_score(one, made.probabilities[:, k])
        )
    assert scores["macro_f1"] == pytest.approx(
        metrics.f1_score(made.labels, predicted, average="macro")
    )
    assert scores["accuracy"] == pytest.approx(metrics.accuracy_score(made.labels, predicted))
    np.testing.assert_array_equal(
        scores["confusion"], metrics.confusion_matrix(made.labels, predicted)
    )
    assert (scores["images"], scores["patients"]) == (60, 60)


def test_a_class_without_examples_scores_zero_and_has_no_area() -> None:
    made = fakes.predictions(images=40)
    made = dataclasses.replace(made, labels=np.minimum(made.labels, 2).astype(np.int32))
    row = tables.classification_scores(made)["per_class"]["normal"]
    assert (row["recall"], row["f1"], row["support"]) == (0.0, 0.0, 0)
    assert row["roc_auc"] is None and row["pr_auc"] is None


def test_the_row_of_a_class_without_examples_shows_no_score() -> None:
    p = fakes.predictions().select("test")
    p = dataclasses.replace(p, labels=np.where(p.labels == 3, 0, p.labels))
    _, rows = tables.scores_rows(tables.classification_scores(p))
    assert rows[3] == ["Normal", *["–"] * 5, "0"]


def test_constant_predictions_are_said() -> None:
    p = fakes.predictions().select("test")
    assert tables.constant(p) == []
    same = dataclasses.replace(p, probabilities=np.tile(p.probabilities[:1], (len(p), 1)))
    [warning] = tables.constant(same)
    assert warning.startswith("The predictions are constant: all 40 images have the same prob")
    assert tables.constant(same.select("test")._take(np.array([0]))) == []  # one image is no sign


def test_other_classes_or_no_rows_are_refused() -> None:
    made = fakes.predictions()
    with pytest.raises(InputError, match="covid19.*not.*lungs"):
        tables.classification_scores(made, ["lungs"])
    with pytest.raises(InputError, match="densenet161.*no predictions"):
        tables.classification_scores(made.select("train"))


def test_mean_std_prints_as_the_paper_and_keeps_three_digits_in_json() -> None:
    value = tables.mean_std([0.90, 0.92, 0.95])
    assert value.mean == pytest.approx(np.mean([0.90, 0.92, 0.95]))
    assert value.std == pytest.approx(np.std([0.90, 0.92, 0.95], ddof=1))
    assert str(value) == "0.9233 (0.03)"
    assert value.to_json() == {"mean": 0.9233, "std": 0.025, "values": [0.90, 0.92, 0.95]}
    assert str(tables.mean_std([0.5])) == "0.5000 (–)"
    assert tables.mean_std([0.5]).std is None
    with pytest.raises(InputError, match="no fold"):
        tables.mean_std([])


def test_markdown_table() -> None:
    text = tables.markdown_table(["Class", "F1"], [["COVID-19", "0.9239"], ["a|b", "–"]])
    assert text == (
        "| Class    |     F1 |\n"
        "| -------- | -----: |\n"
        "| COVID-19 | 0.9239 |\n"
        "| a\\|b     |      – |"
    )


def test_terminal_table() -> None:
    text = tables.text_table(["Class", "F1"], [["COVID-19", "0.9239"], ["Normal", "–"]])
    assert text == ("Class         F1\n────────────────\nCOVID-19  0.9239\nNormal         –")


def test_every_network_has_a_readable_title() -> None:
    assert set(MODELS) <= set(tables.LEARNER_TITLES)
    assert not [t for t in tables.LEARNER_TITLES.values() if "_" in t or t == t.lower()]
