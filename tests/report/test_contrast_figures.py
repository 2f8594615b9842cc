"""The paper's Figures 2 and 3 of any image: what is shown is what was enhanced."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure

from jaxcxr.data import contrast as enhancements
from jaxcxr.errors import InputError
from jaxcxr.report import contrast_figures, plots


@pytest.fixture
def image() -> np.ndarray:
    rows, columns = np.mgrid[:64, :48]
    noise = np.random.default_rng(0).normal(0, 6, (64, 48))
    return (90 + rows + 40 * np.sin(columns / 6) + noise).clip(0, 255).astype(np.uint8)


def shown(figure: Figure) -> dict[str, np.ndarray]:
    return {a.get_title(): np.asarray(a.images[0].get_array()) for a in figure.axes if a.images}


def test_figure_2_shows_the_three_equalisations(image):
    pictures = shown(contrast_figures.figure2(image))
    expected = {"Original": "original", "HE": "equalise", "AHE": "adaptive", "CLAHE": "clahe"}
    assert list(pictures) == list(expected)
    for title, name in expected.items():
        np.testing.assert_array_equal(pictures[title], enhancements.ENHANCEMENTS[name](image))


def test_figure_3_shows_beasf_with_each_slope_between_the_image_and_clahe(image):
    pictures = shown(contrast_figures.figure3(image, gammas=(1.0, 1.5)))
    assert list(pictures) == ["Original", "BEASF, γ = 1", "BEASF, γ = 1.5", "CLAHE"]
    np.testing.assert_array_equal(pictures["BEASF, γ = 1.5"], enhancements.beasf(image, gamma=1.5))
    assert len(shown(contrast_figures.figure3(image))) == 2 + len(contrast_figures.GAMMAS)
    assert 1.5 in contrast_figures.GAMMAS


def test_grey_is_drawn_as_it_is_and_not_stretched(image):
    for axes in contrast_figures.figure2(image // 4).axes:
        for picture in axes.images:
            assert picture.get_clim() == (0, 255)


def test_the_histograms_hold_the_shares_of_the_pixels(image):
    figure = contrast_figures.figure2(image)
    below = [axes for axes in figure.axes if not axes.images]
    heights = [axes.collections[0].get_paths()[0].vertices[:, 1].max() for axes in below]
    expected = [100 * np.bincount(p.ravel()).max() / p.size for p in shown(figure).values()]
    np.testing.assert_allclose(heights, expected, rtol=1e-6)
    assert len({axes.get_ylim() for axes in below}) == 1  # one scale, so that they compare


def test_a_black_border_does_not_flatten_the_histograms_and_the_label_says_so(image):
    bordered = np.pad(image, 30)
    axes = next(a for a in contrast_figures.figure2(bordered).axes if a.get_ylabel())
    assert axes.get_ylabel() == "% of pixels\n(taller bars are cut)"
    assert axes.get_ylim()[1] < 100 * (bordered == 0).mean()


@pytest.mark.parametrize("figure", [contrast_figures.figure2, contrast_figures.figure3])
@pytest.mark.parametrize("shape", [(1, 1), (40, 200), (300, 40)])
def test_any_grey_image_can_be_drawn_twice_alike(figure, shape):
    image = np.random.default_rng(1).integers(0, 256, shape).astype(np.uint8)
    pixels = plots.to_array(figure(image))
    np.testing.assert_array_equal(pixels, plots.to_array(figure(image)))
    assert pixels.std() > 5
    assert (pixels[[0, -1]] == 255).all() and (
        pixels[:, [0, -1]] == 255
    ).all()  # nothing is cut off


def test_only_grey_bytes_are_drawn(image):
    with pytest.raises(InputError, match="uint8"):
        contrast_figures.figure2(image / 255)
