"""jsrt_scr: the headerless .IMG form, PNG forms, SCR masks and folds (all files synthetic)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.tfds_builders import builds
from tfds_builders.jsrt_scr import raw
from tfds_builders.jsrt_scr.jsrt_scr_dataset_builder import FOLDS, STRUCTURES, Builder


def write_img(path: Path, stored: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    stored.astype(">u2").tofile(path)


def stored_pixels(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 4096, (2048, 2048), dtype=np.uint16)


def structure_mask(index: int) -> np.ndarray:
    mask = np.zeros((16, 16), bool)
    mask[2:12, index * 3 : index * 3 + 2] = True
    return mask


def write_scr(root: Path, name: str, fold: str = "fold1") -> None:
    for index, structure in enumerate(STRUCTURES.values()):
        path = root / "jsrt" / "scr" / fold / "masks" / structure / f"{name}.gif"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(structure_mask(index).astype(np.uint8) * 255).save(path)


def write_png_set(root: Path, names=("JPCLN001",), *, pixels: np.ndarray | None = None) -> Path:
    """A set whose images are small PNG files."""
    for seed, name in enumerate(names):
        path = root / "jsrt" / "images" / f"{name}.png"
        if pixels is None:
            builds.write_image(path, seed=seed)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(builds.encode(pixels))
        write_scr(root, name)
    return root


def test_img_round_trip_is_big_endian_and_inverted(tmp_path):
    stored = stored_pixels()
    stored[0, :3] = (0, 1, 4095)
    path = tmp_path / "JPCLN001.IMG"
    write_img(path, stored)
    assert path.stat().st_size == 8_388_608
    assert path.read_bytes()[:6] == b"\x00\x00\x00\x01\x0f\xff"
    pixels = raw.read_img(path)
    assert pixels.dtype == np.uint16 and pixels.shape == (2048, 2048)
    np.testing.assert_array_equal(pixels[0, :3], (4095, 4094, 0))
    np.testing.assert_array_equal(pixels, 4095 - stored)


@pytest.mark.parametrize("size", [0, 8_388_607, 8_388_609])
def test_img_of_another_size_is_refused(tmp_path, size):
    path = tmp_path / "JPCLN001.IMG"
    path.write_bytes(bytes(size))
    with pytest.raises(ValueError, match=rf"JPCLN001\.IMG: {size} bytes, .* exactly 8388608"):
        raw.read_img(path)


def test_little_endian_img_is_refused_since_it_exceeds_12_bits(tmp_path):
    path = tmp_path / "JPCLN001.IMG"
    stored_pixels().astype("<u2").tofile(path)
    with pytest.raises(ValueError, match=r"largest value 65\d{3} is beyond 4095"):
        raw.read_img(path)


def test_builder_stores_an_img_as_a_16_bit_png_with_all_masks(tmp_path):
    stored = stored_pixels()
    write_img(tmp_path / "jsrt" / "images" / "All247images" / "JPCNN093.IMG", stored)
    write_scr(tmp_path, "JPCNN093", "fold2")
    (example,) = builds.read(builds.prepare(Builder, tmp_path, tmp_path)).values()
    image = builds.pixels(example["image"])
    assert image.dtype == np.uint16
    np.testing.assert_array_equal(image, 4095 - stored)
    for index, feature in enumerate(STRUCTURES):
        np.testing.assert_array_equal(
            builds.pixels(example[feature]), structure_mask(index).astype(np.uint8) * 255
        )
    lungs = builds.pixels(example["mask_lung"]) > 0
    left, right = (builds.pixels(example[f"mask_{side}_lung"]) > 0 for side in ("left", "right"))
    np.testing.assert_array_equal(lungs, left | right)
    assert {name: value for name, value in example.items() if isinstance(value, str)} == {
        "id": "jsrt-JPCNN093",
        "patient_id": "jsrt-JPCNN093",
        "strict_patient_id": "jsrt-JPCNN093",
        "label": "",
        "finding": "non-nodule",
        "view": "PA",
        "source": "jsrt",
        "age_group": "adult",
        "scr_fold": "fold2",
    }


def test_png_in_display_polarity_is_stored_untouched(tmp_path):
    manual = write_png_set(tmp_path, ["JPCLN001", "JPCNN001"])
    examples = builds.read(builds.prepare(Builder, tmp_path, manual))
    assert builds.column(examples, "finding") == {
        "jsrt-JPCLN001": "nodule",
        "jsrt-JPCNN001": "non-nodule",
    }
    path = manual / "jsrt" / "images" / "JPCLN001.png"
    assert examples["jsrt-JPCLN001"]["image"] == path.read_bytes()


@pytest.mark.parametrize("dtype, white", [(np.uint8, 255), (np.uint16, 4095)])
def test_png_in_stored_polarity_is_inverted_at_its_depth(tmp_path, dtype, white):
    stored = np.array([[0, 1], [white - 1, white]], dtype)
    manual = write_png_set(tmp_path, pixels=stored)
    builder = builds.prepare(Builder, tmp_path, manual, png_polarity="stored")
    (example,) = builds.read(builder).values()
    image = builds.pixels(example["image"])
    assert image.dtype == dtype
    np.testing.assert_array_equal(image, white - stored)


def test_colour_png_cannot_be_inverted(tmp_path):
    manual = write_png_set(tmp_path, pixels=np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(ValueError, match=r"JPCLN001\.png: mode RGB, expected a grey PNG"):
        builds.prepare(Builder, tmp_path, manual, png_polarity="stored")


def test_options():
    assert Builder.configure().name == "png_polarity_display"
    with pytest.raises(TypeError, match="known options: png_polarity"):
        Builder.configure(polarity="stored")


def test_images_without_scr_masks_are_counted(tmp_path):
    manual = write_png_set(tmp_path)
    builds.write_image(manual / "jsrt" / "images" / "JPCNN001.png")
    builder = builds.prepare(Builder, tmp_path, manual)
    assert list(builds.read(builder)) == ["jsrt-JPCLN001"]
    assert builder.info.metadata["rejected"] == {"no SCR masks": 1}


def test_a_single_missing_mask_is_an_error_that_names_it(tmp_path):
    manual = write_png_set(tmp_path)
    (manual / "jsrt/scr/fold1/masks/heart/JPCLN001.gif").unlink()
    with pytest.raises(ValueError, match=r"JPCLN001\.gif is missing in heart"):
        builds.prepare(Builder, tmp_path, manual)


def test_masks_in_both_folds_are_an_error(tmp_path):
    manual = write_png_set(tmp_path)
    for fold in FOLDS:
        write_scr(manual, "JPCLN001", fold)
    with pytest.raises(ValueError, match="both folds have masks of JPCLN001"):
        builds.prepare(Builder, tmp_path, manual)


def test_one_image_in_two_forms_is_an_error(tmp_path):
    manual = write_png_set(tmp_path)
    (manual / "jsrt" / "images" / "JPCLN001.IMG").write_bytes(b"")
    with pytest.raises(ValueError, match=r"JPCLN001\.IMG and .*JPCLN001\.png are one image"):
        builds.prepare(Builder, tmp_path, manual)


@pytest.mark.parametrize("present", [(), ("jsrt/images",), ("jsrt/images", "jsrt/scr")])
def test_missing_files_are_an_error_that_shows_the_tree(tmp_path, present):
    for folder in ("other", *present):
        (tmp_path / "manual" / folder).mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=r"JSRT forbids(.*\n)+ +left clavicle/"):
        builds.prepare(Builder, tmp_path, tmp_path / "manual")


def test_needs_no_tensorflow(tmp_path):
    manual = write_png_set(tmp_path)
    assert builds.count_without_tensorflow("jsrt_scr", tmp_path, manual) == 1


def test_masks_of_an_image_in_two_sizes_are_named(tmp_path):
    manual = write_png_set(tmp_path)
    path = manual / "jsrt/scr/fold1/masks/left lung/JPCLN001.gif"
    Image.fromarray(np.kron(structure_mask(0), np.ones((2, 1), np.uint8)) * np.uint8(255)).save(
        path
    )
    with pytest.raises(
        ValueError, match=r"left lung/JPCLN001\.gif is 16 x 32 but .*heart/JPCLN001\.gif is 16 x 16"
    ):
        builds.prepare(Builder, tmp_path, manual)


@pytest.mark.parametrize("extra", [0, 1])
def test_one_mask_as_left_and_right_lung_is_said(tmp_path, extra):
    manual = write_png_set(tmp_path, ("JPCLN001", "JPCLN002", "JPCLN003"))
    large = np.zeros((16, 16), np.uint8)
    large[2:12, 2:12] = 255
    for name in ("JPCLN001", "JPCLN002"):
        for side in ("left", "right"):
            Image.fromarray(large).save(manual / f"jsrt/scr/fold1/masks/{side} lung/{name}.gif")
            large[2, 2 : 2 + extra] = 0  # almost the same
    builder = builds.prepare(Builder, tmp_path, manual)
    assert builds.metadata(builder)["notices"] == [
        "2 of 3 images have the same mask as left and as right lung: JPCLN001, JPCLN002"
    ]
