"""nih_cxr14: both tables and the sample's, classes by option, ages, NIH's lists, folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tfds_builders import builds
from tfds_builders.nih_cxr14 import table
from tfds_builders.nih_cxr14.nih_cxr14_dataset_builder import Builder

# As published: a name with a comma makes two columns of it, and the newer table ends with a comma.
HEADER_2017 = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)
HEADER_2020 = HEADER_2017.replace("Gender", "Sex") + ","

ROWS = [
    ("00000001_000.png", "No Finding", "1", "57", "PA"),
    ("00000001_001.png", "Pneumonia", "1", "58", "AP"),
    ("00000002_000.png", "Consolidation|Mass", "2", "17", "PA"),
    ("00000003_000.png", "Infiltration", "3", "411", "PA"),
    ("00000003_001.png", "Effusion|Infiltration|Pneumonia", "3", "81", "PA"),
    ("00000004_000.png", "Cardiomegaly", "4", "", "AP"),
]
FINDINGS = {f"nih_cxr14-{name[:-4]}": finding for name, finding, *_ in ROWS}


def write_nih(
    root: Path,
    rows=ROWS,
    *,
    header=HEADER_2020,
    name="Data_Entry_2017_v2020.csv",
    images="images",
    absent=(),
) -> Path:
    folder = root / "nih_cxr14"
    lines = [
        f"{image},{finding},0,{p},{age},M,{view},9,9,.1,.1" for image, finding, p, age, view in rows
    ]
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("\n".join([header, *lines]) + "\n")
    (folder / images).mkdir(parents=True, exist_ok=True)
    for seed, (image, *_) in enumerate(rows):
        if image not in absent:
            builds.write_image(folder / images / image, seed=seed)
    return root


@pytest.mark.parametrize(
    "cap, pneumonia",
    [
        ("pneumonia", {"00000001_001", "00000003_001"}),
        ("consolidation", {"00000001_001", "00000003_001", "00000002_000"}),
        ("pneumonia_like", {"00000001_001", "00000003_001", "00000002_000", "00000003_000"}),
    ],
)
def test_the_option_says_which_findings_are_pneumonia(tmp_path, cap, pneumonia):
    examples = builds.read(builds.prepare(Builder, tmp_path, write_nih(tmp_path), cap=cap))
    assert builds.column(examples, "finding") == FINDINGS
    labels = builds.column(examples, "label")
    assert {key for key, label in labels.items() if label == "pneumonia"} == {
        f"nih_cxr14-{stem}" for stem in pneumonia
    }
    assert labels["nih_cxr14-00000001_000"] == "normal"
    assert labels["nih_cxr14-00000004_000"] == ""


def test_every_text_is_set(tmp_path):
    manual = write_nih(tmp_path)
    builder = builds.prepare(Builder, tmp_path, manual)
    examples = builds.read(builder)
    assert builds.column(examples, "patient_id") == {
        key: f"nih_cxr14-{int(key[10:18])}" for key in FINDINGS
    }
    assert all(e["strict_patient_id"] == e["patient_id"] for e in examples.values())
    assert {e["source"] for e in examples.values()} == {"nih_cxr14"}
    assert examples["nih_cxr14-00000001_001"]["view"] == "AP"
    image = manual / "nih_cxr14" / "images" / "00000001_001.png"
    assert examples["nih_cxr14-00000001_001"]["image"] == image.read_bytes()
    assert [e["age_group"] for _, e in sorted(examples.items())] == [
        "adult",
        "adult",
        "paediatric",
        "",  # 411 years
        "adult",
        "",
    ]
    assert builds.metadata(builder)["kept"] == 6
    assert builds.metadata(builder)["table"] == "Data_Entry_2017_v2020.csv"


def test_the_tables_of_2017_and_of_the_sample_have_units_and_leading_zeros(tmp_path):
    rows = [
        ("00000013_005.png", "No_Finding", "00000013", "060Y", "AP"),
        ("00000013_006.png", "Pneumonia", "00000013", "061Y", "AP"),
        ("00000014_000.png", "No Finding", "00000014", "011M", "PA"),
    ]
    manual = write_nih(tmp_path, rows, header=HEADER_2017, name="sample_labels.csv")
    examples = builds.read(builds.prepare(Builder, tmp_path, manual))
    assert [e["label"] for _, e in sorted(examples.items())] == ["normal", "pneumonia", "normal"]
    assert {e["patient_id"] for e in examples.values()} == {"nih_cxr14-13", "nih_cxr14-14"}
    assert examples["nih_cxr14-00000013_005"]["age_group"] == "adult"
    assert examples["nih_cxr14-00000014_000"]["age_group"] == "paediatric"


def test_the_newest_table_is_read(tmp_path):
    write_nih(tmp_path, [ROWS[0]], header=HEADER_2017, name="Data_Entry_2017.csv")
    builder = builds.prepare(Builder, tmp_path, write_nih(tmp_path, ROWS[:3]))
    assert builds.metadata(builder)["kept"] == 3


@pytest.mark.parametrize(
    "age, group",
    [
        ("18", "adult"),
        ("017Y", "paediatric"),
        ("120", "adult"),
        ("121", ""),
        ("411Y", ""),
        ("216M", "adult"),
        ("215M", "paediatric"),
        ("001D", "paediatric"),
        ("", ""),
        ("old", ""),
    ],
)
def test_age_group(age, group):
    assert table.age_group(age) == group


def test_rows_that_cannot_be_used_are_counted_by_reason(tmp_path):
    rows = [
        ROWS[0],
        ROWS[0],
        ("00000005_000.png", "Pneumonia", "5", "50", "LL"),
        ("00000006_000.png", "Pneumonia", "6", "50", ""),
        ("00000007_000.png", "", "7", "50", "PA"),
        ("00000008_000.png", "Pneumonia", "", "50", "PA"),
        ("00000009_000.png", "Pneumonia", "9", "50", "PA"),
        ("../Data_Entry_2017_v2020.csv", "Pneumonia", "10", "50", "PA"),
    ]
    manual = write_nih(tmp_path, rows, absent=("00000009_000.png", rows[-1][0]))
    builder = builds.prepare(Builder, tmp_path, manual)
    assert list(builds.read(builder)) == ["nih_cxr14-00000001_000"]
    assert builds.metadata(builder)["rejected"] == {
        "row given again": 1,
        "view LL": 1,
        "view blank": 1,
        "no finding labels": 1,
        "no patient number": 1,
        "missing file": 2,
    }


def test_a_row_that_contradicts_itself_is_refused(tmp_path):
    manual = write_nih(tmp_path, [("00000001_000.png", "No Finding|Mass", "1", "50", "PA")])
    with pytest.raises(ValueError, match=r"00000001_000\.png: finding labels 'No Finding\|Mass'"):
        builds.prepare(Builder, tmp_path, manual)


def test_kaggles_twelve_folders_are_read_beside_or_instead_of_one(tmp_path):
    write_nih(tmp_path, ROWS[:2], images="images_001/images")
    write_nih(tmp_path, ROWS[:4], images="images_012/images")
    assert len(builds.read(builds.prepare(Builder, tmp_path, write_nih(tmp_path)))) == 6


def test_other_pixels_under_the_same_name_in_two_folders_are_refused(tmp_path):
    manual = write_nih(tmp_path)
    write_nih(tmp_path, ROWS[1:2], images="images_001/images")  # with the pixels of the first row
    write_nih(tmp_path)
    with pytest.raises(
        ValueError,
        match=r"images/00000001_001\.png and .*images_001/images/00000001_001\.png .*differ",
    ):
        builds.prepare(Builder, tmp_path, manual)


def test_patients_that_contradict_the_file_names_are_refused(tmp_path):
    rows = [(name, finding, "9", age, view) for name, finding, _, age, view in ROWS[:4]]
    rows.append(("00000009_000.png", "Pneumonia", "009", "50", "PA"))
    with pytest.raises(ValueError, match=r"4 rows contradict .*00000001_000\.png has Patient ID 9"):
        builds.prepare(Builder, tmp_path, write_nih(tmp_path, rows))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le"])
def test_lists_are_read_in_other_encodings_and_spellings(tmp_path, encoding):
    manual = write_nih(tmp_path)
    names = ["00000001_001.PNG", "images/00000002_000.png", "00000004_000", "99999999_000.png"]
    (tmp_path / "nih_cxr14/test_list.txt").write_bytes("\n".join(names).encode(encoding))
    if encoding == "utf-16-le":  # without its mark
        with pytest.raises(ValueError, match=r"test_list\.txt, line 1: a NUL .*save it as UTF-8"):
            builds.prepare(Builder, tmp_path, manual, list="test")
        return
    builder = builds.prepare(Builder, tmp_path, manual, list="test")
    assert sorted(builds.read(builder)) == [
        f"nih_cxr14-{name}" for name in ("00000001_001", "00000002_000", "00000004_000")
    ]
    assert builds.metadata(builder)["notices"] == [
        "1 names in test_list.txt match nothing: '99999999_000.png'"
    ]


def test_a_list_of_something_else_is_refused(tmp_path):
    manual = write_nih(tmp_path)
    for content, problem in (
        ("a.png\nb.png", "none of its 2 names is in the table: 'a.png', 'b"),
        ("\n", "no name in it"),
    ):
        (tmp_path / "nih_cxr14/test_list.txt").write_text(content)
        with pytest.raises(ValueError, match=rf"test_list\.txt: {problem}"):
            builds.prepare(Builder, tmp_path, manual, list="test")


def test_nihs_lists_choose_the_images(tmp_path):
    manual = write_nih(tmp_path)
    (tmp_path / "nih_cxr14/test_list.txt").write_text("00000001_001.png\r\n00000004_000.png\r\n")
    builder = builds.prepare(Builder, tmp_path, manual, list="test")
    assert sorted(builds.read(builder)) == ["nih_cxr14-00000001_001", "nih_cxr14-00000004_000"]
    assert builds.metadata(builder)["rejected"] == {"not in test_list.txt": 4}
    with pytest.raises(FileNotFoundError, match=r"lacks nih_cxr14/train_val_list\.txt"):
        builds.prepare(Builder, tmp_path, manual, list="train_val")


@pytest.mark.parametrize(
    "given, message",
    [
        ("nothing", "manual folder is not given"),
        ("folder", r"has none of Data_Entry_2017_v2020\.csv, Data_Entry_2017\.csv, sample"),
        ("table", "has neither images/ nor images_001/images/"),
    ],
)
def test_what_is_missing_is_an_error_that_shows_the_tree(tmp_path, given, message):
    if given != "nothing":
        (tmp_path / "manual/nih_cxr14").mkdir(parents=True)
    if given == "table":
        (tmp_path / "manual/nih_cxr14/Data_Entry_2017.csv").write_text(HEADER_2017)
    with pytest.raises(FileNotFoundError, match=rf"{message}(.*\n)+.*images_001/images/"):
        builds.prepare(Builder, tmp_path, tmp_path / "manual")


def test_config_name_says_the_options():
    assert Builder.configure().name == "cap_pneumonia-list_all"
    with pytest.raises(ValueError, match="cap='all': must be one of pneumonia, consolidation, pn"):
        Builder.configure(cap="all")


def test_needs_no_tensorflow(tmp_path):
    assert builds.count_without_tensorflow("nih_cxr14", tmp_path, write_nih(tmp_path)) == 6
