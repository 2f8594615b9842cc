"""What a run's manifest says of its data."""

from __future__ import annotations

import numpy as np

from jaxcxr.commands.train import counts_by_split
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
