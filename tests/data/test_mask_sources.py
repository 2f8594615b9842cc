import dataclasses
import hashlib
import json

import numpy as np
import pytest
from PIL import Image

from jaxcxr.data import DatasetMasks
from jaxcxr.data.mask_sources import check_same_aspect, shrunk
from jaxcxr.errors import InputError
from tests.data.fakes import encode, make_dataset

LEFT = np.array([[0, 255, 255, 0], [0, 127, 0, 0]], np.uint8)
HEART = np.array([[0, 0, 255, 255], [0, 0, 0, 0]], np.uint8)
IMAGE = encode(np.zeros((2, 4), np.uint8))


def dataset(**masks):
    encoded = {f"mask_{name}": encode(mask) for name, mask in masks.items()}
    return make_dataset([{"image": IMAGE, **encoded}])


def test_structures_are_numbered_in_order_and_the_later_one_wins():
    source = DatasetMasks(structures=("left_lung", "heart"))
    ids = source.read(dataset(left_lung=LEFT, heart=HEART), 0)
    np.testing.assert_array_equal(ids, [[0, 1, 2, 2], [0, 255, 0, 0]])


def test_an_ignored_pixel_counts_where_another_structure_claims_it():
    claimed = np.where(LEFT == 127, 255, 0).astype(np.uint8)
    ids = DatasetMasks(structures=("left_lung", "heart")).read(
        dataset(left_lung=LEFT, heart=claimed), 0
    )
    assert ids[1, 1] == 2


def test_the_fingerprint_follows_the_masks_and_the_choice_of_structures():
    data = dataset(lung=LEFT, heart=HEART)
    base = DatasetMasks().fingerprint(data)
    assert base == DatasetMasks().fingerprint(dataset(lung=LEFT, heart=LEFT))
    assert base != DatasetMasks().fingerprint(dataset(lung=HEART))
    assert base != DatasetMasks(structures=("heart",)).fingerprint(data)
    assert base != DatasetMasks(on_empty="drop").fingerprint(data)


def test_the_ignored_region_lies_over_every_structure():
    region = np.array([[255, 255, 0, 0], [0, 0, 0, 255]], np.uint8)
    data = dataset(lung=LEFT, ignore=region)
    ids = DatasetMasks(ignore="ignore").read(data, 0)
    np.testing.assert_array_equal(ids, [[255, 255, 1, 0], [0, 255, 0, 255]])
    for beneath in (0, 255):  # whatever is drawn under it
        drawn = np.where(region == 255, beneath, LEFT).astype(np.uint8)
        other = DatasetMasks(ignore="ignore").read(dataset(lung=drawn, ignore=region), 0)
        np.testing.assert_array_equal(other, ids)


def test_an_ignored_region_without_pixels_changes_nothing():
    data = dataset(lung=LEFT, heart=HEART, ignore=np.zeros_like(LEFT))
    for options in ({"structures": ("lung", "heart")}, {"shrink_to": 2}):
        with_region = DatasetMasks(ignore="ignore", **options)
        np.testing.assert_array_equal(
            with_region.read(data, 0), DatasetMasks(**options).read(data, 0)
        )


def test_the_ignored_region_must_be_there_and_be_no_structure():
    with pytest.raises(InputError, match=r"no masks of ignore .* it has: lung"):
        DatasetMasks(ignore="ignore").check(dataset(lung=LEFT))
    with pytest.raises(InputError, match="masks.ignore is 'lung', which masks.structures names"):
        DatasetMasks(ignore="lung")


def test_the_fingerprint_follows_the_ignored_region_and_is_the_old_one_without():
    data = dataset(lung=LEFT, ignore=HEART)
    prints = {
        DatasetMasks(ignore=ignore, shrink_to=size).fingerprint(data)
        for ignore in ("", "ignore")
        for size in (0, 2)
    }
    assert len(prints) == 4
    other = dataset(lung=LEFT, ignore=LEFT)
    assert DatasetMasks(ignore="ignore").fingerprint(other) not in prints
    hashes = [data.mask_hashes["lung"].tolist()]
    old = json.dumps(["data set", ["lung"], "error", hashes])
    assert DatasetMasks().fingerprint(data) == hashlib.sha256(old.encode()).hexdigest()


def test_soft_masks_are_lungs_above_one_half():
    soft = np.array([[0, 100, 126, 128], [200, 255, 1, 0]], np.uint8)
    np.testing.assert_array_equal(
        DatasetMasks().read(dataset(lung=soft), 0), [[0, 0, 0, 1], [1, 1, 0, 0]]
    )


@pytest.mark.parametrize("inside", [1, 100, 127, 128])
def test_the_one_level_of_a_mask_is_inside(inside):
    stored = np.array([[0, inside]], np.uint8)
    np.testing.assert_array_equal(DatasetMasks().read(dataset(lung=stored), 0), [[0, 1]])


@pytest.mark.parametrize("levels", [(0, 1, 2), (0, 85, 170), (0, 127, 128)])
def test_values_that_no_builder_gives_are_named(levels):
    shown = ", ".join(map(str, levels))
    with pytest.raises(
        InputError, match=f"lung mask of x0 has the values {shown}: a builder gives 0"
    ):
        DatasetMasks().read(dataset(lung=np.array([levels], np.uint8)), 0)


def reduced(mask, size):
    """As `preprocessing.prepare` does it."""
    return np.asarray(Image.fromarray(mask).resize((size, size), Image.Resampling.NEAREST))


def test_a_mask_that_is_interpolated_becomes_hard_at_one_half():
    mask = np.zeros((4, 8), np.uint8)
    mask[:, :3] = 1
    np.testing.assert_array_equal(reduced(shrunk(mask, 1, size=2), 2), [[1, 0], [1, 0]])
    mask = (np.add.outer(np.arange(90), np.arange(70)) > 80).astype(np.uint8)
    soft = Image.fromarray(mask.astype(np.float32)).resize((20, 20), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(reduced(shrunk(mask, 1, size=20), 20), np.asarray(soft) > 0.5)


@pytest.mark.parametrize("shape", [(90, 70), (20, 31), (13, 40), (7, 5)])
def test_an_interpolated_mask_outlives_its_reduction(shape):
    random = np.random.default_rng(0)
    small = random.choice(np.array([0, 1, 2, 255], np.uint8), (20, 20))
    enlarged = np.asarray(Image.fromarray(small).resize((400, 400), Image.Resampling.NEAREST))
    np.testing.assert_array_equal(reduced(shrunk(enlarged, 2, size=20), 20), small)
    mask = random.choice(np.array([0, 1, 2, 255], np.uint8), shape)
    kept = shrunk(mask, 2, size=20)
    assert kept.shape[0] * shape[1] == kept.shape[1] * shape[0] and min(kept.shape) >= 20
    np.testing.assert_array_equal(
        kept, Image.fromarray(reduced(kept, 20)).resize(kept.shape[::-1], Image.Resampling.NEAREST)
    )


def test_ignored_pixels_are_no_background_to_their_neighbours():
    mask = np.array([[1, 255]] * 2, np.uint8)
    for size, expected in ((1, [[1]]), (2, mask)):
        np.testing.assert_array_equal(reduced(shrunk(mask, 1, size=size), size), expected)


def test_a_structure_that_the_data_set_lacks_is_named():
    with pytest.raises(InputError, match=r"no masks of heart .* it has: lung"):
        DatasetMasks(structures=("lung", "heart")).fingerprint(dataset(lung=LEFT))


def test_masks_of_one_image_must_agree_in_size():
    with pytest.raises(InputError, match="masks of x0 differ in size: lung 4x2, heart 8x4"):
        DatasetMasks(structures=("lung", "heart")).read(
            dataset(lung=LEFT, heart=np.zeros((4, 8), np.uint8)), 0
        )


@pytest.mark.parametrize(
    "setting", [{"structures": ()}, {"on_empty": "skip"}, {"on_implausible": "ignore"}]
)
def test_mistyped_settings_are_named(setting):
    (name,) = setting
    with pytest.raises(InputError, match=f"masks.{name}"):
        DatasetMasks(**setting)


@pytest.mark.parametrize("mask", [(100, 80), (50, 40), (512, 410), (25, 20), (33, 26)])
def test_a_scaled_mask_fits(mask):
    check_same_aspect("x", (100, 80), mask)


@pytest.mark.parametrize("mask", [(80, 100), (100, 100), (512, 512), (100, 90)])
def test_a_mask_of_another_shape_does_not_fit(mask):
    with pytest.raises(InputError, match=f"x: the mask is {mask[1]}x{mask[0]} .* image 80x100"):
        check_same_aspect("x", (100, 80), mask)


def of_sources(*sources):
    rows = [{"image": IMAGE, "mask_lung": encode(LEFT)} for _ in sources]
    return dataclasses.replace(make_dataset(rows), sources=np.array(sources))


def test_what_a_mask_shows_may_follow_from_the_source():
    source = DatasetMasks(
        structures=("field", "lung"), by_source={"montgomery": "field", "kcx": "lung"}
    )
    data = of_sources("montgomery", "kcx")
    source.check(data)
    np.testing.assert_array_equal(source.read(data, 0), [[0, 1, 1, 0], [0, 255, 0, 0]])
    np.testing.assert_array_equal(source.read(data, 1), [[0, 2, 2, 0], [0, 255, 0, 0]])
    assert source.fingerprint(data) != DatasetMasks().fingerprint(data)
    assert source.fingerprint(data) != source.fingerprint(of_sources("kcx", "montgomery"))


def test_sources_and_structures_that_are_not_named_are_refused():
    for structure in ("hilum", ""):
        with pytest.raises(InputError, match=f"has 'kcx={structure}': after = stands one of"):
            DatasetMasks(structures=("lung",), by_source={"kcx": structure})
    source = DatasetMasks(structures=("field", "lung"), by_source={"kcx": "lung"})
    with pytest.raises(InputError, match="does not say which structure the masks of montgomery"):
        source.check(of_sources("montgomery", "kcx"))
