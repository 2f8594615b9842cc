"""Overlap of structures, averaged over images."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from sklearn.metrics import f1_score, jaccard_score

from jaxcxr.metrics import SegmentationOverlap

NAMES = ("lung", "heart")


@pytest.fixture
def masks() -> tuple[np.ndarray, np.ndarray]:
    """Predicted and true ids of 9 images [9, 12, 10], some pixels ignored."""
    random = np.random.default_rng(0)
    truth = random.integers(0, 3, (9, 12, 10)).astype(np.uint8)
    predicted = np.where(random.random(truth.shape) < 0.7, truth, (truth + 1) % 3)
    truth[:, :2] = 255
    return predicted.astype(np.uint8), truth


@pytest.mark.parametrize("size", [1, 4, 9, 20])
def test_scores_are_scikit_learns_averaged_over_images(masks, size):
    predicted, truth = masks
    total = SegmentationOverlap.empty(structures=NAMES)
    for start in range(0, 9, size):
        rows = np.arange(start, start + size)
        weight = (rows < 9).astype(np.float32)
        rows = rows.clip(max=8)  # padding repeats the last image
        total = total.merge(
            SegmentationOverlap.from_batch(predicted[rows], truth[rows], weight, structures=NAMES)
        )
    for number, name in enumerate(NAMES, start=1):
        pairs = [
            (t[t != 255] == number, p[t != 255] == number) for p, t in zip(*masks, strict=True)
        ]
        expected = {
            "jaccard": np.mean([jaccard_score(t, p) for t, p in pairs]),
            "jaccard_smoothed": np.mean(
                [((t & p).sum() + 1) / ((t | p).sum() + 1) for t, p in pairs]
            ),
            "dice": np.mean([f1_score(t, p) for t, p in pairs]),
        }
        assert total.compute()[name] == pytest.approx(expected, rel=1e-5)


def test_a_known_overlap_and_its_scalars():
    truth, predicted = np.zeros((1, 4, 4), np.uint8), np.zeros((1, 4, 4), np.uint8)
    truth[0, 0] = 1  # 4 pixels
    predicted[0, :2, :2] = 1  # 4 pixels, 2 in common
    predicted[0, 3, 3] = truth[0, 3, 3] = 2
    scalars = SegmentationOverlap.from_batch(predicted, truth, structures=NAMES).scalars()
    assert scalars == pytest.approx(
        {
            "jaccard": (1 / 3 + 1) / 2,
            "jaccard_smoothed": (3 / 7 + 1) / 2,
            "dice": (1 / 2 + 1) / 2,
            "jaccard_lung": 1 / 3,
            "jaccard_smoothed_lung": 3 / 7,
            "dice_lung": 1 / 2,
            "jaccard_heart": 1.0,
            "jaccard_smoothed_heart": 1.0,
            "dice_heart": 1.0,
        }
    )


def test_a_structure_that_is_nowhere_has_no_plain_score():
    nothing, lung = np.zeros((1, 3, 3), np.uint8), np.ones((1, 3, 3), np.uint8)
    total = SegmentationOverlap.from_batch(nothing, nothing, structures=("lung",))
    assert total.compute()["lung"] == pytest.approx(
        {"jaccard": np.nan, "jaccard_smoothed": 1.0, "dice": np.nan}, nan_ok=True
    )
    merged = total.merge(SegmentationOverlap.from_batch(lung, lung, structures=("lung",)))
    assert merged.compute()["lung"] == {"jaccard": 1.0, "jaccard_smoothed": 1.0, "dice": 1.0}


def test_a_missed_or_invented_structure_scores_zero():
    nothing, lung = np.zeros((1, 3, 3), np.uint8), np.ones((1, 3, 3), np.uint8)
    for predicted, truth in ((nothing, lung), (lung, nothing)):
        row = SegmentationOverlap.from_batch(predicted, truth, structures=("lung",)).compute()[
            "lung"
        ]
        assert row == pytest.approx({"jaccard": 0.0, "jaccard_smoothed": 0.1, "dice": 0.0})


def test_what_is_predicted_on_ignored_pixels_does_not_matter(masks):
    predicted, truth = masks
    other = np.where(truth == 255, 2 - predicted, predicted)
    one = SegmentationOverlap.from_batch(predicted, truth, structures=NAMES)
    assert one.compute() == SegmentationOverlap.from_batch(other, truth, structures=NAMES).compute()


def test_overlaps_add_over_devices_by_psum(masks):
    predicted, truth = (a[:8].reshape(2, 4, 12, 10) for a in masks)

    def step(predicted, truth):
        return jax.lax.psum(
            SegmentationOverlap.from_batch(predicted, truth, structures=NAMES), "devices"
        )

    summed = jax.jit(jax.vmap(step, axis_name="devices", out_axes=None))(predicted, truth)
    whole = SegmentationOverlap.from_batch(masks[0][:8], masks[1][:8], structures=NAMES)
    assert summed.scalars() == pytest.approx(whole.scalars(), rel=1e-6)


def test_masks_of_different_sizes_are_refused(masks):
    with pytest.raises(AssertionError):
        SegmentationOverlap.from_batch(masks[0][:, :5], masks[1], structures=NAMES)


def test_a_structure_that_an_image_is_not_labelled_for_has_no_score():
    predicted = np.zeros((2, 4, 4), np.uint8)
    labels = predicted.copy()
    labels[0, :2], predicted[0, :1] = 1, 1
    labels[1, :2], predicted[1, :2] = 2, 2
    labelled = np.array([[True, False], [False, True]])
    scores = SegmentationOverlap.from_batch(
        predicted, labels, structures=("field", "lung"), labelled=labelled
    ).compute()
    assert scores["field"]["jaccard_smoothed"] == pytest.approx((4 + 1) / (8 + 1))
    assert scores["lung"]["jaccard_smoothed"] == 1.0
    assert scores["field"]["dice"] == pytest.approx(2 / 3) and scores["lung"]["dice"] == 1.0
