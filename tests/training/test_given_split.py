"""A split that a file gives is taken as it is, and its leaks are told."""

import numpy as np
import pytest

from jaxcxr.commands import train
from jaxcxr.errors import InputError
from jaxcxr.report import data_checks
from jaxcxr.storage.files import read_json
from jaxcxr.training import given_split
from jaxcxr.training.prepare import prepare
from tests import tiny

CLASSES = ("covid19", "normal")
IDS = np.array([f"x{n}" for n in range(12)])
PATIENTS = np.array([f"p{n // 2}" for n in range(12)])
LABELS = np.array([0, 0, 1, 1] * 3, np.int32)


def table(folder, rows, header="id,split"):
    path = folder / "split.csv"
    path.write_text("\n".join([header, *(",".join(row) for row in rows)]) + "\n", encoding="utf-8")
    return path


def splits(path, **changes):
    settings = {"valid_fraction": 0.0, "seed": 0, **changes}
    return given_split.splits(path, IDS, PATIENTS, LABELS, CLASSES, **settings)


def test_images_are_where_the_file_says(tmp_path):
    rows = [(name, ("train", "valid", "test")[n % 3]) for n, name in enumerate(IDS[:9])]
    found, sha256 = splits(table(tmp_path, rows))
    assert {name: IDS[its].tolist() for name, its in found.items()} == {
        "train": ["x0", "x3", "x6"],
        "valid": ["x1", "x4", "x7"],
        "test": ["x2", "x5", "x8"],
        "oof": [],
    }
    _, same = splits(table(tmp_path, rows[::-1]))
    assert same == sha256
    _, other = splits(table(tmp_path, [*rows[1:], ("x0", "test"), ("x9", "train")]))
    assert other != sha256


def test_without_validation_images_training_patients_are_drawn(tmp_path):
    rows = [(name, "train" if n < 8 else "test") for n, name in enumerate(IDS)]
    found, _ = splits(table(tmp_path, rows), valid_fraction=0.5)
    assert sorted([*found["train"], *found["valid"]]) == list(range(8))
    assert not set(PATIENTS[found["train"]]) & set(PATIENTS[found["valid"]])
    assert set(LABELS[found["valid"]]) == {0, 1}


@pytest.mark.parametrize(
    ("rows", "header", "message"),
    [
        ([("x0", "train"), ("x1", "holdout")], "id,split", "line 3: the split is 'holdout'"),
        ([("x0", "train"), ("x0", "test")], "id,split", "line 3: x0 stands there twice"),
        ([("x0", "train")], "image,split", "needs the columns id and split, and has image, split"),
        ([], "id,split", "has no rows"),
        ([("y0", "train"), ("y1", "test")], "id,split", "names no image of the data as train"),
        ([("x0", "train"), ("x2", "train")], "id,split", "as test; ids are such as x0, x1, x2"),
    ],
)
def test_a_file_that_makes_no_sense_is_one_error(rows, header, message, tmp_path):
    with pytest.raises(InputError, match=message):
        splits(table(tmp_path, rows, header))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match="no.csv does not exist"):
        splits(tmp_path / "no.csv")


def test_it_has_one_fold(tmp_path):
    config = tiny.learner(split__file=str(table(tmp_path, [])), split__fold=1)
    with pytest.raises(InputError, match=r"split\.fold is 1: set it to 0"):
        prepare(config)


def test_training_on_a_leaking_split_tells_the_leak(tmp_path, capsys):
    drawn = prepare(tiny.learner())
    ids, patients = drawn.examples.ids, drawn.examples.patient_ids
    split = {ids[row]: name for name, rows in drawn.splits.items() for row in rows if name != "oof"}
    name = next(
        n for n in split if split[n] == "test" and (patients == patients[ids == n]).sum() > 1
    )
    split[name] = "train"
    split["nobody"] = "test"
    path = table(tmp_path, split.items())
    train.run(tiny.learner(split__file=str(path), train__epochs=1.0), tmp_path / "run")
    out = capsys.readouterr().out
    assert "WARNING: Leak: 1 patients" in out
    manifest = read_json(tmp_path / "run" / "manifest.json")
    assert list(manifest["data_checks"]["patients_in_two_splits"]) == ["test, train"]
    assert data_checks.warnings(data_checks.of_manifest(manifest))
    notices = manifest["dataset"]["notices"]
    assert any("images are in no split" in notice for notice in notices)
    assert any("1 ids of split.file are of no image" in notice for notice in notices)
