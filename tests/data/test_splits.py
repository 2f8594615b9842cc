import json

import numpy as np
import pytest

from jaxcxr.data import Folds, make_folds, open_dataset
from jaxcxr.errors import InputError
from tests.data.fakes import data_config

CLASSES = ("covid19", "viral", "bacterial", "normal")


def study(patients=200, seed=0, shares=(0.1, 0.2, 0.4, 0.3)):
    """One to three images a patient, most patients of one class."""
    rng = np.random.default_rng(seed)
    images = rng.integers(1, 4, patients)
    patient_ids = np.repeat([f"p{i:04d}" for i in range(patients)], images)
    labels = np.repeat(rng.choice(4, patients, p=shares), images).astype(np.int32)
    ids = np.array([f"{p}_{i}" for i, p in enumerate(patient_ids)])
    return ids, patient_ids, labels


def folds_of(data, **changes):
    settings = {"num_folds": 5, "test_fraction": 0.2, "seed": 1, **changes}
    return make_folds(*data, CLASSES, **settings)


def test_every_image_is_in_exactly_one_part_of_each_fold():
    data = study()
    folds = folds_of(data)
    for fold in range(5):
        split = folds.split(fold, valid_fraction=0.2)
        assert sorted(np.concatenate(list(split.values()))) == list(range(len(data[0])))


def test_no_patient_is_in_two_parts():
    ids, patients, labels = study()
    folds = folds_of((ids, patients, labels))
    for fold in range(5):
        split = folds.split(fold, valid_fraction=0.2)
        groups = [set(patients[rows]) for rows in split.values()]
        assert sum(map(len, groups)) == len(set(patients))


def test_folds_partition_what_is_not_test_and_the_test_set_is_common():
    folds = folds_of(study())
    splits = [folds.split(fold, valid_fraction=0.1) for fold in range(5)]
    held_out = np.sort(np.concatenate([split["oof"] for split in splits]))
    rest = np.setdiff1d(np.arange(len(folds.ids)), splits[0]["test"])
    np.testing.assert_array_equal(held_out, rest)
    for split in splits:
        np.testing.assert_array_equal(split["test"], splits[0]["test"])


def test_class_shares_are_within_two_percent_of_the_wanted_ones():
    ids, patients, labels = study(patients=800)
    folds = folds_of((ids, patients, labels))
    totals = np.bincount(labels)
    test = np.bincount(labels[folds.fold == -1]) / totals
    np.testing.assert_allclose(test, 0.2, atol=0.02)
    for fold in range(5):
        np.testing.assert_allclose(
            np.bincount(labels[folds.fold == fold]) / totals, 0.16, atol=0.02
        )


def test_image_level_folds_of_the_paper_have_its_sizes():
    # facts 1.3: 6,413 images -> 1,283 test and five folds of 1,026 validation images.
    counts = (479, 1509, 2822, 1603)
    labels = np.repeat(np.arange(4, dtype=np.int32), counts)
    ids = np.array([f"i{i}" for i in range(6413)])
    folds = folds_of((ids, ids, labels), group_by="image")
    assert np.sum(folds.fold == -1) == pytest.approx(1283, abs=2)
    for fold in range(5):
        assert np.sum(folds.fold == fold) == pytest.approx(1026, abs=3)


def test_image_level_folds_split_patients():
    ids, patients, labels = study()
    folds = folds_of((ids, patients, labels), group_by="image")
    split = folds.split(0, valid_fraction=0.2)
    assert set(patients[split["train"]]) & set(patients[split["test"]])


def test_folds_do_not_depend_on_the_order_of_the_images():
    ids, patients, labels = study()
    order = np.random.default_rng(5).permutation(len(ids))
    straight = folds_of((ids, patients, labels))
    shuffled = folds_of((ids[order], patients[order], labels[order]))
    np.testing.assert_array_equal(straight.fold[order], shuffled.fold)


def test_the_test_set_does_not_depend_on_the_number_of_folds():
    data = study()
    np.testing.assert_array_equal(
        folds_of(data, num_folds=3).fold == -1, folds_of(data, num_folds=5).fold == -1
    )


def test_folds_are_the_same_on_every_platform_and_version():
    # Made once and written down: a change here changes every study.
    folds = folds_of(study(patients=30, shares=(0.25,) * 4), num_folds=2)
    assert folds.sha256 == GOLDEN


def test_another_seed_gives_other_folds():
    data = study()
    assert folds_of(data, seed=1).sha256 != folds_of(data, seed=2).sha256


def test_a_rare_class_reaches_every_part_when_it_can():
    # Six patients of the first class, for a test set, four folds and, of each, train and valid.
    labels = np.array([0] * 6 + [1] * 60 + [2] * 60 + [3] * 60, np.int32)
    ids = np.array([f"i{i}" for i in range(len(labels))])
    folds = folds_of((ids, ids, labels), num_folds=4, test_fraction=0.1)
    for fold in range(4):
        split = folds.split(fold, valid_fraction=0.1)
        assert all((labels[rows] == 0).any() for rows in split.values())


def test_the_fold_file_is_read_back_and_locked():
    folds = folds_of(study(patients=40, shares=(0.25,) * 4))
    text = folds.to_json()
    again = Folds.from_json(text)
    assert again.sha256 == folds.sha256 == json.loads(text)["sha256"]
    np.testing.assert_array_equal(
        again.split(2, valid_fraction=0.2)["valid"], folds.split(2, valid_fraction=0.2)["valid"]
    )


@pytest.mark.parametrize("edit", ["row", "seed", "cut", "rows"])
def test_an_edited_fold_file_is_refused(edit):
    data = json.loads(folds_of(study(patients=40, shares=(0.25,) * 4)).to_json())
    if edit == "row":
        data["rows"][0][3] = (data["rows"][0][3] + 1) % 5
    elif edit == "seed":
        data["seed"] += 1
    elif edit == "rows":
        data["rows"][3] = 7
    text = json.dumps(data)
    with pytest.raises(InputError, match=r"edited|damaged"):
        Folds.from_json(text[:-9] if edit == "cut" else text)


def test_fewer_patients_than_folds_are_refused():
    labels = np.arange(4, dtype=np.int32)
    ids = np.array(list("abcd"))
    with pytest.raises(InputError, match="4 patients are too few for 5 folds"):
        folds_of((ids, ids, labels), test_fraction=0.0)


def test_a_class_missing_in_a_fold_is_named_with_fold_and_counts():
    labels = np.array([0] * 3 + [1] * 20 + [2] * 20 + [3] * 20, np.int32)
    ids = np.array([f"i{i}" for i in range(len(labels))])
    with pytest.raises(InputError, match=r"'covid19' has no example in fold \d .*covid19 0.*are 3"):
        folds_of((ids, ids, labels))


def test_a_class_missing_everywhere_is_named():
    labels = np.array([0, 1, 2] * 20, np.int32)
    ids = np.array([f"i{i}" for i in range(len(labels))])
    with pytest.raises(InputError, match=r"no image has the label of class 'normal' \(") as caught:
        folds_of((ids, ids, labels))
    assert "fewer folds" not in str(caught.value)


def test_a_single_example_is_counted_as_one():
    labels = np.array([0, 1, 2] * 20 + [3], np.int32)
    ids = np.array([f"i{i}" for i in range(len(labels))])
    with pytest.raises(InputError, match="there is 1 in total"):
        folds_of((ids, ids, labels))


def test_a_class_missing_in_the_validation_set_is_named():
    labels = np.repeat(np.arange(4, dtype=np.int32), 3)
    ids = np.array([f"i{i}" for i in range(len(labels))])
    folds = folds_of((ids, ids, labels), num_folds=2)
    with pytest.raises(InputError, match="in the valid set of fold 0"):
        folds.split(0, valid_fraction=0.2)
    assert len(folds.split(0, valid_fraction=0.0)["valid"]) == 0


def test_without_classes_images_are_split_by_patient_alone():
    ids, patients, labels = study()
    folds = make_folds(ids, patients, labels * 0, (), num_folds=2, test_fraction=0.2, seed=0)
    assert np.mean(folds.fold == -1) == pytest.approx(0.2, abs=0.02)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_folds": 0}, "split.folds is 0"),
        ({"num_folds": 1, "test_fraction": 0.0}, "hold nothing out to measure on"),
        ({"test_fraction": 1.0}, "split.test_fraction"),
        ({"group_by": "hospital"}, "split.group_by is 'hospital'"),
    ],
)
def test_settings_without_sense_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        folds_of(study(), **change)


def test_a_single_fold_holds_nothing_out_besides_the_test_set():
    data = study()
    one, five = folds_of(data, num_folds=1), folds_of(data)
    split = one.split(0, valid_fraction=0.1)
    assert not len(split["oof"])
    np.testing.assert_array_equal(split["test"], five.split(0, valid_fraction=0.1)["test"])
    rest = np.sort(np.concatenate([split["train"], split["valid"]]))
    np.testing.assert_array_equal(rest, np.setdiff1d(np.arange(len(data[0])), split["test"]))


@pytest.mark.parametrize("patient_key", ["patient_id", "strict_patient_id"])
def test_real_xrays_are_split_by_patient(real_data, tmp_path, patient_key):
    config = data_config(
        tmp_path,
        builders=("tfds_builders.ccx", "tfds_builders.kcx"),
        options={"ccx": {}, "kcx": {}},
        manual_dir=str(real_data),
        classes=CLASSES,
        patient_key=patient_key,
    )
    dataset = open_dataset(config)
    folds = make_folds(
        dataset.ids,
        dataset.patient_ids,
        dataset.labels,
        CLASSES,
        num_folds=3,
        test_fraction=0.2,
        seed=20200622,
    )
    for fold in range(3):
        split = folds.split(fold, valid_fraction=0.15)
        groups = [set(dataset.patient_ids[rows]) for rows in split.values()]
        assert sum(map(len, groups)) == len(set(dataset.patient_ids))
        assert all(
            np.bincount(dataset.labels[rows], minlength=4).min() > 0 for rows in split.values()
        )


GOLDEN = "d9c933cb506dfcf65738db5f3bacf3e91d1831c5358df33f707c5fd1860af9a3"


def parts_of(folds, fold):
    """Id of each image -> the part of it in a fold."""
    split = folds.split(fold, valid_fraction=0.2)
    return {folds.ids[row]: name for name, rows in split.items() for row in rows}


def test_copies_of_an_x_ray_are_in_one_part_and_no_other_image_moves():
    data = study()
    ids, patients, _ = data
    _, first, images = np.unique(patients, return_index=True, return_counts=True)
    ones, threes = first[images == 1], first[images == 3]
    together = [(ids[a], ids[b]) for a, b in zip(ones[:30], threes, strict=False)]
    drawn, kept = folds_of(data), folds_of(data, together=together)
    moved = set()
    for fold in range(5):
        before, now = parts_of(drawn, fold), parts_of(kept, fold)
        for a, b in together:
            assert now[a] == now[b] == before[b], "a patient goes where one with more images is"
        moved |= {name for name in now if now[name] != before[name]}
    assert moved and moved <= {a for a, _ in together}
    assert kept.sha256 != drawn.sha256


def test_a_copy_takes_the_other_images_of_its_patient_along():
    data = study()
    ids, patients, _ = data
    _, first, images = np.unique(patients, return_index=True, return_counts=True)
    chain = [ids[row] for row in first[images == 2][:3]]
    folds = folds_of(data, together=[chain[:2], chain[1:]])
    for fold in range(5):
        part = parts_of(folds, fold)
        its = [name for name in ids if name.rsplit("_", 1)[0] in {c[:5] for c in chain}]
        assert len(its) == 6 and len({part[name] for name in its}) == 1


def test_ids_that_are_not_there_keep_nothing_together():
    data = study()
    drawn, kept = folds_of(data), folds_of(data, together=[("nobody", "nobody else")])
    for fold in range(5):
        assert parts_of(drawn, fold) == parts_of(kept, fold)


def test_a_fold_file_keeps_what_is_together():
    ids = study()[0]
    folds = folds_of(study(), together=[(ids[0], ids[40])])
    again = Folds.from_json(folds.to_json())
    assert again.together == folds.together and again.sha256 == folds.sha256
    assert parts_of(again, 1) == parts_of(folds, 1)
