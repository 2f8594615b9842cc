"""The X-ray with its lungs outlined: at its own proportions, the line just outside the lungs."""

import numpy as np
import pytest

from jaxcxr.report.lung_outlines import lung_outline

SKY, VERMILION = np.array([86, 180, 233]), np.array([213, 94, 0])


def line_of(picture, colour=SKY):
    return (picture == colour).all(axis=-1)


def test_the_line_runs_around_the_lungs_and_the_x_ray_stays():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 80, (700, 640), np.uint8)
    lungs = np.zeros((700, 640), bool)
    lungs[200:500, 100:300] = True
    picture = lung_outline(image, lungs)
    assert picture.dtype == np.uint8 and picture.shape == (721, 640, 3)
    line = line_of(picture)[:700]
    assert not (line & lungs).any() and line[:, 90:310].sum() == line.sum() > 900
    np.testing.assert_array_equal(picture[:700][~line], np.repeat(image[~line][:, None], 3, 1))
    assert picture[700:].max() > 200  # "Research use only"


def test_a_smaller_mask_of_the_same_view_is_enlarged_and_small_x_rays_are_too():
    image = np.full((100, 60), 90, np.uint8)
    lungs = np.zeros((32, 32), bool)
    lungs[8:24, 4:12] = True
    picture = lung_outline(image, lungs)
    assert picture.shape[:2] == (618, 360)  # six times, and the note
    rows, columns = np.nonzero(line_of(picture)[:600])
    assert abs(rows.min() - 150) <= 12 and abs(rows.max() - 450) <= 12
    assert abs(columns.min() - 45) <= 12 and abs(columns.max() - 135) <= 12


def test_pieces_left_out_have_a_line_of_their_own_and_a_word():
    image = np.full((650, 650), 90, np.uint8)
    lungs = np.zeros((650, 650), bool)
    lungs[100:400, 100:300] = True
    piece = np.zeros_like(lungs)
    piece[500:560, 300:360] = True
    picture = lung_outline(image, lungs, every_piece=lungs | piece)
    plain = lung_outline(image, lungs, every_piece=lungs)
    np.testing.assert_array_equal(plain, lung_outline(image, lungs))
    np.testing.assert_array_equal(line_of(picture), line_of(plain))
    rows, columns = np.nonzero(line_of(picture, VERMILION)[:650])
    assert rows.min() == 498 and columns.max() == 361  # two pixels wide
    assert line_of(picture, VERMILION)[650:].any() and not line_of(plain, VERMILION).any()


def test_without_lungs_there_is_no_line():
    image = np.full((650, 650), 90, np.uint8)
    for lungs in (None, np.zeros((8, 8), bool), np.ones((8, 8), bool)):
        assert not line_of(lung_outline(image, lungs)).any()


@pytest.mark.parametrize("width", [100, 256])
def test_the_note_fits_below_narrow_pictures_too(width):
    """What stands there ends before the border: the last columns of the strip are black."""
    lungs = np.zeros((256, width), bool)
    lungs[60:100, 10:20] = True
    every = lungs.copy()
    every[200:210, 10:20] = True
    picture = lung_outline(np.full((256, width), 128, np.uint8), lungs, every_piece=every)
    strip = picture[-14:]
    assert not strip[:, -3:].any()
    red, _, blue = np.moveaxis(strip.astype(int), 2, 0)
    assert (red > blue + 60).any()  # "pieces left out"
