"""One softmax over background and structures per pixel."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from jaxcxr.tasks import segment
from tests import tiny
from tests.models.variables import filled, quick_jit


@pytest.fixture(scope="module")
def task():
    c = tiny.load("fc_densenet103")
    c.model.width = c.model.depth = 0.05
    c.masks.structures = ("left_lung", "right_lung")
    c.data.image_size = 32
    return segment.build(c, axis_name="data")


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(0)
    return {
        "image": rng.integers(0, 256, (3, 32, 32), dtype=np.uint8),
        "mask": rng.integers(0, 3, (3, 32, 32), dtype=np.uint8),
        "weight": np.array([1, 1, 0], np.float32),
    }


@pytest.fixture(scope="module")
def prediction(task, batch):
    predict = quick_jit(lambda v, b: task.predict(v, b, jax.random.key(0)))
    return {name: np.asarray(v) for name, v in predict(filled(task.init(0)), batch).items()}


def test_predicts_a_structure_for_every_pixel_and_the_loss_of_every_image(prediction):
    assert prediction["mask"].shape == (3, 32, 32) and prediction["mask"].dtype == np.uint8
    assert set(np.unique(prediction["mask"])) <= {0, 1, 2} and len(np.unique(prediction["mask"])) > 1
    assert prediction["loss"].shape == (3,) and (prediction["loss"] > 0).all()


def test_images_without_a_mask_get_one_but_no_loss(task, batch):
    images = {"image": batch["image"]}
    shapes = jax.eval_shape(lambda v, b: task.predict(v, b, jax.random.key(0)), task.init(0), images)
    assert shapes.keys() == {"mask"}


def test_metrics_are_the_overlap_of_each_structure_without_padding(task, batch):
    exact = task.metrics(batch, {"mask": batch["mask"], "loss": np.array([1.0, 3.0, 99.0], np.float32)})
    assert exact["loss"].scalars() == {"loss": 2.0}
    scores = exact["overlap"].scalars()
    assert scores["jaccard"] == 1.0 and scores["dice"] == 1.0
    assert scores["jaccard_left_lung"] == 1.0
    swapped = np.array([0, 2, 1], np.uint8)[batch["mask"]]
    wrong = task.metrics(batch, {"mask": swapped, "loss": np.zeros(3, np.float32)})
    assert wrong["overlap"].scalars()["jaccard"] == 0.0


def test_half_of_a_lung_is_half_a_jaccard(task):
    truth, found = np.zeros((2, 1, 32, 32), np.uint8)
    truth[0, :8], found[0, :4] = 1, 1  # left lung: 4 of 8 rows
    truth[0, 16:24], found[0, 16:24] = 2, 2
    batch = {"mask": truth, "weight": np.ones(1, np.float32)}
    scores = task.metrics(batch, {"mask": found, "loss": np.zeros(1, np.float32)})["overlap"].scalars()
    assert scores["jaccard_left_lung"] == pytest.approx(0.5)
    assert scores["dice_left_lung"] == pytest.approx(2 / 3)
    assert scores["jaccard_right_lung"] == pytest.approx(1.0)
    assert scores["jaccard"] == pytest.approx(0.75)
