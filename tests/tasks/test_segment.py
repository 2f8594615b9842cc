"""One softmax over background and structures per pixel, or one sigmoid for one structure."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcxr import losses, models
from jaxcxr.errors import InputError
from jaxcxr.tasks import segment
from tests import tiny
from tests.models.variables import filled, quick_jit


@pytest.fixture(scope="module")
def task():
    c = tiny.load("fc_densenet103")
    c.model.width = c.model.depth = 0.05
    c.masks.structures = ("left_lung", "right_lung")
    c.data.image_size = 32
    return segment.Segment(c, axis_name="data")


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
    assert (
        set(np.unique(prediction["mask"])) <= {0, 1, 2} and len(np.unique(prediction["mask"])) > 1
    )
    assert prediction["loss"].shape == (3,) and (prediction["loss"] > 0).all()


def test_images_without_a_mask_get_one_but_no_loss(task, batch):
    images = {"image": batch["image"]}
    shapes = jax.eval_shape(
        lambda v, b: task.predict(v, b, jax.random.key(0)), task.init(0), images
    )
    assert shapes.keys() == {"mask", "lung_log_odds"}


def test_metrics_are_the_overlap_of_each_structure_without_padding(task, batch):
    exact = task.metrics(
        batch, {"mask": batch["mask"], "loss": np.array([1.0, 3.0, 99.0], np.float32)}
    )
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
    scores = task.metrics(batch, {"mask": found, "loss": np.zeros(1, np.float32)})[
        "overlap"
    ].scalars()
    assert scores["jaccard_left_lung"] == pytest.approx(0.5)
    assert scores["dice_left_lung"] == pytest.approx(2 / 3)
    assert scores["jaccard_right_lung"] == pytest.approx(1.0)
    assert scores["jaccard"] == pytest.approx(0.75)


def test_the_default_loss_is_the_weighted_softmax_to_the_bit(task, batch):
    module = models.build("fc_densenet103", num_classes=3, width=0.05, depth=0.05)
    variables = filled(task.init(0))

    @quick_jit
    def both(variables, batch):
        x = batch["image"].astype(jnp.float32)[..., None] / 127.5 - 1
        logits = module.apply(variables, x, train=False)[0]
        weights = jnp.asarray([0.5, 1.0, 1.0])
        direct = losses.pixel_cross_entropy(
            logits, batch["mask"].astype(jnp.int32), class_weights=weights
        )
        found = task.predict(variables, batch, jax.random.key(0))
        return found["loss"], direct, found["mask"], logits.argmax(-1)

    loss, direct, mask, ids = both(variables, batch)
    np.testing.assert_array_equal(loss, direct)
    np.testing.assert_array_equal(mask, ids)


@pytest.fixture(scope="module")
def one_logit():
    """(task, module variables, batch with ignored pixels) of a U-Net for one structure."""
    c = tiny.change(
        tiny.load("fc_densenet103"),
        model__name="unet_cxnet",
        model__outputs="sigmoid",
        model__width=0.1,
    )
    c.masks.structures = ("lung",)
    c.data.image_size = 32
    c.loss.background_weight = 0.25
    task = segment.Segment(c, axis_name="data")
    rng = np.random.default_rng(0)
    mask = rng.choice(np.array([0, 1, 255], np.uint8), (3, 32, 32))
    batch = {
        "image": rng.integers(0, 256, (3, 32, 32), dtype=np.uint8),
        "mask": mask,
        "weight": np.ones(3, np.float32),
    }
    return task, filled(task.init(0)), batch


def logits_of(variables, batch):
    """[B, H, W] of the network that the config names, called by itself."""
    module = models.build("unet_cxnet", num_classes=1, width=0.1)
    x = jnp.asarray(batch["image"], jnp.float32)[..., None] / 127.5 - 1
    return np.asarray(
        quick_jit(lambda v, x: module.apply(v, x, False)[0][..., 0])(variables, x), np.float64
    )


def binary_cross_entropy(logits, mask):
    """Weighted mean over an image's pixels that are not ignored, background weighing 0.25, in
    float64.
    """
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
    np.testing.assert_array_equal(
        np.asarray(predicted["mask"])[clear], (1 / (1 + np.exp(-logits)) > 0.5)[clear]
    )
    assert predicted["mask"].dtype == np.uint8
    np.testing.assert_allclose(
        predicted["loss"], binary_cross_entropy(logits, batch["mask"]), rtol=1e-4
    )


def test_with_one_logit_training_has_the_binary_cross_entropy(one_logit):
    task, variables, batch = one_logit

    def total(params):
        per_image, state = task.loss(params, {}, batch, jax.random.key(0), axis_name="data")
        assert not state  # no BatchNorm
        return per_image.sum(), per_image

    on_device = jax.vmap(jax.value_and_grad(total, has_aux=True), axis_name="data")
    stacked = jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], variables["params"])
    (_, found), gradients = quick_jit(on_device)(stacked)
    np.testing.assert_allclose(
        found[0], binary_cross_entropy(logits_of(variables, batch), batch["mask"]), rtol=1e-4
    )
    # The head's bias is added to every logit: its gradient is the weighted sum of sigmoid(z) - y.
    logits, mask = logits_of(variables, batch), batch["mask"]
    weight = np.select([mask == 1, mask == 0], [1.0, 0.25], 0.0)
    residual = ((1 / (1 + np.exp(-logits)) - (mask == 1)) * weight).sum((1, 2)) / weight.sum((1, 2))
    np.testing.assert_allclose(
        gradients["head"]["bias"][0, 0], residual.sum(), rtol=1e-3, atol=1e-5
    )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"model__outputs": "sigmoid", "masks__structures": ("heart", "lung")},
            (
                r"one structure from background.*has 2: heart, lung\. For several add "
                "--config.loss.name=binary_cross_entropy"
            ),
        ),
        ({"data__cut": (1, 0, 0, 0)}, r"data\.cut=\(1, 0, 0, 0\) is for classifiers"),
        ({"loss__name": "binary_cross_entropy"}, r"needs model\.outputs='sigmoid', not 'softmax'"),
        ({"model__narrow": 2}, r"model\.narrow=2 is for U-Nets; fc_densenet103 has no such layer"),
    ],
)
def test_what_does_not_go_together_is_named(fields, message):
    with pytest.raises(InputError, match=message):
        segment.Segment(tiny.change(tiny.load("fc_densenet103"), **fields), axis_name="data")


@pytest.fixture(scope="module")
def two_sigmoids():
    """(task, variables, batch) of V7's U-Net for two structures, with an ignored corner."""
    c = tiny.change(tiny.load("v7_unet"), model__width=0.05, model__depth=0.05, data__image_size=16)
    c.masks.structures = ("lung", "heart")
    task = segment.Segment(c, axis_name="data")
    rng = np.random.default_rng(0)
    mask = rng.integers(0, 3, (2, 16, 16), dtype=np.uint8)
    mask[:, :4, :4] = 255
    batch = {
        "image": rng.integers(0, 256, (2, 16, 16), dtype=np.uint8),
        "mask": mask,
        "weight": np.ones(2, np.float32),
    }
    return task, filled(task.init(0)), batch


def test_each_sigmoid_is_a_structure_against_the_rest(two_sigmoids):
    task, variables, batch = two_sigmoids
    found = quick_jit(lambda v, b: task.predict(v, b, jax.random.key(0)))(variables, batch)
    z = np.asarray(found["log_odds"], np.float64)
    assert z.shape == (2, 16, 16, 2)
    p, counted = 1 / (1 + np.exp(-z)), batch["mask"] != 255
    targets = batch["mask"][..., None] == np.array([1, 2])
    per_pixel = -np.where(targets, np.log(p), np.log(1 - p)).mean(-1)
    expected = [image[where].mean() for image, where in zip(per_pixel, counted, strict=True)]
    np.testing.assert_allclose(found["loss"], expected, rtol=1e-4)
    likeliest = np.where(p.max(-1) > 0.5, p.argmax(-1) + 1, 0)
    np.testing.assert_array_equal(found["mask"], likeliest)


def test_an_ignored_pixel_has_no_part_in_the_training_step(two_sigmoids):
    """The gradient of the last bias is the mean of sigmoid(z) - y over the pixels that count, and
    no others.
    """
    task, variables, batch = two_sigmoids
    variables = jax.tree.map(np.copy, variables)
    # Every pixel has the bias alone as its logit, dropout or not.
    variables["params"]["head"]["kernel"] *= 0
    bias = variables["params"]["head"]["bias"].astype(np.float64)

    def total(params):
        return task.loss(params, {}, batch, jax.random.key(0), axis_name="data")[0].sum()

    stacked = jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], variables["params"])
    gradient = quick_jit(jax.vmap(jax.grad(total), axis_name="data"))(stacked)["head"]["bias"][0]
    counted = batch["mask"] != 255
    share = [
        [(image[where] == n).mean() for n in (1, 2)]
        for image, where in zip(batch["mask"], counted, strict=True)
    ]
    expected = (1 / (1 + np.exp(-bias)) - np.array(share)).sum(0) / 2
    np.testing.assert_allclose(gradient, expected, rtol=1e-4)
    everywhere = np.array([[(image == n).mean() for n in (1, 2)] for image in batch["mask"]])
    assert np.abs(everywhere - share).max() > 0.01  # counting them would show


def test_masks_at_a_threshold():
    probability = np.array([[0.17, 0.05], [0.3, 0.35], [0.6, 0.55], [0.45, 0.2]])
    log_odds = np.log(probability / (1 - probability))
    prediction = {"mask": np.full((1, 2, 2), 7, np.uint8), "log_odds": log_odds.reshape(1, 2, 2, 2)}
    np.testing.assert_array_equal(segment.masks_at(prediction, 0.5), prediction["mask"])
    for threshold in (0.15, 0.2, 0.4, 0.54, 0.9):
        expected = np.where(probability.max(-1) > threshold, probability.argmax(-1) + 1, 0)
        found = segment.masks_at(prediction, threshold)
        np.testing.assert_array_equal(found.reshape(-1), expected)
        assert found.dtype == np.uint8
    sure = {
        "mask": np.zeros((1, 1, 2), np.uint8),
        "log_odds": np.array([1e4, -1e4]).reshape(1, 1, 2, 1),
    }
    np.testing.assert_array_equal(segment.masks_at(sure, 0.95)[0, 0], [1, 0])


def test_the_probabilities_of_all_lungs_in_a_softmax_are_added():
    logits = np.random.default_rng(0).normal(0, 3, (2, 3, 4, 4)).astype(np.float32)
    structures = ("right_lung", "heart", "left_lung")
    found = np.asarray(segment._lung_log_odds(jnp.asarray(logits), structures))
    parts = np.exp(logits.astype(np.float64))
    expected = np.log((parts[..., 1] + parts[..., 3]) / (parts[..., 0] + parts[..., 2]))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    none = np.asarray(segment._lung_log_odds(jnp.asarray(logits), ("a", "heart", "b")))
    assert (none == -np.inf).all()


def test_a_softmax_says_how_likely_lungs_are_where_it_finds_them():
    c = tiny.change(tiny.load("fc_densenet103"), model__name="unet_cxnet", model__width=0.1)
    c.data.image_size, c.masks.structures = 32, ("lung",)
    task = segment.Segment(c, axis_name="data")
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32), dtype=np.uint8)
    predict = quick_jit(lambda v, b: task.predict(v, b, jax.random.key(0)))
    found = jax.device_get(predict(filled(task.init(0)), {"image": images}))
    log_odds = segment.lung_log_odds(found, ("lung",))
    np.testing.assert_array_equal(log_odds > 0, found["mask"] == 1)
    assert log_odds.shape == (2, 32, 32) and 0 < found["mask"].mean() < 1


def test_of_several_sigmoids_the_likeliest_lung_counts(two_sigmoids):
    task, variables, batch = two_sigmoids
    found = quick_jit(lambda v, b: task.predict(v, b, jax.random.key(0)))(variables, batch)
    z = np.asarray(found["log_odds"])
    for structures, expected in (
        (("lung", "heart"), z[..., 0]),
        (("right_lung", "left_lung"), z.max(-1)),
        (("a", "heart"), np.full(z.shape[:3], segment.NEVER)),
    ):
        np.testing.assert_array_equal(segment.lung_log_odds(found, structures), expected)


@pytest.mark.parametrize("threshold", [0.0, 1.0, -0.2])
def test_a_threshold_is_a_probability(threshold):
    with pytest.raises(InputError, match=r"predict\.threshold is .*above 0 and below 1"):
        segment.check_threshold(threshold, sigmoid=True)


def test_a_softmax_has_no_other_threshold():
    segment.check_threshold(0.5, sigmoid=False)
    with pytest.raises(
        InputError, match=r"predict\.threshold=0\.2 needs .*model\.outputs='sigmoid'"
    ):
        segment.masks_at({"mask": np.zeros((1, 2, 2), np.uint8)}, 0.2)


@pytest.mark.parametrize(
    ("channels", "narrow", "expected"),
    [(1, 2, 31_031_685), (3, 2, 31_032_837), (1, 0, 31_030_593), (3, 0, 31_031_745)],
)
def test_parameters_with_and_without_the_relu_of_two_channels(channels, narrow, expected):
    """Off by default; the published 31,031,685 are with it, from one channel."""
    c = tiny.change(tiny.load("v7_unet", "paper"), model__in_channels=channels)
    assert c.model.narrow == 0 and c.model.width == 1.0
    shapes = segment.Segment(tiny.change(c, model__narrow=narrow), axis_name="data").init(None)
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == expected


def augmentation(**fields):
    a = tiny.load("v7_unet").augment
    a.update(fields)
    return a


def test_images_and_masks_move_together():
    """The mask of a picture that is bright where its structure is stays where the picture is
    bright.
    """
    rows, columns = np.mgrid[:32, :32]
    mask = ((rows - 12) ** 2 + (columns - 18) ** 2 < 60).astype(np.uint8)
    move = segment._augmented(
        augmentation(max_rotation=20.0, zoom=(0.8, 1.2), shift=0.1, hflip=True)
    )
    keys = jax.random.split(jax.random.key(0), 16)
    images, masks = move(keys, np.repeat(255 * mask[None], 16, 0), np.repeat(mask[None], 16, 0))
    found = np.asarray(images) > 127.5
    assert masks.dtype == np.uint8 and set(np.unique(masks)) == {0, 1}
    differ = (found != np.asarray(masks)).mean(axis=(1, 2))
    assert differ.max() < 0.01  # a few pixels of its edge
    assert all((np.asarray(masks[i]) != mask).any() for i in range(16))


def test_without_ranges_nothing_is_drawn():
    assert segment._augmented(augmentation()) is None


def test_brightness_alone_leaves_masks_and_places():
    rng = np.random.default_rng(1)
    images, masks = (
        rng.integers(0, 256, (4, 16, 16), dtype=np.uint8),
        rng.integers(0, 3, (4, 16, 16), dtype=np.uint8),
    )
    change = segment._augmented(augmentation(brightness=(0.5, 0.9)))
    seen, same = change(jax.random.split(jax.random.key(2), 4), images, masks)
    np.testing.assert_array_equal(same, masks)
    factors = np.asarray(seen)[images > 0] / images[images > 0]
    assert 0.5 <= factors.min() and factors.max() <= 0.9 + 1e-6
    assert len(np.unique(np.asarray(seen).max(axis=(1, 2)) / images.max(axis=(1, 2)))) == 4


def test_a_left_lung_is_not_mirrored_into_a_right_one():
    c = tiny.load("fc_densenet103")
    c.augment.hflip = True
    with pytest.raises(InputError, match="augment.hflip=True makes a left lung of a right one"):
        segment.Segment(c, axis_name="data")


@pytest.fixture(scope="module")
def conventions():
    """(task, variables, batch): two structures that overlap, each image labelled for one."""
    c = tiny.change(
        tiny.load("fc_densenet103"),
        model__name="unet_cxnet",
        model__outputs="sigmoid",
        model__width=0.1,
        loss__name="binary_cross_entropy",
        loss__dice=0.5,
        masks__by_source=("a=field", "b=lung"),
    )
    c.masks.structures = ("field", "lung")
    c.data.image_size = 32
    task = segment.Segment(c, axis_name="data")
    rng = np.random.default_rng(0)
    mask = np.stack([rng.choice(np.array([0, n, 255], np.uint8), (32, 32)) for n in (1, 2)])
    batch = {
        "image": rng.integers(0, 256, (2, 32, 32), dtype=np.uint8),
        "mask": mask,
        "weight": np.ones(2, np.float32),
    }
    return task, filled(task.init(0)), batch


def test_an_image_is_scored_for_the_structure_that_its_mask_shows(conventions):
    task, variables, batch = conventions
    predict = quick_jit(lambda v, b: task.predict(v, b, jax.random.key(0)))
    found = jax.device_get(predict(variables, batch))
    free = jax.device_get(predict(variables, {"image": batch["image"]}))
    for n in range(2):
        alone = jax.device_get(segment.structure_alone(free, n))
        np.testing.assert_array_equal(found["mask"][n], alone["mask"][n])
        np.testing.assert_array_equal(found["log_odds"][n], alone["log_odds"][n])
        assert set(np.unique(alone["mask"])) <= {0, n + 1}
        at_least = segment.masks_at(alone, 0.3) == n + 1
        np.testing.assert_array_equal(at_least, free["log_odds"][..., n] > np.log(0.3 / 0.7))
        z, labels = free["log_odds"][n : n + 1, ..., n : n + 1], batch["mask"][n : n + 1]
        one = np.where(labels == n + 1, 1, labels)
        expected = losses.pixel_binary_cross_entropy(z, one, background_weight=0.5)
        expected += 0.5 * losses.soft_dice(z, one)[:, 0]
        assert found["loss"][n] == pytest.approx(float(expected[0]), rel=1e-5)
    scores = task.metrics(batch, found)["overlap"].compute()
    for n, name in enumerate(("field", "lung")):
        there = batch["mask"][n] != 255
        a, b = (found["mask"][n] == n + 1) & there, batch["mask"][n] == n + 1
        assert scores[name]["dice"] == pytest.approx(2 * (a & b).sum() / (a.sum() + b.sum()))
        smoothed = ((a & b).sum() + 1) / ((a | b).sum() + 1)
        assert scores[name]["jaccard_smoothed"] == pytest.approx(smoothed)


def test_training_alone_also_learns_what_a_label_implies(conventions):
    """`masks.within` adds that term to the loss of training; scores count what is labelled."""
    task, variables, batch = conventions
    c = task._config.copy_and_resolve_references()
    c.masks.within = ("field=lung",)
    other = segment.Segment(c, axis_name="data")

    def loss(task):
        def of_one(batch):
            state = {"batch_stats": variables.get("batch_stats", {})}
            return task.loss(
                variables["params"], state, batch, jax.random.key(0), axis_name="data"
            )[0]

        return quick_jit(jax.vmap(of_one, axis_name="data"))(
            jax.tree.map(lambda x: x[None], batch | {"index": np.arange(2)})
        )[0]

    logits = quick_jit(lambda x: task.predict(variables, x, jax.random.key(0)))(
        {"image": batch["image"]}
    )["log_odds"]
    implied = losses.implied_binary_cross_entropy(
        logits,
        batch["mask"],
        labelled=np.eye(2, dtype=bool),
        within=[(0, 1)],
        background_weight=0.5,
    )
    assert implied[0] > 0.01 and implied[1] == 0  # the second image is labelled for the lung
    np.testing.assert_allclose(loss(other) - loss(task), implied, rtol=1e-4)
    found, expected = (
        quick_jit(lambda v, b, t=t: t.predict(v, b, jax.random.key(0))["loss"])(variables, batch)
        for t in (other, task)
    )
    np.testing.assert_array_equal(found, expected)


def test_predictions_leave_nothing_of_a_structure_outside_what_it_lies_in(conventions):
    task, variables, batch = conventions
    c = task._config.copy_and_resolve_references()
    c.masks.within = ("field=lung",)
    within = segment.Segment(c, axis_name="data")
    own, cut = (
        quick_jit(lambda v, b, t=t: t.predict(v, b, jax.random.key(0)))(
            variables, {"image": batch["image"]}
        )
        for t in (task, within)
    )
    field, lung = np.moveaxis(np.asarray(own["log_odds"]), -1, 0)
    assert (field > lung).any() and (field < lung).any()
    np.testing.assert_array_equal(cut["log_odds"][..., 0], np.minimum(field, lung))
    np.testing.assert_array_equal(cut["log_odds"][..., 1], lung)
    masks = [segment.masks_at(segment.structure_alone(cut, n), 0.5) > 0 for n in (0, 1)]
    assert not (masks[0] & ~masks[1]).any()


@pytest.mark.parametrize(
    ("within", "by_source", "message"),
    [
        (("field=lung",), (), "it goes with masks.by_source"),
        (("field=heart",), ("a=lung",), "'field=heart': write 'one=another' of field, lung"),
        (("lung=lung",), ("a=lung",), "'lung=lung': write 'one=another'"),
        (("field=lung", "lung=field"), ("a=lung",), "has structures within each other"),
        (("field",), ("a=lung",), "masks.within has 'field': write"),
    ],
)
def test_structures_within_none_are_refused(conventions, within, by_source, message):
    c = conventions[0]._config.copy_and_resolve_references()
    c.masks.within, c.masks.by_source = within, by_source
    with pytest.raises(InputError, match=message):
        segment.Segment(c, axis_name="data")


def test_a_margin_of_no_structures_is_refused(conventions):
    c = conventions[0]._config.copy_and_resolve_references()
    c.masks.hull_margin = 0.1
    with pytest.raises(InputError, match=r"hull_margin=0.1 is of structures that masks.within"):
        segment.Segment(c, axis_name="data")


def test_what_lies_within_one_structure_lies_within_what_that_lies_in():
    masks = tiny.load("fc_densenet103").masks
    masks.by_source, masks.within = ("a=a",), ("c=b", "b=a", "d=a")
    places = segment._within(masks, tuple("abcd"))
    assert {("abcd"[i], "abcd"[j]) for i, j in places} == {
        ("c", "b"), ("b", "a"), ("c", "a"), ("d", "a"),
    }  # fmt: skip


def test_what_does_not_go_with_structures_by_source_is_refused():
    c = tiny.change(tiny.load("fc_densenet103"), masks__by_source=("a=lung",))
    with pytest.raises(InputError, match="masks.by_source needs a sigmoid"):
        segment.Segment(c, axis_name="data")
    c = tiny.load("fc_densenet103")
    assert segment.wanted_structure(c) == ""
    c.predict.structure = "lung"
    with pytest.raises(InputError, match="go with masks.by_source: leave it out"):
        segment.Segment.check_prediction(c)
    c.masks.by_source, c.masks.structures = ("a=lung",), ("field", "lung")
    assert segment.wanted_structure(c) == "lung"
    c.predict.structure = ""
    assert segment.wanted_structure(c) == "lung"
    c.predict.structure = "heart"
    with pytest.raises(InputError, match="choose field or lung"):
        segment.wanted_structure(c)


def test_masks_show_the_wanted_structure_or_all_lungs():
    c = tiny.load("fc_densenet103")
    c.masks.structures = ("left_lung", "heart", "right_lung")
    assert segment.shown_structure(c) == "left_lung+right_lung"
    c.masks.by_source, c.masks.structures = ("a=lung",), ("lung_field", "lung")
    assert segment.shown_structure(c) == "lung"
    c.predict.structure = "lung_field"
    assert segment.shown_structure(c) == "lung_field"


def test_the_input_is_normalised_as_the_config_says():
    c = tiny.change(tiny.load("fc_densenet103"), model__width=0.05, model__depth=0.05)
    c.data.image_size = 32
    plain, other = segment.Segment(c, axis_name="data"), c.copy_and_resolve_references()
    other.model.mean, other.model.std = (0.25,), (0.125,)
    other = segment.Segment(other, axis_name="data")
    image = np.random.default_rng(0).integers(0, 256, (1, 32, 32), dtype=np.uint8)
    shifted = {"image": (np.float32(image) / 255 - 0.25) / 0.125 * 127.5 + 127.5}
    variables, key = filled(plain.init(0)), jax.random.key(0)
    a = quick_jit(lambda v, b: other.predict(v, b, key)["mask"])(variables, {"image": image})
    b = quick_jit(lambda v, b: plain.predict(v, b, key)["mask"])(variables, shifted)
    assert (np.asarray(a) == np.asarray(b)).mean() > 0.999


def test_an_image_that_shows_nothing_has_no_loss_instead_of_one_that_is_no_number(conventions):
    task, variables, batch = conventions
    nothing = batch | {"mask": np.zeros_like(batch["mask"])}
    found = quick_jit(lambda v, b: task.predict(v, b, jax.random.key(0)))(variables, nothing)
    np.testing.assert_array_equal(found["loss"], 0)
    assert not np.asarray(found["mask"]).any()
