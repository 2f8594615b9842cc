"""kcx: labels and patient keys from file names, folders pooled, copies counted."""

from __future__ import annotations

import collections
from pathlib import Path

import pytest

from tests.tfds_builders import builds
from tfds_builders.kcx import names
from tfds_builders.kcx.kcx_dataset_builder import Builder


def write_kcx(root: Path, files: list[str]) -> Path:
    """Writes a distinct tiny image for each path below root/kcx/chest_xray."""
    for seed, name in enumerate(files):
        builds.write_image(root / "kcx" / "chest_xray" / name, seed=seed)
    return root


@pytest.mark.parametrize(
    "path, label, patient_id, strict_patient_id",
    [
        (
            "train/PNEUMONIA/person1_bacteria_2.jpeg",
            "bacterial",
            "kcx-train-bacteria-1",
            "kcx-person1",
        ),
        ("train/PNEUMONIA/person3_virus_15.jpeg", "viral", "kcx-train-virus-3", "kcx-person3"),
        ("test/PNEUMONIA/person3_virus_15.jpeg", "viral", "kcx-test-virus-3", "kcx-person3"),
        ("test/NORMAL/IM-0115-0001.jpeg", "normal", "kcx-test-IM-0115", "kcx-IM0115"),
        (
            "train/NORMAL/NORMAL2-IM-1427-0001.jpeg",
            "normal",
            "kcx-train-NORMAL2-IM-1427",
            "kcx-IM1427",
        ),
        ("train/NORMAL/IM-0011-0001-0002.jpeg", "normal", "kcx-train-IM-0011", "kcx-IM0011"),
        # Kaggle cut its val images out of the authors' train set: one numbering.
        (
            "val/PNEUMONIA/person1_bacteria_9.jpeg",
            "bacterial",
            "kcx-train-bacteria-1",
            "kcx-person1",
        ),
    ],
)
def test_a_file_name_says_label_and_patient(path, label, patient_id, strict_patient_id):
    name = names.parse(Path("kcx/chest_xray") / path)
    assert (name.label, name.patient_id, name.strict_patient_id) == (
        label,
        patient_id,
        strict_patient_id,
    )


@pytest.mark.parametrize(
    "path",
    [
        "train/PNEUMONIA/IM-0115-0001.jpeg",  # a normal image in the wrong folder
        "train/NORMAL/person1_virus_6.jpeg",
        "train/PNEUMONIA/person1_fungus_6.jpeg",
        "train/PNEUMONIA/person1_virus_6.txt",
        "other/PNEUMONIA/person1_virus_6.jpeg",
        "person1_virus_6.jpeg",
    ],
)
def test_another_name_or_place_has_no_meaning(path):
    assert names.parse(Path(path)) is None


def test_folders_are_pooled_and_every_text_is_set(tmp_path):
    files = [
        "train/PNEUMONIA/person1_bacteria_1.jpeg",
        "val/PNEUMONIA/person1_virus_6.jpeg",
        "test/NORMAL/IM-0001-0001.jpeg",
    ]
    manual = write_kcx(tmp_path, files)
    builder = builds.prepare(Builder, tmp_path, manual)
    examples = builds.read(builder)
    assert builds.column(examples, "label") == {
        "kcx-person1_bacteria_1": "bacterial",
        "kcx-person1_virus_6": "viral",
        "kcx-IM-0001-0001": "normal",
    }
    assert {e["finding"] for e in examples.values()} == {"bacteria", "virus", "normal"}
    assert {(e["view"], e["age_group"], e["source"]) for e in examples.values()} == {
        ("AP", "paediatric", "kcx")
    }
    first = manual / "kcx" / "chest_xray" / files[0]
    assert examples["kcx-person1_bacteria_1"]["image"] == first.read_bytes()
    assert builder.info.metadata["kept"] == 3


def test_strict_key_joins_what_the_loose_key_tells_apart(tmp_path):
    files = [
        "train/PNEUMONIA/person7_bacteria_1.jpeg",
        "train/PNEUMONIA/person7_virus_1.jpeg",
        "test/PNEUMONIA/person7_virus_2.jpeg",
        "train/NORMAL/IM-0007-0001.jpeg",
        "train/NORMAL/NORMAL2-IM-0007-0001.jpeg",
    ]
    examples = builds.read(builds.prepare(Builder, tmp_path, write_kcx(tmp_path, files)))
    assert len({e["patient_id"] for e in examples.values()}) == 5
    assert {e["strict_patient_id"] for e in examples.values()} == {"kcx-person7", "kcx-IM0007"}
    strict_of = collections.defaultdict(set)
    for example in examples.values():
        strict_of[example["patient_id"]].add(example["strict_patient_id"])
    assert all(len(keys) == 1 for keys in strict_of.values())  # strict only ever merges


def test_leading_zeros_make_no_other_patient(tmp_path):
    files = [
        "train/NORMAL/IM-0115-0001.jpeg",
        "train/NORMAL/IM-115-0002.jpeg",
        "train/PNEUMONIA/person01_virus_2.jpeg",
        "train/PNEUMONIA/person1_virus_1.jpeg",
        "test/PNEUMONIA/person1_virus_9.jpeg",
        "train/PNEUMONIA/person10_virus_1.jpeg",
    ]
    builder = builds.prepare(Builder, tmp_path, write_kcx(tmp_path, files))
    examples = builds.read(builder)
    assert builds.column(examples, "patient_id") == {
        "kcx-IM-0115-0001": "kcx-train-IM-0115",
        "kcx-IM-115-0002": "kcx-train-IM-0115",
        "kcx-person01_virus_2": "kcx-train-virus-1",
        "kcx-person1_virus_1": "kcx-train-virus-1",
        "kcx-person1_virus_9": "kcx-test-virus-1",
        "kcx-person10_virus_1": "kcx-train-virus-10",
    }
    assert len(set(builds.column(examples, "strict_patient_id").values())) == 3
    [notice] = builds.metadata(builder)["notices"]
    assert notice.startswith("2 patients have several spellings") and "'IM-115'" in notice


def test_a_patient_is_named_alike_whatever_else_is_there(tmp_path):
    for number, files in enumerate(
        (["train/PNEUMONIA/person0003_virus_0015.jpeg"], ["train/PNEUMONIA/person3_virus_15.jpeg"])
    ):
        folder = tmp_path / str(number)
        (found,) = builds.read(builds.prepare(Builder, folder, write_kcx(folder, files))).values()
        assert found["patient_id"] == "kcx-train-virus-3"
        assert found["strict_patient_id"] == "kcx-person3"


def test_what_only_the_strict_key_joins_is_told_too(tmp_path):
    files = [
        "train/NORMAL/IM-0115-0001.jpeg",
        "train/NORMAL/IM-115-0002.jpeg",
        "train/PNEUMONIA/person3_virus_1.jpeg",
        "train/PNEUMONIA/person003_bacteria_1.jpeg",
    ]
    builder = builds.prepare(Builder, tmp_path, write_kcx(tmp_path, files))
    [notice] = builds.metadata(builder)["notices"]
    assert "'IM-115'" in notice and "'person3'" in notice


def test_one_file_in_two_folders_is_one_example_and_counted(tmp_path):
    manual = write_kcx(tmp_path, ["test/NORMAL/IM-0001-0001.jpeg"])
    folder = manual / "kcx" / "chest_xray"
    data = (folder / "test/NORMAL/IM-0001-0001.jpeg").read_bytes()
    for copy in ("train/NORMAL", "chest_xray/test/NORMAL"):  # Kaggle's archive nests the folder
        (folder / copy).mkdir(parents=True)
        (folder / copy / "IM-0001-0001.jpeg").write_bytes(data)
    builder = builds.prepare(Builder, tmp_path, manual)
    assert list(builds.read(builder)) == ["kcx-IM-0001-0001"]
    assert builder.info.metadata["rejected"] == {"same file in two folders": 2}


def test_a_copy_under_another_ending_or_in_capitals_is_one_example_and_counted(tmp_path):
    manual = write_kcx(
        tmp_path,
        ["test/PNEUMONIA/person2_virus_9.jpeg", "train/NORMAL/IM-0115-0001.jpeg"],
    )
    folder = manual / "kcx/chest_xray"
    (folder / "train/PNEUMONIA").mkdir()
    for file, copy in (
        ("test/PNEUMONIA/person2_virus_9.jpeg", "train/PNEUMONIA/PERSON2_virus_9.JPEG"),
        ("train/NORMAL/IM-0115-0001.jpeg", "train/NORMAL/IM-0115-0001.jpg"),
    ):
        (folder / copy).write_bytes((folder / file).read_bytes())
    builder = builds.prepare(Builder, tmp_path, manual)
    assert sorted(builds.read(builder)) == ["kcx-IM-0115-0001", "kcx-person2_virus_9"]
    assert builds.metadata(builder)["rejected"] == {"same file under a name spelt otherwise": 2}


def test_other_pixels_under_another_ending_are_refused(tmp_path):
    files = ["train/NORMAL/IM-0115-0001.jpeg", "train/NORMAL/IM-0115-0001.jpg"]
    with pytest.raises(ValueError, match=r"0001\.jpeg and .*0001\.jpg are two images of one name"):
        builds.prepare(Builder, tmp_path, write_kcx(tmp_path, files))


def test_one_name_for_two_images_gives_two_ids(tmp_path):
    files = ["train/NORMAL/IM-0001-0001.jpeg", "test/NORMAL/IM-0001-0001.jpeg"]
    examples = builds.read(builds.prepare(Builder, tmp_path, write_kcx(tmp_path, files)))
    assert sorted(examples) == ["kcx-test-IM-0001-0001", "kcx-train-IM-0001-0001"]
    assert len({e["image"] for e in examples.values()}) == 2


def test_what_systems_leave_beside_pictures_is_passed_over(tmp_path):
    files = [
        "train/NORMAL/IM-0001-0001.jpeg",
        "__MACOSX/train/NORMAL/._IM-0001-0001.jpeg",
        "train/NORMAL/._IM-0001-0001.jpeg",
    ]
    manual = write_kcx(tmp_path, files)
    for name in (".DS_Store", "train/NORMAL/Thumbs.db", "train/README.txt"):
        (manual / "kcx" / "chest_xray" / name).write_bytes(b"x")
    assert len(builds.read(builds.prepare(Builder, tmp_path, manual))) == 1


def test_unknown_file_names_are_an_error_that_lists_them(tmp_path):
    files = [f"train/NORMAL/scan{i:02d}.jpeg" for i in range(12)]
    manual = write_kcx(tmp_path, [*files, "train/NORMAL/IM-0001-0001.jpeg"])
    with pytest.raises(ValueError, match=r"12 files .*scan00\.jpeg.*scan09\.jpeg, \.\.\.\n"):
        builds.prepare(Builder, tmp_path, manual)


@pytest.mark.parametrize("given", ["no folder", "empty folder", "folder without kcx"])
def test_a_missing_manual_folder_is_an_error_that_shows_the_tree(tmp_path, given):
    manual = tmp_path / "manual"
    if given != "no folder":
        manual.mkdir()
    if given == "folder without kcx":
        (manual / "other").mkdir()
    with pytest.raises(FileNotFoundError, match=r"kcx: .*\n(.*\n)+ +PNEUMONIA/ +person1_bact"):
        builds.prepare(Builder, tmp_path, manual)


def test_an_empty_set_is_an_error(tmp_path):
    (tmp_path / "kcx" / "chest_xray").mkdir(parents=True)
    with pytest.raises(ValueError, match="kcx: no usable image"):
        builds.prepare(Builder, tmp_path, tmp_path)


def test_there_are_no_options():
    assert Builder.configure().name == "default"
    with pytest.raises(TypeError, match="unknown option 'split'; known options: none"):
        Builder.configure(split="train")


def test_needs_no_tensorflow(tmp_path):
    manual = write_kcx(tmp_path, ["train/NORMAL/IM-0001-0001.jpeg"])
    assert builds.count_without_tensorflow("kcx", tmp_path, manual) == 1


def test_real_pack(real_data, tmp_path):
    builder = builds.prepare(Builder, tmp_path, real_data)
    examples = builds.read(builder).values()
    assert collections.Counter(e["label"] for e in examples) == {
        "normal": 210,
        "bacterial": 210,
        "viral": 210,
    }
    assert builder.info.metadata["rejected"] == {}
    assert len({e["patient_id"] for e in examples}) == 590
    assert len({e["strict_patient_id"] for e in examples}) == 560  # as the pack's README counts
