"""The skeleton of the builders: what a data set says reaches its examples and its metadata."""

import dataclasses

import numpy as np
import pytest
import tensorflow_datasets as tfds

from tests.tfds_builders import builds
from tests.tfds_builders.tiny_cxr.tiny_cxr_dataset_builder import Builder
from tfds_builders.xray_builder import TEXTS, XrayBuilder


@pytest.fixture
def folder(tmp_path):
    for number in range(2):
        builds.write_image(tmp_path / "data" / "tiny" / f"{number}.png", seed=number)
    return tmp_path / "data"


def test_an_example_is_stored_as_the_builder_gives_it(tmp_path, folder):
    builder = builds.prepare(Builder, tmp_path, folder)
    examples = builds.read(builder)
    assert list(builder.info.splits) == ["main"]
    assert set(builder.info.features) == {"image", *TEXTS, "mask_lung", "scanner"}
    example = examples["tiny-1"]
    assert example["image"] == (folder / "tiny" / "1.png").read_bytes()
    assert {name: example[name] for name in (*TEXTS, "scanner")} == {
        "id": "tiny-1",
        "patient_id": "1",
        "strict_patient_id": "one",
        "label": "normal",
        "finding": "No finding",
        "view": "PA",
        "source": "tiny",
        "age_group": "adult",
        "scanner": "a",
    }
    np.testing.assert_array_equal(
        builds.pixels(example["mask_lung"]), np.eye(3, dtype=np.uint8) * 255
    )


def test_a_selection_is_in_the_metadata(tmp_path, folder):
    builder = builds.prepare(Builder, tmp_path, folder)
    assert builds.metadata(builder) == {
        "kept": 2,
        "rejected": {},
        "rejected_names": {},
        "faults": [],
        "notices": ["read twice"],
        "unknown_findings": ["a", "odd"],
        "known_findings": ["known"],
        "scanners": 1,
    }
    assert builder.info.homepage == "https://tiny.example"


def test_a_data_set_without_a_usable_image_says_why(tmp_path, folder):
    with pytest.raises(ValueError, match=r"tiny_cxr: no usable image; rejected: unwanted: 2 \(0"):
        builds.prepare(Builder, tmp_path, folder, only="none")


def test_a_missing_folder_shows_the_tree(tmp_path, folder):
    (folder / "tiny").rename(folder / "else")
    with pytest.raises(FileNotFoundError, match=r"tiny_cxr: .* lacks tiny\.[^#]*0\.png, \.\.\."):
        builds.prepare(Builder, tmp_path, folder)


def test_options_of_another_builder_are_refused(tmp_path):
    builder = Builder(data_dir=tmp_path, config=tfds.core.BuilderConfig(name="foreign"))
    with pytest.raises(TypeError, match="is not a config of this builder"):
        _ = builder.options


def test_the_skeleton_is_no_data_set():
    with pytest.raises(TypeError, match="abstract"):
        XrayBuilder()


def altered(**given):
    """A builder whose second example has other fields, or whose class has other names."""

    class Altered(Builder, skip_registration=True):
        name = "tiny"
        MASKS = given.pop("MASKS", Builder.MASKS)
        OWN_TEXTS = given.pop("OWN_TEXTS", Builder.OWN_TEXTS)

        def examples(self, images):
            first, second = super().examples(images)
            yield first
            yield dataclasses.replace(second, **given)

    return Altered


LUNG = np.eye(3, dtype=bool)


@pytest.mark.parametrize(
    "given, message",
    [
        ({"id": "tiny-0"}, r"two images have the id 'tiny-0'"),
        ({"id": " "}, r"an image has the id ' '"),
        ({"id": None}, r"an image has the id None"),
        ({"image": "a.png"}, r"tiny-1: image is a str: must be the bytes"),
        ({"image": np.zeros((2, 2), np.uint8)}, r"tiny-1: image is a ndarray"),
        ({"image": b""}, r"tiny-1: image is empty"),
        ({"label": None}, r"tiny-1: label is None: must be a text"),
        ({"patient_id": 3}, r"tiny-1: patient_id is 3: must be a text"),
        ({"patient_id": ""}, r"tiny-1: patient_id is '', which names no patient"),
        ({"strict_patient_id": "nan"}, r"tiny-1: strict_patient_id is 'nan', which names no"),
        ({"masks": {}}, r"tiny-1: masks lacks mask_lung, which MASKS declares"),
        (
            {"masks": {"mask_lung": LUNG, "mask_heart": LUNG}},
            r"tiny-1: masks has mask_heart, which MASKS does not declare",
        ),
        ({"masks": {"mask_lung": LUNG.astype(float)}}, r"tiny-1: mask_lung is float64\[3, 3\]"),
        ({"masks": {"mask_lung": LUNG[..., None]}}, r"tiny-1: mask_lung is bool\[3, 3, 1\]"),
        ({"masks": {"mask_lung": [[True]]}}, r"tiny-1: mask_lung is a list"),
        ({"own_texts": {}}, r"tiny-1: own_texts lacks scanner, which OWN_TEXTS declares"),
        (
            {"own_texts": {"scanner": "a", "label": "b"}},
            r"tiny-1: own_texts has label, which OWN_TEXTS does not declare",
        ),
        ({"own_texts": {"scanner": 1}}, r"tiny-1: scanner is 1: must be a text"),
        ({"OWN_TEXTS": ("label",)}, r"'label' in MASKS or OWN_TEXTS is a field of every example"),
        ({"MASKS": ("image",)}, r"'image' in MASKS or OWN_TEXTS is a field of every example"),
        ({"MASKS": ("lung",)}, r"'lung': masks, and they alone, are named mask_"),
        ({"OWN_TEXTS": ("mask_words",)}, r"'mask_words': masks, and they alone, are named mask_"),
        ({"OWN_TEXTS": ("site", "site")}, r"'site' is twice in MASKS and OWN_TEXTS"),
    ],
    ids=str,
)
def test_an_example_that_is_not_as_declared_is_named_with_its_field(
    tmp_path, folder, given, message
):
    with pytest.raises(ValueError, match=rf"tiny: {message}"):
        builds.prepare(altered(**given), tmp_path, folder)


@pytest.mark.parametrize("count", [1, 3])
def test_examples_of_another_number_than_selected_are_refused(tmp_path, folder, count):
    class Altered(Builder, skip_registration=True):
        name = "tiny"

        def select(self, dl_manager):
            return dataclasses.replace(super().select(dl_manager), count=count)

    with pytest.raises(ValueError, match=rf"`select` counts {count} images, .* gives 2"):
        builds.prepare(Altered, tmp_path, folder)
