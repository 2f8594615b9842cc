"""hannover: classes by the days to admission, views, patients shared with ccx, download."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tfds_builders import builds
from tests.tfds_builders.http_files import serve, tar_gz
from tfds_builders.hannover import hannover_dataset_builder as hannover
from tfds_builders.hannover import patients

Builder = hannover.Builder


def row(image, offset="0", *, patient="024e7871", modality="CR", projection="ap") -> dict[str, str]:
    return {
        "patient_id": patient,
        "image_id": image,
        "sex": "f",
        "age": "",
        "admission_offset": offset,
        "icu_admission_offset": "",
        "modality": modality,
        "projection": projection,
        "crp_val": "-inf",
    }


def write_hannover(root: Path, rows, *, absent=()) -> Path:
    builds.write_csv(root / "hannover/data.csv", rows)
    (root / "hannover/png").mkdir()
    for seed, record in enumerate(rows):
        if record["image_id"] not in absent:
            builds.write_image(root / "hannover/png" / f"{record['image_id']}.png", seed=seed)
    return root


OFFSETS = ("-61", "0", "6", "7.0", "14", "15", "22", "")
LABELS = {
    "published": ["covid19"] * 5 + ["normal"] * 2 + ["covid19"],
    "guideline": ["covid19"] * 3 + ["", ""] + ["normal"] * 2 + [""],
    "left_out": ["covid19"] * 3 + [""] * 5,
}


@pytest.mark.parametrize("rule", LABELS)
def test_days_before_admission_decide_the_class(rule):
    assert [hannover.classify(days, rule=rule)[0] for days in OFFSETS] == LABELS[rule]
    assert [hannover.classify(days, rule=rule)[1] for days in OFFSETS] == [
        *["COVID-19"] * 3,
        *["7 to 14 days before admission"] * 2,
        *["more than 14 days before admission"] * 2,
        "admission unknown",
    ]


@pytest.mark.parametrize("offset", ["inf", "-inf", "nan", "soon", "1e3"])
def test_an_offset_that_is_no_number_of_days_is_refused(tmp_path, offset):
    manual = write_hannover(tmp_path, [row("00870a9c", offset)])
    with pytest.raises(ValueError, match=rf"00870a9c\.png: admission_offset '{offset}' is not"):
        builds.prepare(Builder, tmp_path, manual)


def test_every_text_is_set(tmp_path):
    rows = [
        row("fff13f3a", "22", projection="pa"),
        row("b343e657", "10", patient="042f06a9", modality="DX"),
    ]
    manual = write_hannover(tmp_path, rows)
    examples = builds.read(builds.prepare(Builder, tmp_path, manual, before_admission="guideline"))
    first, second = examples["hannover-fff13f3a"], examples["hannover-b343e657"]
    assert (first["label"], first["view"], second["label"], second["view"]) == (
        "normal",
        "PA",
        "",
        "AP",
    )
    assert first["patient_id"] == first["strict_patient_id"] == "hannover-024e7871"
    assert second["patient_id"] == "hannover-042f06a9"
    assert second["strict_patient_id"] == "ccx-219"  # the collection has this patient
    assert {(e["source"], e["age_group"]) for e in examples.values()} == {("hannover", "")}
    image = manual / "hannover/png/fff13f3a.png"
    assert first["image"] == image.read_bytes()


def test_what_a_spreadsheet_makes_of_a_patient_is_the_same_patient(tmp_path):
    texts = ["23032572", "2.3032572E+07", "23032572,0", "\u200b23032572", "23032573"]
    rows = [row(f"0000000{n}", patient=text) for n, text in enumerate(texts)]
    builder = builds.prepare(Builder, tmp_path, write_hannover(tmp_path, rows))
    examples = builds.read(builder)
    ids = [examples[f"hannover-0000000{n}"]["patient_id"] for n in range(5)]
    assert ids == ["hannover-23032572"] * 4 + ["hannover-23032573"]
    assert examples["hannover-00000001"]["strict_patient_id"] == "ccx-229"
    assert "3 patients have several spellings" in builds.metadata(builder)["notices"][0]


def test_patients_of_ccx_are_joined_one_to_one():
    assert len(patients.CCX_PATIENTS) == len(set(patients.CCX_PATIENTS.values())) == 46


def test_rows_that_cannot_be_used_are_counted_by_reason(tmp_path):
    rows = [
        row("00000001"),
        row("00000002", projection="lateral"),
        row("00000003", projection=""),
        row("00000004", modality="CT"),
        row("00000005", patient=""),
        row("00000006"),
        row("../data"),
    ]
    manual = write_hannover(tmp_path, rows, absent=("00000006", "../data"))
    builder = builds.prepare(Builder, tmp_path, manual)
    assert list(builds.read(builder)) == ["hannover-00000001"]
    assert builds.metadata(builder)["rejected"] == {
        "view lateral": 1,
        "view blank": 1,
        "modality CT": 1,
        "no patient id": 1,
        "missing file": 2,
    }


def archive(folder: Path, commit: str) -> bytes:
    members = {
        f"covid-19-image-repository-x/{path.relative_to(folder).as_posix()}": path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
    return tar_gz(members, comment=commit)


def test_without_a_manual_folder_the_pinned_commit_is_downloaded_once(tmp_path, monkeypatch):
    original = write_hannover(tmp_path, [row("00000001")]) / "hannover"
    (original / "nii").mkdir()
    (original / "nii/readme.md").write_text("not wanted")
    with serve({"/a.tar.gz": archive(original, hannover.COMMIT)}) as server:
        monkeypatch.setattr(hannover, "URL", f"{server.url}/a.tar.gz")
        builder = builds.prepare(Builder, tmp_path, tmp_path / "absent")
        builds.prepare(Builder, tmp_path, tmp_path / "absent", before_admission="guideline")
    assert list(builds.read(builder)) == ["hannover-00000001"]
    assert server.requests == ["/a.tar.gz"]
    (folder,) = (tmp_path / "tfds/downloads").glob("hannover-*")
    assert folder.name == f"hannover-{hannover.COMMIT[:12]}"
    assert sorted(path.name for path in folder.iterdir()) == ["data.csv", "png"]


def test_a_failed_download_shows_the_tree_for_the_manual_folder(tmp_path, monkeypatch):
    with serve({}) as server:
        monkeypatch.setattr(hannover, "URL", f"{server.url}/a.tar.gz")
        with pytest.raises(
            FileNotFoundError,
            match=r"manual folder with hannover/ was named, and the download failed(.*\n)+.*png/",
        ):
            builds.prepare(Builder, tmp_path, None)


def test_a_manual_folder_without_the_data_set_is_named(tmp_path, monkeypatch):
    other = tmp_path / "mine"
    (other / "ccx").mkdir(parents=True)
    with serve({}) as server:
        monkeypatch.setattr(hannover, "URL", f"{server.url}/a.tar.gz")
        with pytest.raises(FileNotFoundError, match=r"/mine has no folder hannover/, and the down"):
            builds.prepare(Builder, tmp_path / "out", other)


def test_config_name_says_the_option():
    assert Builder.configure().name == "before_admission_left_out"
    with pytest.raises(ValueError, match="must be one of left_out, guideline, published"):
        Builder.configure(before_admission="normal")


def test_needs_no_tensorflow(tmp_path):
    manual = write_hannover(tmp_path, [row("00000001"), row("00000002")])
    assert builds.count_without_tensorflow("hannover", tmp_path, manual) == 2


@pytest.mark.parametrize("offset", ["43905", "-43905.0", "3651"])
@pytest.mark.parametrize("rule", ["guideline", "published", "left_out"])
def test_an_offset_of_more_than_ten_years_looks_like_a_date(tmp_path, offset, rule):
    manual = write_hannover(tmp_path, [row("00870a9c", offset)])
    with pytest.raises(ValueError, match=rf"00870a9c\.png: .*'{offset}' .* looks like a date"):
        builds.prepare(Builder, tmp_path, manual, before_admission=rule)
