"""Losses: closed forms, identities, extreme logits and scikit-learn."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage
from scipy.special import softmax
from sklearn.metrics import log_loss

from jaxcxr import losses
from jaxcxr.errors import InputError

EXTREME = np.array(
    [[1e4, -1e4, 0, 0], [-1e4, 1e4, 0, 0], [0, 0, 0, 0], [1e30, -1e30, 0, 1], [80, 0, 0, 0]],
    np.float32,
)
FIRST = np.zeros(5, np.int32)


@pytest.fixture
def logits() -> np.ndarray:
    return np.random.default_rng(0).normal(0, 2, (12, 4)).astype(np.float32)


@pytest.fixture
def labels() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 4, 12)


def test_cross_entropy_averages_to_scikit_learns_log_loss(logits, labels):
    loss = losses.cross_entropy(logits, labels)
    assert loss.shape == (12,)
    expected = log_loss(labels, softmax(logits.astype(np.float64), axis=-1), labels=range(4))
    assert float(loss.mean()) == pytest.approx(expected, rel=1e-5)


def test_class_weights_multiply_the_loss_of_their_class(logits, labels):
    weights = np.array([0.0, 1.0, 2.0, 5.0])
    weighted = losses.weighted_cross_entropy(logits, labels, class_weights=weights)
    np.testing.assert_allclose(
        weighted, weights[labels] * losses.cross_entropy(logits, labels), rtol=1e-6
    )


def test_label_smoothing_mixes_in_the_uniform_target(logits, labels):
    uniform = np.mean([losses.cross_entropy(logits, np.full(12, c)) for c in range(4)], axis=0)
    smoothed = losses.cross_entropy(logits, labels, label_smoothing=0.1)
    expected = 0.9 * losses.cross_entropy(logits, labels) + 0.1 * uniform
    np.testing.assert_allclose(smoothed, expected, rtol=1e-5)


def test_focal_with_gamma_zero_and_alpha_one_is_cross_entropy(logits, labels):
    focal = losses.multiclass_focal(logits, labels, alpha=np.ones(4), gamma=0.0)
    np.testing.assert_allclose(focal, losses.cross_entropy(logits, labels), atol=1e-6)


def test_focal_with_gamma_zero_is_the_weighted_cross_entropy(logits, labels):
    alpha = np.array([1.0, 2.0, 3.0, 4.0])
    np.testing.assert_allclose(
        losses.multiclass_focal(logits, labels, alpha=alpha, gamma=0.0, epsilon=0.0),
        losses.weighted_cross_entropy(logits, labels, class_weights=alpha),
        rtol=1e-6,
    )


def test_focal_equals_the_published_formula(logits, labels):
    alpha = losses.inverse_frequency([10, 20, 30, 40])
    logits = logits / 2  # of ordinary size, where the formula needs no care
    q = np.asarray(jax.nn.softmax(logits), np.float64)[np.arange(12), labels]
    expected = -alpha[labels] * (1 - q) ** 10 * np.log(q + 1e-9)
    focal = losses.multiclass_focal(logits, labels, alpha=alpha, gamma=10.0)
    np.testing.assert_allclose(focal, expected, rtol=1e-4, atol=1e-9)


def test_an_untrained_ensemble_has_the_closed_form():
    # No weights: the softmax is 1/4 everywhere, so alpha * 0.75^10 * ln 4.
    alpha = losses.inverse_frequency([1000, 500, 250, 100])
    focal = losses.multiclass_focal(jnp.zeros((4, 4)), jnp.arange(4), alpha=alpha, gamma=10.0)
    np.testing.assert_allclose(focal, np.array([1, 2, 4, 10]) * 0.75**10 * np.log(4), rtol=1e-5)
    np.testing.assert_allclose(focal, np.array([1, 2, 4, 10]) * 0.0781, rtol=1e-3)


def test_focal_falls_as_gamma_grows_and_most_for_easy_examples():
    logits, labels = np.array([[4.0, 0, 0, 0], [0.5, 0, 0, 0]]), np.zeros(2, int)
    table = np.stack(
        [
            losses.multiclass_focal(logits, labels, alpha=np.ones(4), gamma=gamma)
            for gamma in (0.0, 0.5, 1.0, 2.0, 10.0)
        ]
    )
    assert (np.diff(table, axis=0) < 0).all()
    assert (np.diff(table[:, 0] / table[:, 1]) < 0).all()


def test_epsilon_bounds_the_focal_loss():
    wrong = np.array([[-1e4, 0.0]])
    focal = losses.multiclass_focal(
        wrong, np.zeros(1, int), alpha=np.ones(2), gamma=2.0, epsilon=1e-9
    )
    assert float(focal[0]) == pytest.approx(-np.log(1e-9), rel=1e-6)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 10.0])
@pytest.mark.parametrize("epsilon", [0.0, 1e-9])
def test_focal_is_finite_in_value_and_gradient_for_extreme_logits(gamma, epsilon):
    def total(logits):
        return losses.multiclass_focal(
            logits, FIRST, alpha=np.ones(4), gamma=gamma, epsilon=epsilon
        ).sum()

    value, gradient = jax.jit(jax.value_and_grad(total))(EXTREME)
    chex.assert_tree_all_finite((value, gradient))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_is_finite_in_value_and_gradient_for_extreme_logits(smoothing):
    def total(logits):
        return losses.cross_entropy(logits, FIRST, label_smoothing=smoothing).sum()

    chex.assert_tree_all_finite(jax.jit(jax.value_and_grad(total))(EXTREME))


def test_focal_gradient_is_that_of_the_formula():
    logits = jnp.array([[0.3, -0.2, 0.1, 0.9]])

    def formula(logits):
        q = jax.nn.softmax(logits)[0, 2]
        return -3.0 * (1 - q) ** 10 * jnp.log(q + 1e-9)

    def focal(logits):
        return losses.multiclass_focal(
            logits, jnp.array([2]), alpha=jnp.array([1.0, 2.0, 3.0, 4.0]), gamma=10.0
        )[0]

    ours, expected = jax.jit(lambda x: (jax.grad(focal)(x), jax.grad(formula)(x)))(logits)
    np.testing.assert_allclose(ours, expected, rtol=1e-4)


def test_binary_cross_entropy_is_the_two_class_case_and_smooths_like_keras():
    logits, labels = np.array([-3.0, 0.0, 2.0, 1e4]), np.array([0.0, 1.0, 1.0, 0.0])
    pairs = np.stack([np.zeros(4), logits], axis=-1)
    two = losses.cross_entropy(pairs, labels.astype(int))
    np.testing.assert_allclose(losses.binary_cross_entropy(logits, labels), two, rtol=1e-6)
    smoothed = losses.binary_cross_entropy(logits, labels, label_smoothing=0.1)
    soft = losses.binary_cross_entropy(logits, labels * 0.9 + 0.05)
    np.testing.assert_allclose(smoothed, soft, rtol=1e-6)
    assert float(losses.binary_cross_entropy(np.zeros(1), np.ones(1))[0]) == pytest.approx(
        np.log(2)
    )


@pytest.fixture
def pixels() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(2)
    labels = random.integers(0, 3, (3, 6, 5)).astype(np.uint8)
    labels[0, :3] = 255
    labels[2] = 255
    return random.normal(size=(3, 6, 5, 3)).astype(np.float32), labels


def test_pixel_cross_entropy_is_the_weighted_mean_over_counted_pixels(pixels):
    logits, labels = pixels
    weights = np.array([0.5, 1.0, 2.0])
    expected = []
    for image, truth in zip(logits[:2], labels[:2], strict=True):
        kept = truth != 255
        expected.append(
            log_loss(
                truth[kept],
                softmax(image[kept].astype(np.float64), axis=-1),
                labels=range(3),
                sample_weight=weights[truth[kept]],
            )
        )
    loss = losses.pixel_cross_entropy(logits, labels, class_weights=weights)
    np.testing.assert_allclose(loss, [*expected, 0.0], rtol=1e-5)


def test_pixel_binary_cross_entropy_is_each_structure_against_the_rest(pixels):
    logits, labels = pixels
    expected = []
    for image, truth in zip(logits[:2, ..., 1:], labels[:2], strict=True):
        kept = truth != 255
        weight = np.where(truth[kept] == 0, 0.5, 1.0)
        probabilities = 1 / (1 + np.exp(-image[kept].astype(np.float64)))
        expected.append(
            np.mean(
                [
                    log_loss(truth[kept] == k + 1, probabilities[:, k], sample_weight=weight)
                    for k in range(2)
                ]
            )
        )
    loss = losses.pixel_binary_cross_entropy(logits[..., 1:], labels, background_weight=0.5)
    np.testing.assert_allclose(loss, [*expected, 0.0], rtol=1e-5)


@pytest.mark.parametrize("background", [1.0, 0.25])
def test_one_sigmoid_is_a_softmax_whose_background_has_the_logit_zero(pixels, background):
    z, labels = pixels[0][..., :1], np.where(pixels[1] == 2, 0, pixels[1])
    binary = losses.pixel_binary_cross_entropy(z, labels, background_weight=background)
    two = np.concatenate([np.zeros_like(z), z], axis=-1)
    softmaxed = losses.pixel_cross_entropy(two, labels, class_weights=np.array([background, 1.0]))
    np.testing.assert_allclose(binary, softmaxed, rtol=1e-6)


def test_ignored_pixels_have_no_gradient(pixels):
    logits, labels = pixels

    def total(logits):
        pixel = losses.pixel_cross_entropy(logits, labels).sum()
        binary = losses.pixel_binary_cross_entropy(logits[..., 1:], labels).sum()
        return pixel + binary

    gradient = np.abs(jax.jit(jax.grad(total))(logits)).sum(axis=-1)
    np.testing.assert_array_equal(gradient > 0, labels != 255)


def test_inverse_frequency_is_flannels_alpha():
    np.testing.assert_allclose(
        losses.inverse_frequency([378, 1170, 2291, 1288]),
        [1000 / 378, 1000 / 1170, 1000 / 2291, 1000 / 1288],
        rtol=1e-6,
    )


def test_a_class_without_examples_has_no_inverse_frequency():
    with pytest.raises(InputError, match=r"class number \[1\] has no training image"):
        losses.inverse_frequency([3, 0, 2])


def test_shapes_that_do_not_fit_are_refused(logits, labels):
    with pytest.raises(AssertionError):
        losses.cross_entropy(logits, labels[:5])
    with pytest.raises(AssertionError):
        losses.multiclass_focal(logits, labels, alpha=np.ones(3), gamma=2.0)
    with pytest.raises(AssertionError):
        losses.pixel_cross_entropy(logits, labels)


def test_losses_run_under_jit_and_vmap(logits, labels):
    def focal(logits, label):
        return losses.multiclass_focal(logits, label, alpha=np.ones(4), gamma=2.0)

    np.testing.assert_allclose(
        jax.jit(jax.vmap(focal))(logits, labels), focal(logits, labels), rtol=1e-5
    )


def test_soft_dice_is_that_of_the_pixels_that_count():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(3, 5, 4, 2)).astype(np.float32)
    labels = rng.choice(np.array([0, 1, 2, 255]), (3, 5, 4))
    found = losses.soft_dice(logits, labels)
    for b in range(3):
        for s in range(2):
            p = 1 / (1 + np.exp(-logits[b, ..., s][labels[b] != 255]))
            t = labels[b][labels[b] != 255] == s + 1
            expected = 1 - (2 * p[t].sum() + 1) / (p.sum() + t.sum() + 1)
            assert found[b, s] == pytest.approx(expected, rel=1e-5)
    exact = np.where(labels[..., None] == np.array([1, 2]), 40.0, -40.0)
    np.testing.assert_allclose(losses.soft_dice(exact, labels), 0, atol=1e-6)


def test_a_structure_that_an_image_is_not_labelled_for_does_not_count():
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(2, 5, 4, 2)).astype(np.float32)
    labels = np.stack([rng.choice([0, 1], (5, 4)), rng.choice([0, 2], (5, 4))])
    labelled = np.array([[True, False], [False, True]])
    found = losses.pixel_binary_cross_entropy(logits, labels, labelled=labelled)
    for b in range(2):
        alone = losses.pixel_binary_cross_entropy(
            logits[b : b + 1, ..., b : b + 1], np.minimum(labels[b : b + 1], 1)
        )
        assert found[b] == pytest.approx(float(alone[0]), rel=1e-6)


def test_a_structure_is_not_far_from_the_hull_of_one_within_it():
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(1, 40, 40, 2)).astype(np.float32)
    labels = np.zeros((1, 40, 40), int)
    labels[0, 10:30, 8:12] = labels[0, 10:30, 24:28] = 1  # two fields
    labels[0, 0, 0] = 255
    found = losses.implied_binary_cross_entropy(
        logits,
        labels,
        labelled=np.array([[True, False]]),
        within=[(0, 1)],
        background_weight=0.5,
        hull_margin=0.05,
    )
    there, hull = labels[0] == 1, np.zeros((40, 40), bool)
    hull[10:30, 8:28] = True
    near = ndimage.distance_transform_edt(~hull) <= 2
    p = 1 / (1 + np.exp(-logits[0, ..., 1].astype(np.float64)))
    known = ~near & (labels[0] == 0)
    total = -np.log(p[there]).sum() - 0.5 * np.log(1 - p[known]).sum()
    weight = there.sum() + 0.5 * (labels[0] == 0).sum()
    np.testing.assert_allclose(found, [total / weight], rtol=1e-5)


def test_the_mean_of_what_is_labelled_has_gradients_of_that_alone():
    values, labelled = jnp.asarray([[1.0, 3.0], [5.0, 7.0]]), jnp.asarray([[True, False]] * 2)
    np.testing.assert_array_equal(losses.mean_of_labelled(values, labelled), [1, 5])
    nothing = jnp.zeros((2, 2), bool)
    gradient = jax.grad(lambda v: losses.mean_of_labelled(v, nothing).sum())(values)
    np.testing.assert_array_equal(gradient, 0)
    np.testing.assert_array_equal(losses.mean_of_labelled(values, nothing), 0)


def test_what_an_image_labelled_for_one_structure_teaches_another():
    """Of lung fields, which lie within lungs: by hand."""
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(3, 2, 2, 2)).astype(np.float32)
    labels = np.array([[[2, 0], [255, 0]], [[1, 0], [255, 1]], [[0, 0], [0, 0]]])
    labelled = np.array([[False, True], [True, False], [False, False]])
    found = losses.implied_binary_cross_entropy(
        logits, labels, labelled=labelled, within=[(0, 1)], background_weight=0.5
    )
    p = 1 / (1 + np.exp(-logits))
    inside = -np.log(p[1, [0, 1], [0, 1], 1])  # the second's lung fields are lung
    expected = [0, inside.sum() / 2.5, 0]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    near = losses.implied_binary_cross_entropy(  # all are within a pixel of its hull
        logits, labels, labelled=labelled, within=[(0, 1)], background_weight=0.5, hull_margin=0.5
    )
    np.testing.assert_allclose(near, expected, rtol=1e-6)
    both = np.ones_like(labelled)
    np.testing.assert_array_equal(
        losses.implied_binary_cross_entropy(logits, labels, labelled=both, within=[(0, 1)]), 0
    )
