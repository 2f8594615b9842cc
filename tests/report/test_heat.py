"""Heat is seen where it is, and nowhere else."""

import numpy as np
import pytest

from jaxcxr.report import heat, plots


@pytest.fixture
def image():
    return np.tile(np.arange(48, dtype=np.uint8) * 5, (40, 1))


def test_without_heat_the_picture_is_the_x_ray(image):
    found = heat.overlay(image, np.zeros(image.shape))
    np.testing.assert_array_equal(found, np.repeat(np.rint(255 * (image / image.max()))[..., None], 3, -1))


def test_colour_is_where_the_heat_is(image):
    values = np.zeros(image.shape)
    values[10:20, 30:40] = [[1]] * 10
    values[0, 0] = np.nan
    found = heat.overlay(image, values).astype(int)
    grey = (found[..., 0] == found[..., 1]) & (found[..., 1] == found[..., 2])
    np.testing.assert_array_equal(~grey, np.nan_to_num(values) > 0)
    assert found.shape == (40, 48, 3)


@pytest.mark.parametrize("count", [1, 4, 6])
def test_a_sheet_has_four_a_row(image, count):
    masks = [np.pad(np.ones((20, 20)), ((10, 10), (14, 14)))] * count
    figure = heat.contact_sheet([image] * count, masks, masks, ["a\nb"] * count, title="Class a")
    pixels = plots.to_array(figure)
    assert pixels.shape == (round(120 * (2.7 * -(-count // 4) + 0.5)), round(120 * 2.3 * min(count, 4)), 3)
    assert (pixels != 255).any(axis=-1).mean() > 0.3
    with pytest.raises(ValueError, match="no image"):
        heat.contact_sheet([], [], None, [], title="")
