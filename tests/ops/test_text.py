"""What is written on an X-ray is found and concealed, and the lungs stay as they are."""

import numpy as np
import pytest

from jaxcxr.ops.text import conceal, find_text
from tfds_builders.phantom_cxr import drawing

PATIENTS = range(12)


def phantom(patient, size):
    """(phantom, the pixels of its letter): letters are drawn last, over a picture that does not
    depend on them.
    """
    found = drawing.draw(seed=3, patient=patient, image=0, size=size)
    letter = drawing._letter(found.marker, drawing._rng("letter", 3, patient, 0), size)
    return found, letter > 0.4


def equalised(image):
    counts = np.bincount(image.ravel(), minlength=256).cumsum()
    return np.clip(np.rint(255 * (counts - counts[0]) / (counts[-1] - counts[0])), 0, 255).astype(
        np.uint8
    )[image]


@pytest.mark.parametrize("prepare", [np.asarray, equalised], ids=["as drawn", "equalised"])
@pytest.mark.parametrize("size", [96, 128, 256])
def test_the_letters_of_phantoms_are_found_outside_the_lungs(size, prepare):
    recall, elsewhere = [], []
    for patient in PATIENTS:
        drawn, letter = phantom(patient, size)
        found = find_text(prepare(drawn.image), drawn.masks["lung"])
        assert found.shape == letter.shape
        assert not (found & drawn.masks["lung"]).any()
        around = np.zeros_like(letter)
        rows, columns = np.nonzero(letter)
        margin = max(2, size // 50)
        around[
            max(0, rows.min() - margin) : rows.max() + 1 + margin,
            max(0, columns.min() - margin) : columns.max() + 1 + margin,
        ] = True
        recall.append(found[letter].mean())
        elsewhere.append(found[~around].mean())
    # A letter over an arm may stand out by less than CONTRAST.
    assert np.mean(np.asarray(recall) > 0.9) >= 10 / 12
    assert np.mean(elsewhere) < 0.003


@pytest.mark.parametrize("size", [128, 256])
def test_concealed_letters_are_gone(size):
    for patient in PATIENTS:
        drawn, letter = phantom(patient, size)
        found = find_text(drawn.image, drawn.masks["lung"])
        if not found[letter].all():
            continue
        hidden = conceal(drawn.image, found)
        np.testing.assert_array_equal(hidden[~found], drawn.image[~found])
        assert not find_text(hidden, drawn.masks["lung"])[letter].any()
        centre = np.argwhere(letter).mean(axis=0)[:, None, None]
        near = np.abs(np.indices(letter.shape) - centre).max(axis=0) < size / 12
        assert hidden[letter].max() <= drawn.image[near & ~found].max()


def test_in_the_lungs_it_is_left_alone_only_where_they_are_known():
    image = np.full((128, 128), 90, np.uint8)
    image[60:70, 40:43] = image[67:70, 40:50] = 250  # an L
    lungs = np.zeros(image.shape, bool)
    lungs[50:80, 52:70] = True
    found = find_text(image)
    assert found[image == 250].all()
    assert found.sum() < 2 * 12 * 14
    assert not find_text(image, lungs).any()  # it stands in the margin
    assert find_text(image, np.roll(lungs, 20, axis=1))[image == 250].all()


@pytest.mark.parametrize("what", ["nothing", "soft", "large", "long", "dot"])
def test_what_is_no_mark_is_not_found(what):
    image = np.full((200, 200), 60, np.float64)
    y, x = np.mgrid[:200, :200] - 100.0
    if what == "soft":
        image += 180 * np.exp(-(x**2 + y**2) / 2 / 8**2)
    elif what == "large":
        image[60:140, 60:140] = 250
    elif what == "long":
        image[100:103, 10:190] = 250
    elif what == "dot":
        image[100, 100] = 250
    assert not find_text(image.astype(np.uint8)).any()


def test_what_is_concealed_is_like_what_is_around():
    x = np.mgrid[:80, :80][1]
    ramp = (100 + x).astype(np.uint8)
    region = np.zeros(ramp.shape, bool)
    region[30:40, 30:42] = True
    image = np.where(region, 255, ramp)
    np.testing.assert_allclose(conceal(image, region).astype(int), ramp, atol=4)
    channels = np.stack([image, 255 - image, image], axis=-1)
    hidden = conceal(channels, region)
    np.testing.assert_array_equal(hidden[..., 0], conceal(image, region))
    np.testing.assert_array_equal(hidden[..., 1], conceal(255 - image, region))
    np.testing.assert_array_equal(conceal(image, np.zeros_like(region)), image)
    most = x < 78  # more than any mark
    assert set(np.unique(conceal(image, most)[most])) <= {178, 179}
    with pytest.raises(ValueError, match="whole image"):
        conceal(image, np.ones_like(region))


def test_shapes_are_checked():
    with pytest.raises(ValueError, match=r"an image is \[H, W\], not \[4, 5, 3\]"):
        find_text(np.zeros((4, 5, 3), np.uint8))
    with pytest.raises(ValueError, match=r"lungs \[5, 4\] are not of the image \[4, 5\]"):
        find_text(np.zeros((4, 5), np.uint8), np.zeros((5, 4), bool))
