"""Leaks, contradicting labels and shortcuts are found; data without them raise no alarm."""

import dataclasses

import numpy as np
import pytest

from jaxcxr.audit import acquisition, data_checks
from jaxcxr.data.duplicates import Pair
from jaxcxr.data.image_facts import BINS, ImageFacts
from jaxcxr.report import data_checks as section
from jaxcxr.training.examples import Examples, SplitExamples

CLASSES = ("covid19", "normal", "viral")


def study(patients=150, seed=0):
    """Two images of each patient, whose class nothing else tells; half of them for training."""
    draws = np.random.default_rng(seed)
    names = np.repeat([f"p{n:03d}" for n in range(patients)], 2)
    labels = np.repeat(draws.integers(3, size=patients), 2).astype(np.int32)
    count = len(names)
    examples = Examples(
        ids=np.array([f"{name}_{n % 2}" for n, name in enumerate(names)]),
        patient_ids=names,
        labels=labels,
        sources=draws.choice(["ccx", "kcx"], count),
        age_groups=draws.choice(["adult", "paediatric", ""], count),
        classes=CLASSES,
        views=draws.choice(["AP", "PA"], count),
    )
    facts = ImageFacts(
        height=draws.integers(500, 1000, count),
        width=draws.integers(500, 1000, count),
        bits=draws.choice([8, 16], count),
        encoding=draws.choice(["JPEG", "PNG"], count),
        bytes_per_pixel=draws.uniform(0.1, 1, count),
        sharpness=draws.normal(size=count),
        histogram=draws.dirichlet(np.ones(BINS), count),
        unreadable=np.full(count, ""),
        pairs=[],
        thumbnails=np.zeros((count, 1, 1), np.uint8),
    )
    half = np.arange(count) < count // 2
    splits = {"train": np.flatnonzero(half), "test": np.flatnonzero(~half)}
    return SplitExamples(examples, splits, "hash"), facts


def changed(own, **columns):
    return dataclasses.replace(own, examples=dataclasses.replace(own.examples, **columns))


def test_sound_data_raise_no_alarm():
    for seed in range(5):
        own, facts = study(seed=seed)
        found = data_checks.findings(own, facts)
        assert section.warnings(found) == []
        assert found["patients_in_two_splits"] == {} and found["copies"]["pairs"] == 0
        for row in found["acquisition"].values():
            assert 0.35 < row["roc_auc"] < 0.65
    assert section.lines(found) == [
        "300 images of 150 patients: no copies of an X-ray under another id"
    ]


def test_a_patient_in_two_splits_is_a_leak():
    own, facts = study()
    own.splits["test"] = np.append(own.splits["test"], 0)
    own.splits["train"] = own.splits["train"][1:]
    found = data_checks.findings(own, facts)
    assert found["patients_in_two_splits"] == {"test, train": ["p000"]}
    assert any("p000" in text and "Leak" in text for text in section.warnings(found))


def test_a_copy_in_another_split_or_class_is_told_before_others():
    own, facts = study()
    labels = own.examples.labels
    same = np.flatnonzero(labels[2:150] == labels[0])[0] + 2
    other = np.flatnonzero(labels[:150] != labels[0])[0]
    far = np.flatnonzero(labels[150:] == labels[0])[0] + 150
    pairs = [
        Pair(0, 1, 0.99, False, False),
        Pair(0, int(same), 0.95, True, False),
        Pair(0, int(other), 0.9, False, True),
        Pair(0, int(far), 0.97, False, False),
    ]
    found = data_checks.findings(own, dataclasses.replace(facts, pairs=pairs))
    copied = found["copies"]
    assert (copied["pairs"], copied["clusters"], copied["images"]) == (4, 1, 5)
    assert copied["of_two_splits"] == copied["of_two_classes"] == 1
    assert copied["of_two_patients"] == 3
    order = [pair["rows"] for pair in copied["listed"]]
    assert order[0] == [0, far] and order[1] == [0, other] and order[-1] == [0, 1]
    shown = section.shown_pairs(found, every_pair=False)
    assert [0, 1] not in [pair["rows"] for pair in shown] and len(shown) == 3
    assert len(section.shown_pairs(found, every_pair=True)) == 4
    leak, label = section.warnings(found)
    assert str(own.examples.ids[far]) in leak and "two classes" in label
    assert "3 of two patients" in section.lines(found)[0]
    assert "1 of one patient each" in section.lines(found)[0]


SHORTCUTS = {
    "source": lambda labels: {"sources": np.where(labels == 0, "ccx", "kcx")},
    "age_group": lambda labels: {"age_groups": np.where(labels == 1, "adult", "paediatric")},
    "view": lambda labels: {"views": np.where(labels == 2, "AP", "PA")},
    "size": lambda labels: {"height": np.where(labels == 0, 512, 900)},
    "bits": lambda labels: {"bits": np.where(labels == 1, 16, 8)},
    "encoding": lambda labels: {"encoding": np.where(labels == 2, "DICOM", "PNG")},
    "bytes_per_pixel": lambda labels: {"bytes_per_pixel": 0.2 + 0.3 * labels},
    "sharpness": lambda labels: {"sharpness": 1.0 * (labels == 1)},
    "histogram": lambda labels: {"histogram": np.eye(BINS)[labels]},
}


@pytest.mark.parametrize("name", SHORTCUTS)
def test_each_shortcut_is_measured_and_those_of_no_disease_are_warned_of(name):
    own, facts = study()
    columns = SHORTCUTS[name](own.examples.labels)
    if hasattr(own.examples, next(iter(columns))):
        own = changed(own, **columns)
    else:
        facts = dataclasses.replace(facts, **columns)
    found = data_checks.findings(own, facts)
    rows = found["acquisition"]
    assert rows[name]["class_roc_auc"] == pytest.approx(1, abs=0.02)
    assert all(row["class_roc_auc"] < 0.7 for other, row in rows.items() if other != name)
    warned = section.warnings(found)
    assert bool(warned) == (name in acquisition.NOT_OF_A_DISEASE)
    assert all(acquisition.TITLES[name] in text for text in warned)


def test_the_class_is_told_of_other_patients_not_learnt_by_heart():
    """Each patient has a source of its own, which tells the class; new patients have others."""
    own, facts = study()
    found = data_checks.findings(changed(own, sources=own.examples.patient_ids), facts)
    assert found["acquisition"]["source"]["class_roc_auc"] < 0.65


def test_what_is_unknown_or_constant_is_not_defined():
    own, facts = study()
    blank = np.full(len(own.examples.ids), "")
    found = data_checks.findings(changed(own, age_groups=blank, views=None), facts)
    rows = found["acquisition"]
    assert "view" not in rows
    assert rows["age_group"]["roc_auc"] is None and rows["age_group"]["images"] == 0
    one = dataclasses.replace(facts, encoding=np.full(len(blank), "PNG"))
    assert data_checks.findings(own, one)["acquisition"]["encoding"]["roc_auc"] is None


def test_data_without_classes_have_no_shortcuts_to_them():
    own, facts = study()
    found = data_checks.findings(changed(own, classes=(), labels=own.examples.labels * 0), facts)
    assert found["acquisition"] == {} and section.warnings(found) == []
