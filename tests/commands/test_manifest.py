"""What a run's manifest says of its data."""

from __future__ import annotations

import dataclasses

import numpy as np

from jaxcxr.commands.train import counts_by_split
from jaxcxr.storage import run_files, run_identity
from jaxcxr.training.composition import composition
from jaxcxr.training.examples import Examples, SplitExamples


def examples(classes: tuple[str, ...]) -> Examples:
    """Six images: a a b b a b of the sources x x x y y y, two of them of known age."""
    return Examples(
        ids=np.array([f"i{n}" for n in range(6)]),
        patient_ids=np.array([f"p{n}" for n in range(6)]),
        labels=np.array([0, 0, 1, 1, 0, 1], np.int32),
        sources=np.array(list("xxxyyy")),
        age_groups=np.array(["adult", "", "", "adult", "", ""]),
        classes=classes,
        views=np.array(["AP", "PA", "", "AP", "AP", "PA"]),
    )


def test_images_are_counted_by_split_source_age_and_class() -> None:
    splits = {
        "train": np.array([0, 2, 3]),
        "valid": np.array([4]),
        "oof": np.array([4]),  # of an ensemble these are the validation images
        "test": np.array([], int),
    }
    counts = counts_by_split(SplitExamples(examples(("a", "b")), splits, "hash"))
    assert list(counts) == ["all", "train", "valid", "oof", "test"]
    assert counts["train"]["source"] == {"x": {"a": 1, "b": 1}, "y": {"a": 0, "b": 1}}
    assert counts["train"]["age_group"] == {"": {"a": 0, "b": 1}, "adult": {"a": 1, "b": 1}}
    assert counts["all"]["source"] == {"x": {"a": 1, "b": 1}, "y": {"a": 1, "b": 1}}  # 4 once
    assert counts["test"] == {"source": {}, "age_group": {}}


def test_without_classes_there_is_nothing_to_count() -> None:
    assert counts_by_split(SplitExamples(examples(()), {"train": np.arange(6)}, "hash")) == {}


def cell(images: int, patients: int) -> dict[str, int]:
    return {"images": images, "patients": patients}


def test_images_and_patients_are_counted_by_class_source_view_and_split() -> None:
    rows = examples(("a", "b"))
    rows.patient_ids[:] = ["p", "p", "q", "r", "r", "s"]
    splits = {"train": np.array([0, 1, 2]), "valid": np.array([5]), "test": np.array([3, 4])}
    found = composition(SplitExamples(rows, splits, "hash"))
    assert found["views"]
    assert list(found["splits"]) == ["train", "valid", "test", "cross_validation", "all"]
    train, test = found["splits"]["train"], found["splits"]["test"]
    assert train["all"] == {**cell(3, 2), "classes": {"a": cell(2, 1), "b": cell(1, 1)}}
    assert {view: row["images"] for view, row in train["view"].items()} == {"": 1, "AP": 1, "PA": 1}
    # One patient with both classes counts once.
    assert test["source"] == {
        "y": {**cell(2, 1), "classes": {"a": cell(1, 1), "b": cell(1, 1)}},
    }
    assert test["source_view"] == {"y": {"AP": test["all"]}}
    assert found["splits"]["cross_validation"]["all"]["images"] == 4
    assert found["splits"]["all"]["view"]["PA"]["classes"] == {"a": cell(1, 1), "b": cell(1, 1)}


def test_images_that_are_in_two_splits_count_once_in_the_whole_and_views_may_not_be_known() -> None:
    rows = examples(("a", "b"))
    splits = {name: np.array([4]) for name in ("valid", "oof")} | {"test": np.array([], int)}
    found = composition(SplitExamples(dataclasses.replace(rows, views=None), splits, "hash"))
    assert not found["views"]
    for split in ("all", "cross_validation"):
        assert found["splits"][split]["all"]["images"] == 1
        assert list(found["splits"][split]["view"]) == [""]
    assert found["splits"]["test"]["source"] == {}
    assert composition(SplitExamples(examples(()), splits, "hash")) == {}


def test_a_run_of_an_earlier_version_is_resumed_though_its_manifest_has_no_composition() -> None:
    rows = SplitExamples(examples(("a", "b")), {"train": np.arange(6)}, "hash")
    split = {"sha256": "hash", "sizes": {"train": 6}}
    new = {"split": {**split, "counts": {}, "composition": composition(rows)}}
    assert run_identity.inputs(new) == run_identity.inputs({"split": split})


def test_the_shape_of_a_composition_is_checked_when_a_manifest_is_read() -> None:
    rows = SplitExamples(examples(("a", "b")), {"train": np.arange(6)}, "hash")
    found = {"split": {"composition": composition(rows)}}
    shape = run_files.SHAPES[run_files.MANIFEST]
    assert run_files.misfit(found, shape) == ""
    found["split"]["composition"]["splits"]["all"]["view"]["AP"]["classes"]["a"]["patients"] = "3"
    assert run_files.misfit(found, shape).endswith("view.AP.classes.a.patients is no whole number")
