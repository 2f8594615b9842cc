"""ccx: three metadata eras, frontal views only, the class table, patients, download."""

from __future__ import annotations

import collections
import csv
import json
from pathlib import Path

import pytest

from tests.tfds_builders import builds
from tests.tfds_builders.http_files import serve, tar_gz
from tfds_builders.ccx import labels, metadata, source
from tfds_builders.ccx.ccx_dataset_builder import Builder

# Era a: 14 columns, names with leading spaces.
MARCH_2020 = (
    "Patientid, offset, sex, age, finding, survival, view, date, location, filename, doi, url,"
    " license, notes"
)
# Era b: 29 columns, flat findings.
JUNE_2020 = (
    "patientid,offset,sex,age,finding,survival,intubated,intubation_present,went_icu,in_icu,"
    "needed_supplemental_O2,extubated,temperature,pO2_saturation,leukocyte_count,neutrophil_count,"
    "lymphocyte_count,view,modality,date,location,folder,filename,doi,url,license,clinical_notes,"
    "other_notes,"
)
# Era c: slash hierarchy.
OCTOBER_2020 = (
    "patientid,offset,sex,age,finding,RT_PCR_positive,survival,intubated,intubation_present,"
    "went_icu,in_icu,needed_supplemental_O2,extubated,temperature,pO2_saturation,leukocyte_count,"
    "neutrophil_count,lymphocyte_count,view,modality,date,location,folder,filename,doi,url,license,"
    "clinical_notes,other_notes,"
)


def row(patientid, finding, filename, *, view="PA", modality="X-ray", age="40") -> dict[str, str]:
    return {
        "patientid": str(patientid),
        "finding": finding,
        "filename": filename,
        "view": view,
        "modality": modality,
        "age": age,
        "folder": "images",
    }


def write_ccx(root: Path, rows, *, header=JUNE_2020, absent=()) -> Path:
    """Writes root/ccx with metadata.csv in the era of `header` and an image a row."""
    folder = root / "ccx"
    (folder / "images").mkdir(parents=True)
    with (folder / "metadata.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns := header.split(","))
        for record in rows:
            writer.writerow([record.get(name.strip().lower(), "") for name in columns])
    for seed, record in enumerate(rows):
        path = folder / "images" / record["filename"]
        if record["filename"] not in absent and not path.exists():
            builds.write_image(path, seed=seed)
    return root


FLAT = {
    "COVID-19": "covid19",
    "SARS": "viral",
    "Streptococcus": "bacterial",
    "Pneumocystis": "bacterial",
    "No Finding": "normal",
    "COVID-19, ARDS": "",
    "Klebsiella": "",
    "todo": "",
}
HIERARCHY = {
    "Pneumonia/Viral/COVID-19": "covid19",
    "Pneumonia/Viral/SARS": "viral",
    "Pneumonia/Bacterial/Streptococcus": "bacterial",
    "Pneumonia/Fungal/Pneumocystis": "bacterial",
    "No Finding": "normal",
    "Pneumonia/Bacterial/Klebsiella": "",
    "Pneumonia": "",
    "Tuberculosis": "",
}


@pytest.mark.parametrize(
    "era, header, findings",
    [
        ("2020-03", MARCH_2020, FLAT),
        ("2020-06", JUNE_2020, FLAT),
        ("2020-10", OCTOBER_2020, HIERARCHY),
    ],
)
def test_each_era_gives_the_published_classes_and_keeps_unclassed_findings(
    tmp_path, era, header, findings
):
    rows = [row(i, finding, f"image {i}.jpg") for i, finding in enumerate(findings)]
    builder = builds.prepare(Builder, tmp_path, write_ccx(tmp_path, rows, header=header))
    examples = builds.read(builder)
    assert {e["finding"]: e["label"] for e in examples.values()} == findings
    assert sorted(examples) == [f"ccx-image_{i}" for i in range(len(findings))]
    assert {e["view"] for e in examples.values()} == {"PA"}
    assert {e["source"] for e in examples.values()} == {"ccx"}
    assert builder.info.metadata["metadata_era"] == era
    assert builder.info.metadata["kept"] == len(findings)


@pytest.mark.parametrize(
    "options, changed",
    [
        ({}, {}),
        ({"pneumocystis": "fungal"}, {"Pneumocystis": ""}),
        ({"findings": "extended"}, {"COVID-19, ARDS": "covid19", "Klebsiella": "bacterial"}),
        (
            {"findings": "extended", "pneumocystis": "fungal"},
            {"COVID-19, ARDS": "covid19", "Klebsiella": "bacterial", "Pneumocystis": ""},
        ),
    ],
)
def test_options_change_only_the_named_findings(tmp_path, options, changed):
    rows = [row(i, finding, f"{i}.jpg") for i, finding in enumerate(FLAT)]
    examples = builds.read(builds.prepare(Builder, tmp_path, write_ccx(tmp_path, rows), **options))
    assert {e["finding"]: e["label"] for e in examples.values()} == {**FLAT, **changed}


def test_config_name_says_the_options():
    assert Builder.configure().name == "pneumocystis_bacterial-findings_published"
    assert Builder.configure(findings="extended").name == "pneumocystis_bacterial-findings_extended"
    with pytest.raises(TypeError, match="unknown option 'finding'.*findings, pneumocystis"):
        Builder.configure(finding="extended")
    with pytest.raises(ValueError, match="findings='all': must be one of published, extended"):
        Builder.configure(findings="all")


def test_extended_names_bacteria_and_viruses_only():
    published = labels.label_table(findings="published", pneumocystis="fungal")
    extended = labels.label_table(findings="extended", pneumocystis="fungal")
    assert published.items() < extended.items()
    for finding, label in extended.items():
        if finding.startswith("Pneumonia/Bacterial"):
            assert label == "bacterial", finding
        if finding.startswith("Pneumonia/Viral"):
            assert label == ("covid19" if "COVID" in finding else "viral"), finding
    for finding in ("ARDS", "Lipoid", "Aspiration", "Pneumonia", "todo", "Unknown"):
        assert finding not in extended


def test_only_frontal_x_rays_whose_file_exists_are_kept_and_the_rest_counted_by_reason(tmp_path):
    rows = [
        row(1, "COVID-19", "pa.jpg", view="PA"),
        row(2, "COVID-19", "ap.jpg", view="AP"),
        row(3, "COVID-19", "supine.jpg", view="AP Supine"),
        row(4, "COVID-19", "erect.png", view="AP Erect"),
        row(5, "COVID-19", "lateral.jpg", view="L"),
        row(6, "COVID-19", "axial.jpg", view="Axial", modality="CT"),
        row(7, "COVID-19", "coronal.jpg", view="Coronal", modality="CT"),
        row(8, "COVID-19", "unknown.jpg", view="?"),
        row(9, "COVID-19", "blank.jpg", view=""),
        row(10, "COVID-19", "gone.jpg"),
        row(11, "COVID-19", "../metadata.csv"),
        row(12, "COVID-19", "pa.jpg"),
        row("", "COVID-19", "nobody.jpg"),
    ]
    manual = write_ccx(tmp_path, rows, absent=("gone.jpg", "../metadata.csv"))
    builder = builds.prepare(Builder, tmp_path, manual)
    examples = builds.read(builder)
    assert builds.column(examples, "view") == {
        "ccx-pa": "PA",
        "ccx-ap": "AP",
        "ccx-supine": "AP Supine",
        "ccx-erect": "AP Erect",
    }
    expected = {
        "view L": 1,
        "modality CT": 2,
        "view ?": 1,
        "view blank": 1,
        "missing file": 2,
        "file named again": 1,
        "no patient id": 1,
    }
    assert builder.info.metadata["rejected"] == expected
    stored = json.loads((Path(builder.data_dir) / "metadata.json").read_text())
    assert stored["rejected"] == expected and stored["kept"] == 4


def test_march_2020_has_no_modality_so_ct_goes_by_its_view(tmp_path):
    rows = [row(1, "COVID-19", "a.jpg"), row(2, "COVID-19", "b.jpg", view="Axial")]
    builder = builds.prepare(Builder, tmp_path, write_ccx(tmp_path, rows, header=MARCH_2020))
    assert list(builds.read(builder)) == ["ccx-a"]
    assert builder.info.metadata["rejected"] == {"view Axial": 1}


def test_image_bytes_are_stored_untouched(tmp_path):
    manual = write_ccx(tmp_path, [row(1, "SARS", "a.jpg"), row(2, "SARS", "b.png")])
    examples = builds.read(builds.prepare(Builder, tmp_path, manual))
    for name in ("a.jpg", "b.png"):
        path = manual / "ccx" / "images" / name
        assert examples[f"ccx-{path.stem}"]["image"] == path.read_bytes()


def test_patients_known_to_be_one_person_share_an_id(tmp_path):
    patients = ("97", "178", "78", "201", "342", "343", "245", "388", "311a", "311b")
    rows = [row(patient, "COVID-19", f"{patient}.jpg") for patient in patients]
    examples = builds.read(builds.prepare(Builder, tmp_path, write_ccx(tmp_path, rows)))
    assert builds.column(examples, "patient_id") == {
        "ccx-97": "ccx-97",
        "ccx-178": "ccx-97",
        "ccx-78": "ccx-78",
        "ccx-201": "ccx-78",
        "ccx-342": "ccx-342",
        "ccx-343": "ccx-342",
        "ccx-245": "ccx-245",
        "ccx-388": "ccx-245",
        "ccx-311a": "ccx-311a",
        "ccx-311b": "ccx-311b",
    }
    assert all(e["strict_patient_id"] == e["patient_id"] for e in examples.values())


@pytest.mark.parametrize(
    "age, group",
    [("18", "adult"), ("17", "paediatric"), ("0.5", "paediatric"), ("", ""), ("50s", "")],
)
def test_age_group(tmp_path, age, group):
    manual = write_ccx(tmp_path, [row(1, "SARS", "a.jpg", age=age)])
    examples = builds.read(builds.prepare(Builder, tmp_path, manual))
    assert examples["ccx-a"]["age_group"] == group


def test_rows_that_contradict_each_other_about_an_image_leave_it_unclassed(tmp_path):
    rows = [
        row(1, "COVID-19", "both.jpg"),
        row(1, "No Finding", "both.jpg"),
        row(2, "COVID-19", "twice.jpg"),
        row(2, "COVID-19", "twice.jpg"),
    ]
    examples = builds.read(builds.prepare(Builder, tmp_path, write_ccx(tmp_path, rows)))
    assert examples["ccx-both"]["label"] == ""
    assert examples["ccx-both"]["finding"] == "COVID-19 | No Finding"
    assert examples["ccx-twice"]["label"] == "covid19"
    assert examples["ccx-twice"]["finding"] == "COVID-19"


def test_file_names_with_one_stem_get_distinct_ids(tmp_path):
    rows = [row(1, "SARS", "a b.jpg"), row(2, "SARS", "a b.png"), row(3, "SARS", "c.jpg")]
    ids = sorted(builds.read(builds.prepare(Builder, tmp_path, write_ccx(tmp_path, rows))))
    assert ids == ["ccx-a_b.jpg-1f97f74b", "ccx-a_b.png-47c1591e", "ccx-c"]


def test_metadata_without_a_needed_column_is_refused(tmp_path):
    path = tmp_path / "metadata.csv"
    path.write_text("patientid,finding,filename\n1,SARS,a.jpg\n")
    with pytest.raises(ValueError, match=r"metadata\.csv: no column view; it has patientid"):
        metadata.read_metadata(path)


def test_a_folder_that_is_not_whole_is_an_error_that_shows_the_tree(tmp_path):
    (tmp_path / "ccx" / "images").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=r"lacks ccx/metadata\.csv.*\n(.*\n)+.*images/"):
        builds.prepare(Builder, tmp_path, tmp_path)


def test_a_manual_folder_that_is_the_set_itself_is_said_and_nothing_downloaded(tmp_path):
    write_ccx(tmp_path, [row("1", "COVID-19", "a.png")])
    with pytest.raises(FileNotFoundError, match=rf"metadata\.csv lies in .*: give {tmp_path} as"):
        builds.prepare(Builder, tmp_path, tmp_path / "ccx")


def test_nothing_usable_is_an_error_that_says_why(tmp_path):
    manual = write_ccx(tmp_path, [row(1, "SARS", "a.jpg", view="L")])
    with pytest.raises(ValueError, match=r"no usable image; rejected: view L: 1 \(a\.jpg\)"):
        builds.prepare(Builder, tmp_path, manual)


def archive_of(folder: Path, commit: str) -> bytes:
    members = {
        f"covid-chestxray-dataset-x/{path.relative_to(folder).as_posix()}": path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
    return tar_gz(members, comment=commit)


def test_without_a_manual_folder_the_pinned_commit_is_downloaded_once(tmp_path, monkeypatch):
    original = write_ccx(tmp_path / "original", [row(1, "SARS", "a.jpg")]) / "ccx"
    (original / "README.md").write_text("not wanted")
    with serve({"/a.tar.gz": archive_of(original, source.COMMIT)}) as server:
        monkeypatch.setattr(source, "URL", f"{server.url}/a.tar.gz")
        builder = builds.prepare(Builder, tmp_path, tmp_path / "absent")
        again = builds.prepare(Builder, tmp_path, tmp_path / "absent", findings="extended")
    assert list(builds.read(builder)) == list(builds.read(again)) == ["ccx-a"]
    assert server.requests == ["/a.tar.gz"]
    downloads = tmp_path / "tfds" / "downloads"
    assert sorted(p.name for p in downloads.glob("ccx-*")) == ["ccx-78543292f8b0"]
    kept = sorted(p.name for p in (downloads / "ccx-78543292f8b0").iterdir())
    assert kept == ["images", "metadata.csv"]


def test_an_archive_of_another_commit_is_refused(tmp_path, monkeypatch):
    original = write_ccx(tmp_path / "original", [row(1, "SARS", "a.jpg")]) / "ccx"
    with serve({"/a.tar.gz": archive_of(original, "0" * 40)}) as server:
        monkeypatch.setattr(source, "URL", f"{server.url}/a.tar.gz")
        with pytest.raises(ValueError, match=f"made of commit 0+, expected {source.COMMIT}"):
            builds.prepare(Builder, tmp_path, None)
    assert not list((tmp_path / "tfds" / "downloads").glob("ccx-*"))


def test_a_failed_download_shows_the_tree_for_the_manual_folder(tmp_path, monkeypatch):
    with serve({}) as server:
        monkeypatch.setattr(source, "URL", f"{server.url}/a.tar.gz")
        with pytest.raises(FileNotFoundError, match=r"download failed(.*\n)+.*metadata\.csv"):
            builds.prepare(Builder, tmp_path, None)


def test_needs_no_tensorflow(tmp_path):
    manual = write_ccx(tmp_path, [row(1, "SARS", "a.jpg"), row(2, "SARS", "b.png")])
    assert builds.count_without_tensorflow("ccx", tmp_path, manual) == 2


def test_real_pack(real_data, tmp_path):
    builder = builds.prepare(Builder, tmp_path, real_data)
    examples = builds.read(builder).values()
    count = {
        name: collections.Counter(e[name] for e in examples)
        for name in ("view", "finding", "label")
    }
    assert len(examples) == 497 and builder.info.metadata["rejected"] == {}
    assert builder.info.metadata["metadata_era"] == "2020-06"
    assert count["view"] == {"PA": 264, "AP": 100, "AP Supine": 133}
    assert count["finding"] == {
        "COVID-19": 398,
        "COVID-19, ARDS": 12,
        "No Finding": 14,
        "Pneumocystis": 12,
        "Streptococcus": 12,
        "SARS": 10,
        "Pneumonia": 7,
        "Klebsiella": 6,
        "todo": 6,
        "E.Coli": 4,
        "Varicella": 4,
        "Mycoplasma Bacterial Pneumonia": 4,
        "ARDS": 3,
        "Legionella": 2,
        "Lipoid": 2,
        "Unknown": 1,
    }
    assert count["label"] == {"covid19": 398, "viral": 10, "bacterial": 24, "normal": 14, "": 51}
    # 289 patient ids, of which six are other patients over again.
    assert len({e["patient_id"] for e in examples}) == 283


def test_real_pack_extended(real_data, tmp_path):
    options = {"findings": "extended", "pneumocystis": "fungal"}
    examples = builds.read(builds.prepare(Builder, tmp_path, real_data, **options))
    count = collections.Counter(e["label"] for e in examples.values())
    assert count == {"covid19": 410, "viral": 14, "bacterial": 28, "normal": 14, "": 31}


def test_one_file_of_two_patients_makes_them_one_and_is_said(tmp_path):
    rows = [row("B", "SARS", "x.png"), row("B", "SARS", "b.png")]
    rows += [row("A", "SARS", "X.PNG"), row("A", "SARS", "a.png"), row("C", "SARS", "c.png")]
    builder = builds.prepare(Builder, tmp_path, write_ccx(tmp_path, rows, absent={"X.PNG"}))
    patients = builds.column(builds.read(builder), "patient_id")
    assert {patients[f"ccx-{name}"] for name in "xba"} == {"ccx-b"}
    assert patients["ccx-c"] == "ccx-c"
    assert any("'A' is 'B'" in notice for notice in builds.metadata(builder)["notices"])


def test_one_file_of_two_patients_whose_labels_contradict_each_other_is_refused(tmp_path):
    rows = [row("A", "SARS", "x.png"), row("B", "No Finding", "x.png")]
    with pytest.raises(ValueError, match=r"x\.png: .* contradict each other, A \(SARS\), B \(No F"):
        builds.prepare(Builder, tmp_path, write_ccx(tmp_path, rows))


def test_a_patient_called_nan_is_none(tmp_path):
    rows = [row("nan", "SARS", "x.png"), row("N/A", "SARS", "y.png"), row("1.0", "SARS", "z.png")]
    builder = builds.prepare(Builder, tmp_path, write_ccx(tmp_path, rows))
    assert builds.column(builds.read(builder), "patient_id") == {"ccx-z": "ccx-1"}
    assert builds.metadata(builder)["rejected"] == {"no patient id": 2}
    assert builds.metadata(builder)["faults"] == ["no patient id"]
