"""qatar_radiography: releases, classes, half-made folders, lung masks."""

from __future__ import annotations

import collections
from pathlib import Path

import numpy as np
import pytest

from tests.tfds_builders import builds
from tests.tfds_builders.qatar_files import LATEST, NEW, OLD, RELEASES, write_mask, write_release
from tfds_builders.qatar_radiography.qatar_radiography_dataset_builder import Builder


@pytest.mark.parametrize("release", RELEASES)
def test_every_release_gives_the_same_classes(tmp_path, release):
    files = RELEASES[release]
    manual = write_release(tmp_path, files)
    builder = builds.prepare(Builder, tmp_path, manual)
    examples = builds.read(builder)
    mark = "-" if "2021" in release else "_"
    expected = {
        f"qatar_radiography-COVID{mark}1": "covid19",
        f"qatar_radiography-COVID{mark}134": "covid19",
        f"qatar_radiography-Normal{mark}3": "normal",
        f"qatar_radiography-Viral_Pneumonia{mark}2": "viral",
    }
    if "2021" in release:
        expected["qatar_radiography-Lung_Opacity-7"] = ""
    assert builds.column(examples, "label") == expected
    findings = builds.column(examples, "finding")
    assert findings == {key: label or "lung_opacity" for key, label in expected.items()}
    for key, name in zip(expected, files, strict=True):
        assert examples[key]["image"] == (manual / name).read_bytes()
    assert builds.metadata(builder)["release"] == release[:4]
    counts = {"covid19": 2, "normal": 1, "viral": 1}
    if "2021" in release:
        counts["lung_opacity"] = 1
    assert builds.metadata(builder)["findings"] == counts
    assert builds.metadata(builder)["kept"] == sum(counts.values())


def test_every_text_is_set(tmp_path):
    examples = builds.read(builds.prepare(Builder, tmp_path, write_release(tmp_path)))
    example = examples["qatar_radiography-Viral_Pneumonia-2"]
    assert {name: value for name, value in example.items() if name != "image"} == {
        "id": "qatar_radiography-Viral_Pneumonia-2",
        "patient_id": "qatar_radiography-image_Viral_Pneumonia-2",
        "strict_patient_id": "qatar-kcx-unknown",
        "label": "viral",
        "finding": "viral",
        "view": "AP",
        "source": "qatar-kcx",
        "age_group": "paediatric",
        "url": "",
    }


@pytest.mark.parametrize(
    "name",
    [
        "COVID-1.jpg",
        "COVID-01.png",
        "COVID_1.png",
        "COVID-19.metadata.png",
        "COVID (1) copy.png",
        "COVID--1.png",
        "Normal-1.png",
        "readme.txt",
    ],
)
def test_a_file_of_another_name_is_refused(tmp_path, name):
    manual = write_release(tmp_path)
    (manual / NEW / "COVID" / "images" / name).write_bytes(b"x")
    with pytest.raises(ValueError, match=rf"1 files in .* \('COVID-1\.png'\): {name[:5]}.*\. Move"):
        builds.prepare(Builder, tmp_path, manual)


def test_a_number_of_2021_is_not_taken_for_the_name_of_2020(tmp_path):
    files = [*LATEST, f"{NEW}/COVID/images/COVID-19.png", f"{NEW}/COVID/images/COVID-191.png"]
    examples = builds.read(builds.prepare(Builder, tmp_path, write_release(tmp_path, files)))
    assert {"qatar_radiography-COVID-19", "qatar_radiography-COVID-191"} < set(examples)


def test_traces_of_macos_are_passed_over(tmp_path):
    manual = write_release(tmp_path)
    (manual / NEW / "COVID" / ".DS_Store").write_bytes(b"x")
    (manual / NEW / "COVID" / "images" / "._COVID-1.png").write_bytes(b"x")
    assert len(builds.read(builds.prepare(Builder, tmp_path, manual))) == 5


@pytest.mark.parametrize("option, label", [("left_out", ""), ("class", "lung_opacity")])
def test_lung_opacity_is_a_class_if_asked_for(tmp_path, option, label):
    manual = write_release(tmp_path)
    examples = builds.read(builds.prepare(Builder, tmp_path, manual, lung_opacity=option))
    example = examples["qatar_radiography-Lung_Opacity-7"]
    assert (example["label"], example["finding"]) == (label, "lung_opacity")


def test_lung_opacity_may_be_absent_unless_it_is_a_class(tmp_path):
    manual = write_release(tmp_path, LATEST[:4])
    assert len(builds.read(builds.prepare(Builder, tmp_path, manual))) == 4
    with pytest.raises(FileNotFoundError, match=r"lacks Lung_Opacity/; it has COVID, Normal, Vir"):
        builds.prepare(Builder, tmp_path, manual, lung_opacity="class")


@pytest.mark.parametrize("given", ["nothing", "another folder", "an empty release"])
def test_a_wrong_folder_is_an_error_that_shows_both_trees(tmp_path, given):
    path = {"nothing": "x", "another folder": "qatar/COVID", "an empty release": NEW}[given]
    (tmp_path / "manual" / path).mkdir(parents=True)
    with pytest.raises(FileNotFoundError) as error:
        builds.prepare(Builder, tmp_path, tmp_path / "manual")
    problem = {
        "nothing": "lacks qatar.",
        "another folder": f"has neither {Path(NEW).name}/ nor {Path(OLD).name}/.",
        "an empty release": "lacks COVID, Normal, Viral Pneumonia/; it has no folder.",
    }[given]
    for part in (problem, "images/COVID-1.png", "NORMAL (1).png", "index.csv"):
        assert part in str(error.value)


def test_a_missing_class_is_named_beside_those_that_are_there(tmp_path):
    manual = write_release(tmp_path)
    folder = manual / NEW
    (folder / "Viral Pneumonia").rename(folder / "Viral_Pneumonia")
    with pytest.raises(
        FileNotFoundError,
        match=r"lacks Viral Pneumonia/; it has COVID, Lung_Opacity, Normal, Viral_Pneumonia\.",
    ):
        builds.prepare(Builder, tmp_path, manual)


@pytest.mark.parametrize("fault", ["no images/", "images/ is empty", "a file beside images/"])
def test_a_half_made_class_is_an_error_that_names_it(tmp_path, fault):
    manual = write_release(tmp_path)
    folder = manual / NEW / "Normal"
    if fault == "no images/":
        (folder / "images").rename(folder / "masks")
        error, message = FileNotFoundError, r"Normal has masks/ but no images/\."
    elif fault == "images/ is empty":
        (folder / "images" / "Normal-3.png").unlink()
        error, message = FileNotFoundError, r"images has no image\."
    else:
        builds.write_image(folder / "Normal-4.png")
        error, message = ValueError, r"Normal has images/ and files beside it, Normal-4\.png:"
    with pytest.raises(error, match=message):
        builds.prepare(Builder, tmp_path, manual)


@pytest.mark.parametrize(
    "further, message",
    [
        (f"{OLD}/NORMAL/NORMAL (1).png", r"both .*Radiography_Dataset and .*Database: keep one"),
        (f"{NEW}/COVID-19/COVID-1.png", r"both .*COVID and .*COVID-19: keep one"),
        (
            f"{NEW}/COVID/images/COVID (1).png",
            r"COVID \(1\)\.png is named as in .* of 2020, .*2021",
        ),
    ],
    ids=["two releases", "two folders of one class", "names of two releases"],
)
def test_images_are_never_pooled_over_two_releases(tmp_path, further, message):
    with pytest.raises(ValueError, match=message):
        builds.prepare(Builder, tmp_path, write_release(tmp_path, [*LATEST, further]))


def test_one_number_for_two_files_is_refused(tmp_path):
    files = [*RELEASES["2020, first"], f"{OLD}/COVID-19/COVID-19(1).png"]
    with pytest.raises(
        ValueError, match=r"both COVID-19 \(1\)\.png and COVID-19\(1\)\.png: keep one"
    ):
        builds.prepare(Builder, tmp_path, write_release(tmp_path, files))


def test_masks_are_read_if_asked_for_and_classes_without_any_are_left_out(tmp_path):
    manual = write_release(tmp_path)
    inside = write_mask(manual, LATEST[3])
    builder = builds.prepare(Builder, tmp_path, manual, masks="lung")
    (example,) = builds.read(builder).values()
    assert (example["id"], example["label"]) == ("qatar_radiography-Viral_Pneumonia-2", "viral")
    np.testing.assert_array_equal(builds.pixels(example["mask_lung"]), inside * np.uint8(255))
    assert builds.metadata(builder)["kept"] == 1
    assert builds.metadata(builder)["findings"] == {"viral": 1}
    assert builds.metadata(builder)["rejected"] == {
        "no mask: covid19": 2,
        "no mask: lung_opacity": 1,
        "no mask: normal": 1,
    }
    without = builds.read(builds.prepare(Builder, tmp_path, manual))
    assert len(without) == 5
    assert all("mask_lung" not in example for example in without.values())


@pytest.mark.parametrize(
    "masks, error, message",
    [
        (LATEST[:1], FileNotFoundError, r"1 masks are missing: COVID/masks/COVID-134\.png\."),
        ([], FileNotFoundError, r"masks='lung', but no class has masks/ beside images/"),
        (None, ValueError, r"masks/COVID-134\.png: cannot be read as an image"),
    ],
    ids=["one is missing", "no masks", "a damaged mask"],
)
def test_masks_that_are_not_there_are_an_error(tmp_path, masks, error, message):
    manual = write_release(tmp_path)
    for image in LATEST[:2] if masks is None else masks:
        write_mask(manual, image)
    if masks is None:
        (manual / NEW / "COVID" / "masks" / "COVID-134.png").write_bytes(b"no image")
    with pytest.raises(error, match=message):
        builds.prepare(Builder, tmp_path, manual, masks="lung")


def test_config_names_say_the_options():
    assert Builder.configure().name == "lung_opacity_left_out-masks_none"
    assert Builder.configure(lung_opacity="class").options["masks"] == "none"
    with pytest.raises(ValueError, match="must be one of none, lung"):
        Builder.configure(masks="all")


def test_needs_no_tensorflow(tmp_path):
    manual = write_release(tmp_path)
    assert builds.count_without_tensorflow("qatar_radiography", tmp_path, manual) == 5


def test_real_pack(real_data, tmp_path):
    builder = builds.prepare(Builder, tmp_path, real_data)
    examples = builds.read(builder)
    labels = collections.Counter(e["label"] for e in examples.values())
    assert labels == {"covid19": 150, "normal": 150, "viral": 150}
    assert collections.Counter(e["source"] for e in examples.values()) == {
        "qatar-mixed": 150,
        "qatar-rsna": 150,
        "qatar-kcx": 150,
    }
    assert builds.metadata(builder)["of_other_sets"] == {"ccx": 9, "kcx": 150}
    assert len({e["patient_id"] for e in examples.values()}) == 141 + 9 + 150 + 144
    assert len({e["strict_patient_id"] for e in examples.values()}) == 9 + 144 + 2


def test_real_pack_masks(real_data, tmp_path):
    builder = builds.prepare(Builder, tmp_path, real_data, masks="lung")
    examples = builds.read(builder)
    assert {e["label"] for e in examples.values()} == {"viral"}
    assert len(examples) == 150
    assert builds.metadata(builder)["rejected"] == {"no mask: covid19": 150, "no mask: normal": 150}
    for example in list(examples.values())[::15]:
        mask = builds.pixels(example["mask_lung"])
        assert mask.shape == builds.pixels(example["image"]).shape == (256, 256)
        assert set(np.unique(mask)) == {0, 255}
        assert 0.05 < (mask > 0).mean() < 0.6
