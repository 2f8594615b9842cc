"""From real X-rays to an experiment: counts, classes, patients."""

from __future__ import annotations

import numpy as np
import pytest

from configs import common
from jaxcxr.training.prepare import prepare
from tests import tiny


@pytest.fixture(scope="module")
def experiment(real_data, tmp_path_factory):
    """The whole-image setting on CCX and KCX, at 32 pixels."""
    config = tiny.load("resnet", "small")
    config.model.name, config.model.width = tiny.ONE_BLOCK, 0.1
    config.parallel.compilation_cache = ""
    config.data.manual_dir = str(real_data)
    config.data.data_dir = str(tmp_path_factory.mktemp("real"))
    config.data.image_size = config.patches.size = 32
    config.train.batch_size = config.evaluate.batch_size = 16
    return prepare(config)


def test_classes_are_those_of_the_papers_with_the_packs_counts(experiment):
    rows = experiment.examples
    assert rows.classes == common.FOUR_CLASSES["data.classes"]
    assert rows.classes == ("covid19", "viral", "bacterial", "normal")
    # CCX by its findings: COVID-19 398; SARS 10; Streptococcus 12 and Pneumocystis 12; No
    # Finding 14.
    for source, expected in {"kcx": [0, 210, 210, 210], "ccx": [398, 10, 12 + 12, 14]}.items():
        counts = np.bincount(rows.labels[rows.sources == source], minlength=4)
        np.testing.assert_array_equal(counts, expected, err_msg=source)
    assert experiment.arrays["image"].shape == (len(rows.ids), 32, 32)
    assert set(rows.age_groups[rows.sources == "kcx"]) == {"paediatric"}


def test_images_are_equalised_and_not_blank(experiment):
    sample = np.asarray(experiment.arrays["image"][::50], np.float32)
    assert sample.std(axis=(1, 2)).min() > 20
    assert abs(sample.mean() - 127) < 30


def test_no_strict_patient_is_on_two_sides_and_every_side_has_every_class(experiment):
    rows = experiment.examples
    assert experiment.config.data.patient_key == "strict_patient_id"
    sides = list(experiment.splits.values())
    assert sorted(np.concatenate(sides)) == list(range(len(rows.ids)))
    for i, one in enumerate(sides):
        assert set(rows.labels[one]) == {0, 1, 2, 3}
        for other in sides[i + 1 :]:
            assert not set(rows.patient_ids[one]) & set(rows.patient_ids[other])
    share = len(experiment.splits["test"]) / len(rows.ids)
    assert share == pytest.approx(0.2, abs=0.02)
