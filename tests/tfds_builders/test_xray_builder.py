"""The skeleton of the builders: what a data set says reaches its examples and its metadata."""

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
