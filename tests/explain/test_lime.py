"""LIME on functions that are linear in superpixels, and against the package as it comes."""

import sys

import numpy as np
import pytest
from skimage.color import gray2rgb

from jaxcxr.errors import InputError
from jaxcxr.explain import lime

SHAPE, SIDE = (12, 16), 4
SEGMENTS = np.repeat(np.repeat(np.arange(12).reshape(3, 4), SIDE, axis=0), SIDE, axis=1)
COUNT = 12
WEIGHTS = np.asarray([0.3, -0.2, 0, 0.1, 0, 0, -0.05, 0.15, 0, 0, 0.02, 0])
SETTINGS = dict(samples=1000, seed=18, batch_size=64)


@pytest.fixture
def image():
    """In each superpixel bright in its middle: its mean says that it is hidden."""
    image = np.full(SHAPE, 40, np.uint8)
    image[1::SIDE, 1::SIDE] = 200
    return image


def linear(images):
    """Probability of class 1: 0.3 and the weights of the superpixels that are there."""
    there = images[:, 1::SIDE, 1::SIDE].reshape(len(images), -1, *images.shape[3:]) == 200
    p = 0.3 + there.reshape(len(images), COUNT, -1).all(-1) @ WEIGHTS
    return np.stack([1 - p, p], axis=-1)


def test_the_weights_of_a_linear_function_come_back(image):
    found = lime.explain(linear, image, 1, SEGMENTS, **SETTINGS)
    # Ridge regression draws them to 0 by 1 %.
    np.testing.assert_allclose(found.weights, WEIGHTS, atol=0.004)
    assert found.score > 0.99
    np.testing.assert_allclose(
        lime.explain(linear, image, 0, SEGMENTS, **SETTINGS).weights, -found.weights, atol=1e-9
    )


def test_it_is_the_packages_explanation(image):
    """Not only for linear functions: the same draws, distances and fit."""
    from lime.lime_image import LimeImageExplainer

    def predict(images):
        grey = images.reshape(*images.shape[:3], -1)[..., 0]
        p = (1 + np.tanh(grey[:, :8, :8].std((1, 2)) / 10 - grey.std((1, 2)) / 20)) / 2
        return np.stack([1 - p, p], axis=-1)

    theirs = LimeImageExplainer(random_state=18).explain_instance(
        gray2rgb(image), predict, labels=(1,), top_labels=None, num_samples=200,
        segmentation_fn=lambda _: SEGMENTS, random_seed=18,
    )  # fmt: skip
    ours = lime.explain(predict, image, 1, SEGMENTS, samples=200, seed=18, batch_size=7)
    np.testing.assert_allclose(
        ours.weights, [dict(theirs.local_exp[1])[n] for n in range(COUNT)], rtol=1e-6
    )
    assert ours.score == pytest.approx(theirs.score)
    for positive_only in (True, False):
        _, mask = theirs.get_image_and_mask(
            1, positive_only=positive_only, num_features=3, hide_rest=False
        )
        np.testing.assert_array_equal(
            np.sign(ours.heat(features=3, positive_only=positive_only)), mask
        )


def test_all_channels_are_hidden_together(image):
    channels = np.stack([image, image, image], axis=-1)
    of_channels = lime.explain(linear, channels, 1, SEGMENTS, **SETTINGS)
    of_grey = lime.explain(linear, image, 1, SEGMENTS, **SETTINGS)
    np.testing.assert_allclose(of_channels.weights, of_grey.weights, atol=1e-9)


def test_heat_is_the_weights_of_the_strongest():
    surrogate = lime.Surrogate(SEGMENTS, WEIGHTS, 1.0)
    found = surrogate.heat(features=3, positive_only=True)
    assert set(np.unique(found)) == set(np.float32([0, 0.1, 0.15, 0.3]))
    both = surrogate.heat(features=2, positive_only=False)
    np.testing.assert_allclose(both[:SIDE, : 2 * SIDE : SIDE], [[0.3, -0.2]] * SIDE)
    assert np.count_nonzero(both) == 2 * SIDE**2
    # Four speak for it, and there is no fifth.
    assert (surrogate.heat(features=9, positive_only=True) > 0).sum() == 4 * SIDE**2


@pytest.mark.parametrize("method", lime.SEGMENTS)
def test_superpixels_cover_the_image_and_keep_to_its_edges(method):
    image = np.zeros((40, 48), np.uint8)
    image[:, 24:] = 255
    found = lime.superpixels(image, method=method, count=12, seed=18)
    assert found.shape == image.shape
    np.testing.assert_array_equal(np.unique(found), np.arange(found.max() + 1))
    assert found.max() > 0
    assert not set(np.unique(found[:, :22])) & set(np.unique(found[:, 26:]))


def test_mistakes_are_named(monkeypatch, image):
    with pytest.raises(
        InputError, match=r"explain\.lime\.segments='felz' is unknown; known: quickshift, slic"
    ):
        lime.superpixels(image, method="felz", count=5, seed=0)
    lime.check_installed()
    monkeypatch.setitem(sys.modules, "lime", None)
    with pytest.raises(InputError, match="needs the package lime .*pip install 'lime"):
        lime.check_installed()
