import dataclasses
import errno
import logging
import os

import numpy as np
import pytest
from PIL import Image

from jaxcxr.data import DatasetMasks, FolderMasks, Preprocessing, build_store, derived, store
from jaxcxr.data.preprocessing import prepare
from jaxcxr.errors import InputError
from tests.data.fakes import encode, make_dataset
from tests.data.test_mask_folder import segment_run

LUNG = np.zeros((24, 32), np.uint8)
LUNG[4:20, 4:28] = 255
PLAIN = {"equalise": False, "gamma": 1.0}


def noise(seed: int, shape=(24, 32)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def examples(count=5, mask=LUNG):
    return [{"image": encode(noise(i)), "mask_lung": encode(mask)} for i in range(count)]


MASKS = DatasetMasks()


def build(
    dataset, tmp_path, *, masks=MASKS, max_bad_images=0, cache_dir=None, field="data", **changes
):
    return build_store(
        dataset,
        Preprocessing(**{"image_size": 16, **PLAIN, **changes}),
        masks=masks,
        cache_dir=cache_dir or tmp_path / "cache",
        max_bad_images=max_bad_images,
        field=field,
    )


def test_images_are_squashed_to_the_size_as_pillow_does(tmp_path):
    built = build(make_dataset(examples()), tmp_path)
    assert built.images.shape == built.masks.shape == (5, 16, 16)
    assert built.images.dtype == built.masks.dtype == np.uint8
    expected = Image.fromarray(noise(3)).resize((16, 16), Image.Resampling.BILINEAR)
    np.testing.assert_allclose(built.images[3].astype(int), np.asarray(expected), atol=1)


def test_masks_are_resized_to_the_nearest_pixel(tmp_path):
    mask = LUNG.copy()
    mask[0, 0:2] = 127
    built = build(make_dataset(examples(mask=mask)), tmp_path)
    assert set(np.unique(built.masks)) == {0, 1, 255}
    assert (built.masks[0] == 1).mean() == pytest.approx((LUNG > 0).mean(), abs=0.05)


def test_arrays_are_what_the_pipeline_reads(tmp_path):
    arrays = build(make_dataset(examples(), labels=[0, 1, 0, 1, 1]), tmp_path).arrays()
    assert arrays["label"].tolist() == [0, 1, 0, 1, 1]
    assert list(arrays) == ["image", "label", "mask"]
    without = build(make_dataset(examples()), tmp_path, masks=None)
    assert without.masks is None and list(without.arrays()) == ["image", "label"]


def test_a_cached_store_is_read_without_decoding_anything(tmp_path):
    dataset = make_dataset(examples())
    first = build(dataset, tmp_path)
    blind = dataclasses.replace(dataset, examples=[])
    again = build(blind, tmp_path)
    assert again.path == first.path
    np.testing.assert_array_equal(again.images, first.images)
    np.testing.assert_array_equal(again.masks, first.masks)


@pytest.mark.parametrize(
    "change", [{"image_size": 8}, {"equalise": True}, {"gamma": 0.5}, {"masks": None}]
)
def test_every_setting_has_its_own_cache(tmp_path, change):
    dataset = make_dataset(examples())
    assert build(dataset, tmp_path).path != build(dataset, tmp_path, **change).path


def test_other_pixels_or_code_have_their_own_cache(tmp_path, monkeypatch):
    base = build(make_dataset(examples()), tmp_path).path
    assert build(make_dataset(examples(4)), tmp_path).path != base
    monkeypatch.setattr(store, "CODE_VERSION", -1)
    assert build(make_dataset(examples()), tmp_path).path != base


def test_nothing_but_the_finished_store_is_left_behind(tmp_path):
    built = build(make_dataset(examples()), tmp_path)
    folders = [path for path in (tmp_path / "cache").iterdir() if path.is_dir()]
    assert folders == [built.path]


@pytest.mark.parametrize("name", ["images.u8", "masks.u8", "meta.json", "reference.png"])
def test_damage_to_a_prepared_data_set_is_noticed_and_it_is_made_again(tmp_path, caplog, name):
    dataset = make_dataset(examples())
    first = build(dataset, tmp_path, match="first")
    expected, whole = np.array(first.images), (first.path / name).read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 4
    for damaged in (bytes(flipped), whole[:-1], b"", None):
        caplog.clear()
        (first.path / name).unlink()
        if damaged is not None:
            (first.path / name).write_bytes(damaged)
        np.testing.assert_array_equal(build(dataset, tmp_path, match="first").images, expected)
        assert name in caplog.text and "preparing them again" in caplog.text
        assert (first.path / name).read_bytes() == whole


def test_a_prepared_data_set_is_read_where_nobody_can_write(tmp_path, monkeypatch):
    dataset = make_dataset(examples())
    expected = np.array(build(dataset, tmp_path).images)

    def refuse(path):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(derived, "locked", refuse)
    np.testing.assert_array_equal(build(dataset, tmp_path).images, expected)
    shared = build_store(
        dataset,
        Preprocessing(image_size=16, **PLAIN),
        masks=MASKS,
        cache_dir=tmp_path / "mine",
        max_bad_images=0,
        shared_dir=tmp_path / "cache",
    )
    assert shared.path.parent == tmp_path / "cache" and not (tmp_path / "mine").exists()
    with pytest.raises(InputError, match="Read-only file system.*data.data_dir"):
        build(dataset, tmp_path, gamma=0.5)


def test_unreadable_images_are_all_named_and_counted(tmp_path):
    broken = examples()
    broken[1]["image"] = b"?"
    broken[3]["image"] = broken[3]["image"][:100]
    with pytest.raises(InputError, match=r"2 of 5 images .*x1 is .*x3 is .*max_bad_images=2"):
        build(make_dataset(broken), tmp_path)
    with pytest.raises(InputError, match="2 of 5 images"):
        build(make_dataset(broken), tmp_path, max_bad_images=1)
    with pytest.raises(InputError, match=r"--config\.evaluate\.data\.max_bad_images=2"):
        build(make_dataset(broken), tmp_path, field="evaluate.data")


def test_allowed_unreadable_images_are_left_out_with_a_warning(tmp_path, caplog):
    broken = examples()
    broken[1]["image"] = b"?"
    broken[3]["mask_lung"] = b"?"
    with caplog.at_level(logging.WARNING):
        built = build(make_dataset(broken), tmp_path, max_bad_images=2)
    assert built.dataset.ids.tolist() == ["x0", "x2", "x4"]
    assert list(built.bad_ids) == ["x1", "x3"]
    np.testing.assert_allclose(
        built.images[2].astype(int),
        prepare(noise(4), None, Preprocessing(image_size=16, **PLAIN), name="").image,
    )
    assert "2 of 5 images are unreadable" in caplog.text


def test_a_store_with_allowed_bad_images_is_refused_when_they_are_no_longer_allowed(tmp_path):
    broken = make_dataset([*examples(), {"image": b"?", "mask_lung": b"?"}])
    build(broken, tmp_path, max_bad_images=1)
    with pytest.raises(InputError, match="1 of 6 images"):
        build(broken, tmp_path)


def test_an_image_that_the_segment_run_could_not_read_counts_as_bad(tmp_path):
    masks = {f"x{i}": LUNG for i in range(4)}
    run = segment_run(tmp_path / "run", masks, bad_images=["x4"])
    built = build(make_dataset(examples()), tmp_path, masks=FolderMasks(run), max_bad_images=1)
    assert list(built.bad_ids) == ["x4"]


def test_no_readable_image_at_all_is_refused(tmp_path):
    with pytest.raises(InputError, match="no image of the data set is left"):
        build(make_dataset([{"image": b"?"}]), tmp_path, masks=None, max_bad_images=9)


def test_a_mask_of_another_shape_is_named_with_both_sizes(tmp_path):
    odd = examples()
    odd[2]["mask_lung"] = encode(np.full((32, 32), 255, np.uint8))
    with pytest.raises(InputError, match=r"1 masks do not fit.*x2: the mask is 32x32.*32x24"):
        build(make_dataset(odd), tmp_path, max_bad_images=5)


def some_empty():
    empty = examples()
    empty[1]["mask_lung"] = empty[2]["mask_lung"] = encode(np.zeros_like(LUNG))
    return make_dataset(empty)


def test_empty_lung_masks_are_an_error_by_default(tmp_path):
    with pytest.raises(InputError, match="2 images have an empty lung mask: x1, x2"):
        build(some_empty(), tmp_path)


@pytest.mark.parametrize("on_empty", ["error", "drop"])
def test_where_all_lung_masks_are_empty_the_masks_are_named_and_no_way_around(tmp_path, on_empty):
    empty = examples()
    for example in empty:
        example["mask_lung"] = encode(np.zeros_like(LUNG))
    with pytest.raises(InputError, match="all 5 lung masks are empty") as caught:
        build(make_dataset(empty), tmp_path, masks=DatasetMasks(on_empty=on_empty))
    assert "on_empty" not in str(caught.value)


def test_images_with_empty_lung_masks_can_be_dropped(tmp_path):
    built = build(some_empty(), tmp_path, masks=DatasetMasks(on_empty="drop"))
    assert built.dataset.ids.tolist() == ["x0", "x3", "x4"]
    assert built.empty_ids == ("x1", "x2")


def test_images_with_empty_lung_masks_can_be_used_whole(tmp_path):
    built = build(some_empty(), tmp_path, masks=DatasetMasks(on_empty="whole_image"))
    assert built.masks[1].min() == built.masks[1].max() == 1
    assert built.empty_ids == ("x1", "x2")


def test_a_heart_alone_does_not_make_a_lung_mask(tmp_path):
    data = make_dataset(
        [{"image": encode(noise(0)), "mask_heart": encode(LUNG), "mask_lung": encode(0 * LUNG)}]
    )
    with pytest.raises(InputError, match="empty lung mask"):
        build(data, tmp_path, masks=DatasetMasks(structures=("heart", "lung")))
    built = build(data, tmp_path, masks=DatasetMasks(structures=("heart",)))
    assert built.structures == ("heart",)


def test_masks_of_a_segment_run_are_joined_by_id(tmp_path):
    masks = {f"x{i}": np.roll(LUNG, i, axis=1) for i in reversed(range(5))}
    run = segment_run(tmp_path / "run", masks)
    built = build(make_dataset(examples()), tmp_path, masks=FolderMasks(run), image_size=32)
    assert [int(mask.argmax(axis=1).max()) for mask in built.masks] == [4, 5, 6, 7, 8]


def test_a_full_disk_leaves_nothing_behind_and_is_said_clearly(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="disk is full.*start the same command again"):
        build(make_dataset(examples()), tmp_path)
    assert not [p for p in (tmp_path / "cache").iterdir() if p.name.startswith(".building")]


def test_channels_are_stored_and_histograms_follow_the_first_readable_image(tmp_path):
    broken = [{"image": b"no image", "mask_lung": encode(LUNG)}]
    dataset = make_dataset(broken + examples(3))
    settings = {"enhance": ("original", "equalise"), "match": "first", "max_bad_images": 1}
    # Made, read again.
    for built in (build(dataset, tmp_path, **settings), build(dataset, tmp_path, **settings)):
        assert built.images.shape == (3, 16, 16, 2) and built.masks.shape == (3, 16, 16)
        reference = np.asarray(Image.open(built.reference))
        np.testing.assert_array_equal(built.images[0, ..., 0], reference)
        for image in built.images[1:, ..., 0]:
            np.testing.assert_allclose(np.sort(image.ravel()), np.sort(reference.ravel()), atol=12)
    assert build(dataset, tmp_path, max_bad_images=1).reference is None


def test_images_of_few_grey_levels_are_counted_and_named(tmp_path, caplog):
    dark = [{"image": encode(noise(i, (64, 64)) // (1, 9, 8)[i])} for i in range(3)]
    for _ in range(2):  # made, and read again
        caplog.clear()
        build(make_dataset(dark), tmp_path, masks=None, image_size=64)
        assert (
            "2 of 3 images show the networks fewer than 64 of 256 grey levels: x1, x2"
            in caplog.text
        )
