"""figure1: file names by stem, patients without the letter, blank views kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tfds_builders import builds
from tfds_builders.figure1 import figure1_dataset_builder as figure1

Builder = figure1.Builder


def row(name, finding="COVID-19", *, view="", age="") -> dict[str, str]:
    return {
        "patientid": name,
        "offset": "",
        "sex": "",
        "age": age,
        "finding": finding,
        "view": view,
        "modality": "X-ray",
        "notes": "38 °C, cough",
    }


def write_figure1(root: Path, rows, *, absent=()) -> Path:
    builds.write_csv(root / "figure1/metadata.csv", rows)
    (root / "figure1/images").mkdir()
    for seed, record in enumerate(rows):
        suffix = ".png" if seed % 2 else ".jpg"
        if record["patientid"] not in absent:
            builds.write_image(root / "figure1/images" / (record["patientid"] + suffix), seed=seed)
    return root


def test_classes_patients_and_views(tmp_path):
    rows = [
        row("COVID-00001", view="AP erect", age="33"),
        row("COVID-00003a", "", view="PA", age="50+"),
        row("COVID-00003b", "Pneumonia", view="AP"),
        row("COVID-00023", "No finding"),
        row("COVID-00022"),
    ]
    builder = builds.prepare(Builder, tmp_path, write_figure1(tmp_path, rows))
    examples = builds.read(builder)
    assert builds.column(examples, "label") == {
        "figure1-COVID-00001": "covid19",
        "figure1-COVID-00003a": "",
        "figure1-COVID-00003b": "pneumonia",
        "figure1-COVID-00023": "normal",
        "figure1-COVID-00022": "covid19",
    }
    views = [e["view"] for _, e in sorted(examples.items())]
    assert views == ["AP Erect", "PA", "AP", "", ""]
    assert examples["figure1-COVID-00001"]["age_group"] == "adult"
    assert examples["figure1-COVID-00003a"]["age_group"] == ""
    for key in ("figure1-COVID-00003a", "figure1-COVID-00003b"):
        assert examples[key]["patient_id"] == "figure1-COVID-00003"
        assert examples[key]["strict_patient_id"] == "figure1-COVID-00003"
    shared = examples["figure1-COVID-00022"]  # an X-ray that ccx has too
    assert (shared["patient_id"], shared["strict_patient_id"]) == ("figure1-COVID-00022", "ccx-36")
    image = tmp_path / "figure1/images/COVID-00003a.png"
    assert examples["figure1-COVID-00003a"]["image"] == image.read_bytes()
    assert builds.metadata(builder)["kept"] == 5 and builds.metadata(builder)["rejected"] == {}


def test_the_table_need_not_be_utf_8(tmp_path):
    manual = write_figure1(tmp_path, [row("COVID-00001")])
    table = tmp_path / "figure1/metadata.csv"
    table.write_bytes(table.read_text().encode("latin-1"))
    assert list(builds.read(builds.prepare(Builder, tmp_path, manual))) == ["figure1-COVID-00001"]


def test_rows_that_cannot_be_used_are_counted_by_reason(tmp_path):
    rows = [
        row("COVID-00001"),
        row("COVID-00002", view="L"),
        row("COVID-00003"),
        row("../metadata"),
        row("COVID-00001"),
    ]
    manual = write_figure1(tmp_path, rows[:4], absent=("COVID-00003", "../metadata"))
    builds.write_csv(tmp_path / "figure1/metadata.csv", rows)
    builder = builds.prepare(Builder, tmp_path, manual)
    assert list(builds.read(builder)) == ["figure1-COVID-00001"]
    assert builds.metadata(builder)["rejected"] == {
        "view L": 1,
        "missing file": 1,
        "no patient id": 1,
        "row given again": 1,
    }


def test_two_files_of_one_name_are_refused(tmp_path):
    manual = write_figure1(tmp_path, [row("COVID-00001")])
    builds.write_image(tmp_path / "figure1/images/COVID-00001.png")
    with pytest.raises(ValueError, match=r"both COVID-00001\.jpg and COVID-00001\.png"):
        builds.prepare(Builder, tmp_path, manual)


def test_missing_data_are_an_error_that_shows_the_tree(tmp_path):
    (tmp_path / "figure1/images").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=r"lacks figure1/metadata\.csv(.*\n)+.*images/"):
        builds.prepare(Builder, tmp_path, tmp_path)


def test_needs_no_tensorflow(tmp_path):
    manual = write_figure1(tmp_path, [row("COVID-00001"), row("COVID-00002")])
    assert builds.count_without_tensorflow("figure1", tmp_path, manual) == 2
