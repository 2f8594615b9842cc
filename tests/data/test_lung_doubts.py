"""Lungs by hand raise no doubt; those that are missing, torn, cut off or turned do."""

import numpy as np
import pytest
from PIL import Image

from jaxcxr.data import lung_doubts
from jaxcxr.data.lung_doubts import look_at_lungs
from tfds_builders.phantom_cxr import drawing


def two(*, width: int, gap: bool = True) -> np.ndarray:
    mask = np.zeros((64, 64), bool)
    mask[20:50, 32 - 2 - width : 30] = True
    mask[20:50, 34 : 34 + width] = True
    mask[30:34, 30:34] = not gap
    return mask


def test_lungs_that_are_missing_small_or_not_two_are_mentioned():
    assert look_at_lungs(two(width=12)) == ()
    assert look_at_lungs(two(width=3)) == (lung_doubts.SMALL_LUNGS,)
    assert look_at_lungs(two(width=12, gap=False)) == (lung_doubts.NOT_TWO_LUNGS,)
    assert look_at_lungs(np.zeros((64, 64), bool)) == (lung_doubts.NO_LUNGS,)
    one = two(width=12)
    one[:, :32] = False
    assert look_at_lungs(one) == (lung_doubts.NOT_TWO_LUNGS,)


@pytest.fixture(scope="module")
def phantoms() -> list[np.ndarray]:
    drawn = (drawing.draw(seed=0, patient=number, image=0, size=128) for number in range(20))
    return [phantom.masks["lung"] for phantom in drawn]


def test_phantoms_raise_no_doubt_and_turned_ones_do(phantoms):
    for lungs in phantoms:
        assert look_at_lungs(lungs) == ()
        assert look_at_lungs(lungs[:, ::-1]) == ()
        assert look_at_lungs(lungs[::-1]) == (lung_doubts.UPSIDE_DOWN,)
        assert lung_doubts.ON_ITS_SIDE in look_at_lungs(np.rot90(lungs))
        assert lung_doubts.ON_ITS_SIDE in look_at_lungs(np.rot90(lungs, 3))
        for turned in (lungs, lungs[::-1]):  # and not upside down besides
            assert lung_doubts.UPSIDE_DOWN not in look_at_lungs(np.rot90(turned))


def test_lungs_in_pieces_at_the_border_aside_or_everywhere_are_mentioned(phantoms):
    lungs = phantoms[0]
    torn = lungs.copy()
    rows = np.flatnonzero(lungs.any(axis=1))
    torn[(rows[0] + rows[-1]) // 2 + np.arange(3)] = False
    assert lung_doubts.IN_PIECES in look_at_lungs(torn)
    rows, columns = (np.flatnonzero(lungs.any(axis=axis)) for axis in (1, 0))
    close = lungs[rows[0] + 20 : rows[-1] - 20, columns[0] + 12 : columns[-1] - 12]
    assert lung_doubts.AT_BORDER in look_at_lungs(close)
    aside = np.pad(lungs, ((0, 0), (0, 2 * lungs.shape[1])))
    assert lung_doubts.OFF_CENTRE in look_at_lungs(aside)
    assert lung_doubts.LARGE_LUNGS in look_at_lungs(np.ones((64, 64), bool))


def test_masks_by_hand_raise_no_doubt_and_turned_ones_do(real_data):
    folders = ("lungs/masks", "v7/annotations/all-images-semantic-masks")
    paths = [path for folder in folders for path in sorted((real_data / folder).glob("*.png"))]
    assert len(paths) == 1057
    doubtful = missed = 0
    for path in paths:
        image = Image.open(path).convert("L").resize((256, 256), Image.Resampling.NEAREST)
        lungs = np.asarray(image) == 255
        doubtful += bool(look_at_lungs(lungs))
        missed += lung_doubts.UPSIDE_DOWN not in look_at_lungs(lungs[::-1])
        missed += lung_doubts.ON_ITS_SIDE not in look_at_lungs(np.rot90(lungs))
    assert doubtful <= 2 and missed <= 2
