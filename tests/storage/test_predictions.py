"""Prediction files are valid when written and when read, and only those of one split are mixed."""

from __future__ import annotations

import dataclasses
import errno
import json
import os

import numpy as np
import pytest

from jaxcxr.errors import InputError
from jaxcxr.storage.predictions import Predictions, check_same_split

CLASSES = ("covid19", "viral", "normal")


def make(fold: int = 0, learner: str = "densenet161", **changes) -> Predictions:
    """Twelve patients with two images each: four tested, four held out by each of two folds."""
    patients = np.repeat(np.arange(12), 2)
    split = np.select([patients < 4, patients % 2 == fold], ["test", "oof"], default="train")
    rng = np.random.default_rng([fold, len(learner)])
    probabilities = rng.dirichlet(np.ones(3), 24).astype(np.float32)
    fields = {
        "ids": np.array([f"ccx-{i:02d}" for i in range(24)]),
        "patient_ids": np.array([f"ccx-p{p}" for p in patients]),
        "split": split,
        "labels": np.arange(24) % 3,
        "probabilities": probabilities,
        "classes": CLASSES,
        "fold": fold,
        "learner": learner,
        "split_sha256": "a" * 64,
        "dataset_fingerprint": "b" * 64,
        "extra": {"vote_fraction": probabilities, "source": np.array(["ccx"] * 24)},
    }
    return Predictions(**{**fields, **changes})


def changed(predictions: Predictions, field: str, row: int, value) -> Predictions:
    array = getattr(predictions, field).copy()
    array[row] = value
    return dataclasses.replace(predictions, **{field: array})


def assert_equal(a: Predictions, b: Predictions) -> None:
    for field in dataclasses.fields(Predictions):
        if field.name == "extra":
            assert a.extra.keys() == b.extra.keys()
            for name in a.extra:
                np.testing.assert_array_equal(a.extra[name], b.extra[name])
        elif field.name != "path":
            np.testing.assert_array_equal(getattr(a, field.name), getattr(b, field.name))


# The file.


def test_the_name_of_the_format_is_a_contract(tmp_path):
    """Files of earlier versions have it."""
    make().save(tmp_path / "predictions.npz")
    with np.load(tmp_path / "predictions.npz") as file:
        assert json.loads(str(file["meta"]))["format"] == "jaxcxr.predictions/1"


def test_a_file_holds_all_of_it(tmp_path):
    make().save(tmp_path / "predictions.npz")
    loaded = Predictions.load(tmp_path / "predictions.npz")
    assert_equal(loaded, make())
    assert loaded.path == str(tmp_path / "predictions.npz")
    assert (loaded.labels.dtype, loaded.probabilities.dtype) == (np.int32, np.float32)


def test_rows_are_stored_in_the_order_of_their_ids(tmp_path):
    whole = make()
    whole._take(np.random.default_rng(0).permutation(24)).save(tmp_path / "a.npz")
    whole.save(tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_a_split_is_selected_with_everything_that_belongs_to_it():
    test = make().select("test")
    assert len(test) == 8
    assert set(test.split) == {"test"}
    np.testing.assert_array_equal(test.extra["vote_fraction"], test.probabilities)
    assert len(make().select("valid")) == 0
    with pytest.raises(InputError, match="'tset' is unknown; known: train, valid, oof, test"):
        make().select("tset")


def test_outputs_are_found_by_name():
    p = make()
    np.testing.assert_array_equal(p.output("probabilities"), p.probabilities)
    np.testing.assert_array_equal(p.output("vote_fraction"), p.extra["vote_fraction"])
    with pytest.raises(InputError, match="no 'mean_sigmoid'; it holds: probabilities, vote_fract"):
        p.output("mean_sigmoid")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"predictions\.npz does not exist: finish the run"):
        Predictions.load(tmp_path / "predictions.npz")


def test_damaged_files_are_named_whatever_the_damage(tmp_path):
    path = tmp_path / "predictions.npz"
    make().save(path)
    intact = path.read_bytes()
    rng = np.random.default_rng(0)
    noticed = 0
    for kind in ["truncate", "flip"] * 100:
        content = bytearray(intact)
        at = int(rng.integers(len(content)))
        if kind == "truncate":
            del content[at:]
        else:
            content[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(content)
        try:
            # Some bits of a zip are not content (times, flags): then all of it must be right.
            assert_equal(Predictions.load(path), make())
        except InputError as error:
            noticed += 1
            assert str(path) in str(error)
    assert noticed > 150
    path.write_bytes(b"")
    with pytest.raises(InputError, match="damaged"):
        Predictions.load(path)
    np.savez(path, a=np.arange(3))
    with pytest.raises(InputError, match="damaged"):
        Predictions.load(path)


@pytest.mark.parametrize(
    ("field", "row", "value", "message"),
    [
        ("probabilities", 3, [0.5, 0.6, 0.1], "do not sum to 1: ccx-03"),
        ("probabilities", 3, [1.5, -0.5, 0.0], "negative .*: ccx-03"),
        ("probabilities", 4, np.nan, "not finite: ccx-04"),
        ("ids", 5, "ccx-06", "not unique: ccx-06"),
        ("labels", 7, 3, "outside the 3 classes: ccx-07"),
        ("labels", 7, -1, "outside the 3 classes: ccx-07"),
        ("split", 2, "tset", "unknown splits: tset"),
    ],
)
def test_invalid_values_are_named_by_their_id(field, row, value, message):
    with pytest.raises(InputError, match=f"densenet161, fold 0: .*{message}"):
        changed(make(), field, row, value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": np.zeros(3)}, r"labels have shape \(3,\), not \(24,\)"),
        ({"classes": CLASSES[:2]}, r"probabilities have shape \(24, 3\), not \(24, 2\)"),
        ({"extra": {"votes": np.zeros(3)}}, r"votes is float64\[3\]"),
    ],
)
def test_arrays_of_other_lengths_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        make(**changes)


def test_float32_means_over_many_patches_still_sum_to_one():
    rng = np.random.default_rng(0)
    patches = rng.dirichlet(np.ones(3), (24, 100)).astype(np.float32)
    predictions = make(probabilities=patches.mean(axis=1))
    np.testing.assert_allclose(predictions.probabilities.sum(axis=1), 1, atol=1e-5)


# Files that belong together.


def test_learners_and_folds_of_one_split_belong_together():
    learners = ("densenet161", "vgg19_bn")
    check_same_split([make(fold, learner) for fold in (0, 1) for learner in learners])


def test_a_file_with_fewer_splits_belongs_unless_the_split_is_needed():
    fewer = make(learner="ensemble")
    fewer = fewer._take(np.flatnonzero(fewer.split != "train"))
    check_same_split([make(), fewer])
    with pytest.raises(InputError, match="of ensemble, fold 0 holds no rows of split 'train'"):
        check_same_split([make(), fewer], splits=("train", "test"))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (make(classes=("covid19", "normal", "viral")), "classes is .'covid19', 'normal', 'viral'."),
        (make(split_sha256="c" * 64), "split_sha256 is cccccccccccc..., there aaaaaaaaaaaa"),
        (make(dataset_fingerprint="c" * 64), "dataset_fingerprint is cccc"),
        (changed(make(), "labels", 9, 1), "label of ccx-09 is 1, there 0"),
        (changed(make(), "patient_ids", 9, "ccx-x"), "patient of ccx-09 is ccx-x, there ccx-p4"),
        (make()._take(np.arange(23)), "split 'train' of fold 0: the former lacks ccx-23"),
        (make()._take(np.arange(23, -1, -1)), "the same ids in another order"),
        (changed(make(), "ids", 23, "ccx-99"), "lacks ccx-23 and has in addition ccx-99"),
        (make(fold=1), "holds folds .1., but densenet161 holds .0."),
    ],
)
def test_a_file_of_another_split_is_named_with_what_differs(other, message):
    other = dataclasses.replace(other, learner="vgg19_bn", path="")
    with pytest.raises(InputError, match=message):
        check_same_split([make(), other])


def test_loaded_files_are_named_by_their_path(tmp_path):
    for name, p in {"a": make(), "b": make(split_sha256="c" * 64)}.items():
        p.save(tmp_path / name / "fold0" / "predictions.npz")
    loaded = [Predictions.load(path) for path in sorted(tmp_path.glob("*/*/*.npz"))]
    with pytest.raises(InputError, match="b/fold0/predictions.npz does not belong with .*a/fold0/"):
        check_same_split(loaded)


@pytest.mark.parametrize(
    ("rows", "split", "message"),
    [
        ([1], "oof", "ccx-p0"),  # a patient of the test set, one image of it out of fold
        ([9], "valid", "both in 'valid' and in 'oof' of .*: ccx-p4"),
    ],
)
def test_a_patient_on_both_sides_is_named(rows, split, message):
    leaking = make()
    for row in rows:
        leaking = changed(leaking, "split", row, split)
    with pytest.raises(InputError, match=message):
        check_same_split([leaking])
    by_image = dataclasses.replace(leaking, group_by="image")
    check_same_split([by_image])


def test_a_patient_is_held_out_by_one_fold_only():
    other = make(fold=1)
    rows = np.flatnonzero(other.patient_ids == "ccx-p4")
    moved = changed(other, "split", rows, "oof")
    with pytest.raises(InputError, match="patient ccx-p4 is held out by fold 1 .*and by fold 0"):
        check_same_split([make(), moved])


def test_nothing_cannot_be_compared():
    with pytest.raises(InputError, match="no predictions"):
        check_same_split([])


def test_a_full_disk_keeps_the_former_predictions(tmp_path, monkeypatch):
    path = tmp_path / "predictions.npz"
    make().save(path)
    before = path.read_bytes()

    def fill(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fill)
    with pytest.raises(InputError, match=r"disk is full.*predictions\.npz"):
        make(learner="vgg19_bn").save(path)
    assert path.read_bytes() == before
