"""covid_cxnet: marks in names, images without a row, copies, patients of other sets, download."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.tfds_builders import builds
from tests.tfds_builders.http_files import serve, tar_gz
from tfds_builders import patient_ids
from tfds_builders.ccx import metadata
from tfds_builders.ccx.labels import SAME_PATIENT
from tfds_builders.covid_cxnet import collection, origins
from tfds_builders.covid_cxnet import covid_cxnet_dataset_builder as covid_cxnet
from tfds_builders.figure1 import figure1_dataset_builder as figure1
from tfds_builders.hannover import patients

Builder = covid_cxnet.Builder
IMAGES = Path("covid_cxnet/chest_xray_images/covid19")


def row(filename, patient="10", *, view="", age="68", label="COVID-19") -> dict[str, str]:
    return {
        "filename": filename,
        "patient_id": patient,
        "sex": "female",
        "age": age,
        "view": view,
        "label": label,
        "pcr_test": "positive",
        "url": "https://example.org",
    }


def write_set(root: Path, files, rows) -> Path:
    builds.write_csv(root / "covid_cxnet/metadata.csv", rows)
    table = root / "covid_cxnet/metadata.csv"
    table.write_bytes(b"\xef\xbb\xbf" + table.read_bytes())  # as published
    for seed, name in enumerate(files):
        builds.write_image(root / IMAGES / name, seed=seed)
    return root


FILES = ["800.jpg", "801-.jpg", "802p.png", "803p-.jpeg", "804.PNG", "805.jfif"]
ROWS = [
    row("800.jpg", "300", view="PA"),
    row("801-.jpg", "300", view="AP"),
    row("802p.png", "301", age="0.03"),
    row("804.png", "302", label=""),  # the file's suffix is in capitals
]


@pytest.mark.parametrize("option, marked", [("left_out", ""), ("covid19", "covid19")])
def test_names_and_rows_give_classes_and_ages(tmp_path, option, marked):
    manual = write_set(tmp_path, FILES, ROWS)
    examples = builds.read(builds.prepare(Builder, tmp_path, manual, no_findings=option))
    assert builds.column(examples, "label") == {
        "covid_cxnet-800": "covid19",
        "covid_cxnet-801-": marked,
        "covid_cxnet-802p": "covid19",
        "covid_cxnet-803p-": marked,
        "covid_cxnet-804": "",
        "covid_cxnet-805": "covid19",
    }
    assert examples["covid_cxnet-801-"]["finding"] == "COVID-19, no findings"
    assert examples["covid_cxnet-804"]["finding"] == ""
    ages = [examples[key]["age_group"] for key in sorted(examples)]
    assert ages == ["adult", "adult", "paediatric", "paediatric", "adult", ""]
    assert [examples[key]["view"] for key in sorted(examples)] == ["PA", "AP", "", "", "", ""]
    assert {e["source"] for e in examples.values()} == {"covid_cxnet"}
    image = manual / IMAGES / "805.jfif"
    assert examples["covid_cxnet-805"]["image"] == image.read_bytes()


def test_images_without_a_row_are_patients_of_their_own_and_one_strict_group(tmp_path):
    builder = builds.prepare(Builder, tmp_path, write_set(tmp_path, FILES, ROWS))
    examples = builds.read(builder)
    assert builds.column(examples, "patient_id") == {
        "covid_cxnet-800": "covid_cxnet-300",
        "covid_cxnet-801-": "covid_cxnet-300",
        "covid_cxnet-802p": "covid_cxnet-301",
        "covid_cxnet-803p-": "covid_cxnet-image_803p-",
        "covid_cxnet-804": "covid_cxnet-302",
        "covid_cxnet-805": "covid_cxnet-image_805",
    }
    strict = builds.column(examples, "strict_patient_id")
    assert strict["covid_cxnet-803p-"] == strict["covid_cxnet-805"] == "covid_cxnet-unknown"
    assert strict["covid_cxnet-801-"] == "covid_cxnet-300"
    assert builds.metadata(builder)["without_row"] == 2
    assert builds.metadata(builder)["of_other_sets"] == {}


def test_x_rays_of_other_sets_have_the_patients_of_these(tmp_path):
    # 003: ccx. 525 and 546: Hannover, whose patient is also in ccx. 569: Hannover alone. 057:
    # Figure 1. 452 is an X-ray of ccx's patient 78, so that all of the table's patient 124 are.
    files = [
        "003.jpeg",
        "525.png",
        "546.png",
        "569.png",
        "057.jpeg",
        "452.jpg",
        "453.jpg",
        "900.jpg",
    ]
    rows = [row("452.jpg", "124"), row("900.jpg", "124"), row("453.jpg", "125")]
    builder = builds.prepare(Builder, tmp_path, write_set(tmp_path, files, rows))
    examples = builds.read(builder)
    found = {
        key.removeprefix("covid_cxnet-"): (e["patient_id"], e["strict_patient_id"])
        for key, e in examples.items()
    }
    assert found == {
        "003": ("ccx-2", "ccx-2"),
        "525": ("hannover-9e37879b", "ccx-254"),
        "546": ("hannover-d039b079", "ccx-264"),
        "569": ("hannover-04a33bab", "hannover-04a33bab"),
        "057": ("figure1-COVID-00001", "figure1-COVID-00001"),
        "452": ("covid_cxnet-124", "ccx-78"),
        "453": ("covid_cxnet-125", "ccx-202"),
        "900": ("covid_cxnet-124", "ccx-78"),
    }
    assert builds.metadata(builder)["of_other_sets"] == {"ccx": 3, "figure1": 1, "hannover": 3}


def test_the_known_origins_are_complete_and_agree_with_hannover():
    count = {}
    for image, (source, patient) in origins.ORIGINS.items():
        assert image.isdigit()
        count[source] = count.get(source, 0) + 1
        if source == "hannover":
            assert origins.strict_patient_id(image) == patients.strict_patient_id(patient)
        if source == "ccx":
            assert patient not in SAME_PATIENT  # the builder's id is that of the other number
    assert count == {"ccx": 202, "hannover": 185, "figure1": 4}
    hannover = {image for image, (source, _) in origins.ORIGINS.items() if source == "hannover"}
    assert hannover == {str(n) for n in (*range(510, 674), *range(686, 707))}


def test_two_numbers_of_one_patient_are_joined(tmp_path):
    rows = [row("330.jpg", "38"), row("350.jpg", "48")]
    manual = write_set(tmp_path, ["330.jpg", "350.jpg"], rows)
    examples = builds.read(builds.prepare(Builder, tmp_path, manual))
    assert {e["patient_id"] for e in examples.values()} == {"covid_cxnet-38"}


def test_of_byte_equal_images_the_one_with_a_row_is_kept(tmp_path):
    manual = write_set(tmp_path, ["096.jpeg", "452.jpg", "800.jpg"], [row("452.jpg", "124")])
    shutil.copy(manual / IMAGES / "452.jpg", manual / IMAGES / "096.jpeg")
    builder = builds.prepare(Builder, tmp_path, manual)
    assert sorted(builds.read(builder)) == ["covid_cxnet-452", "covid_cxnet-800"]
    assert builds.metadata(builder)["rejected"] == {"copy of another image": 1}


def test_rows_and_images_that_cannot_be_used_are_counted_by_reason(tmp_path):
    rows = [
        row("800.jpg"),
        row("801.jpg", view="L"),
        row("802.jpg", ""),
        row("803.jpg"),
        row("../covid19/804.jpg"),
        row("800.jpg"),
    ]
    manual = write_set(tmp_path, ["800.jpg", "801.jpg", "802.jpg", "804.jpg"], rows)
    builder = builds.prepare(Builder, tmp_path, manual)
    examples = builds.read(builder)
    assert sorted(examples) == ["covid_cxnet-800", "covid_cxnet-802", "covid_cxnet-804"]
    assert examples["covid_cxnet-802"]["patient_id"] == "covid_cxnet-image_802"
    assert builds.metadata(builder)["rejected"] == {
        "view L": 1,
        "no patient id": 1,
        "missing file": 2,
        "row given again": 1,
    }


def test_webp_becomes_png_whatever_its_name(tmp_path):
    manual = write_set(tmp_path, ["800.jpg"], [row("800.jpg")])
    pixels = np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8)
    for name in ("801.webp", "802.png"):
        (manual / IMAGES / name).write_bytes(builds.encode(pixels, kind="WEBP"))
        pixels = 255 - pixels
    examples = builds.read(builds.prepare(Builder, tmp_path, manual))
    for name, key in (("801.webp", "covid_cxnet-801"), ("802.png", "covid_cxnet-802")):
        assert examples[key]["image"].startswith(b"\x89PNG")
        stored = builds.pixels(examples[key]["image"])
        np.testing.assert_array_equal(stored, builds.pixels((manual / IMAGES / name).read_bytes()))


@pytest.mark.parametrize("name", ["readme.txt", "scan.jpg", "800-p.jpg", "800q.jpg", "800.gif"])
def test_a_file_of_another_name_is_refused(tmp_path, name):
    manual = write_set(tmp_path, ["801.jpg"], [row("801.jpg")])
    (manual / IMAGES / name).write_bytes(b"x")
    with pytest.raises(ValueError, match=rf"1 files in .* not named as published .*: {name}\."):
        builds.prepare(Builder, tmp_path, manual)


def test_a_damaged_image_is_named(tmp_path):
    manual = write_set(tmp_path, ["801.jpg"], [row("801.jpg")])
    (manual / IMAGES / "802.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"802\.png: cannot be read as an image"):
        builds.prepare(Builder, tmp_path, manual)


def test_a_table_without_a_needed_column_is_refused(tmp_path):
    path = tmp_path / "metadata.csv"
    path.write_text("filename,patient_id,age,label\n1.jpg,1,40,COVID-19\n")
    (tmp_path / "covid19").mkdir()
    with pytest.raises(ValueError, match=r"metadata\.csv: no column view; it has filename"):
        collection.choose(path, tmp_path / "covid19")


def test_the_pinned_commit_is_downloaded_and_another_refused(tmp_path, monkeypatch):
    original = write_set(tmp_path, ["800.jpg"], [row("800.jpg")]) / "covid_cxnet"
    members = {
        f"COVID-CXNet-x/{path.relative_to(original).as_posix()}": path.read_bytes()
        for path in original.rglob("*")
        if path.is_file()
    }
    members["COVID-CXNet-x/checkpoints/a.hdf5"] = b"not wanted"
    for commit, there in ((covid_cxnet.COMMIT, True), ("0" * 40, False)):
        data_dir = tmp_path / commit[:4]
        with serve({"/a.tar.gz": tar_gz(members, comment=commit)}) as server:
            monkeypatch.setattr(covid_cxnet, "URL", f"{server.url}/a.tar.gz")
            if there:
                examples = builds.read(builds.prepare(Builder, data_dir, None))
                assert list(examples) == ["covid_cxnet-800"]
            else:
                with pytest.raises(
                    ValueError, match=f"made of commit 0+, expected {covid_cxnet.COMMIT}"
                ):
                    builds.prepare(Builder, data_dir, None)
        found = [path.name for path in (data_dir / "tfds/downloads").glob("covid_cxnet-*")]
        assert found == ([f"covid_cxnet-{commit[:12]}"] if there else [])


def test_a_folder_that_is_not_whole_is_an_error_that_shows_the_tree(tmp_path):
    (tmp_path / IMAGES).mkdir(parents=True)
    with pytest.raises(
        FileNotFoundError, match=r"lacks covid_cxnet/metadata\.csv(.*\n)+.*166-\.jpeg"
    ):
        builds.prepare(Builder, tmp_path, tmp_path)


def test_needs_no_tensorflow(tmp_path):
    manual = write_set(tmp_path, FILES, ROWS)
    assert builds.count_without_tensorflow("covid_cxnet", tmp_path, manual) == 6


@pytest.mark.parametrize("patients_of", ["ccx", "hannover", "figure1"])
def test_a_patient_of_another_set_is_one_however_that_set_spells_it(patients_of):
    image = {"ccx": "003", "hannover": "557", "figure1": "057"}[patients_of]
    here = origins.patient_id(image)
    there = {
        "ccx": lambda: metadata.read_patients(
            [metadata.Row(patient="002", finding="", view="", modality="", age="", filename="a")]
        ).ids["002"],
        "hannover": lambda: patient_ids.read(
            ["042F06A9"], prefix="hannover", spell=patients.spell
        ).ids["042F06A9"],
        "figure1": lambda: patient_ids.read(["covid-1"], prefix="figure1", spell=figure1.spell).ids[
            "covid-1"
        ],
    }
    assert here == there[patients_of]()


def test_a_label_of_another_spelling_is_an_unknown_finding(tmp_path):
    labels = ("COVID-19", "covid-19", "", "COVID19", "COVID 19", "Covid_19", "Pneumonia")
    files = [f"{800 + number}.jpg" for number in range(len(labels))]
    rows = [row(name, name, label=label) for name, label in zip(files, labels, strict=True)]
    builder = builds.prepare(Builder, tmp_path, write_set(tmp_path, files, rows))
    found = builds.metadata(builder)
    assert found["unknown_findings"] == ["COVID 19", "COVID19", "Covid_19", "Pneumonia"]
    assert found["known_findings"] == ["", "COVID-19"]


def test_images_whose_patient_nothing_says_are_told(tmp_path):
    files = ["003.jpeg", "800.jpg", "801.jpg"]  # the first is an image of ccx
    builder = builds.prepare(Builder, tmp_path, write_set(tmp_path, files, [row("800.jpg")]))
    [notice] = builds.metadata(builder)["notices"]
    assert notice.startswith("the table names no patient of 1 images: each counts as a patient")
