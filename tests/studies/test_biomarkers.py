"""The logistic regression of biomarkers: what it learns, and what it does without values."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from ml_collections import ConfigDict

from jaxcxr.errors import InputError
from jaxcxr.metrics.biomarkers import BIOMARKERS
from jaxcxr.studies import biomarkers
from tests import tiny

CLASSES = 4


def rows(count: int, *, separation: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Made-up biomarkers, of which the first two tell the classes apart."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(CLASSES, size=count)
    values = rng.normal(size=(count, len(BIOMARKERS)))
    values[:, 0] += separation * (labels % 2)
    values[:, 1] += separation * (labels // 2)
    return values, labels


def accuracy(train, labels, test, expected) -> float:
    found = biomarkers.fit_and_predict(train, labels, test, classes=CLASSES)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    return float((found.argmax(axis=1) == expected).mean())


def test_it_finds_classes_that_differ_and_none_in_shuffled_labels():
    train, labels = rows(400, separation=5.0)
    test, expected = rows(400, separation=5.0, seed=1)
    assert accuracy(train, labels, test, expected) > 0.95
    rng = np.random.default_rng(2)
    # A single shuffle may give a whole group of images its own class by chance.
    chance = [accuracy(train, rng.permutation(labels), test, expected) for _ in range(40)]
    assert np.mean(chance) == pytest.approx(0.25, abs=0.06)


def test_neither_units_nor_the_number_of_images_of_a_class_matter():
    train, labels = rows(400, separation=5.0)
    test, expected = rows(400, separation=5.0, seed=1)
    usual = biomarkers.fit_and_predict(train, labels, test, classes=CLASSES)
    scale = 10.0 ** np.arange(-5, 6)
    scaled = biomarkers.fit_and_predict(train * scale, labels, test * scale, classes=CLASSES)
    np.testing.assert_allclose(scaled, usual, atol=1e-3)
    few = np.flatnonzero((labels != 0) | (np.arange(400) % 10 == 0))
    found = biomarkers.fit_and_predict(train[few], labels[few], test, classes=CLASSES)
    assert (found.argmax(axis=1) == 0)[expected == 0].mean() > 0.8


def test_a_missing_value_is_the_median_of_the_training_rows_and_an_empty_column_nothing():
    train, labels = rows(200, separation=5.0)
    test, _ = rows(50, separation=5.0, seed=1)
    without = train.copy()
    without[:, -1] = np.nan  # no heart in any image
    full = biomarkers.fit_and_predict(without, labels, test, classes=CLASSES)
    filled = test.copy()
    filled[:, 0] = np.median(train[:, 0])
    missing = test.copy()
    missing[:, [0, -1]] = np.nan
    np.testing.assert_allclose(
        biomarkers.fit_and_predict(without, labels, missing, classes=CLASSES),
        biomarkers.fit_and_predict(without, labels, filled, classes=CLASSES),
    )
    assert full.shape == (50, CLASSES)


def test_a_class_without_training_rows_has_the_probability_0_and_nothing_comes_of_nothing():
    train, labels = rows(200, separation=5.0)
    known = labels != 2
    found = biomarkers.fit_and_predict(train[known], labels[known], train, classes=CLASSES)
    assert (found[:, 2] == 0).all()
    for values, names in ((np.full_like(train, np.nan), labels), (train, labels * 0)):
        assert biomarkers.fit_and_predict(values, names, train, classes=CLASSES) is None


@pytest.mark.parametrize(
    ("name", "preset", "source"),
    [
        ("patched_flannel", "", "dataset"),
        ("patched_flannel", "small", "ready"),
        ("patched_flannel", "paper", "segment"),
        ("flannel", "paper", "ready"),
        ("mixed_flannel_lite", "", "none"),
    ],
)
def test_shipped_studies_take_the_masks_that_they_have(name, preset, source):
    config = tiny.load(name, preset)
    assert config.study.biomarkers == source
    stages = [stage.output.name for stage in biomarkers.stages(config, Path("study"))]
    assert stages == [f"lungs_{source}.json"] * (source != "none")


def test_a_study_without_a_segmenter_has_no_masks_of_its_own():
    config = tiny.load("flannel")
    config.study.biomarkers = "segment"
    with pytest.raises(InputError, match=r"trains none: add --config\.study\.biomarkers=ready"):
        list(biomarkers.stages(config, Path("study")))


def test_an_image_keeps_its_biomarkers_where_another_ones_mask_cannot_be_read(monkeypatch):
    """The store of masks has a row less, and later rows move up."""

    class Images(SimpleNamespace):
        def __len__(self):
            return len(self.ids)

        def source_shape(self, row: int) -> tuple[int, int]:
            return 64, 64

    masks = np.zeros((3, 64, 64), np.uint8)
    for row, width in enumerate((8, 12, 16)):  # of a, c and d
        masks[row, 10:50, 5 : 5 + width] = masks[row, 10:50, 40 : 40 + width] = 1
    store = SimpleNamespace(
        dataset=Images(ids=np.array(["a", "c", "d"])),
        images=np.full((3, 64, 64), 100, np.uint8),
        masks=masks,
        structures=("lung",),
        empty_ids=(),
    )
    provider = SimpleNamespace(for_run=lambda _: SimpleNamespace(stored=None, found_by=""))
    monkeypatch.setattr(biomarkers, "open_store", lambda *_, **__: store)
    monkeypatch.setattr(biomarkers, "MaskProvider", provider)
    config = ConfigDict({"learner": tiny.learner(), "source": "ready", "segmenter": ""})
    values, _ = biomarkers._measured(config, Images(ids=np.array(["a", "b", "c", "d"])))
    areas = values[:, list(BIOMARKERS).index("lung_area")] * 64 * 64 / 80
    np.testing.assert_allclose(areas, [8, np.nan, 12, 16], rtol=1e-6)
