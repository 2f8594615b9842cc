"""v7_darwin: pictures and patients of ccx and kcx, masks of both kinds, what is left out."""

from __future__ import annotations

import collections
import hashlib
from pathlib import Path

import numpy as np
import pytest

from tests.tfds_builders import builds
from tests.tfds_builders.darwin_files import document, square, write
from tfds_builders import xray_builder
from tfds_builders.ccx.ccx_dataset_builder import Builder as Ccx
from tfds_builders.kcx.kcx_dataset_builder import Builder as Kcx
from tfds_builders.v7_darwin import v7_darwin_dataset_builder as v7_darwin

Builder = v7_darwin.Builder
SIZE = (20, 16)  # width, height
LUNGS = (("Lung", square(2, 3, 7, 12)), ("Lung", square(11, 3, 16, 12)))
IGNORE = ("Ignore", square(12, 4, 14, 6))
AREA = 2 * 6 * 10
COVID = ("COVID-19", "Viral Pneumonia", "X-ray", "View/PA", "Age:65", "PatientID:253", "Sex/M")


def image(path: Path, *, seed: int = 0, size=SIZE) -> bytes:
    return builds.write_image(path, seed=seed, size=size[::-1])


def annotate(root: Path, key: str, name: str, *, export="all-images", version=1, **content) -> None:
    """Writes v7/annotations/<export>/<key>.json with lungs, unless `shapes` says other."""
    content = {"shapes": LUNGS, "size": SIZE, **content}
    path = root / "v7" / "annotations" / export / f"{key}.json"
    write(path, document(key, name, version=version, **content))


def write_mask(root: Path, key: str, pixels: np.ndarray) -> Path:
    path = root / "v7" / v7_darwin.SEMANTIC_MASKS / f"{key}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(builds.encode(pixels))
    return path


def semantic() -> np.ndarray:
    """The mask of one lung with an ignored corner, another than the polygons of `annotate`."""
    pixels = np.zeros(SIZE[::-1], np.uint8)
    pixels[2:10, 3:9] = 255
    pixels[2:4, 3:6] = 127
    return pixels


def write_ccx(root: Path, rows) -> None:
    """rows: (patient, file name) or (patient, file name, original file name)."""
    table = []
    for seed, (patient, name, *original) in enumerate(rows):
        row = {"patientid": patient, "finding": "COVID-19", "view": "PA", "modality": "X-ray"}
        table.append(
            {**row, "age": "40", "filename": name, "original_filename": (original or [""])[0]}
        )
        image(root / "ccx" / "images" / name, seed=seed)
    builds.write_csv(root / "ccx" / "metadata.csv", table)


def write_kcx(root: Path, *files: str) -> None:
    for seed, name in enumerate(files):
        image(root / "kcx" / "chest_xray" / name, seed=100 + seed)


def example(tmp_path: Path, **options) -> dict:
    (found,) = builds.read(builds.prepare(Builder, tmp_path, tmp_path, **options)).values()
    return found


@pytest.mark.parametrize("version", [1, 2])
def test_every_text_and_both_masks(tmp_path, version):
    annotate(tmp_path, "253001", "a.png", shapes=(*LUNGS, IGNORE), tags=COVID, version=version)
    data = image(tmp_path / "v7/images/a.png")
    builder = builds.prepare(Builder, tmp_path, tmp_path)
    (found,) = builds.read(builder).values()
    assert {name: value for name, value in found.items() if isinstance(value, str)} == {
        "id": "v7-253001",
        "patient_id": "ccx-253",
        "strict_patient_id": "ccx-253",
        "label": "covid19",
        "finding": "COVID-19",
        "view": "PA",
        "source": "ccx",
        "age_group": "adult",
    }
    assert found["image"] == data
    lung, ignore = builds.pixels(found["mask_lung"]), builds.pixels(found["mask_ignore"])
    assert ((lung == 255).sum(), (lung == 127).sum()) == (AREA - 9, 9)
    np.testing.assert_array_equal(ignore, np.where(lung == 127, 255, 0))
    counts = builds.metadata(builder)
    assert (counts["kept"], counts["rejected"], counts["sources"]) == (1, {}, {"ccx": 1})
    assert (counts["masks_from_png"], counts["masks_from_polygons"]) == (0, 1)


def test_a_semantic_mask_goes_before_the_polygons(tmp_path):
    annotate(tmp_path, "1", "a.png", tags=COVID)
    write_mask(tmp_path, "1", semantic())
    image(tmp_path / "v7/images/a.png")
    builder = builds.prepare(Builder, tmp_path, tmp_path)
    (found,) = builds.read(builder).values()
    np.testing.assert_array_equal(builds.pixels(found["mask_lung"]), semantic())
    assert (builds.pixels(found["mask_ignore"]) == 255).sum() == 6
    assert builds.metadata(builder)["masks_from_png"] == 1


@pytest.mark.parametrize("png", [True, False])
def test_masks_take_the_size_of_the_image(tmp_path, png):
    annotate(tmp_path, "1", "a.png", tags=COVID)
    image(tmp_path / "v7/images/a.png", size=(40, 32))
    if png:
        write_mask(tmp_path, "1", semantic())
    found = builds.pixels(example(tmp_path)["mask_lung"])
    assert found.shape == (32, 40)
    assert (found == 255).sum() == 4 * ((semantic() == 255).sum() if png else AREA)


def test_pictures_of_ccx_have_the_patients_of_ccx(tmp_path):
    write_ccx(tmp_path, [("7", "one.jpg"), ("178", "two.jpg", "two.PNG"), ("350b", "three.jpg")])
    for key, name in (("1", "one.jpg"), ("2", "two.PNG"), ("3", "three.jpg")):
        annotate(tmp_path, key, name, tags=("COVID-19", "PatientID:999"))
    image(tmp_path / "v7/images/one.jpg", seed=9)  # ccx's own file is the better one
    theirs = builds.read(builds.prepare(Ccx, tmp_path / "theirs", tmp_path)).values()
    patients = {e["image"]: (e["patient_id"], e["strict_patient_id"]) for e in theirs}
    ours = builds.read(builds.prepare(Builder, tmp_path, tmp_path))
    assert builds.column(ours, "patient_id") == {
        "v7-1": "ccx-7",
        "v7-2": "ccx-97",
        "v7-3": "ccx-350b",
    }
    for found in ours.values():
        assert patients[found["image"]] == (found["patient_id"], found["strict_patient_id"])


def test_without_ccx_the_patient_is_that_of_the_tags(tmp_path):
    for key, patient in (("1", "178"), ("2", "97"), ("3", "")):
        annotate(tmp_path, key, f"{key}.png", tags=("COVID-19", f"PatientID:{patient}"))
        image(tmp_path / f"v7/images/{key}.jpg")  # of another suffix
    builder = builds.prepare(Builder, tmp_path, tmp_path)
    assert {e["patient_id"] for e in builds.read(builder).values()} == {"ccx-97"}
    assert builds.metadata(builder)["rejected"] == {"no patient id": 1}


def test_pictures_of_kcx_have_the_patients_of_kcx(tmp_path):
    files = ["train/PNEUMONIA/person3_virus_15.jpeg", "test/NORMAL/NORMAL2-IM-0007-0001.jpeg"]
    write_kcx(tmp_path, *files)
    annotate(tmp_path, "1", "person3_virus_15.jpeg", tags=("Viral Pneumonia",))
    annotate(tmp_path, "2", "NORMAL2-IM-0007-0001.jpeg", tags=("No Pneumonia (healthy)",))
    said = {}
    for name, builder in (("theirs", Kcx), ("ours", Builder)):
        found = builds.read(builds.prepare(builder, tmp_path / name, tmp_path)).values()
        said[name] = {e["image"]: {k: e[k] for k in xray_builder.TEXTS if k != "id"} for e in found}
    assert len(said["ours"]) == 2
    assert said["ours"] == said["theirs"]


def test_kcx_pictures_without_its_folder_have_the_strict_patient(tmp_path):
    annotate(tmp_path, "1", "person3_virus_15.jpeg", tags=("Viral Pneumonia",))
    image(tmp_path / "v7/images/00000001.jpg")  # as Darwin names it
    found = example(tmp_path)
    assert (found["patient_id"], found["strict_patient_id"]) == ("kcx-person3", "kcx-person3")
    assert (found["label"], found["view"], found["source"]) == ("viral", "AP", "kcx")


def test_of_two_kcx_pictures_of_one_name_the_size_decides(tmp_path):
    name = "IM-0001-0001.jpeg"
    image(tmp_path / "kcx/chest_xray/train/NORMAL" / name, size=(40, 32))
    image(tmp_path / "kcx/chest_xray/test/NORMAL" / name, size=SIZE)
    annotate(tmp_path, "1", name, tags=("No Pneumonia (healthy)",))
    assert example(tmp_path)["patient_id"] == "kcx-test-IM-0001"


def test_masks_without_json_are_paired_by_the_index_of_kcx(tmp_path):
    write_kcx(
        tmp_path, "train/PNEUMONIA/person3_bacteria_15.jpeg", "train/NORMAL/IM-0001-0001.jpeg"
    )
    folder = "kcx/chest_xray/train"
    rows = [
        ("11", f"{folder}/PNEUMONIA/person3_bacteria_15.jpeg"),
        ("", f"{folder}/NORMAL/IM-0001-0001.jpeg"),
    ]
    rows += [("12", f"{folder}/NORMAL/IM-0009-0001.jpeg"), ("13", "../secret.jpeg")]
    builds.write_csv(
        tmp_path / "kcx/index.csv", [{"image": path, "v7_id": key} for key, path in rows]
    )
    for key in ("11", "12", "13", "14"):
        write_mask(tmp_path, key, semantic())
    with pytest.raises(
        FileNotFoundError, match=r"nothing names: 1 \(14\)\. missing image: 2 \(12, 13\)\."
    ):
        builds.prepare(Builder, tmp_path / "first", tmp_path)
    builder = builds.prepare(Builder, tmp_path, tmp_path, missing_images="left_out")
    (found,) = builds.read(builder).values()
    assert (found["id"], found["patient_id"], found["label"]) == (
        "v7-11",
        "kcx-train-bacteria-3",
        "bacterial",
    )
    assert builds.metadata(builder)["rejected"] == {
        "mask whose image nothing names": 1,
        "missing image": 2,
    }


def test_ct_laterals_and_images_without_lungs_are_counted(tmp_path):
    annotate(tmp_path, "1", "1.png", tags=COVID)
    annotate(tmp_path, "2", "2.png", tags=("COVID-19", "CT", "View/Axial"), shapes=())
    # With lungs, as one is.
    annotate(tmp_path, "3", "3.png", tags=("COVID-19", "CT", "View/Coronal"))
    annotate(tmp_path, "4", "4.png", tags=("COVID-19", "View/Lateral"), shapes=())
    annotate(tmp_path, "5", "5.png", tags=COVID, shapes=[IGNORE])
    image(tmp_path / "v7/images/1.png")  # those that are left out anyway are not missed
    builder = builds.prepare(Builder, tmp_path, tmp_path)
    assert list(builds.read(builder)) == ["v7-1"]
    expected = {"modality CT": 2, "view Lateral": 1, "no lung annotation": 1}
    assert builds.metadata(builder)["rejected"] == expected


def test_an_empty_mask_without_json_is_left_out_and_one_with_lungs_in_json_is_an_error(tmp_path):
    write_kcx(tmp_path, "train/NORMAL/IM-0001-0001.jpeg", "train/NORMAL/IM-0002-0001.jpeg")
    paths = [f"kcx/chest_xray/train/NORMAL/IM-000{n}-0001.jpeg" for n in (1, 2)]
    rows = [{"image": path, "v7_id": key} for path, key in zip(paths, "12", strict=True)]
    builds.write_csv(tmp_path / "kcx/index.csv", rows)
    write_mask(tmp_path, "1", semantic())
    write_mask(tmp_path, "2", np.zeros(SIZE[::-1], np.uint8))
    builder = builds.prepare(Builder, tmp_path, tmp_path)
    assert builds.metadata(builder)["rejected"] == {"no lung annotation": 1}
    annotate(tmp_path, "2", "IM-0002-0001.jpeg")
    with pytest.raises(
        ValueError, match=r"2\.png: has no lung pixel \(255\), but .*2\.json has Lung polygons"
    ):
        builds.prepare(Builder, tmp_path / "again", tmp_path)


@pytest.mark.parametrize("png", [True, False])
def test_a_picture_of_another_shape_is_another_picture(tmp_path, png):
    for key in ("1", "2"):
        annotate(tmp_path, key, f"{key}.png", tags=COVID)
    image(tmp_path / "v7/images/1.png")
    image(tmp_path / "v7/images/2.png", size=(20, 20))
    if png:
        write_mask(tmp_path, "2", np.full((20, 20), 255, np.uint8))  # squashed to the wrong picture
    builder = builds.prepare(Builder, tmp_path, tmp_path)
    assert builds.metadata(builder)["rejected"] == {"image of another shape than its annotation": 1}


def test_missing_pictures_are_an_error_that_names_them_or_are_left_out(tmp_path):
    for key in ("1", "2", "3"):
        annotate(tmp_path, key, f"{key}.png", tags=COVID)
    image(tmp_path / "v7/images/1.png")
    with pytest.raises(
        FileNotFoundError,
        match=r"missing image: 2 \(2 \(2\.png\), 3 \(3\.png\)\)(.*\n)+.*covid-only/",
    ):
        builds.prepare(Builder, tmp_path / "first", tmp_path)
    builder = builds.prepare(Builder, tmp_path, tmp_path, missing_images="left_out")
    assert (builds.metadata(builder)["kept"], builds.metadata(builder)["rejected"]) == (
        1,
        {"missing image": 2},
    )


def test_two_exports_of_one_image_are_one_example_and_must_agree(tmp_path):
    for export in ("all-images", "covid-only"):
        annotate(tmp_path, "1", "1.png", tags=COVID, export=export)
    image(tmp_path / "v7/images/1.png")
    builder = builds.prepare(Builder, tmp_path, tmp_path)
    assert builds.metadata(builder)["rejected"] == {"same annotation in two exports": 1}
    annotate(tmp_path, "1", "1.png", tags=COVID[1:], export="covid-only")
    with pytest.raises(
        ValueError,
        match=r"all-images/1\.json and .*covid-only/1\.json annotate one image and differ",
    ):
        builds.prepare(Builder, tmp_path / "again", tmp_path)


def test_files_beside_the_annotations_do_no_harm(tmp_path):
    annotate(tmp_path, "1", "1.png", tags=COVID)
    image(tmp_path / "v7/images/1.png")
    masks = write_mask(tmp_path, "1", semantic()).parent
    (masks / "class_mapping.csv").write_text("class_idx,class_name\n255,Lung\n")
    (masks / ".class_mapping.csv.swp").write_bytes(b"\0")
    assert example(tmp_path)["id"] == "v7-1"


@pytest.mark.parametrize("folder", ["", "v7", "v7/images"])
def test_nothing_there_is_an_error_that_shows_the_tree(tmp_path, folder):
    (tmp_path / "manual" / folder).mkdir(parents=True)
    with pytest.raises(
        FileNotFoundError, match=r"(?s)v7_darwin: .*all-images-semantic-masks/.*chest_xray/"
    ):
        builds.prepare(Builder, tmp_path, tmp_path / "manual")


def test_an_unknown_option_is_refused():
    with pytest.raises(ValueError, match="missing_images='drop': must be one of error, left_out"):
        Builder.configure(missing_images="drop")


def test_needs_no_tensorflow(tmp_path):
    for key in ("1", "2"):
        annotate(tmp_path, key, f"{key}.png", tags=COVID)
        image(tmp_path / f"v7/images/{key}.png")
    assert builds.count_without_tensorflow("v7_darwin", tmp_path, tmp_path) == 2


def test_real_pack(real_data, tmp_path):
    theirs = {}
    for builder in (Ccx, Kcx):
        for found in builds.read(builds.prepare(builder, tmp_path, real_data)).values():
            theirs[hashlib.sha256(found["image"]).digest()] = (
                found["patient_id"],
                found["strict_patient_id"],
            )
    builder = builds.prepare(Builder, tmp_path, real_data)
    # 827 masks; the image of one was replaced by another crop of the same name.
    assert builds.metadata(builder)["rejected"] == {"image of another shape than its annotation": 1}
    assert builds.metadata(builder)["masks_from_png"] == 826
    labels: collections.Counter[tuple[str, str]] = collections.Counter()
    ignored = 0
    for found in builds.read(builder).values():
        patients = (found["patient_id"], found["strict_patient_id"])
        assert theirs[hashlib.sha256(found["image"]).digest()] == patients
        labels[found["source"], found["label"]] += 1
        if found["source"] == "kcx" and labels["kcx", found["label"]] % 20:
            continue  # pixels take long
        mask = builds.pixels(found["mask_lung"])
        assert mask.shape == builds.pixels(found["image"]).shape[:2]
        assert {0, 255} <= set(np.unique(mask).tolist()) <= {0, 127, 255}
        assert 0.05 < (mask == 255).mean() < 0.75
        np.testing.assert_array_equal(builds.pixels(found["mask_ignore"]) == 255, mask == 127)
        ignored += (mask == 127).any()
    assert ignored == 23  # all of ccx
    assert labels == {
        ("ccx", "covid19"): 199,
        ("kcx", "normal"): 210,
        ("kcx", "bacterial"): 210,
        ("kcx", "viral"): 207,
    }


def own_images(root: Path, *names: str) -> None:
    for seed, name in enumerate(names):
        image(root / "v7" / "images" / name, seed=seed)


def test_what_is_drawn_and_not_read_is_said_and_what_may_be_a_lung_is_a_fault(tmp_path):
    heart, field = ("Heart", square(1, 1, 2, 2)), ("Lung field", square(1, 1, 2, 2))
    for key, more in (("1", heart), ("2", heart), ("3", field)):
        annotate(tmp_path, key, f"{key}.jpg", shapes=(*LUNGS, more), tags=COVID)
    own_images(tmp_path, "1.jpg", "2.jpg", "3.jpg", "4.jpg")
    items, rejected, notices = v7_darwin.select(tmp_path)
    assert sorted(items) == ["v7-1", "v7-2"]
    assert rejected.counts == {"class that may be a lung or not: Lung field": 1}
    assert rejected.faults == list(rejected.counts)
    assert notices == [
        (
            "classes that are drawn and not read, with the number of their regions: Heart (2), "
            "Lung field (1)"
        ),
        "1 images in v7/images have no annotation: 4.jpg",
    ]


def test_annotations_in_subfolders_and_masks_of_another_kind_are_faults(tmp_path):
    annotate(tmp_path, "1", "1.jpg", tags=COVID)
    annotate(tmp_path, "2", "2.jpg", tags=COVID, export="all-images/part2")
    write_mask(tmp_path, "1", semantic()).with_name("3.tif").write_bytes(b"x")
    own_images(tmp_path, "1.jpg")
    items, rejected, _ = v7_darwin.select(tmp_path)
    assert list(items) == ["v7-1"]
    assert rejected.names(v7_darwin.UNREAD) == ["3.tif", "annotations/all-images/part2/2.json"]


def test_an_index_that_gives_one_annotation_to_two_images_is_refused(tmp_path):
    rows = [{"image": f"kcx/chest_xray/train/NORMAL/{n}.jpeg", "v7_id": "7"} for n in "ab"]
    builds.write_csv(tmp_path / "kcx" / "index.csv", rows)
    with pytest.raises(ValueError, match=r"index\.csv: gives 7 to both .*a\.jpeg and .*b\.jpeg"):
        v7_darwin.select(tmp_path)


def test_a_child_is_one_patient_in_kcx_and_here_however_its_number_is_spelt(tmp_path):
    write_kcx(tmp_path, "train/PNEUMONIA/person0003_virus_0016.jpeg")
    image(tmp_path / "v7/images/person3_virus_15.jpeg")
    annotate(tmp_path, "1", "person3_virus_15.jpeg", tags=("Viral Pneumonia",))
    annotate(tmp_path, "2", "person0003_virus_0016.jpeg", tags=("Viral Pneumonia",))
    found = builds.read(builds.prepare(Builder, tmp_path, tmp_path)).values()
    kcx = builds.read(builds.prepare(Kcx, tmp_path, tmp_path)).values()
    assert {e["strict_patient_id"] for e in (*found, *kcx)} == {"kcx-person3"}
    assert {e["patient_id"] for e in (*found, *kcx)} == {"kcx-train-virus-3"}


def test_an_unknown_tag_is_told_as_an_unknown_finding(tmp_path):
    for number, tag in enumerate(("No Pneumonia", "Viral_Pneumonia")):
        image(tmp_path / f"v7/images/{number}.png", seed=number)
        annotate(tmp_path, str(number), f"{number}.png", tags=(tag, f"PatientID:{number}"))
    builder = builds.prepare(Builder, tmp_path, tmp_path)
    assert builds.column(builds.read(builder), "label") == {"v7-0": "", "v7-1": "viral"}
    found = builds.metadata(builder)
    assert found["unknown_findings"] == ["'No Pneumonia'"]
    assert "covid-19" in found["known_findings"]


@pytest.mark.parametrize(
    "corners", [(0.1, 0.1, 0.5, 0.6), (50, 50, 70, 70), (-30, -30, -5, -5)], ids=str
)
def test_lungs_that_are_not_on_the_image_are_a_fault(tmp_path, corners):
    size = (60, 48)
    for number, lungs in enumerate((square(*corners), square(5, 5, 20, 40))):
        image(tmp_path / f"v7/images/{number}.png", seed=number, size=size)
        annotate(
            tmp_path,
            str(number),
            f"{number}.png",
            shapes=[("Lung", lungs)],
            tags=("COVID-19", "PatientID:1"),
            size=size,
        )
    builder = builds.prepare(Builder, tmp_path, tmp_path)
    assert list(builds.read(builder)) == ["v7-1"]
    reason = "lung polygons outside the image, or not in pixels"
    assert builds.metadata(builder)["rejected"] == {reason: 1}
    assert builds.metadata(builder)["faults"] == [reason]


def test_pictures_without_an_open_licence_are_left_out_on_demand(tmp_path):
    licences = {
        "a.jpg": "CC BY 4.0",
        "b.jpg": "cc by",
        "c.jpg": "CC BY-NC-SA",
        "d.jpg": "CC BY-ND 4.0",
        "e.jpg": "",
        "f.jpg": "CC0",
    }
    write_ccx(tmp_path, [(str(n), name) for n, name in enumerate(licences)])
    table = tmp_path / "ccx" / "metadata.csv"
    head, *rows = table.read_text().splitlines()
    given = [f"{row},{licence}" for row, licence in zip(rows, licences.values(), strict=True)]
    table.write_text("\n".join([f"{head},license", *given]) + "\n")
    write_kcx(tmp_path, "train/NORMAL/IM-0115-0001.jpeg")
    for key, name in enumerate([*licences, "IM-0115-0001.jpeg"]):
        annotate(tmp_path, str(key), name, tags=COVID)
    every = builds.prepare(Builder, tmp_path / "every", tmp_path)
    assert len(builds.read(every)) == 7
    builder = builds.prepare(Builder, tmp_path, tmp_path, licences="open")
    assert sorted(builds.read(builder)) == ["v7-0", "v7-1", "v7-5", "v7-6"]
    assert builds.metadata(builder)["rejected"] == {"picture without an open licence": 3}
