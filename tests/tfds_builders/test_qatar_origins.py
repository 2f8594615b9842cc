"""qatar_radiography: collections, patients of kcx and ccx by the index, addresses."""

from __future__ import annotations

import collections
from pathlib import Path

import pytest

from tests.tfds_builders import builds
from tests.tfds_builders.qatar_files import (
    LATEST,
    NEW,
    OLD,
    RELEASES,
    write_ccx,
    write_index,
    write_release,
    write_table,
)
from tfds_builders import tables
from tfds_builders.ccx.ccx_dataset_builder import Builder as Ccx
from tfds_builders.kcx.kcx_dataset_builder import Builder as Kcx
from tfds_builders.qatar_radiography import layouts, origins
from tfds_builders.qatar_radiography.qatar_radiography_dataset_builder import Builder


@pytest.mark.parametrize(
    "file, source, view, age_group",
    [
        (f"{NEW}/Normal/Normal-62.png", "qatar-rsna", "", ""),
        (f"{NEW}/Normal/Normal-63.png", "qatar-kcx", "AP", "paediatric"),
        (f"{NEW}/Normal/Normal-1403.png", "qatar-kcx", "AP", "paediatric"),
        (f"{NEW}/Normal/Normal-1404.png", "qatar-rsna", "", ""),
        (f"{OLD}/NORMAL/NORMAL (62).png", "qatar-kcx", "AP", "paediatric"),
        (f"{NEW}/Viral Pneumonia/Viral Pneumonia-5.png", "qatar-kcx", "AP", "paediatric"),
        (f"{NEW}/Lung_Opacity/Lung_Opacity-63.png", "qatar-rsna", "", ""),
        (f"{NEW}/COVID/COVID-63.png", "qatar-mixed", "", ""),
    ],
)
def test_class_and_number_tell_the_collection_and_the_children(file, source, view, age_group):
    path = Path(file)
    image = next(found for kind in layouts.KINDS if (found := layouts.parse(path, kind)))
    origin = origins.of_collection(image)
    assert (origin.source, origin.view, origin.age_group) == (source, view, age_group)


def test_each_image_is_a_patient_and_each_collection_one_strict_group(tmp_path):
    manual = write_release(tmp_path, [*LATEST, f"{NEW}/Normal/images/Normal-63.png"])
    examples = builds.read(builds.prepare(Builder, tmp_path, manual))
    assert len({e["patient_id"] for e in examples.values()}) == len(examples) == 6
    strict = collections.Counter(e["strict_patient_id"] for e in examples.values())
    assert strict == {"qatar-mixed-unknown": 2, "qatar-rsna-unknown": 2, "qatar-kcx-unknown": 2}


PICTURES = (
    "train/PNEUMONIA/person7_virus_1.jpeg",
    "test/PNEUMONIA/person7_virus_2.jpeg",
    "test/PNEUMONIA/person8_virus_3.jpeg",
    "train/NORMAL/NORMAL2-IM-0383-0001.jpeg",
)


def test_pictures_of_other_sets_have_the_patients_of_these(tmp_path):
    names = {
        f"Viral Pneumonia-{n}.png": f"person{p}_virus_{n}.jpeg" for n, p in ((1, 7), (2, 8), (3, 9))
    }
    files = [
        *LATEST[:2],
        f"{NEW}/COVID/images/COVID-2.png",
        *(f"{NEW}/Viral Pneumonia/images/{name}" for name in names),
        f"{NEW}/Normal/images/Normal-63.png",
    ]
    manual = write_release(tmp_path, files)
    for seed, name in enumerate(PICTURES):
        builds.write_image(manual / "kcx" / "chest_xray" / name, seed=seed)
    write_ccx(manual, [("178", "AP Supine", "70", "a.jpg"), ("5", "PA", "12", "b.png")])
    write_index(
        manual,
        *((f"Viral Pneumonia/{image}", picture, "") for image, picture in names.items()),
        ("Normal/Normal-63.png", "NORMAL2-IM-0383-0001.jpeg", ""),
        ("COVID/COVID-1.png", "", "a.jpg"),
        ("COVID/COVID-134.png", "", "b.png"),
        ("COVID/COVID-2.png", "", ""),
    )
    builder = builds.prepare(Builder, tmp_path, manual)
    found = {
        key.removeprefix("qatar_radiography-"): (e["patient_id"], e["strict_patient_id"])
        for key, e in builds.read(builder).items()
    }
    kcx = builds.read(builds.prepare(Kcx, tmp_path, manual))
    ccx = builds.read(builds.prepare(Ccx, tmp_path, manual))

    def keys(example):
        return example["patient_id"], example["strict_patient_id"]

    assert found == {
        "COVID-1": keys(ccx["ccx-a"]),
        "COVID-134": keys(ccx["ccx-b"]),
        "COVID-2": ("qatar_radiography-image_COVID-2", "qatar-mixed-unknown"),
        "Normal-63": keys(kcx["kcx-NORMAL2-IM-0383-0001"]),
        "Viral_Pneumonia-1": keys(kcx["kcx-person7_virus_1"]),  # 7 is in test as well, as another
        "Viral_Pneumonia-2": keys(kcx["kcx-person8_virus_3"]),  # in a copy that was split anew
        "Viral_Pneumonia-3": ("kcx-train-virus-9", "kcx-person9"),  # as published
    }
    assert found["COVID-1"] == ("ccx-97", "ccx-97")  # 178 is 97
    assert found["Viral_Pneumonia-2"] == ("kcx-test-virus-8", "kcx-person8")
    assert builds.metadata(builder)["of_other_sets"] == {"ccx": 2, "kcx": 4}


def test_pictures_of_ccx_have_its_view_and_age(tmp_path):
    manual = write_release(tmp_path)
    write_ccx(manual, [("4", "AP Supine", "70", "a.jpg"), ("5", "PA", "12", "b.png")])
    write_index(manual, ("COVID/COVID-1.png", "", "a.jpg"), ("COVID/COVID-134.png", "", "b.png"))
    examples = builds.read(builds.prepare(Builder, tmp_path, manual))
    first, second = examples["qatar_radiography-COVID-1"], examples["qatar_radiography-COVID-134"]
    assert (first["view"], first["age_group"]) == ("AP Supine", "adult")
    assert (second["view"], second["age_group"]) == ("PA", "paediatric")
    assert first["source"] == second["source"] == "qatar-mixed"


@pytest.mark.parametrize(
    "row, error, message",
    [
        (("COVID/COVID-5.png", "", ""), FileNotFoundError, r"1 images .* there: .*/COVID-5\.png\."),
        (("COVID/COVID-1.png", "scan.jpeg", ""), ValueError, r"COVID-1\.png: kcx has no .* 'scan"),
        (("COVID/COVID-1.png", "", "c.jpg"), ValueError, r"COVID-1\.png: ccx/meta.* no picture 'c"),
        (
            ("COVID/COVID-1.png", "IM-0001-0001.jpeg", "a.jpg"),
            ValueError,
            r"is both IM-.* and a\.jpg",
        ),
    ],
    ids=["absent image", "no name of kcx", "not in ccx", "two pictures"],
)
def test_an_index_that_cannot_be_right_is_refused(tmp_path, row, error, message):
    manual = write_release(tmp_path)
    write_ccx(manual, [("4", "AP", "70", "a.jpg")])
    write_index(manual, row)
    with pytest.raises(error, match=message):
        builds.prepare(Builder, tmp_path, manual)


def test_rows_of_one_image_must_agree(tmp_path):
    manual = write_release(tmp_path)
    image = "Viral Pneumonia/Viral Pneumonia-2.png"
    rows = [(image, f"person{n}_virus_1.jpeg", "") for n in (1, 2)]
    write_index(manual, *rows)
    with pytest.raises(ValueError, match=r"two rows of Viral Pneumonia-2\.png differ"):
        builds.prepare(Builder, tmp_path, manual)


def test_patients_of_ccx_need_its_table(tmp_path):
    manual = write_release(tmp_path)
    write_index(manual, ("COVID/COVID-1.png", "", "a.jpg"))
    with pytest.raises(FileNotFoundError, match=r"ccx/metadata\.csv, which is missing"):
        builds.prepare(Builder, tmp_path, manual)


@pytest.mark.parametrize(
    "name, finding, number",
    [
        ("COVID-19 (1)", "covid19", 1),
        ("COVID-19(134)", "covid19", 134),
        ("COVID 119", "covid19", 119),
        ("COVID-191", "covid19", 191),
        ("COVID-19", "covid19", 19),
        ("NORMAL-3", "normal", 3),
        ("NORMAL (3)", "normal", 3),
        ("Viral Pneumonia-12", "viral", 12),
        ("Lung_Opacity-6012.png", "lung_opacity", 6012),
    ],
)
def test_names_in_the_metadata_tables(name, finding, number):
    found = origins.listed_image(name)
    assert found is not None
    assert (found[0].finding, found[1]) == (finding, number)


def test_addresses_come_from_metadata_tables_saved_as_csv(tmp_path):
    files = RELEASES["2020, first"]
    manual = write_release(tmp_path, files)
    write_table(manual, f"{OLD}/COVID-19.metadata.csv", ["COVID-19(1)", "COVID-19(134)"])
    write_table(manual, f"{OLD}/Viral Pneumonia.matadata.csv", ["Viral Pneumonia (2)"])
    (manual / OLD / "NORMAL.metadata.xlsx").write_bytes(b"not read")
    examples = builds.read(builds.prepare(Builder, tmp_path, manual))
    assert [examples[key]["url"] for key in sorted(examples)] == [
        "https://0.org",
        "https://1.org",
        "",
        "https://0.org",
    ]


@pytest.mark.parametrize(
    "images, error, message",
    [
        (["NORMAL-3", "NORMAL-4"], FileNotFoundError, r"1 images that are not there: NORMAL-4\."),
        (["scan 4"], ValueError, r"'scan 4' is no name of an image"),
    ],
)
def test_a_metadata_table_of_other_images_is_refused(tmp_path, images, error, message):
    manual = write_release(tmp_path)
    write_table(manual, f"{NEW}/Normal.metadata.csv", images)
    with pytest.raises(error, match=message):
        builds.prepare(Builder, tmp_path, manual)


def test_a_table_without_its_columns_is_refused(tmp_path):
    manual = write_release(tmp_path)
    (manual / NEW / "Normal.metadata.csv").write_text("FILE NAME|URL\nNORMAL-3|x\n")
    with pytest.raises(ValueError, match=r"no column file name, url; it has file name\|url"):
        builds.prepare(Builder, tmp_path, manual)


def test_real_pack_has_the_patients_that_kcx_and_ccx_give(real_data, tmp_path):
    qatar = builds.read(builds.prepare(Builder, tmp_path, real_data))
    others = {
        name: {
            Path(key.removeprefix(f"{name}-")).name: example
            for key, example in builds.read(builds.prepare(builder, tmp_path, real_data)).items()
        }
        for name, builder in (("kcx", Kcx), ("ccx", Ccx))
    }
    compared = collections.Counter()
    for row in tables.read_table(real_data / "qatar" / "index.csv", required=()).rows:
        key = f"qatar_radiography-{Path(row['image']).stem.replace(' ', '_')}"
        for name, pictures in others.items():
            other = pictures.get(Path(row[f"{name}_same_image"]).stem)
            if other is not None:
                compared[name] += 1
                for field in ("patient_id", "strict_patient_id", "view", "age_group"):
                    assert qatar[key][field] == other[field]
    assert compared == {"kcx": 23, "ccx": 9}
    # A child of whom kcx has other pictures than this one is the same patient there and here.
    viral = {e["patient_id"] for e in others["kcx"].values() if e["label"] == "viral"}
    strict = {e["strict_patient_id"] for e in others["kcx"].values() if e["label"] == "viral"}
    joined = [e for e in qatar.values() if e["strict_patient_id"] in strict]
    assert len(joined) > 23
    assert all(e["patient_id"] in viral for e in joined)


def test_a_child_is_one_patient_in_kcx_and_here_however_its_number_is_spelt(tmp_path):
    image = f"{NEW}/Viral Pneumonia/images/Viral Pneumonia-1.png"
    manual = write_release(tmp_path, [*LATEST, image])
    picture = manual / "kcx/chest_xray/train/PNEUMONIA/person0003_virus_0015.jpeg"
    builds.write_image(picture)
    write_index(manual, ("Viral Pneumonia/Viral Pneumonia-1.png", "person3_virus_15.jpeg", ""))
    found = builds.read(builds.prepare(Builder, tmp_path, manual))
    (child,) = builds.read(builds.prepare(Kcx, tmp_path, manual)).values()
    for key in ("patient_id", "strict_patient_id"):
        assert sum(example[key] == child[key] for example in found.values()) == 1


def test_that_the_database_names_no_patients_is_told(tmp_path):
    builder = builds.prepare(Builder, tmp_path, write_release(tmp_path))
    [notice] = builds.metadata(builder)["notices"]
    assert "names no patients of 5 images" in notice and "scores come out too high" in notice
