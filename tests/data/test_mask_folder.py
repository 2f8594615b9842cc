"""Masks of a segment run: those that it wrote, all of them, and no others."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

from jaxcxr.data import REPORTED_SHARE, FolderMasks, writing_masks
from jaxcxr.data.mask_folder import INDEX
from jaxcxr.errors import InputError
from jaxcxr.storage import files
from jaxcxr.storage.files import read_json
from tests.data.fakes import encode, make_dataset

LEFT = np.array([[0, 255, 255, 0], [0, 127, 0, 0]], np.uint8)
HEART = np.array([[0, 0, 255, 255], [0, 0, 0, 0]], np.uint8)
IMAGE = encode(np.zeros((2, 4), np.uint8))


def dataset():
    return make_dataset([{"image": IMAGE}])


def segment_run(path, masks, **index):
    (path / "masks").mkdir(parents=True)
    for name, mask in masks.items():
        (path / "masks" / f"{name}.png").write_bytes(encode(mask))
    (path / "masks" / "index.json").write_text(json.dumps({"ids": list(masks), **index}))
    return path


def test_a_segment_run_gives_binary_lung_masks(tmp_path):
    run = segment_run(tmp_path / "run", {"x0": (LEFT == 255) * np.uint8(255)})
    ids = FolderMasks(run).read(dataset(), 0)
    np.testing.assert_array_equal(ids, (LEFT == 255) * 1)


def test_a_segment_run_of_several_structures_is_mapped_to_those_asked_for(tmp_path):
    stored = np.array([[1, 2, 3, 0]], np.uint8)
    structures = ["heart", "left_lung", "right_lung"]
    run = segment_run(tmp_path / "run", {"x0": stored}, structures=structures)
    lungs_first = FolderMasks(run, structures=("lung", "heart"))
    np.testing.assert_array_equal(lungs_first.read(dataset(), 0), [[2, 1, 1, 0]])
    with pytest.raises(InputError, match="not of 'clavicle'"):
        FolderMasks(run, structures=("clavicle",))


def test_missing_ids_are_counted_listed_and_the_command_is_given(tmp_path):
    run = segment_run(tmp_path / "run", {"x0": LEFT})
    data = make_dataset([{"image": IMAGE}] * 14)
    with pytest.raises(
        InputError, match=r"13 of 14 images .*x1, .*x10, \.\.\..*--config\.run=predict"
    ) as error:
        FolderMasks(run).check(data)
    assert "x11" not in str(error.value)


def test_a_listed_mask_whose_file_is_gone_is_missing(tmp_path):
    run = segment_run(tmp_path / "run", {"x0": LEFT})
    (run / "masks" / "x0.png").unlink()
    with pytest.raises(InputError, match="1 of 1 images have no mask"):
        FolderMasks(run).check(dataset())


def test_images_that_the_segment_run_could_not_read_need_no_mask(tmp_path):
    run = segment_run(tmp_path / "run", {"x0": LEFT}, bad_images=["x1"])
    both = make_dataset([{"image": IMAGE}, {"image": b"?"}])
    assert len(FolderMasks(run).fingerprint(both)) == 64


def test_masks_made_from_other_images_of_the_same_ids_are_refused(tmp_path):
    data = dataset()
    hashes = data.image_hashes.tolist()
    FolderMasks(segment_run(tmp_path / "a", {"x0": LEFT}, image_sha256=hashes)).check(data)
    run = segment_run(tmp_path / "b", {"x0": LEFT}, image_sha256=["0" * 64])
    with pytest.raises(InputError, match=r"1 masks .* other images .*: x0"):
        FolderMasks(run).check(data)


def test_the_fingerprint_follows_the_files_of_the_run(tmp_path):
    first = segment_run(tmp_path / "a", {"x0": LEFT})
    same = segment_run(tmp_path / "b", {"x0": LEFT})
    other = segment_run(tmp_path / "c", {"x0": HEART})
    prints = [FolderMasks(run).fingerprint(dataset()) for run in (first, same, other)]
    assert prints[0] == prints[1] != prints[2]


def test_a_folder_without_finished_masks_is_refused(tmp_path):
    with pytest.raises(InputError, match="segment run whose predict has finished"):
        FolderMasks(tmp_path)
    run = segment_run(tmp_path / "run", {})
    (run / "masks" / "index.json").write_text("[1, 2")
    with pytest.raises(InputError, match="is damaged"):
        FolderMasks(run)


def predicted(run, images=3, *, seed=0, masked_images=False, ids=None):
    """(data set, masks) of a prediction that wrote into `run`."""
    data = make_dataset(
        [{"image": encode(np.full((2, 4), n + 1, np.uint8))} for n in range(images)]
    )
    if ids is not None:
        data = dataclasses.replace(data, ids=np.array(ids))
    masks = np.random.default_rng(seed).random((images, 2, 4)) < 0.5
    with writing_masks(run, data, masked_images=masked_images, bad_images=()) as writer:
        for row, mask in enumerate(masks):
            writer.write(row, mask)
    return data, masks


def read(run, data):
    source = FolderMasks(run)
    source.fingerprint(data)
    return np.stack([source.read(data, row) for row in range(len(data))])


def test_the_index_says_what_was_left_out_and_how_masks_were_made(tmp_path):
    data = make_dataset([{"image": encode(np.full((2, 4), n, np.uint8))} for n in range(3)])
    made_with = {"threshold": 0.4, "largest_pieces": 2}
    with writing_masks(
        tmp_path, data, masked_images=False, bad_images=(), made_with=made_with
    ) as writer:
        for row, share in enumerate((0.0, REPORTED_SHARE, 0.2)):
            writer.write(row, np.ones((2, 4), bool), left_out_share=share)
    index = read_json(tmp_path / "masks" / INDEX)
    assert index["left_out"] == writer.left_out == [data.ids[2].item()]
    assert FolderMasks(tmp_path).made_with == made_with
    del index["made_with"], index["left_out"], index["sha256"]  # of an earlier version
    (tmp_path / "masks" / INDEX).write_text(json.dumps(index))
    assert FolderMasks(tmp_path).made_with == {}


def test_what_is_written_is_read(tmp_path):
    data, masks = predicted(tmp_path, masked_images=True)
    np.testing.assert_array_equal(read(tmp_path, data), masks)
    masked = np.asarray(Image.open(tmp_path / "masked" / "x1.png"))
    np.testing.assert_array_equal(masked, 2 * masks[1])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["masked", "masks"]


def test_a_changed_or_swapped_mask_is_named_with_what_to_do(tmp_path):
    data, _ = predicted(tmp_path)
    one, other = (tmp_path / "masks" / f"x{n}.png" for n in (0, 1))
    whole = one.read_bytes()
    one.write_bytes(other.read_bytes())
    message = r"masks/x0\.png is not the one that was written .*--config\.run=predict --workdir="
    with pytest.raises(InputError, match=message):
        FolderMasks(tmp_path).fingerprint(data)
    with pytest.raises(InputError, match=message):
        FolderMasks(tmp_path).read(data, 0)
    one.write_bytes(whole)
    assert FolderMasks(tmp_path).fingerprint(data)


def test_a_changed_index_is_damaged(tmp_path):
    predicted(tmp_path)
    file = tmp_path / "masks" / "index.json"
    index = json.loads(file.read_text())
    changes = {
        "dataset_fingerprint": "0" * 64,
        "empty": ["x9"],
        "bad_images": ["x0"],
        "ids": ["x0", "x1", "x1"],
        "mask_sha357": [],
        "files": ["../x0.png", "x1.png", "x2.png"],
    }
    for name, value in changes.items():
        file.write_text(json.dumps({**index, name: value}))
        with pytest.raises(InputError, match=r"index\.json is damaged \(.*--config\.run=predict"):
            FolderMasks(tmp_path)


def test_a_prediction_that_fails_leaves_the_former_masks(tmp_path):
    data, masks = predicted(tmp_path)
    with (
        pytest.raises(RuntimeError),
        writing_masks(tmp_path, data, masked_images=True, bad_images=()) as writer,
    ):
        writer.write(0, ~masks[0])
        raise RuntimeError
    np.testing.assert_array_equal(read(tmp_path, data), masks)
    assert [path.name for path in tmp_path.iterdir()] == ["masks"]


def test_another_prediction_takes_the_place_of_all_masks(tmp_path):
    predicted(tmp_path, images=4, masked_images=True)
    data, masks = predicted(tmp_path, images=2, seed=1)
    np.testing.assert_array_equal(read(tmp_path, data), masks)
    assert sorted(p.name for p in (tmp_path / "masks").iterdir()) == [
        "index.json",
        "x0.png",
        "x1.png",
    ]
    assert not (tmp_path / "masked").exists()  # those were of other masks


def test_ids_of_any_length_and_writing_have_a_mask(tmp_path):
    ids = ["肺" * 90, "a/b", "index.json", "con"]
    data, masks = predicted(tmp_path, images=4, masked_images=True, ids=ids)
    np.testing.assert_array_equal(read(tmp_path, data), masks)


def test_a_file_that_the_index_does_not_list_is_named_and_not_used(tmp_path, caplog):
    data, masks = predicted(tmp_path)
    files.write_bytes(tmp_path / "masks" / "x7.png", encode(LEFT))
    np.testing.assert_array_equal(read(tmp_path, data), masks)
    assert (
        "contains 1 masks that its index.json does not list, which are not used: x7.png"
        in caplog.text
    )


def test_masks_without_hashes_are_read_and_said_to_be_unchecked(tmp_path, caplog):
    FolderMasks(segment_run(tmp_path / "run", {"x0": LEFT}))
    assert "has no mask_sha256: whether masks have changed cannot be seen" in caplog.text


def test_values_beyond_the_structures_are_named(tmp_path):
    structures = ["left_lung", "right_lung"]
    run = segment_run(tmp_path / "run", {"x0": LEFT}, structures=structures)
    with pytest.raises(InputError, match=r"has the values 0, 127, 255, but .* from 1 to 2"):
        FolderMasks(run).read(dataset(), 0)
