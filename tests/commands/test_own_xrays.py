"""`--config.run=predict --config.predict.inputs=...`: a user's own X-rays through trained runs."""

from __future__ import annotations

import csv
import dataclasses
import errno
import json
import os
import re
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from jaxcxr import data, shipped
from jaxcxr.commands import predict, train, xray_results
from jaxcxr.commands.xray_results import NOTE, Results
from jaxcxr.data import lung_doubts, xray_files
from jaxcxr.data.drawn import DRAWN, TRAINED_ON_DRAWN
from jaxcxr.data.drawn import NOTE as DRAWN_NETWORK
from jaxcxr.errors import InputError
from jaxcxr.inference import mask_confidence
from jaxcxr.inference.predictor import Predictor
from jaxcxr.inference.xray_predictions import Result
from jaxcxr.storage import files
from jaxcxr.storage.files import encode_png, read_json
from jaxcxr.storage.predictions import Predictions
from jaxcxr.tasks import segment
from jaxcxr.weights import safetensors_file
from jaxcxr.weights.catalog import LUNGS
from tests import tiny
from tests.data import dicoms


def segmenter(**fields):
    c = tiny.shrink(tiny.load("fc_densenet103"))
    c.model.name, c.model.width = tiny.ONE_DOWN, 0.2
    c.train.epochs, c.train.eval_every, c.train.batch_size = 12.0, 12.0, 4
    return tiny.change(c, **fields)


def learner(*, patched: bool, **fields):
    return tiny.learner(patched=patched, **{"masks__on_empty": "whole_image", **fields})


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """segmenter, patched and whole: three trained runs."""
    folder = tmp_path_factory.mktemp("runs")
    train.run(segmenter(), folder / "segmenter")
    train.run(learner(patched=True), folder / "patched")
    train.run(learner(patched=False), folder / "whole")
    return folder


@pytest.fixture(scope="module")
def phantoms() -> data.Dataset:
    return data.open_dataset(learner(patched=True).data)


@pytest.fixture
def inputs(tmp_path, phantoms) -> Path:
    """Five phantoms as PNG, 16-bit PNG, TIFF and DICOM, one of them below a further folder."""
    folder = tmp_path / "in"
    (folder / "more").mkdir(parents=True)
    five = [phantoms.image(index) for index in range(5)]
    (folder / "a.png").write_bytes(encode_png(five[0]))
    (folder / "b.png").write_bytes(encode_png(five[1].astype(np.uint16) * 16))
    Image.fromarray(five[2]).save(folder / "c.tif")
    (folder / "d.dcm").write_bytes(dicoms.dicom(five[3]))
    (folder / "more" / "e").write_bytes(dicoms.dicom(five[4].astype(np.uint16) * 16, BitsStored=12))
    return folder


@pytest.fixture(autouse=True)
def _no_training_data(monkeypatch):
    """Prediction must do without the data and labels of the training."""

    def refuse(*_):
        raise AssertionError("the training data was opened")

    monkeypatch.setattr("jaxcxr.training.prepare.open_store", refuse)


def run(runs: Path, name: str, inputs, **fields) -> dict[str, dict]:
    """id -> row of predictions.csv of `runs/<name>`, each equal to its JSON line."""
    if name == "segmenter":
        config = segmenter(predict__inputs=str(inputs), **fields)
    else:
        if name == "patched":
            fields = {"masks__workdir": str(runs / "segmenter"), **fields}
        config = learner(patched=name == "patched", predict__inputs=str(inputs), **fields)
    predict.run(config, runs / name)
    return rows_of(runs / name)


def rows_of(workdir: Path) -> dict[str, dict]:
    with open(workdir / "xrays" / "predictions.csv", newline="") as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    lines = [
        json.loads(line)
        for line in (workdir / "xrays" / "predictions.jsonl").read_text().splitlines()
    ]
    assert [line["id"] for line in lines] == list(rows)
    for line in lines:
        row = rows[line["id"]]
        for column, what in (("probability", "probabilities"), ("vote_share", "vote_share")):
            for name, value in (line[what] or {}).items():
                assert float(row[f"{column}_{name}"]) == value
        for name in ("lung_area_share", "left_out_share", "mask_confidence", "structure"):
            assert row[name] == ("" if line[name] is None else str(line[name]))
        assert row["warnings"] == "; ".join(line["warnings"])
        assert row.get("picture") == line.get("picture")
        assert NOTE == "research use only; not a diagnosis"
        assert row["note"] == line["note"]
        assert row["note"].startswith(NOTE)
    return rows


def failures(workdir: Path) -> dict[str, str]:
    return failures_of_folder(workdir / "xrays")


def failures_of_folder(folder: Path) -> dict[str, str]:
    with open(folder / "failed.csv", newline="") as file:
        return {row["file"]: row["reason"] for row in csv.DictReader(file)}


def numbers(row: dict[str, str], what: str) -> np.ndarray:
    return np.array([float(value) for name, value in row.items() if name.startswith(f"{what}_")])


def test_what_the_training_was_warned_of_is_said_with_its_predictions(runs, inputs, capsys):
    report = read_json(runs / "whole" / "report.json")
    assert len(report["warnings"]) > 1  # of a network of two steps
    # That the X-rays of the training were drawn is not said of those at hand.
    expected = [TRAINED_ON_DRAWN, *(text for text in report["warnings"] if text != DRAWN)]
    run(runs, "whole", inputs)
    printed = capsys.readouterr().out
    for text in expected:
        assert f"Warning. {text}" in printed
    assert DRAWN not in printed
    assert read_json(runs / "whole" / "xrays" / "summary.json")["model_warnings"] == expected


def test_a_network_of_drawn_x_rays_says_so_on_the_screen_and_in_every_row(runs, inputs, capsys):
    """Its numbers of real X-rays look like a diagnosis and mean nothing."""
    rows = run(runs, "whole", inputs)
    assert f"Warning. {TRAINED_ON_DRAWN}" in capsys.readouterr().out
    assert {row["note"] for row in rows.values()} == {f"{NOTE}; {DRAWN_NETWORK}"}
    assert (
        TRAINED_ON_DRAWN in read_json(runs / "whole" / "xrays" / "summary.json")["model_warnings"]
    )


def real_looking(patch) -> None:
    """Classifiers are as if their training had other X-rays than phantoms; segmenters are not."""
    load = Predictor.load.__func__

    def loaded(cls, *arguments):
        found = load(cls, *arguments)
        return found if found.is_segmenter else dataclasses.replace(found, knows_drawn_only=False)

    patch.setattr(Predictor, "load", classmethod(loaded))


def test_lungs_of_a_network_of_drawn_x_rays_are_said_in_every_row(runs, inputs, monkeypatch):
    """Also where the classifier itself was trained on other X-rays."""
    real_looking(monkeypatch)
    alone = run(runs, "whole", inputs)
    assert {row["note"] for row in alone.values()} == {NOTE}
    rows = run(runs, "patched", inputs)
    assert {row["note"] for row in rows.values()} == {f"{NOTE}; {DRAWN_NETWORK}"}
    # The ready-made lungs are not of phantoms.
    rows = run(runs, "patched", inputs, masks__workdir="")
    assert {row["note"] for row in rows.values()} == {NOTE}


def test_every_kind_of_file_gets_probabilities_votes_lungs_and_warnings(runs, inputs, capsys):
    rows = run(runs, "patched", inputs, predict__overlays=True)
    assert list(rows) == ["a.png", "b.png", "c.tif", "d.dcm", "more/e"]
    classes = learner(patched=True).data.classes
    for name, row in rows.items():
        assert list(row) == [
            "id", *(f"probability_{c}" for c in classes), *(f"vote_share_{c}" for c in classes),
            "lung_area_share", "left_out_share", "mask_confidence", "warnings", "note", "picture",
            "structure",
        ]  # fmt: skip
        assert row["structure"] == "left_lung+right_lung"
        assert row["picture"] == f"{name}.png"
        assert numbers(row, "probability").sum() == pytest.approx(1, abs=1e-5)
        votes = numbers(row, "vote_share")
        assert votes.sum() == 1 and set(votes) <= {0.0, 0.5, 1.0}  # of two patches
        assert 0.05 < float(row["lung_area_share"]) < 0.6
        # Twelve epochs make a poor segmenter, and it says so.
        assert 0 < float(row["mask_confidence"]) < mask_confidence.LIMIT
        assert mask_confidence.UNSURE in row["warnings"]
        assert row["warnings"].startswith(xray_files.TINY)
        with Image.open(runs / "patched" / "xrays" / "overlays" / f"{name}.png") as picture:
            assert picture.format == "PNG"
    assert failures(runs / "patched") == {}
    summary = read_json(runs / "patched" / "xrays" / "summary.json")
    assert (summary["files"], summary["predicted"], summary["failed"]) == (5, 5, 0)
    assert summary["note"].startswith(NOTE) and summary["lungs_from"] == str(runs / "segmenter")
    printed = capsys.readouterr().out
    assert f"{runs / 'patched' / 'xrays' / 'overlays'}/\n" in printed
    assert "5 x tiny image" in printed and "Research use only. Not for diagnosis." in printed


@pytest.mark.smoke
def test_an_image_of_the_training_data_gets_the_probabilities_of_the_run(runs, phantoms, tmp_path):
    """The pixels go the same way as in training: whole-image learners draw nothing at random."""
    known = Predictions.load(runs / "whole" / "predictions.npz")
    at = {name: n for n, name in enumerate(phantoms.ids.tolist())}
    chosen = known.ids[:6].tolist()
    for name in chosen:
        (tmp_path / f"{name}.png").write_bytes(phantoms.encoded(at[name]))
    rows = run(runs, "whole", tmp_path)
    for name, expected in zip(chosen, known.probabilities, strict=False):
        np.testing.assert_allclose(numbers(rows[f"{name}.png"], "probability"), expected, atol=2e-6)
        row = rows[f"{name}.png"]
        assert row["lung_area_share"] == row["mask_confidence"] == row["vote_share_normal"] == ""
        assert row["structure"] == ""  # nobody looked for lungs


def test_a_result_does_not_depend_on_the_other_files_or_on_names(runs, inputs, tmp_path):
    together = run(runs, "patched", inputs)
    alone = run(runs, "patched", inputs / "c.tif")
    assert list(alone) == ["c.tif"]
    renamed = tmp_path / "renamed"
    renamed.mkdir()
    shutil.copy(inputs / "c.tif", renamed / "zz")
    shutil.copy(inputs / "a.png", renamed / "b")
    other = run(runs, "patched", renamed, evaluate__batch_size=4)
    for row in (alone["c.tif"], other["zz"]):
        np.testing.assert_allclose(
            numbers(row, "probability"), numbers(together["c.tif"], "probability"), atol=2e-6
        )
        np.testing.assert_array_equal(
            numbers(row, "vote_share"), numbers(together["c.tif"], "vote_share")
        )


def test_the_same_pixels_as_png_tiff_and_dicom_give_the_same_numbers(runs, phantoms, tmp_path):
    pixels = phantoms.image(7).astype(np.uint16) * 16
    (tmp_path / "a.png").write_bytes(encode_png(pixels))
    Image.fromarray(pixels).save(tmp_path / "b.tif")
    (tmp_path / "c.dcm").write_bytes(dicoms.dicom(pixels, BitsStored=12))
    inverted = {"BitsStored": 12, "PhotometricInterpretation": "MONOCHROME1"}
    (tmp_path / "d.dcm").write_bytes(dicoms.dicom(4095 - pixels, **inverted))
    rows = list(run(runs, "patched", tmp_path).values())
    assert len(rows) == 4
    for row in rows[1:]:
        assert {**row, "id": ""} == {**rows[0], "id": ""}


def test_unreadable_files_are_listed_and_the_rest_is_done(runs, inputs, capsys):
    (inputs / ".DS_Store").write_bytes(b"x")
    (inputs / "more" / "Thumbs.db").write_bytes(b"x")
    (inputs / "broken.png").write_bytes((inputs / "a.png").read_bytes()[:200])
    (inputs / "notes.txt").write_text("PA view")
    (inputs / "plan.dcm").write_bytes(dicoms.shipped("rtplan.dcm"))
    with pytest.raises(
        InputError,
        match=r"2 of 7 files could not be used, .*failed\.csv: broken\.png is unreadable",
    ):
        run(runs, "patched", inputs)
    assert list(rows_of(runs / "patched")) == ["a.png", "b.png", "c.tif", "d.dcm", "more/e"]
    reasons = failures(runs / "patched")
    assert list(reasons) == ["broken.png", "plan.dcm"]
    assert reasons["plan.dcm"] == "plan.dcm is a DICOM file without an image, or cut off before it"
    summary = read_json(runs / "patched" / "xrays" / "summary.json")
    assert summary["failed"] == 2 and summary["hidden"] == 2
    assert summary["not_xray_files"] == 1 and summary["left_out"] == ["notes.txt"]
    printed = capsys.readouterr().out
    assert re.search(r"hidden, unread +2 \(\.DS_Store, more/Thumbs\.db\)\n", printed)
    assert re.search(r"no X-ray files +1 \(notes\.txt\)\n", printed)


def test_stray_files_are_no_error_but_the_file_that_is_named(runs, inputs):
    for name in ("README.txt", "more/labels.CSV", "Thumbs.db"):
        (inputs / name).write_text("id,label")
    for given in (inputs, f"{inputs}/**"):
        assert len(run(runs, "whole", given)) == 5
        summary = read_json(runs / "whole" / "xrays" / "summary.json")
        assert summary["left_out"] == ["README.txt", "more/labels.CSV"]
        assert summary["files"] == 5
    with pytest.raises(InputError, match=r"1 of 1 files could not be used.*neither DICOM nor"):
        run(runs, "whole", inputs / "README.txt")


def test_hostile_names_get_pictures_that_no_other_has(runs, inputs, capsys):
    """A picture beside a folder of its picture's name, too long a name, names that differ by case:
    all are done.
    """
    names = [
        "a",
        "a.png/b",
        "A.PNG",
        "胸" * 80,
        "x" * 255,
        "línea\n1",
        "\x1b[31mred",
        "=1+1",
        "$x^$ {",
        "-0.5",
    ]
    xray = (inputs / "a.png").read_bytes()
    shutil.rmtree(inputs)
    for name in names:
        (inputs / name).parent.mkdir(parents=True, exist_ok=True)
        (inputs / name).write_bytes(xray)
    (inputs / os.fsdecode(b"\xff")).write_bytes(xray)
    config = segmenter(predict__inputs=str(inputs), predict__overlays=True)
    predict.run(config, runs / "segmenter")
    folder = runs / "segmenter" / "xrays"
    lines = [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]
    assert [line["id"] for line in lines] == sorted([*names, "\\xff"])
    pictures = [line["picture"] for line in lines]
    for kind in ("masks", "overlays"):
        there = [
            path.relative_to(folder / kind).as_posix() for path in (folder / kind).rglob("*.png")
        ]
        assert sorted(there) == sorted(pictures)
    assert len({picture.casefold() for picture in pictures}) == len(lines)
    assert {"a.png", "=1+1.png", "$x^$ {.png"} <= set(pictures)
    assert failures(runs / "segmenter") == {}
    with open(folder / "predictions.csv", newline="", encoding="utf-8") as file:
        cells = [row["id"] for row in csv.DictReader(file)]
    assert "'=1+1" in cells and "'-0.5" in cells
    assert [cell.removeprefix("'") for cell in cells] == [line["id"] for line in lines]
    said = capsys.readouterr()
    assert "\x1b" not in said.out + said.err.replace("\x1b[A", "")


def test_whatever_goes_wrong_with_one_file_is_its_row(runs, inputs, monkeypatch):
    """Unforeseen errors in reading, in finding lungs, in drawing and in writing; the pictures go
    with their row.
    """
    read, picture, prepare = xray_files.read_file, Results.picture, Predictor.prepare
    write = files.write_bytes

    def raising(name, error, call):
        def called(*arguments, **options):
            texts = [
                getattr(argument, "id", argument) for argument in (*arguments, *options.values())
            ]
            if any(
                name in text
                for text in texts
                if isinstance(text, (str, Path)) and name in str(text)
            ):
                raise error
            return call(*arguments, **options)

        return called

    monkeypatch.setattr(
        xray_files, "read_file", raising("a.png", RuntimeError("<x at 0x7f> Quincunx"), read)
    )
    monkeypatch.setattr(Predictor, "prepare", raising("b.png", MemoryError(), prepare))
    monkeypatch.setattr(Results, "picture", raising("c.tif", ValueError("no formula"), picture))

    def refused(path, content):
        if Path(path).name == "d.dcm.png":
            raise OSError(errno.EILSEQ, os.strerror(errno.EILSEQ), str(path))
        write(path, content)

    monkeypatch.setattr(files, "write_bytes", refused)
    with pytest.raises(InputError, match="4 of 5 files could not be used") as raised:
        run(runs, "segmenter", inputs, predict__overlays=True)
    assert "0x7f" not in str(raised.value) and "Quincunx" not in str(raised.value)
    assert list(rows_of(runs / "segmenter")) == ["more/e"]
    unexpected = "unexpected {}; please report it, with what --verbosity=0 prints of it"
    assert failures(runs / "segmenter") == {
        "a.png": f"a.png: {unexpected.format('RuntimeError')}",
        "b.png": "b.png needs more memory than there is",
        "c.tif": f"c.tif: {unexpected.format('ValueError')}",
        "d.dcm": "d.dcm or what is made of it: Invalid or incomplete multibyte or wide character",
    }
    pictures = sorted((runs / "segmenter" / "xrays").rglob("*.png"))
    assert [path.parent.parent.name for path in pictures] == ["masks", "overlays"]


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (errno.ENOSPC, r"The disk is full: what is made of a\.png was not written"),
        (errno.ENOTCONN, r"a\.png or what is made of it: Transport endpoint is not connected"),
    ],
)
def test_what_every_file_would_meet_ends_the_work_in_one_line(
    runs, inputs, monkeypatch, number, says
):
    def full(path, content):
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(files, "write_bytes", full)
    with pytest.raises(InputError, match=says):
        run(runs, "segmenter", inputs)
    assert failures(runs / "segmenter") == {}
    assert not (runs / "segmenter" / "xrays" / "summary.json").exists()


def test_numbers_that_are_none_are_no_result(runs, inputs, monkeypatch):
    images = Predictor.images

    def broken(self, prepared, **options):
        prediction = images(self, prepared, **options)
        prediction["probabilities"] = prediction["probabilities"].copy()
        prediction["probabilities"][1] = np.nan
        return prediction

    monkeypatch.setattr(Predictor, "images", broken)
    with pytest.raises(InputError, match="1 of 5 files could not be used"):
        run(runs, "whole", inputs)
    assert failures(runs / "whole") == {"b.png": "b.png: the network's output is not a number"}
    assert len(rows_of(runs / "whole")) == 4

    def unsure(prediction, structures):
        return np.full(prediction["mask"].shape, np.nan)

    monkeypatch.undo()
    monkeypatch.setattr(segment, "lung_log_odds", unsure)
    with pytest.raises(InputError, match="5 of 5 files could not be used"):
        run(runs, "segmenter", inputs)
    assert failures(runs / "segmenter")["b.png"] == "b.png: the network's output is not a number"


def test_links_pipes_and_folders_that_cannot_be_read_are_listed(runs, inputs):
    os.mkfifo(inputs / "pipe")
    (inputs / "gone").symlink_to("nowhere")
    (inputs / "up").symlink_to(inputs)
    with pytest.raises(InputError, match="3 of 8 files could not be used"):
        run(runs, "whole", inputs)
    assert failures(runs / "whole") == {
        "gone": "gone is a link to nothing",
        "pipe": "pipe is a pipe, not a file",
        "up": "up is a link to a folder, which is not followed: give that folder itself",
    }


def test_nothing_of_a_header_is_in_the_outputs_or_on_the_screen(runs, inputs, capsys):
    lateral = {
        "ViewPosition": "LL",
        "StudyDescription": dicoms.PATIENT,
        "BodyPartExamined": "QUINCUNX",
    }
    pixels = np.random.default_rng(0).integers(0, 255, (60, 50), np.uint8)
    (inputs / "lateral.dcm").write_bytes(dicoms.dicom(pixels, **lateral))
    (inputs / "cut.dcm").write_bytes(dicoms.dicom(pixels)[:-500])
    with pytest.raises(InputError) as raised:
        run(runs, "patched", inputs, predict__overlays=True)
    row = rows_of(runs / "patched")["lateral.dcm"]
    assert (
        "lateral view" in row["warnings"]
        and "the body part examined is not the chest" in row["warnings"]
    )
    said = capsys.readouterr()
    texts = [said.out.encode(), said.err.encode(), str(raised.value).encode()]
    texts += [path.read_bytes() for path in (runs / "patched").rglob("*") if path.is_file()]
    assert b"Quincunx" in (inputs / "lateral.dcm").read_bytes()
    for text in texts:
        assert not any(
            word in text.lower() for word in (b"quincunx", b"zebedee", b"qz-4711", b"19011213")
        )


def test_an_x_ray_without_lungs_is_predicted_with_a_warning_or_listed(runs, inputs, monkeypatch):
    """By masks.on_empty, which may differ from the training's."""
    find = Predictor.lungs

    def none_in_the_first(self, prediction):
        first, *others = find(self, prediction)
        nothing = np.zeros_like(first.mask)
        return [dataclasses.replace(first, mask=nothing, every_piece=nothing), *others]

    monkeypatch.setattr(Predictor, "lungs", none_in_the_first)
    rows = run(runs, "patched", inputs)
    assert (
        lung_doubts.NO_LUNGS in rows["a.png"]["warnings"]
        and float(rows["a.png"]["lung_area_share"]) == 0
        and float(rows["a.png"]["mask_confidence"]) == 0
    )
    assert lung_doubts.NO_LUNGS not in rows["b.png"]["warnings"]
    for on_empty in ("error", "drop"):
        with pytest.raises(InputError, match="1 of 5 files could not be used"):
            run(runs, "patched", inputs, masks__on_empty=on_empty)
        assert list(rows_of(runs / "patched")) == ["b.png", "c.tif", "d.dcm", "more/e"]
        assert failures(runs / "patched")["a.png"] == (
            f"no lungs found (masks.on_empty='{on_empty}'): look at the X-ray, or predict it as a "
            "whole with --config.masks.on_empty=whole_image"
        )
    # A learner of whole images can do without.
    rows = run(runs, "whole", inputs, masks__workdir=str(runs / "segmenter"))
    assert lung_doubts.NO_LUNGS in rows["a.png"]["warnings"]
    assert float(rows["b.png"]["lung_area_share"]) > 0


def test_a_segmenter_writes_the_masks_that_learners_get(runs, inputs):
    areas = run(runs, "patched", inputs)
    rows = run(runs, "segmenter", inputs, predict__overlays=True)
    assert list(rows) == list(areas)
    for name, row in rows.items():
        assert list(row) == [
            "id", "lung_area_share", "left_out_share", "mask_confidence", "warnings", "note",
            "picture", "structure",
        ]  # fmt: skip
        assert row["structure"] == "left_lung+right_lung"
        for column in ("lung_area_share", "left_out_share", "mask_confidence"):
            assert row[column] == areas[name][column]
        with Image.open(runs / "segmenter" / "xrays" / "masks" / f"{name}.png") as picture:
            mask = np.asarray(picture)
        assert mask.shape == (48, 48) and set(np.unique(mask)) <= {0, 255}
        assert (mask > 0).mean() == pytest.approx(float(row["lung_area_share"]), abs=0.05)
        with Image.open(runs / "segmenter" / "xrays" / "overlays" / f"{name}.png") as picture:
            assert picture.mode == "RGB" and picture.size[0] == 576  # twelve times, and a note


def test_a_second_call_begins_anew_and_says_what_it_replaces(runs, inputs, capsys):
    shutil.rmtree(runs / "patched" / "xrays", ignore_errors=True)
    (inputs / "notes.png").write_text("PA view")
    with pytest.raises(InputError, match="1 of 6 files"):
        run(runs, "patched", inputs, predict__overlays=True)
    assert "replaces" not in capsys.readouterr().out
    before = read_json(runs / "patched" / "config.json")
    rows = run(runs, "patched", inputs / "a.png")
    folder = runs / "patched" / "xrays"
    line = f"replaces the results of 6 X-rays in {folder} (inputs {inputs})\n"
    assert line in capsys.readouterr().out
    assert list(rows) == ["a.png"]
    assert not (runs / "patched" / "xrays" / "overlays").exists()
    assert read_json(runs / "patched" / "config.json") == before
    assert read_json(runs / "patched" / "xrays" / "summary.json")["files"] == 1


def test_a_run_that_is_stopped_leaves_whole_rows(tmp_path):
    with Results(tmp_path, ("normal", "covid19"), active=True) as results:
        for number in range(3):
            row = Result(
                id=f'{number}"\n,x',
                prediction={"probabilities": np.array([0.25, 0.75])},
                warnings=("a", "b"),
            )
            results.add(row)
            rows = rows_of_folder(tmp_path)
            assert len(rows) == number + 1
            assert (rows[-1]["id"], rows[-1]["probability_covid19"]) == (row.id, "0.75")
        results.fail("y", "because")
        assert failures_of_folder(tmp_path) == {"y": "because"}
    assert not (tmp_path / xray_results.SUMMARY).exists()
    with Results(tmp_path, (), active=False):
        assert len(rows_of_folder(tmp_path)) == 3


def rows_of_folder(folder: Path) -> list[dict[str, str]]:
    text = (folder / xray_results.CSV).read_text()
    assert text.endswith("\n") and (folder / xray_results.JSONL).read_text().endswith("\n")
    return list(csv.DictReader(text.splitlines(keepends=True)))


def test_a_full_disk_leaves_whole_rows(tmp_path, monkeypatch):
    class Full:
        def __init__(self, file):
            self.file = file

        def write(self, encoded):
            self.file.write(encoded[: len(encoded) // 2])
            raise OSError(28, "No space left on device")

        def truncate(self, size):
            self.file.truncate(size)

    with Results(tmp_path, (), active=True) as results:
        results.add(Result(id="first"))
        with monkeypatch.context() as patch:
            patch.setattr(results._csv, "_file", Full(results._csv._file))
            with pytest.raises(
                InputError, match=r"The disk is full: .*predictions\.csv ends with the last"
            ):
                results.add(Result(id="second"))
    assert [row["id"] for row in rows_of_folder(tmp_path)] == ["first"]


def test_a_patched_learner_without_a_segmenter_takes_the_ready_made_one(runs, inputs, capsys):
    run(runs, "patched", inputs, masks__workdir="")
    assert f"lungs: found by {LUNGS}, the ready-made segmenter" in capsys.readouterr().out
    assert read_json(runs / "patched" / "xrays" / "summary.json")["lungs_from"] == LUNGS


@pytest.mark.parametrize("structure", ["", "lung_field"])
def test_rows_say_which_convention_of_a_lung_their_masks_follow(inputs, tmp_path, structure):
    config = shipped.config("lungs")
    config.predict.inputs, config.predict.structure = str(inputs / "a.png"), structure
    predict.run(config, tmp_path / "lungs")
    assert rows_of(tmp_path / "lungs")["a.png"]["structure"] == (structure or "lung")


def weights_of(runs: Path, name: str, path: Path, **header: str) -> str:
    """The weights of a trained run as a safetensors file."""
    flat = jax.tree_util.tree_flatten_with_path(Predictor.load(runs / name).variables)[0]
    arrays = {
        jax.tree_util.keystr(keys, simple=True, separator="/").partition("/")[2]: np.asarray(value)
        for keys, value in flat
    }
    path.write_bytes(safetensors_file.to_bytes(arrays, {"format": "jaxcxr", **header}))
    return str(path)


def test_without_a_training_weights_that_bring_their_head_predict_as_they_are(
    runs, inputs, tmp_path, capsys
):
    trained = run(runs, "segmenter", inputs)
    note = f"{NOTE}; {DRAWN_NETWORK}"  # as exports say
    weights = weights_of(runs, "segmenter", tmp_path / "lungs.safetensors", note=note)
    fields = {"model__pretrained": weights, "model__head": "pretrained"}
    config = segmenter(predict__inputs=str(inputs), **fields)
    capsys.readouterr()
    predict.run(config, tmp_path / "fresh")
    assert f"nothing was trained here: predicts with {weights} as it is" in capsys.readouterr().out
    assert rows_of(tmp_path / "fresh") == trained
    assert read_json(tmp_path / "fresh" / "xrays" / "summary.json")["lungs_from"] == weights

    # Files that cannot be used are an error, and the folder stays a run's.
    (inputs / "z.png").write_text("no picture")
    for folder in ("fresh", "other"):
        with pytest.raises(InputError, match="1 of 6 files could not be used"):
            predict.run(config, tmp_path / folder)
        assert read_json(tmp_path / folder / "config.json")["model"]["pretrained"] == weights
    summary = read_json(tmp_path / "other" / "xrays" / "summary.json")
    made_with = {"structure": "", "threshold": 0.5, "largest_pieces": 0}
    assert summary["lungs_made_with"] == made_with

    # What has begun to train is predicted with its own checkpoint, or not at all.
    (tmp_path / "fresh" / "checkpoints").mkdir()
    with pytest.raises(InputError, match="holds no finished training"):
        predict.run(config, tmp_path / "fresh")


def test_weights_of_other_classes_or_none_predict_nothing(runs, inputs, tmp_path):
    c = learner(patched=False, predict__inputs=str(inputs), model__head="pretrained")
    with pytest.raises(InputError, match=r"needs weights, and model\.pretrained names none"):
        predict.run(c, tmp_path / "none")
    classes = ",".join(reversed(c.data.classes))
    c.model.pretrained = weights_of(runs, "whole", tmp_path / "w.safetensors", classes=classes)
    c.model.mean, c.model.std = (0.5,), (0.5,)
    with pytest.raises(InputError, match="in another order"):
        predict.run(c, tmp_path / "others")


def test_mistakes_are_named(runs, inputs, tmp_path):
    with pytest.raises(InputError, match=r"predict\.inputs='.*none\*' matches no file"):
        run(runs, "whole", tmp_path / "none*")
    for folder in (tmp_path / "nowhere", runs / "whole"):
        with pytest.raises(
            InputError, match="is not the folder of a finished segment run; make one with"
        ):
            run(runs, "patched", inputs, masks__workdir=str(folder))
    with pytest.raises(InputError, match="holds no finished training; start or resume it"):
        predict.run(learner(patched=False, predict__inputs=str(inputs)), tmp_path / "new")
    with pytest.raises(InputError, match="contains a run with a different configuration"):
        run(runs, "whole", inputs, optim__learning_rate=0.5)
    stacking = tiny.load("flannel").ensemble
    stacking.inputs.learners = ("runs/a", "runs/b")
    stacking.predict.inputs = str(inputs)
    with pytest.raises(
        InputError, match=r"'ensemble' reads its learners' .* of one of them: runs/a/fold0, runs/b/"
    ):
        predict.run(stacking, tmp_path / "stacking")


def test_a_segmenter_of_an_earlier_version_is_named(runs, inputs, tmp_path):
    old = shutil.copytree(runs / "segmenter", tmp_path / "old")
    (old / "checksums.json").unlink()  # earlier versions wrote none
    marks = json.loads((old / "finished.json").read_text())
    del marks["checksums"]
    (old / "finished.json").write_text(json.dumps(marks))
    saved = json.loads((old / "config.json").read_text())
    del saved["augment"]
    (old / "config.json").write_text(json.dumps(saved))
    message = (
        r"old/config\.json lacks the field augment, which this version of jaxcxr reads: .* or "
        r"train again"
    )
    with pytest.raises(InputError, match=message):
        run(runs, "patched", inputs, masks__workdir=str(old))


def test_outputs_are_never_inputs(runs, inputs):
    run(runs, "segmenter", inputs)
    place = runs / "segmenter" / "xrays"
    with pytest.raises(InputError, match="contains no files"):
        run(runs, "segmenter", place)
    assert (place / "masks" / "a.png.png").exists()
