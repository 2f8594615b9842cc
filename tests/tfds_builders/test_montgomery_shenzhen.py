"""montgomery_shenzhen: three folder layouts, union of lung masks, findings, ages."""

from __future__ import annotations

import collections
from pathlib import Path

import numpy as np
import pytest

from tests.tfds_builders import builds
from tfds_builders.montgomery_shenzhen import layouts
from tfds_builders.montgomery_shenzhen.montgomery_shenzhen_dataset_builder import Builder

SIZE = (8, 6)


def half(side: str) -> np.ndarray:
    """Mask of the left or right half of the picture, 0/255."""
    mask = np.zeros(SIZE, np.uint8)
    mask[2:6, {"left": slice(0, 2), "right": slice(4, 6)}[side]] = 255
    return mask


def write_mask(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(builds.encode(pixels))


def write_pack(root: Path, names, mask=None) -> Path:
    for seed, name in enumerate(names):
        builds.write_image(root / "lungs" / "cxr" / f"{name}.jpg", seed=seed, size=SIZE)
        pixels = half("left") if mask is None else mask
        write_mask(root / "lungs" / "masks" / f"{name}.png", pixels)
    return root


def write_montgomery(root: Path, name: str, *, reading: str | None = None) -> Path:
    folder = root / "lungs" / "MontgomerySet"
    builds.write_image(folder / "CXR_png" / f"{name}.png", size=SIZE)
    for side in ("left", "right"):
        write_mask(folder / "ManualMask" / f"{side}Mask" / f"{name}.png", half(side) > 0)
    if reading is not None:
        (folder / "ClinicalReadings").mkdir(exist_ok=True)
        (folder / "ClinicalReadings" / f"{name}.txt").write_text(reading)
    return root


def write_shenzhen(root: Path, name: str, *, reading: str | None = None) -> Path:
    folder = root / "lungs" / "ChinaSet_AllFiles"
    builds.write_image(folder / "CXR_png" / f"{name}.png", size=SIZE)
    write_mask(folder / "mask" / f"{name}_mask.png", half("left") | half("right"))
    if reading is not None:
        (folder / "ClinicalReadings").mkdir(exist_ok=True)
        (folder / "ClinicalReadings" / f"{name}.txt").write_text(reading)
    return root


def test_pack_layout(tmp_path):
    manual = write_pack(tmp_path, ["MCUCXR_0001_0", "CHNCXR_0327_1"])
    examples = builds.read(builds.prepare(Builder, tmp_path, manual))
    first, second = (
        examples["montgomery-MCUCXR_0001_0"],
        examples["shenzhen-CHNCXR_0327_1"],
    )
    texts = {name: value for name, value in second.items() if isinstance(value, str)}
    assert texts == {
        "id": "shenzhen-CHNCXR_0327_1",
        "patient_id": "shenzhen-0327",
        "strict_patient_id": "shenzhen-0327",
        "label": "",
        "finding": "tuberculosis",
        "view": "PA",
        "source": "shenzhen",
        "age_group": "",
    }
    assert (first["finding"], first["source"]) == ("normal", "montgomery")
    assert first["patient_id"] == "montgomery-0001"
    assert first["image"] == (manual / "lungs" / "cxr" / "MCUCXR_0001_0.jpg").read_bytes()
    np.testing.assert_array_equal(builds.pixels(first["mask_lung"]), half("left"))


def test_montgomery_original_layout_joins_left_and_right_lung(tmp_path):
    manual = write_montgomery(tmp_path, "MCUCXR_0103_1", reading="Patient's Age: 031Y\nTB\n")
    (example,) = builds.read(builds.prepare(Builder, tmp_path, manual)).values()
    np.testing.assert_array_equal(builds.pixels(example["mask_lung"]), half("left") | half("right"))
    assert (example["finding"], example["age_group"]) == ("tuberculosis", "adult")


def test_shenzhen_original_layout(tmp_path):
    manual = write_shenzhen(tmp_path, "CHNCXR_0025_0", reading="Male, 9 months\nnormal")
    (example,) = builds.read(builds.prepare(Builder, tmp_path, manual)).values()
    np.testing.assert_array_equal(builds.pixels(example["mask_lung"]), half("left") | half("right"))
    assert (example["finding"], example["age_group"]) == ("normal", "paediatric")


@pytest.mark.parametrize(
    "reading, years",
    [
        ("Patient's Sex: F\nPatient's Age: 031Y\nnormal", "31"),
        ("Patient's Age: 004Y", "4"),
        ("male 45yrs\nnormal", "45"),
        ("Female , 20 yrs.\nbilateral PTB", "20"),
        ("male 1 year", "1"),
        ("Male, 6 months", "0"),
        ("Patient's Age: 009M", "0"),
        ("female\n2 cm nodule in 3rd rib", ""),
        ("", ""),
    ],
)
def test_age_in_a_clinical_reading(reading, years):
    assert layouts.age_in_years(reading) == years


def test_layouts_are_pooled_and_the_original_goes_before_the_small_copy(tmp_path):
    manual = write_pack(tmp_path, ["MCUCXR_0001_0", "CHNCXR_0001_0"])
    write_montgomery(manual, "MCUCXR_0001_0")
    builder = builds.prepare(Builder, tmp_path, manual)
    examples = builds.read(builder)
    assert sorted(examples) == ["montgomery-MCUCXR_0001_0", "shenzhen-CHNCXR_0001_0"]
    original = manual / "lungs" / "MontgomerySet" / "CXR_png" / "MCUCXR_0001_0.png"
    assert examples["montgomery-MCUCXR_0001_0"]["image"] == original.read_bytes()
    assert builder.info.metadata["rejected"] == {"same name in another layout": 1}


def test_images_without_mask_or_with_other_names_are_counted(tmp_path):
    manual = write_pack(tmp_path, ["CHNCXR_0001_0"])
    for name in ("CHNCXR_0002_0.jpg", "CHNCXR_0003_2.jpg", "photo.jpg"):
        builds.write_image(manual / "lungs" / "cxr" / name)
    (manual / "lungs" / "cxr" / "Thumbs.db").write_bytes(b"")
    builder = builds.prepare(Builder, tmp_path, manual)
    assert builder.info.metadata["rejected"] == {
        "no mask": 1,
        "not named MCUCXR_dddd_0|1 or CHNCXR_dddd_0|1": 2,
    }


@pytest.mark.parametrize("inside", [1, 255])
def test_masks_of_0_and_1_or_of_grey_edges_become_0_and_255(tmp_path, inside):
    pixels = np.zeros(SIZE, np.uint8)
    pixels[3, 3] = inside
    if inside == 255:
        pixels[0] = [10, 127, 128, 200, 0, 0]  # as a resize leaves them
    manual = write_pack(tmp_path, ["CHNCXR_0001_0"], mask=pixels)
    (example,) = builds.read(builds.prepare(Builder, tmp_path, manual)).values()
    expected = np.zeros(SIZE, np.uint8)
    expected[3, 3] = 255
    if inside == 255:
        expected[0, 2:4] = 255
    np.testing.assert_array_equal(builds.pixels(example["mask_lung"]), expected)


def test_a_mask_of_another_size_is_an_error_with_both_sizes(tmp_path):
    manual = write_pack(tmp_path, ["CHNCXR_0001_0"], mask=np.zeros((4, 3), np.uint8))
    with pytest.raises(ValueError, match=r"CHNCXR_0001_0\.png is 3 x 4 but .*\.jpg is 6 x 8"):
        builds.prepare(Builder, tmp_path, manual)


@pytest.mark.parametrize("damaged", ["cxr/CHNCXR_0001_0.jpg", "masks/CHNCXR_0001_0.png"])
def test_a_damaged_file_is_an_error_that_names_it(tmp_path, damaged):
    manual = write_pack(tmp_path, ["CHNCXR_0001_0"])
    (manual / "lungs" / damaged).write_bytes(b"no image")
    with pytest.raises(ValueError, match=rf"{Path(damaged).name}: cannot be read as an image"):
        builds.prepare(Builder, tmp_path, manual)


@pytest.mark.parametrize("folder", ["", "lungs", "lungs/cxr"])
def test_nothing_there_is_an_error_that_shows_the_three_trees(tmp_path, folder):
    (tmp_path / "manual" / folder).mkdir(parents=True)
    with pytest.raises(FileNotFoundError) as error:
        builds.prepare(Builder, tmp_path, tmp_path / "manual")
    for part in (
        "MontgomerySet/",
        "ManualMask/leftMask/",
        "ChinaSet_AllFiles/",
        "lungs/\n    cxr/",
    ):
        assert part in str(error.value)


def test_needs_no_tensorflow(tmp_path):
    manual = write_pack(tmp_path, ["CHNCXR_0001_0", "MCUCXR_0001_1"])
    assert builds.count_without_tensorflow("montgomery_shenzhen", tmp_path, manual) == 2


def test_real_pack(real_data, tmp_path):
    builder = builds.prepare(Builder, tmp_path, real_data)
    examples = builds.read(builder)
    count = collections.Counter(e["source"] for e in examples.values())
    assert count == {"montgomery": 110, "shenzhen": 120}
    assert len({e["patient_id"] for e in examples.values()}) == 230
    assert builder.info.metadata["rejected"] == {}
    for example in list(examples.values())[::23]:
        mask = builds.pixels(example["mask_lung"])
        assert mask.shape == builds.pixels(example["image"]).shape == (512, 512)
        assert set(np.unique(mask)) == {0, 255}
        assert 0.05 < (mask > 0).mean() < 0.6


@pytest.mark.parametrize(
    "moved", ["lungs/cxr/MCUCXR_0001_0.dcm", "lungs/cxr/part2/MCUCXR_0001_0.jpg"]
)
def test_an_image_that_is_not_read_and_a_mask_without_image_are_faults(tmp_path, moved):
    root = write_pack(tmp_path, ["MCUCXR_0001_0", "MCUCXR_0002_0"])
    (root / moved).parent.mkdir(exist_ok=True)
    (root / "lungs/cxr/MCUCXR_0001_0.jpg").rename(root / moved)
    (root / "lungs/cxr/Thumbs.db").write_bytes(b"x")
    write_mask(root / "lungs/masks/MCUCXR_0003_0.png", half("left"))
    pairs, rejected = layouts.find_pairs(root)
    assert list(pairs) == ["MCUCXR_0002_0"]
    assert rejected.first_names == {
        layouts.NO_IMAGE.text: ["lungs/masks/MCUCXR_0003_0.png"],
        layouts.NOT_READ.text: [moved.removeprefix("lungs/cxr/")],
    }
    assert rejected.faults == [layouts.NOT_READ.text, layouts.NO_IMAGE.text]


@pytest.mark.parametrize("extension", ["tif", "bmp"])
def test_tiff_and_bmp_images_are_read(tmp_path, extension):
    root = write_pack(tmp_path, ["MCUCXR_0001_0"])
    image = root / "lungs/cxr/MCUCXR_0001_0.jpg"
    data = builds.encode(np.zeros(SIZE, np.uint8), kind={"tif": "TIFF"}.get(extension, "BMP"))
    image.with_suffix(f".{extension}").write_bytes(data)
    image.unlink()
    examples = builds.read(builds.prepare(Builder, tmp_path, root))
    assert examples["montgomery-MCUCXR_0001_0"]["image"] == data


def test_one_mask_as_left_and_right_lung_is_said(tmp_path):
    for name in ("MCUCXR_0001_0", "MCUCXR_0002_0"):
        manual = write_montgomery(tmp_path, name)
    folder = manual / "lungs/MontgomerySet/ManualMask"
    write_mask(folder / "leftMask/MCUCXR_0002_0.png", half("right") > 0)
    builder = builds.prepare(Builder, tmp_path, manual)
    assert builds.metadata(builder)["notices"] == [
        "1 of 2 images have the same mask as left and as right lung: MCUCXR_0002_0"
    ]


@pytest.mark.parametrize("name", ["MCUCXR_0001_0", "CHNCXR_0327_1"])
def test_a_mask_may_be_named_as_its_image_or_with_mask_behind_that(tmp_path, name):
    kept = write_shenzhen(write_pack(tmp_path, [name]), "CHNCXR_0001_0") / "lungs"
    before = builds.read(builds.prepare(Builder, tmp_path, tmp_path))
    (kept / "masks" / f"{name}.png").rename(kept / "masks" / f"{name}_mask.png")
    original = kept / "ChinaSet_AllFiles" / "mask"
    (original / "CHNCXR_0001_0_mask.png").rename(original / "CHNCXR_0001_0.png")
    renamed = builds.prepare(Builder, tmp_path / "renamed", tmp_path)
    assert builds.read(renamed) == before
    assert not builds.metadata(renamed)["rejected"]


def test_two_masks_of_one_image_are_an_error(tmp_path):
    root = write_pack(tmp_path, ["MCUCXR_0001_0"])
    write_mask(root / "lungs" / "masks" / "MCUCXR_0001_0_mask.png", half("right"))
    with pytest.raises(ValueError, match="are masks of one image: keep the right one"):
        builds.prepare(Builder, tmp_path, root)


def test_two_files_of_one_image_are_a_copy_or_refused(tmp_path):
    manual = write_pack(tmp_path, ["CHNCXR_0001_0", "CHNCXR_0002_0"])
    first, other = (manual / f"lungs/cxr/CHNCXR_0001_0.{ending}" for ending in ("jpg", "jpeg"))
    other.write_bytes(first.read_bytes())
    builder = builds.prepare(Builder, tmp_path, manual)
    assert len(builds.read(builder)) == 2
    assert builds.metadata(builder)["rejected"] == {"same file under another ending": 1}
    assert builds.metadata(builder)["faults"] == []
    builds.write_image(other.with_suffix(".png"), seed=9, size=SIZE)
    with pytest.raises(
        ValueError, match=r"0001_0\.jpe?g and .*0001_0\.png are one image and differ"
    ):
        builds.prepare(Builder, tmp_path / "again", manual)
