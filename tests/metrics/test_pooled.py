"""Overlap and accuracy over the pixels of all images together."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, jaccard_score

from jaxcxr.metrics import PooledOverlap, SegmentationOverlap

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
def test_scores_are_scikit_learns_of_all_pixels(masks, size):
    predicted, truth = masks
    total = PooledOverlap.empty(structures=NAMES)
    for start in range(0, 9, size):
        rows = np.arange(start, start + size)
        weight = (rows < 9).astype(np.float32)
        rows = rows.clip(max=8)  # padding repeats the last image
        total = total.merge(
            PooledOverlap.from_batch(predicted[rows], truth[rows], weight, structures=NAMES)
        )
    p, t = predicted[truth != 255], truth[truth != 255]
    for number, name in enumerate(NAMES, start=1):
        expected = {
            "jaccard": jaccard_score(t == number, p == number),
            "dice": f1_score(t == number, p == number),
        }
        assert total.compute()[name] == pytest.approx(expected, rel=1e-5)
    scalars = total.scalars()
    assert scalars["accuracy"] == pytest.approx(accuracy_score(t, p), rel=1e-5)
    rows = total.compute().values()
    assert scalars["pooled_dice"] == pytest.approx(np.mean([row["dice"] for row in rows]))
    assert scalars["pooled_jaccard"] == pytest.approx(np.mean([row["jaccard"] for row in rows]))


def test_a_large_lung_counts_more_than_a_small_one_only_if_pooled():
    truth, predicted = np.zeros((2, 10, 10), np.uint8), np.zeros((2, 10, 10), np.uint8)
    truth[0, :9], predicted[0, :9] = 1, 1  # 90 pixels, all found
    truth[1, 9], predicted[1, 8] = 1, 1  # 10 pixels, none found
    pooled = PooledOverlap.from_batch(predicted, truth, structures=("lung",))
    assert pooled.compute()["lung"] == pytest.approx({"jaccard": 90 / 110, "dice": 180 / 200})
    assert pooled.scalars()["accuracy"] == pytest.approx(180 / 200)
    means = SegmentationOverlap.from_batch(predicted, truth, structures=("lung",)).compute()["lung"]
    assert means["jaccard"] == means["dice"] == pytest.approx(0.5)


def test_a_thousand_large_images_lose_no_pixel():
    """Their pixels are more than float32 counts one by one."""
    truth = np.zeros((1, 256, 256), np.uint8)
    truth[0, 0, 0] = 1
    one = PooledOverlap.from_batch(truth, truth, structures=("lung",))
    none = PooledOverlap.from_batch(0 * truth, truth, structures=("lung",))
    total = one.merge(none)
    for _ in range(10):
        total = total.merge(total)
    assert float(total.counted) == 2048.0
    assert total.compute()["lung"]["jaccard"] == pytest.approx(0.5)
    assert 1 - total.scalars()["accuracy"] == pytest.approx(0.5 / 256**2, rel=1e-3)


def test_a_structure_that_is_nowhere_has_no_score_and_all_ignored_no_accuracy():
    nothing = np.zeros((1, 3, 3), np.uint8)
    total = PooledOverlap.from_batch(nothing, nothing, structures=("lung",))
    assert total.scalars() == pytest.approx(
        {"accuracy": 1.0, "pooled_jaccard": np.nan, "pooled_dice": np.nan}, nan_ok=True
    )
    ignored = PooledOverlap.from_batch(nothing, nothing + np.uint8(255), structures=("lung",))
    assert np.isnan(ignored.scalars()["accuracy"])


def test_what_is_predicted_on_ignored_pixels_does_not_matter(masks):
    predicted, truth = masks
    other = np.where(truth == 255, 2 - predicted, predicted)
    one, two = (PooledOverlap.from_batch(p, truth, structures=NAMES) for p in (predicted, other))
    assert one.compute() == two.compute() and one.scalars() == two.scalars()


def test_sums_add_over_devices_by_psum(masks):
    predicted, truth = (a[:8].reshape(2, 4, 12, 10) for a in masks)

    def step(predicted, truth):
        return jax.lax.psum(PooledOverlap.from_batch(predicted, truth, structures=NAMES), "devices")

    summed = jax.jit(jax.vmap(step, axis_name="devices", out_axes=None))(predicted, truth)
    whole = PooledOverlap.from_batch(masks[0][:8], masks[1][:8], structures=NAMES)
    assert summed.scalars() == pytest.approx(whole.scalars(), rel=1e-6)
