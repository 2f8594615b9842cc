"""Heat is seen where it is, and nowhere else."""

import numpy as np
import pytest

from jaxcxr.report import plots, saliency_overlays


@pytest.fixture
def image():
    return np.tile(np.arange(48, dtype=np.uint8) * 5, (40, 1))


def test_without_heat_the_picture_is_the_x_ray(image):
    found = saliency_overlays.overlay(image, np.zeros(image.shape))
    np.testing.assert_array_equal(
        found, np.repeat(np.rint(255 * (image / image.max()))[..., None], 3, -1)
    )


def test_colour_is_where_the_heat_is(image):
    values = np.zeros(image.shape)
    values[10:20, 30:40] = [[1]] * 10
    values[0, 0] = np.nan
    found = saliency_overlays.overlay(image, values).astype(int)
    grey = (found[..., 0] == found[..., 1]) & (found[..., 1] == found[..., 2])
    np.testing.assert_array_equal(~grey, np.nan_to_num(values) > 0)
    assert found.shape == (40, 48, 3)


def test_the_anatomy_stays_visible_below_a_flat_map(image):
    found = saliency_overlays.overlay(image, np.ones(image.shape)).astype(int)
    brightness = found.sum(axis=-1)[0]
    assert (np.diff(brightness) > 0).all()  # as the X-ray's
    assert np.ptp(brightness) > 0.35 * 3 * 255 / 2


def test_a_map_that_hardly_varies_is_called_nearly_uniform(image):
    ramp = np.linspace(0.9, 1.1, image.size).reshape(image.shape)
    assert saliency_overlays.nearly_uniform(ramp)
    assert not saliency_overlays.nearly_uniform(np.linspace(0, 1, 100).reshape(10, 10))
    assert not saliency_overlays.nearly_uniform(np.zeros((4, 4)))


def test_a_picture_of_its_own_is_enlarged_by_a_whole_factor(image):
    panel = saliency_overlays.overlay(image, np.zeros(image.shape))  # 40 x 48
    pixels = plots.to_array(saliency_overlays.picture([panel] * 2, ["a", "b"], title="Class a"))
    assert pixels.shape == (400 + 120, 130 + 2 * (480 + 12), 3)
    for left in (20, 20 + 492):
        np.testing.assert_array_equal(pixels[105:500:10, left + 5 : left + 480 : 10], panel)


def test_a_picture_of_its_own_has_the_outline_of_the_lungs_on_every_panel(image):
    panel = saliency_overlays.overlay(image, np.zeros(image.shape))  # 40 x 48, ten times
    lungs = np.zeros(image.shape, bool)
    lungs[10:30, 5:20] = lungs[10:30, 28:43] = True

    def sky(lungs):
        figure = saliency_overlays.picture([panel] * 2, ["a", "b"], title="Class a", lungs=lungs)
        return (plots.to_array(figure) == (0x56, 0xB4, 0xE9)).all(-1)

    for left in (20, 20 + 492):
        rows, columns = np.nonzero(sky(lungs)[100:500, left : left + 480])
        assert rows.min() == pytest.approx(100, abs=6) and rows.max() == pytest.approx(300, abs=6)
        assert columns.min() == pytest.approx(50, abs=6)
        assert columns.max() == pytest.approx(430, abs=6)
        assert not sky(lungs)[100 + 120 : 100 + 280, left + 60 : left + 190].any()  # a line only
    assert sky(lungs)[500:].any()  # says what the line is
    for unknown in (None, np.zeros_like(lungs), np.ones_like(lungs)):
        assert not sky(unknown).any()


def test_superpixels_are_green_for_and_red_against(image):
    values = np.zeros(image.shape)
    values[4:14, 4:14], values[20:30, 20:30] = 0.3, -0.1
    found = saliency_overlays.for_and_against(image, values).astype(int)
    plain = saliency_overlays.overlay(image, np.zeros(image.shape))
    inside = np.zeros(image.shape, bool)
    inside[3:15, 3:15] = inside[19:31, 19:31] = True
    np.testing.assert_array_equal(found[~inside], plain[~inside])
    np.testing.assert_array_equal(found[4, 4:14], [[0, 255, 0]] * 10)  # lines in full colour
    np.testing.assert_array_equal(found[20:30, 29], [[255, 0, 0]] * 10)
    assert (found[6:12, 6:12, 1] > found[6:12, 6:12, 0]).all()
    assert (found[22:28, 22:28, 0] > found[22:28, 22:28, 1]).all()
    np.testing.assert_array_equal(
        found[6, 6:12, 0], np.rint(0.65 * 255 * image[6, 6:12] / image.max())
    )


def test_panels_stand_in_a_row(image):
    picture, mask = saliency_overlays.overlay(image, np.zeros(image.shape)), image > 100
    row = saliency_overlays.side_by_side([picture, 255 - picture, picture])
    assert row.shape == (40, 3 * 48 + 2 * saliency_overlays.GAP, 3)
    np.testing.assert_array_equal(row[:, :48], row[:, -48:])
    np.testing.assert_array_equal(row[:, 48 + saliency_overlays.GAP :][:, :48], 255 - picture)
    assert (row[:, 48 : 48 + saliency_overlays.GAP] == 255).all()
    masks = saliency_overlays.side_by_side([mask, mask])
    assert (masks.shape, masks.dtype) == ((40, 2 * 48 + saliency_overlays.GAP), bool)
    assert masks.sum() == 2 * mask.sum()
    np.testing.assert_array_equal(saliency_overlays.side_by_side([picture]), picture)


@pytest.mark.parametrize(("panels", "columns"), [(1, 4), (2, 2), (3, 1)])
@pytest.mark.parametrize("count", [1, 4, 6])
def test_a_sheet_has_as_many_a_row_as_fit(image, count, panels, columns):
    picture = saliency_overlays.side_by_side(
        [np.pad(saliency_overlays.overlay(image, image), ((4, 4), (0, 0), (0, 0)))] * panels
    )
    mask = saliency_overlays.side_by_side(
        [np.pad(np.ones((20, 20)), ((14, 14), (14, 14)))] * panels
    )
    figure = saliency_overlays.contact_sheet(
        [picture] * count, [mask] * count, ["a\nb"] * count, title="Class a"
    )
    pixels = plots.to_array(figure)
    ratio, columns = picture.shape[1] / 48, min(columns, count)
    assert pixels.shape == (
        round(120 * (2.7 * -(-count // columns) + 0.5)),
        pytest.approx(120 * (2.3 * ratio * columns + 0.85), abs=1),  # and the colours' key
        3,
    )
    assert (pixels != 255).any(axis=-1).mean() > 0.3


def test_an_empty_sheet_is_refused():
    with pytest.raises(ValueError, match="no image"):
        saliency_overlays.contact_sheet([], None, [], title="")
