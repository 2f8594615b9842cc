"""actualmed: COVID-19, excluded, inconclusive; patients and views from the table."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tfds_builders import builds
from tfds_builders.actualmed.actualmed_dataset_builder import Builder

NAME = "CR.1.2.840.113564.1722810170.2020031{}.1003000225002.png"


def row(number, finding, *, patient="ANON1", view="PA", name=None) -> dict[str, str]:
    return {
        "patientid": patient,
        "offset": "",
        "sex": "",
        "age": "",
        "finding": finding,
        "survival": "",
        "temperature": "",
        "pO2 saturation": "",
        "view": view,
        "modality": "X-ray",
        "imagename": name or NAME.format(number),
        "artifacts/distortion": "",
        "notes": "Negative (covid-19 viral infection is excluded), date taken: 20200317",
    }


def write_actualmed(root: Path, rows, *, absent=()) -> Path:
    builds.write_csv(root / "actualmed/metadata.csv", rows)
    (root / "actualmed/images").mkdir()
    for seed, record in enumerate(rows):
        if record["imagename"] not in absent:
            builds.write_image(root / "actualmed/images" / record["imagename"], seed=seed)
    return root


ROWS = [
    row(0, "COVID-19", patient="ANON196"),
    row(1, "No finding", patient="ANON56", view="AP"),
    row(2, "", patient="ANON196"),
]


@pytest.mark.parametrize("option, excluded", [("normal", "normal"), ("left_out", "")])
def test_classes_patients_and_views(tmp_path, option, excluded):
    manual = write_actualmed(tmp_path, ROWS)
    builder = builds.prepare(Builder, tmp_path, manual, no_finding=option)
    examples = builds.read(builder)
    ids = [f"actualmed-{NAME.format(i)[:-4]}" for i in range(3)]
    assert sorted(examples) == ids
    assert [examples[key]["label"] for key in ids] == ["covid19", excluded, ""]
    assert [examples[key]["finding"] for key in ids] == ["COVID-19", "No finding", ""]
    assert [examples[key]["view"] for key in ids] == ["PA", "AP", "PA"]
    patients = ["actualmed-ANON196", "actualmed-ANON56", "actualmed-ANON196"]
    for name in ("patient_id", "strict_patient_id"):
        assert [examples[key][name] for key in ids] == patients
    assert {(e["source"], e["age_group"]) for e in examples.values()} == {("actualmed", "")}
    image = manual / "actualmed/images" / NAME.format(1)
    assert examples[ids[1]]["image"] == image.read_bytes()
    assert builds.metadata(builder)["rejected"] == {}


def test_rows_that_cannot_be_used_are_counted_by_reason(tmp_path):
    rows = [
        *ROWS,
        row(3, "COVID-19", view="L"),
        row(4, "COVID-19", view=""),
        row(5, "COVID-19", patient=""),
        row(6, "COVID-19"),
        row(7, "COVID-19", name="../metadata.csv"),
    ]
    absent = (NAME.format(6), "../metadata.csv")
    builder = builds.prepare(Builder, tmp_path, write_actualmed(tmp_path, rows, absent=absent))
    assert builds.metadata(builder)["kept"] == 3
    assert builds.metadata(builder)["rejected"] == {
        "view L": 1,
        "view blank": 1,
        "no patient id": 1,
        "missing file": 2,
    }


def test_a_table_without_a_needed_column_is_refused(tmp_path):
    manual = write_actualmed(tmp_path, ROWS)
    (tmp_path / "actualmed/metadata.csv").write_text("patientid,finding,view\n1,COVID-19,PA\n")
    with pytest.raises(ValueError, match=r"metadata\.csv: no column imagename; it has patientid"):
        builds.prepare(Builder, tmp_path, manual)


@pytest.mark.parametrize("given", [False, True])
def test_missing_data_are_an_error_that_shows_the_tree(tmp_path, given):
    if given:
        (tmp_path / "actualmed/images").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=r"actualmed: .*(\n.*)+metadata\.csv\n +images/"):
        builds.prepare(Builder, tmp_path, tmp_path / ("" if given else "absent"))


def test_needs_no_tensorflow(tmp_path):
    manual = write_actualmed(tmp_path, ROWS)
    assert builds.count_without_tensorflow("actualmed", tmp_path, manual) == 3
