"""Two runs compared on the same test images, from their predictions alone."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from jaxcxr.errors import InputError
from jaxcxr.report import comparison, tables
from jaxcxr.storage import files
from jaxcxr.storage.predictions import Predictions
from tests.report import fakes


def write(folder, **options):
    return fakes.write_run(folder, fakes.predictions(**{"images": 80, **options}))


@pytest.fixture
def runs(tmp_path):
    """A weaker and a stronger learner of four classes."""
    return write(tmp_path / "runs" / "a", skill=1.0), write(
        tmp_path / "runs" / "b", learner="resnet152", skill=4.0
    )


def test_scores_and_errors_are_those_of_the_runs(runs):
    found = comparison.compare(*runs, draws=100)
    a, b = (Predictions.load(folder / "predictions.npz").select("test") for folder in runs)
    for n, p in enumerate((a, b)):
        expected = tables.classification_scores(p)
        assert found.scores["accuracy"][n] == pytest.approx(expected["accuracy"])
        assert found.scores["macro_f1"][n] == pytest.approx(expected["macro_f1"])
        for c, name in enumerate(p.classes):
            for score in ("precision", "recall", "f1", "roc_auc"):
                assert found.scores[f"{score}/{c}"][n] == pytest.approx(
                    expected["per_class"][name][score]
                )
    wrong = [p.probabilities.argmax(1) != p.labels for p in (a, b)]
    of_class = {name: a.labels == c for c, name in enumerate(a.classes)}
    for name, inside in {"": np.ones(80, bool), **of_class}.items():
        only_a, only_b = (wrong[0] & ~wrong[1])[inside].sum(), (wrong[1] & ~wrong[0])[inside].sum()
        e = found.errors[name]
        assert (e.images, e.only_first, e.only_second) == (inside.sum(), only_a, only_b)
        assert e.p_images == pytest.approx(stats.binomtest(only_a, only_a + only_b).pvalue)
        assert e.p_patients == pytest.approx(e.p_images)  # each patient has one image here
    assert list(found.corrected) == ["", *a.classes]
    assert found.corrected[""] == found.errors[""].p_patients
    of_classes = [found.errors[name].p_patients for name in a.classes]
    assert min(found.corrected[name] for name in a.classes) == pytest.approx(4 * min(of_classes))


def test_a_difference_is_shown_where_there_is_one(runs, tmp_path):
    found = comparison.compare(*runs, draws=500)
    assert found.names == ("a", "b")
    said = comparison.write_comparison(found, tmp_path / "out")
    assert (
        "All images: statistically significant difference: B misclassifies fewer images. A mis"
    ) in said
    *_, low, high = found.scores["accuracy"]
    assert (
        low < high < 0
        and f"accuracy: {100 * low:+.1f} to {100 * high:+.1f} percentage points" in said
    )
    assert f"A  {runs[0]}" in said and "two trained networks" in said


def test_equal_runs_show_no_difference(tmp_path):
    folders = write(tmp_path / "x" / "fold0"), write(tmp_path / "y" / "fold0")
    found = comparison.compare(*folders, draws=50)
    assert found.names == ("x/fold0", "y/fold0")
    assert all(e.p_patients == 1 for e in found.errors.values())
    assert found.scores["macro_f1"][2:] == (0, 0)
    errors = found.errors[""].first
    assert (
        f"no statistically significant difference: A and B misclassify the same {errors} of 80"
        in comparison.verdicts(found)[0]
    )
    equal = "The probabilities of A and B are equal bit for bit."
    assert equal in comparison.write_comparison(found, tmp_path / "out")


def test_few_that_tell_apart_are_said_to_be_too_few(tmp_path):
    one = fakes.predictions(images=40)
    probabilities = one.probabilities.copy()
    wrong = np.flatnonzero((one.split == "test") & (one.probabilities.argmax(1) == one.labels))[:3]
    probabilities[wrong] = np.roll(np.eye(4)[one.labels[wrong]], 1, axis=1)
    folders = (
        fakes.write_run(tmp_path / "one", one),
        fakes.write_run(tmp_path / "other", dataclasses.replace(one, probabilities=probabilities)),
    )
    found = comparison.compare(*folders, draws=50)
    assert (found.errors[""].only_first, found.errors[""].only_second) == (0, 3)
    said = comparison.verdicts(found)[0]
    assert (
        "no statistically significant difference" in said
        and "A alone 0, B alone 3 (p = 0.2500)" in said
    )
    assert said.endswith(
        " With 3 patients on whom A and B differ no outcome could be significant (smallest "
        "possible p 0.2500)."
    )


def test_the_minority_class_is_that_with_the_fewest_test_images(tmp_path):
    one = fakes.predictions(images=40)
    labels = np.where((one.labels == 1) & (np.arange(80) % 3 > 0), 2, one.labels)
    fewer = dataclasses.replace(one, labels=labels)
    found = comparison.compare(
        *(fakes.write_run(tmp_path / name, fewer) for name in "ab"), draws=10
    )
    assert found.smallest == ("viral",)
    assert comparison.verdicts(found)[1].startswith("Viral pneumonia (the minority class): ")


@pytest.mark.parametrize("classes", [("normal", "covid19"), fakes.CLASSES])
def test_files_hold_the_facts_and_the_notice(tmp_path, classes):
    folders = [
        write(tmp_path / name, learner=name, classes=classes, images=30)
        for name in ("densenet161", "vgg19_bn")
    ]
    files.write_json(
        folders[1] / "config.json", {"augment": {"vflip": True}, "name": "other", "seed": 1}
    )
    found = comparison.compare(*folders, draws=50)
    comparison.write_comparison(found, tmp_path / "out")
    facts = json.loads((tmp_path / "out" / "compare.json").read_text())
    text = (tmp_path / "out" / "compare.md").read_text()
    assert text.index("Research use only. Not for diagnosis.") < text.index("## Result")
    with Image.open(tmp_path / "out" / "plots" / "compare.png") as picture:
        assert picture.size[0] > 500
    assert facts["a"]["learner"] == "densenet161" and facts["verdicts"] == comparison.verdicts(
        found
    )
    assert facts["errors"]["all"]["p_corrected"] == found.corrected[""]
    assert (
        facts["differing_fields"]["augment.vflip"] == [None, True]
        and "name" not in facts["differing_fields"]
    )
    assert "| `augment.vflip` | None | True |" in " ".join(text.split())
    areas = text.count("| ROC-AUC")
    assert areas == (1 if len(classes) == 2 else 4)  # of two classes it is one number


def test_what_does_not_belong_together_is_refused(tmp_path):
    one = write(tmp_path / "one")
    with pytest.raises(InputError, match="is compared with itself"):
        comparison.compare(one, tmp_path / "more" / ".." / "one")
    with pytest.raises(InputError, match=r"other.predictions\.npz is missing"):
        comparison.compare(one, tmp_path / "other")
    with pytest.raises(InputError, match="split_sha256 is beef, there c0ffee"):
        comparison.compare(one, write(tmp_path / "split", split_sha256="beef"))
    with pytest.raises(
        InputError, match="differ in split 'test' of fold 0: the former lacks test-158, test-159"
    ):
        comparison.compare(one, write(tmp_path / "fewer", images=79))
    with pytest.raises(InputError, match="trained on other patients"):
        comparison.compare(one, write(tmp_path / "fold", fold=1))
    made = fakes.predictions(images=80)
    other = dataclasses.replace(made, labels=np.roll(made.labels, 1))
    with pytest.raises(InputError, match="the label of test-100 is 3, there 0"):
        comparison.compare(one, fakes.write_run(tmp_path / "labels", other))
