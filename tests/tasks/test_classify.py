"""Predictions of an image come from its own patches and from nothing else."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcxr import models
from jaxcxr.errors import InputError
from jaxcxr.ops import patches
from jaxcxr.tasks import classify, network
from tests import tiny
from tests.models.variables import filled, quick_jit, shapes
from tests.ops.coverage import coverage

ROWS = 6


@pytest.fixture(scope="module", autouse=True)
def _networks():
    with pytest.MonkeyPatch.context() as patch:
        tiny.add_networks(patch)
        yield


def config(**changes):
    return tiny.learner(**{"patches__chunk": 1000, **changes})


def build(c):
    return classify.Classify(c, axis_name="data", class_weights=np.ones(4, np.float32))


def batch(index) -> dict[str, np.ndarray]:
    """Rows of a data set of six random images, each with its own blob of lung."""
    rng = np.random.default_rng(0)
    index = np.asarray(index, np.int32)
    images = rng.integers(0, 256, (ROWS, 48, 48), dtype=np.uint8)
    masks = np.zeros((ROWS, 48, 48), np.uint8)
    for row in range(ROWS):
        masks[row, 4 * row : 4 * row + 16, 10:40] = 1
    labels = np.arange(ROWS, dtype=np.int32) % 4
    return {
        "image": images[index],
        "mask": masks[index],
        "label": labels[index],
        "index": index,
        "weight": np.ones(len(index), np.float32),
    }


@pytest.fixture(scope="module")
def weights():
    """Not the first values: those give every patch nearly the same logits."""
    return filled(build(config()).init(0))


def predict(c, weights, index, *, count, seed=0):
    task = build(c)
    run = quick_jit(lambda v, b, k: task.predict(v, b, k, count=count))
    return {
        name: np.asarray(value)
        for name, value in run(weights, batch(index), jax.random.key(seed)).items()
    }


@pytest.fixture(scope="module")
def seven(weights):
    """Seven patches of each of the six images, through the network at once."""
    return predict(config(), weights, range(ROWS), count=7)


def test_probabilities_sum_to_one_and_votes_are_sevenths(seven):
    for name in ("probabilities", "mean_softmax", "vote_fraction"):
        assert seven[name].shape == (ROWS, 4)
        np.testing.assert_allclose(seven[name].sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(
        seven["vote_fraction"] * 7, np.round(seven["vote_fraction"] * 7), atol=1e-5
    )
    np.testing.assert_array_equal(seven["probabilities"], seven["mean_softmax"])
    assert len(np.unique(seven["mean_softmax"].round(4), axis=0)) == ROWS


@pytest.mark.parametrize("chunk", [8, 21])
def test_in_chunks_as_at_once(weights, seven, chunk):
    """42 patches: five chunks and a part of one, or two that fit."""
    chunked = predict(config(patches__chunk=chunk), weights, range(ROWS), count=7)
    for name, value in seven.items():
        np.testing.assert_allclose(chunked[name], value, atol=1e-5, err_msg=name)


def test_same_seed_same_patches_whatever_the_batch(weights, seven):
    for index in ([4, 1, 5], [2]):
        alone = predict(config(), weights, index, count=7)
        np.testing.assert_allclose(alone["mean_softmax"], seven["mean_softmax"][index], atol=1e-5)


def test_another_seed_draws_other_patches(weights, seven):
    other = predict(config(), weights, range(ROWS), count=7, seed=1)
    assert np.abs(other["mean_softmax"] - seven["mean_softmax"]).max() > 1e-3


def test_of_one_patch_the_vote_is_certain(weights):
    one = predict(config(), weights, range(ROWS), count=1)
    assert set(np.unique(one["vote_fraction"])) == {0.0, 1.0}
    np.testing.assert_array_equal(one["vote_fraction"].argmax(1), one["mean_softmax"].argmax(1))
    np.testing.assert_allclose(one["mean_softmax"].sum(axis=1), 1, atol=1e-6)


def test_the_chosen_aggregate_is_the_prediction(weights, seven):
    votes = predict(config(patches__aggregate="vote_fraction"), weights, range(ROWS), count=7)
    np.testing.assert_array_equal(votes["probabilities"], votes["vote_fraction"])


def test_pixels_outside_the_lung_do_not_count(weights, seven):
    """With apply_mask, whatever stands outside the mask is zero before the network sees it."""
    images = batch(range(ROWS))
    images["image"] = np.where(images["mask"], images["image"], 255 - images["image"])
    task = build(config())
    run = quick_jit(lambda v, b, k: task.predict(v, b, k, count=7))
    changed = run(weights, images, jax.random.key(0))
    np.testing.assert_allclose(changed["mean_softmax"], seven["mean_softmax"], atol=1e-6)


def test_metrics_ignore_padding():
    task = build(config())
    rows = {"label": np.array([0, 1, 2, 3]), "weight": np.array([1, 1, 1, 0], np.float32)}
    probabilities = np.eye(4, dtype=np.float32)[[0, 1, 3, 3]]
    found = task.metrics(rows, {"probabilities": probabilities})
    assert found["confusion"].scalars()["accuracy"] == pytest.approx(2 / 3)
    # Two right (loss 0) and one certain and wrong.
    assert found["loss"].scalars()["loss"] == pytest.approx(-np.log(1e-7) / 3, rel=1e-4)


class Fixed:
    """A network that answers the same for every patch, with or without an auxiliary head."""

    logits = np.array([2.0, 0.0, -1.0, 0.0], np.float32)
    aux = np.array([0.0, 1.0, 0.0, 3.0], np.float32)

    def __init__(self, auxiliary: bool):
        self.auxiliary = auxiliary

    def apply(self, variables, x, *, train, **options):
        n = len(x)
        out = {"aux_logits": jnp.tile(self.aux, (n, 1))} if self.auxiliary else {}
        return (jnp.tile(self.logits, (n, 1)), out), {}


@pytest.mark.parametrize("auxiliary", [False, True])
@pytest.mark.parametrize("count", [1, 3])
def test_one_loss_an_image_with_the_auxiliary_heads_share(monkeypatch, auxiliary, count):
    monkeypatch.setattr(network.models, "build", lambda *args, **options: Fixed(auxiliary))
    task = build(config(patches__train_count=count))
    rows = jax.tree.map(lambda x: jnp.asarray(x)[None], batch([0, 1, 2, 3]))  # one device
    per_device = jax.vmap(
        lambda b: task.loss_and_scores({}, {}, b, jax.random.key(0), axis_name="data"),
        axis_name="data",
    )
    (per_image,), _, scores = quick_jit(per_device)(rows)
    assert scores["accuracy"].tolist() == [[1, 0, 0, 0]]  # the first class has the largest logit
    expected = np.log(np.exp(Fixed.logits).sum()) - Fixed.logits
    if auxiliary:
        expected = expected + 0.4 * (np.log(np.exp(Fixed.aux).sum()) - Fixed.aux)
    np.testing.assert_allclose(per_image, expected, rtol=1e-5)


@pytest.mark.parametrize(
    "name", ["densenet161", "inception_v3", "resnet152", "resnext101_32x8d", "vgg19_bn"]
)
def test_only_inception_has_an_auxiliary_head(name):
    module = models.build(name, num_classes=4, width=0.05, depth=0.05)
    side = 75 if name == "inception_v3" else 32
    _, out, _ = shapes(module, 1, side, side, 3, train=True)
    assert ("aux_logits" in out) == (name == "inception_v3")


def test_a_whole_image_learner_needs_no_mask():
    task = build(tiny.learner(patched=False))
    assert task.inputs == ("image", "label")
    assert build(config()).inputs == ("image", "mask", "label")
    rows = {name: value for name, value in batch(range(ROWS)).items() if name != "mask"}
    run = quick_jit(lambda v, b, k: task.predict(v, b, k, count=1)["mean_softmax"])
    first, second = (run(filled(task.init(0)), rows, jax.random.key(seed)) for seed in (0, 1))
    np.testing.assert_array_equal(first, second)  # the centre crop is no draw


@pytest.mark.parametrize(
    ("fields", "mean", "std"),
    [
        ({}, [0.5], [0.5]),  # FLANNEL's
        ({"pretrained": "densenet161.tv_in1k"}, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ({"pretrained": "densenet161.tv_in1k", "mean": (0.5,), "std": (0.5,)}, [0.5], [0.5]),
        ({"pretrained": "densenet161.tv_in1k", "in_channels": 1}, [0.449], [0.226]),
        ({"pretrained": "densenet121.txrv_all", "in_channels": 1}, [0.5], [1 / 2048]),
    ],
)
def test_pixels_are_normalised_as_the_weights_want_it(fields, mean, std):
    model = config(**{f"model__{name}": value for name, value in fields.items()}).model
    found = network.normalisation(model)
    np.testing.assert_allclose(found[0].ravel(), mean, rtol=1e-6)
    np.testing.assert_allclose(found[1].ravel(), std, rtol=1e-6)


def test_one_number_a_channel_or_one_for_all():
    with pytest.raises(InputError, match=r"model\.mean has 2 numbers, and model\.in_channels is 3"):
        network.normalisation(config(model__mean=(0.4, 0.5), model__std=(0.5,)).model)


def explain(c, weights, index, *, count, of="predicted", seed=0):
    task = build(c)
    run = quick_jit(
        lambda v, b, k: task.explain(v, b, k, count=count, of=of, layer="", form="plain")
    )
    return {
        name: np.asarray(value)
        for name, value in run(weights, batch(index), jax.random.key(seed)).items()
    }


@pytest.mark.parametrize("chunk", [1000, 8])
def test_heat_lies_under_the_patches_that_were_predicted_from(weights, seven, chunk):
    found = explain(config(patches__chunk=chunk), weights, range(ROWS), count=7)
    np.testing.assert_allclose(found["probabilities"], seven["probabilities"], atol=1e-5)
    np.testing.assert_array_equal(found["explained"], seven["probabilities"].argmax(1))
    covered = np.isfinite(found["votes"])
    assert 0 < covered.sum() < covered.size
    assert (found["heat"] >= 0).all()
    assert found["heat"].max(axis=(1, 2)).min() > 0
    assert not found["heat"][~covered].any()
    # Each patch covers as many pixels as any other, so votes per pixel and per patch have one mean.
    b = batch(range(ROWS))
    keys = jax.vmap(lambda i: jax.random.fold_in(jax.random.key(0), i))(b["index"])
    centres = patches.evaluation_centres(keys, b["mask"], count=7)
    for row in range(ROWS):
        counts = np.asarray(coverage(centres[row], size=32, shape=(48, 48)))
        np.testing.assert_array_equal(covered[row], counts > 0)
        share = (np.nan_to_num(found["votes"][row]) * counts).sum() / counts.sum()
        np.testing.assert_allclose(
            share, seven["vote_fraction"][row, found["explained"][row]], atol=1e-5
        )


def test_a_whole_images_heat_lies_in_its_crop(weights):
    found = explain(config(patched=False), weights, range(ROWS), count=1, of="true")
    np.testing.assert_array_equal(found["explained"], batch(range(ROWS))["label"])
    assert "votes" not in found
    assert found["heat"].shape == (ROWS, 48, 48)
    assert found["heat"][:, 8:40, 8:40].any()
    outside = np.ones((48, 48), bool)
    outside[8:40, 8:40] = False
    assert not found["heat"][:, outside].any()


@pytest.mark.parametrize("patched", [True, False])
def test_patches_and_crops_that_are_larger_than_the_image_are_refused(patched):
    c = tiny.change(tiny.learner(patched=patched), patches__size=49)
    with pytest.raises(InputError, match=r"patches\.size=49 does not fit a prepared image of 48 x"):
        build(c)
