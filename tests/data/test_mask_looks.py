"""Sets of masks that cannot be of lungs are named, and real ones are not."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from jaxcxr.data import mask_looks
from jaxcxr.errors import InputError

_ROWS, _COLUMNS = np.mgrid[:90, :100]
RIGHT = ((_ROWS - 45) / 30) ** 2 + ((_COLUMNS - 28) / 14) ** 2 < 1
LEFT = ((_ROWS - 45) / 30) ** 2 + ((_COLUMNS - 72) / 16) ** 2 < 1
LUNGS = LEFT | RIGHT


def summary(masks, structures=("lung",)):
    looks = {
        f"x{n}": mask_looks.look(np.asarray(mask, np.uint8), structures)
        for n, mask in enumerate(masks)
    }
    return mask_looks.summary(looks, structures)


def test_lungs_are_no_reason_for_doubt():
    found = summary([LUNGS] * 3)
    assert found["images"] == 3
    assert found["mean_fraction"] == pytest.approx(LUNGS.mean(), abs=1e-4)
    assert not found["doubts"] and not found["implausible"]
    mask_looks.refuse_implausible(found)
    mask_looks.refuse_implausible({})


@pytest.mark.parametrize(
    ("mask", "kind", "words"),
    [
        (~LUNGS, "inverted", "10 of 10 masks look inverted, with the background marked as lung"),
        (LUNGS | True, "full", "10 of 10 masks cover 90% of the image or more"),
        (
            LUNGS ^ ndimage.binary_erosion(LUNGS),
            "outlines",
            "10 of 10 masks are outlines that are not filled",
        ),
        (LUNGS & False, "empty", "10 of 10 masks are empty"),
    ],
)
def test_masks_that_cannot_be_lungs_are_refused_with_their_names(mask, kind, words):
    found = summary([mask] * 10)
    assert found[kind] == 10
    with pytest.raises(
        InputError, match=rf"not of lungs: .*{words} \(x0, x1, x2, \.\.\.\).*on_implausible=warn"
    ):
        mask_looks.refuse_implausible(found)


SIDES = np.where(LEFT, 2, np.where(RIGHT, 3, 0))
STRUCTURES = ("heart", "left_lung", "right_lung")


def shifted(mask, count):
    """Other masks of the same anatomy."""
    return [np.roll(mask, n - count // 2, axis=0) for n in range(count)]


def test_a_structure_that_no_mask_has_is_named():
    found = summary(shifted(SIDES, 5), STRUCTURES)
    assert found["absent"] == ["heart"] and not found["implausible"]
    assert [doubt for doubt in found["doubts"] if "no mask has a pixel of heart" in doubt]
    same_file = np.where(SIDES == 2, 3, 0)  # left and right are one mask: the later one covers it
    found = summary(shifted(same_file, 5), STRUCTURES)
    assert found["absent"] == ["heart", "left_lung"]
    with pytest.raises(InputError, match="no mask has a pixel of left_lung"):
        mask_looks.refuse_implausible(found)


def test_left_and_right_that_contradict_anatomy_are_a_doubt():
    masks = shifted(np.where(SIDES > 0, SIDES - 1, 0), 6)
    assert not summary(masks, ("left_lung", "right_lung"))["doubts"]
    [doubt] = summary(masks, ("right_lung", "left_lung"))["doubts"]
    assert doubt.startswith("6 of 6 masks have left and right swapped") and "(x0, x1," in doubt
    one = [*masks[1:], masks[0][:, ::-1]]
    assert summary(one, ("left_lung", "right_lung"))["doubts"][0].startswith("1 of 6 masks have")


def test_the_same_mask_for_most_images_is_a_doubt():
    others = shifted(LUNGS, 6)
    assert not summary(others)["doubts"]
    assert not summary([*others, others[0]])["doubts"]  # an image may be there twice
    [doubt] = summary([LUNGS] * 6)["doubts"]
    assert doubt.startswith("6 of 6 masks are the very same as that of another image (x0")
    assert summary([*others[:3], *others[:3]])["same_as_another"] == 6  # of another folder
    assert not summary([LUNGS & False] * 6)["same_as_another"]


def test_a_single_odd_mask_is_named_and_not_refused():
    found = summary([*shifted(LUNGS, 10), ~LUNGS])
    assert not found["implausible"]
    assert found["doubts"] == [
        "1 of 11 masks look inverted, with the background marked as lung (x10)"
    ]
    assert summary([LUNGS] * 8 + [~LUNGS])["implausible"]


def test_fragments_borders_and_means_are_doubts():
    specks = (_ROWS % 20 < 5) & (_COLUMNS % 20 < 5)
    frame = np.minimum(_ROWS, 89 - _ROWS) * np.minimum(_COLUMNS, 99 - _COLUMNS) == 0
    tiny = LUNGS & (_ROWS == 45)
    assert "more than 8 pieces" in " ".join(summary([specks] * 3)["doubts"])
    assert "touch all four borders" in " ".join(summary([frame | LUNGS] * 3)["doubts"])
    assert "lungs are 1% of an image on average" in " ".join(summary([tiny] * 3)["doubts"])
    both = np.where(tiny, 2, np.where(LUNGS & (_ROWS == 46), 1, 0))
    assert not summary([both] * 3, structures=("heart", "clavicle"))["doubts"]


def test_thin_outlines_of_a_large_image_are_seen():
    large = np.kron(LUNGS, np.ones((12, 12), bool))
    assert summary([large ^ ndimage.binary_erosion(large)] * 3)["outlines"] == 3
    assert not summary([large] * 3)["doubts"]


def test_only_lungs_count_and_not_what_is_ignored():
    mask = np.where(LEFT, 1, np.where(RIGHT, 2, 0))
    mask[:5] = 255
    look = mask_looks.look(mask.astype(np.uint8), ("lung", "heart"))
    assert look == mask_looks.look(LEFT.astype(np.uint8), ("lung",))


@pytest.mark.parametrize(
    ("folder", "step"),
    [
        ("lungs/masks", 5),
        ("v7/annotations/all-images-semantic-masks", 20),
        ("qatar/COVID-19_Radiography_Dataset/Viral Pneumonia/masks", 3),
    ],
)
def test_real_sets_are_plausible(real_data, folder, step):
    paths = sorted((real_data / folder).glob("*.png"))[::step]
    masks = [np.asarray(Image.open(path).convert("L")) > 127 for path in paths]
    found = summary(masks)
    assert found["images"] > 40
    assert not found["doubts"] and not found["implausible"]
