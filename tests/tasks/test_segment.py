"""One softmax over background and structures per pixel, or one sigmoid for one structure."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcxr import models
from jaxcxr.tasks import segment
from jaxcxr.types import InputError
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


@pytest.fixture(scope="module")
def one_logit():
    """(task, module variables, batch with ignored pixels) of a U-Net for one structure."""
    c = tiny.change(tiny.load("fc_densenet103"), model__name="unet_cxnet", model__outputs="sigmoid", model__width=0.1)
    c.masks.structures = ("lung",)
    c.data.image_size = 32
    c.loss.background_weight = 0.25
    task = segment.build(c, axis_name="data")
    rng = np.random.default_rng(0)
    mask = rng.choice(np.array([0, 1, 255], np.uint8), (3, 32, 32))
    batch = {"image": rng.integers(0, 256, (3, 32, 32), dtype=np.uint8), "mask": mask, "weight": np.ones(3, np.float32)}
    return task, filled(task.init(0)), batch


def logits_of(variables, batch):
    """[B, H, W] of the network that the config names, called by itself."""
    module = models.build("unet_cxnet", num_classes=1, width=0.1)
    x = jnp.asarray(batch["image"], jnp.float32)[..., None] / 127.5 - 1
    return np.asarray(quick_jit(lambda v, x: module.apply(v, x, False)[0][..., 0])(variables, x), np.float64)


def binary_cross_entropy(logits, mask):
    """Weighted mean over an image's pixels that are not ignored, background weighing 0.25, in float64."""
    p = 1 / (1 + np.exp(-logits))
    weight = np.select([mask == 1, mask == 0], [1.0, 0.25], 0.0)
    per_pixel = -np.where(mask == 1, np.log(p), np.log(1 - p))
    return (per_pixel * weight).sum((1, 2)) / weight.sum((1, 2))


def test_with_one_logit_the_mask_is_where_the_sigmoid_passes_a_half(one_logit):
    task, variables, batch = one_logit
    assert variables["params"]["head"]["bias"].shape == (1,)
    predicted = quick_jit(lambda v, b: task.predict(v, b, jax.random.key(0)))(variables, batch)
    logits = logits_of(variables, batch)
    assert 0.02 < (logits > 0).mean() < 0.98
    clear = np.abs(logits) > 1e-5
    np.testing.assert_array_equal(np.asarray(predicted["mask"])[clear], (1 / (1 + np.exp(-logits)) > 0.5)[clear])
    assert predicted["mask"].dtype == np.uint8
    np.testing.assert_allclose(predicted["loss"], binary_cross_entropy(logits, batch["mask"]), rtol=1e-4)


def test_with_one_logit_training_has_the_binary_cross_entropy(one_logit):
    task, variables, batch = one_logit

    def total(params):
        losses, state = task.loss(params, {}, batch, jax.random.key(0), axis_name="data")
        assert not state  # no BatchNorm
        return losses.sum(), losses

    on_device = jax.vmap(jax.value_and_grad(total, has_aux=True), axis_name="data")
    stacked = jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], variables["params"])
    (_, found), gradients = quick_jit(on_device)(stacked)
    np.testing.assert_allclose(found[0], binary_cross_entropy(logits_of(variables, batch), batch["mask"]), rtol=1e-4)
    # The head's bias is added to every logit: its gradient is the weighted sum of sigmoid(z) - y.
    logits, mask = logits_of(variables, batch), batch["mask"]
    weight = np.select([mask == 1, mask == 0], [1.0, 0.25], 0.0)
    residual = ((1 / (1 + np.exp(-logits)) - (mask == 1)) * weight).sum((1, 2)) / weight.sum((1, 2))
    np.testing.assert_allclose(gradients["head"]["bias"][0, 0], residual.sum(), rtol=1e-3, atol=1e-5)


def test_one_logit_is_for_one_structure():
    c = tiny.change(tiny.load("fc_densenet103"), model__outputs="sigmoid", masks__structures=("heart", "lung"))
    with pytest.raises(InputError, match=r"one structure from background.*has 2: heart, lung"):
        segment.build(c, axis_name="data")
    c = tiny.change(tiny.load("fc_densenet103"), model__outputs="tanh")
    with pytest.raises(InputError, match=r"model\.outputs='tanh' is unknown; known: softmax, sigmoid"):
        segment.build(c, axis_name="data")
