"""Scores of single images: the same means as the metric of sums, intervals over patients."""

from __future__ import annotations

import numpy as np
import pytest

from jaxcxr.metrics import ImageOverlap, SegmentationOverlap, intervals
from jaxcxr.metrics.surface_distance import hd95

NAMES = ("left", "right")


@pytest.fixture(scope="module")
def masks():
    """Predicted and true ids [24, 14, 12], with pixels to ignore; some images lack a structure."""
    rng = np.random.default_rng(3)
    target = rng.integers(0, 3, (24, 14, 12)).astype(np.uint8)
    predicted = np.where(rng.random(target.shape) < 0.8, target, 0).astype(np.uint8)
    target[:, 0] = 255
    predicted[:2][predicted[:2] == 2] = 0  # not predicted
    target[2][target[2] == 2] = 0  # not outlined
    for array in (predicted[3], target[3]):
        array[array == 2] = 0  # neither
    predicted[2, 3, 3] = 2
    return predicted, target


def whole(masks, **options) -> ImageOverlap:
    return ImageOverlap.from_batch(*masks, structures=NAMES, **options)


def all_of(overlap, s=1, patients=None, rows=None):
    n = len(overlap.dice)
    patients = np.arange(n).astype(str) if patients is None else patients
    return overlap.summary(s, np.ones(n, bool) if rows is None else rows, patients, side=12)


def test_the_means_are_those_of_the_sums(masks):
    sums = SegmentationOverlap.from_batch(*masks, structures=NAMES).compute()
    overlap = whole(masks)
    for s, name in enumerate(NAMES):
        for score in ("dice", "jaccard"):
            found = all_of(overlap, s)[score]["mean"]
            assert found == pytest.approx(sums[name][score], rel=1e-6)


def test_batches_join_to_the_whole(masks):
    parts = [whole([a[i : i + 5] for a in masks]) for i in range(0, 24, 5)]
    assert all_of(ImageOverlap.concatenated(parts)) == all_of(whole(masks))


def test_a_structure_that_an_image_is_not_labelled_for_does_not_count(masks):
    labelled = np.zeros((24, 2), bool)
    labelled[:10, 0], labelled[10:, 1] = True, True
    overlap = whole(masks, labelled=labelled)
    assert [all_of(overlap, s)["images"] for s in range(2)] == [10, 14]
    sums = SegmentationOverlap.from_batch(*masks, structures=NAMES, labelled=labelled).compute()
    assert all_of(overlap, 0)["dice"]["mean"] == pytest.approx(sums["left"]["dice"], rel=1e-6)


def test_images_without_hd95_are_counted_by_the_mask_that_lacks_the_structure(masks):
    overlap = whole(masks)
    found = all_of(overlap)
    assert found["hd95_undefined"] == {
        "no_prediction": 2, "no_reference": 1, "neither": 1, "no_outline": 0,
    }  # fmt: skip
    assert found["hd95"]["images"] == 20 and found["images"] == 24
    assert [overlap.missing(n, 1) for n in range(5)] == [
        "prediction", "prediction", "reference", "both", "",
    ]  # fmt: skip
    predicted, target = masks
    rows = np.arange(4, 24)
    each = [
        hd95((predicted[n] == 2) & (target[n] != 255), target[n] == 2, ignored=target[n] == 255)
        for n in rows
    ]
    assert found["hd95"]["mean"] == pytest.approx(np.mean(each))
    assert found["hd95"]["median"] == pytest.approx(np.median(each))
    assert found["hd95"]["mean_percent"] == pytest.approx(100 * np.mean(each) / 12)


def test_a_missed_structure_scores_0_and_one_that_is_in_neither_mask_scores_nothing(masks):
    overlap = whole(masks)
    assert overlap.dice[:3, 1].tolist() == [0, 0, 0] and np.isnan(overlap.dice[3, 1])
    scored = overlap.dice[~np.isnan(overlap.dice[:, 1]), 1]
    assert len(scored) == 23
    assert all_of(overlap)["dice"]["worst_decile"] == pytest.approx(np.percentile(scored, 10))


def test_the_interval_is_the_bootstrap_of_the_mean_over_patients(masks):
    overlap, patients = whole(masks), np.repeat(np.arange(8), 3).astype(str)
    dice = overlap.dice[:, 0]

    def mean(counts):
        return (dice @ counts / counts.sum(0))[None]

    low, high = intervals.bootstrap(mean, patients)[:, 0]
    found = all_of(overlap, 0, patients)["dice"]
    assert (found["low"], found["high"]) == (pytest.approx(low), pytest.approx(high))
    assert low < found["mean"] < high
    assert all_of(overlap, 0, patients) == all_of(overlap, 0, patients)  # seeded


def test_equal_images_of_a_patient_tell_no_more_than_one(masks):
    overlap = whole([np.repeat(a, 4, axis=0) for a in masks])
    patients = np.repeat(np.arange(24), 4).astype(str)
    together, apart = (
        all_of(overlap, 0, names)["dice"] for names in (patients, np.arange(96).astype(str))
    )
    assert together == all_of(whole(masks), 0)["dice"] | {
        "worst_decile": together["worst_decile"],
        "mean": pytest.approx(together["mean"]),
        "low": pytest.approx(together["low"]),
        "high": pytest.approx(together["high"]),
    }
    width = [ends["high"] - ends["low"] for ends in (together, apart)]
    assert width[0] / width[1] == pytest.approx(2, rel=0.15)


def test_one_patient_has_no_interval_and_no_image_no_score(masks):
    overlap = whole(masks)
    one = all_of(overlap, 0, np.full(24, "a"))
    assert np.isnan([one["dice"]["low"], one["jaccard"]["high"]]).all() and one["patients"] == 1
    assert one["dice"]["mean"] > 0
    none = all_of(overlap, rows=np.zeros(24, bool))
    assert none["images"] == none["patients"] == none["hd95"]["images"] == 0
    assert np.isnan(
        [none["dice"]["mean"], none["dice"]["worst_decile"], none["hd95"]["mean"]]
    ).all()
