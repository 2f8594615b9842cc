"""Scores of a segment run: the threshold is the validation patients' choice, classes and limits are
counted.
"""

from __future__ import annotations

import csv
import dataclasses
import shutil

import numpy as np
import pytest

from jaxcxr.commands import evaluate, segmentation_scores, train
from jaxcxr.errors import InputError
from jaxcxr.inference.best import best_variables
from jaxcxr.ops.pieces import largest_pieces
from jaxcxr.storage.files import read_json
from jaxcxr.storage.run_folder import RunFolder
from jaxcxr.training import examples
from jaxcxr.training.prepare import prepare
from tests import tiny

CLASSES = ("other", "ground_glass")


def config(**fields):
    c = tiny.shrink(tiny.load("v7_unet"))
    c.data.classes = CLASSES
    c.data.relabel = ("normal=other", "consolidation=other", "interstitial=other")
    c.train.batch_size = c.evaluate.batch_size = 4
    c.train.epochs = c.train.eval_every = 2.0
    return tiny.change(c, **fields)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """(config, folder) of a finished run."""
    folder = tmp_path_factory.mktemp("segment")
    train.run(config(), folder)
    return config(), folder


def measured(run, changed=None):
    """(experiment, variables); `changed` gets the masks before anything is predicted."""
    c, folder = run
    prepared = prepare(c)
    if changed is not None:
        masks = np.array(prepared.arrays["mask"])
        changed(masks, prepared.splits)
        prepared = dataclasses.replace(prepared, arrays={**prepared.arrays, "mask": masks})
    with RunFolder.open(folder, c.to_dict(), active=True) as opened:
        return prepared, best_variables(prepared.task, opened)


def test_the_scores_are_those_of_the_held_out_patients_at_three_thresholds(run):
    _, folder = run
    found = read_json(folder / "segmentation.json")
    prepared, variables = measured(run)
    held_out = prepared.splits["oof"]
    assert found["images"] == len(held_out) > 0
    rows = {row["choice"]: row for row in found["scores"]}
    assert [(r["choice"], r["threshold"]) for r in found["scores"][:2]] == [
        ("configured", 0.5),
        ("half", 0.5),
    ]
    best = rows["best on validation"]["threshold"]
    thresholds = sorted({0.5, best})
    sums = segmentation_scores.measure(
        prepared, variables, "oof", thresholds=thresholds, classes=CLASSES
    )
    for choice, threshold in (("configured", 0.5), ("best on validation", best)):
        overlap, pooled = sums[threshold, segmentation_scores.ALL]
        assert rows[choice]["dice"] == pytest.approx(overlap.scalars()["dice"])
        assert rows[choice]["accuracy"] == pytest.approx(pooled.scalars()["accuracy"])
    assert found["structures"]["lung"]["dice"] == rows["configured"]["dice"]
    assert found["pooled"]["lung"]["jaccard"] == rows["configured"]["pooled_jaccard"]
    labels = prepared.examples.labels[held_out]
    assert {n: row["images"] for n, row in found["classes"].items()} == {
        name: int((labels == k).sum()) for k, name in enumerate(CLASSES)
    }
    shares = np.bincount(labels) / len(labels)
    accuracy = [found["classes"][name]["accuracy"] for name in CLASSES]
    assert rows["configured"]["accuracy"] == pytest.approx(float(shares @ accuracy), rel=1e-5)
    table = (folder / evaluate.TABLE).read_text()
    assert "best on validation" in table and "Ground glass" in table.replace(
        "Ground-glass", "Ground glass"
    )


def test_the_best_threshold_is_of_the_validation_patients_and_no_others(run):
    found = read_json(run[1] / "segmentation.json")["validation"]
    dice = np.array([-1.0 if score is None else score for score in found["dice"]])
    assert tuple(found["thresholds"]) == segmentation_scores.GRID
    best = np.flatnonzero(dice == dice.max())
    assert abs(found["best"] - 0.5) == min(abs(segmentation_scores.GRID[i] - 0.5) for i in best)

    def other_patients(masks, splits):
        masks[splits["oof"]] = 1 - masks[splits["oof"]]

    def validation(masks, splits):
        masks[splits["valid"]] = 0

    whole = segmentation_scores.on_validation(*measured(run))
    assert segmentation_scores.on_validation(*measured(run, other_patients)) == whole
    assert segmentation_scores.on_validation(*measured(run, validation)) != whole


def test_another_threshold_needs_no_training(run):
    _, folder = run
    evaluate.run(config(predict__threshold=0.2), folder)
    found = read_json(folder / "segmentation.json")
    prepared, variables = measured(run)
    overlap, _ = segmentation_scores.measure(prepared, variables, "oof", thresholds=[0.2])[
        0.2, segmentation_scores.ALL
    ]
    assert found["scores"][0]["threshold"] == 0.2
    assert found["structures"]["lung"] == pytest.approx(overlap.compute()["lung"])


def test_scores_are_of_the_pieces_that_are_kept_and_say_so(run, tmp_path):
    folder = shutil.copytree(run[1], tmp_path / "run")
    before = read_json(folder / "segmentation.json")
    evaluate.run(config(predict__largest_pieces=1), folder)
    found = read_json(folder / "segmentation.json")
    assert before["largest_pieces"] == 0 and found["largest_pieces"] == 1
    prepared, variables = measured(run)
    dice, changed = [], 0
    for prediction in prepared.predict(variables, prepared.splits["oof"], count=0):
        true = np.asarray(prepared.arrays["mask"][prediction["index"]]) == 1
        kept = largest_pieces(prediction["mask"], 1) == 1
        changed += (kept != (prediction["mask"] == 1)).any(axis=(1, 2)).sum()
        both = (kept & true).sum((1, 2))
        dice += (2 * both / (kept.sum((1, 2)) + true.sum((1, 2)))).tolist()
    assert changed > 3
    assert found["structures"]["lung"]["dice"] == pytest.approx(np.mean(dice), rel=1e-5)
    assert [row["dice"] for row in table(folder)] == pytest.approx(dice, abs=1e-6)
    said = "Of each structure the largest connected piece counts (`predict.largest_pieces`)."
    assert said in (folder / "report.md").read_text()
    assert said not in (run[1] / "report.md").read_text()


def test_ignored_pixels_of_the_held_out_images_count_for_nothing(run):
    def ignoring(masks, splits):
        masks[splits["oof"], :8] = 255

    def of(changed):
        found = segmentation_scores.measure(*measured(run, changed), "oof", thresholds=[0.5])
        return [part.scalars() for part in found[0.5, segmentation_scores.ALL]]

    def wrong_beneath(masks, splits):
        masks[splits["oof"], :8] = 1 - masks[splits["oof"], :8]
        ignoring(masks, splits)

    assert of(ignoring) == of(wrong_beneath) != of(None)


def table(folder):
    """segmentation.csv, numbers as floats, None where a cell is empty."""
    with open(folder / "segmentation.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row |= {n: float(row[n]) if row[n] else None for n in ("dice", "jaccard", "hd95")}
    return rows


def test_every_held_out_image_has_a_line_and_the_means_are_of_these(run):
    c, folder = run
    found, rows = read_json(folder / "segmentation.json"), table(folder)
    prepared = prepare(c)
    examples, held_out = prepared.examples, prepared.splits["oof"]
    assert [(row["id"], row["patient"], row["source"], row["class"]) for row in rows] == [
        (
            examples.ids[i],
            examples.patient_ids[i],
            examples.sources[i],
            CLASSES[examples.labels[i]],
        )
        for i in held_out
    ]
    groups = {(g["group"], g["name"]): g for g in found["per_image"]["groups"]}
    assert set(groups) == {("all", ""), *(("class", name) for name in CLASSES)}  # one source
    for (group, name), its in groups.items():
        mine = [row for row in rows if group == "all" or row["class"] == name]
        for score in ("dice", "jaccard"):
            values = [row[score] for row in mine if row[score] is not None]
            assert its[score]["mean"] == pytest.approx(np.mean(values), abs=1e-6)
            assert its[score]["low"] <= its[score]["mean"] <= its[score]["high"]
        distances = [row["hd95"] for row in mine if row["hd95"] is not None]
        assert its["hd95"]["images"] == len(distances)
        assert sum(its["hd95_undefined"].values()) == len(mine) - len(distances)
        assert its["images"] == len(mine)
    overall = groups["all", ""]
    assert overall["dice"]["mean"] == pytest.approx(found["structures"]["lung"]["dice"], rel=1e-6)
    dice = sorted(row["dice"] for row in rows if row["dice"] is not None)
    worst = found["per_image"]["worst"]
    assert [row["dice"] for row in worst] == dice[:10] and len({r["id"] for r in worst}) == 10
    text = (folder / "report.md").read_text()
    assert "### Scores per image" in text and f"| {worst[0]['id']} " in text


def test_each_source_has_scores_where_there_are_several_and_each_image_its_structure(run):
    """`masks.by_source`: of two structures an image counts for the one that its mask shows."""
    two = config(masks__structures=("field", "lung"), masks__by_source=("phantom=lung",))
    prepared, variables = measured(run)
    numbers = np.arange(len(prepared.examples.ids))
    masks = np.array(prepared.arrays["mask"])
    masks[numbers % 3 == 0] *= 2  # these show `lung`, the others `field`
    names = np.where(numbers % 3 == 0, "here", "there")
    examples_ = dataclasses.replace(prepared.examples, sources=names)
    own = dataclasses.replace(prepared.own, examples=examples_)
    prepared = dataclasses.replace(
        prepared, config=two, own=own, arrays={**prepared.arrays, "mask": masks}
    )
    found = segmentation_scores.of_split(prepared, variables, "oof", best=None).facts["per_image"]
    held_out = prepared.splits["oof"]
    images = {
        (g["name"], g["structure"]): g["images"] for g in found["groups"] if g["group"] == "source"
    }
    assert images == {
        (name, structure): int((names[held_out] == name).sum())
        for name, structure in (("here", "lung"), ("there", "field"))
    }
    overall = [g["images"] for g in found["groups"] if g["group"] == "all"]
    assert overall == [images["there", "field"], images["here", "lung"]]


def limited(*limits, classes=CLASSES):
    """(rows, training rows) of 60 images of 30 patients under `split.train_limit`."""
    numbers = np.arange(60)
    labels = (numbers // 2 % 3 == 0).astype(np.int32)
    texts = np.array([f"p{n // 2}" for n in numbers])
    ids = np.array([f"i{n}" for n in numbers])
    rows = examples.Examples(ids, texts, labels, texts, texts, classes)
    c = config(split__train_limit=limits)
    return rows, examples.split(c, rows).splits


def test_a_limit_takes_training_images_of_its_class_only():
    rows, whole = limited()
    counts = np.bincount(rows.labels[whole["train"]])
    assert counts[0] > 9 and counts[1] > 4
    _, some = limited("other=9")
    np.testing.assert_array_equal(np.bincount(rows.labels[some["train"]]), [9, counts[1]])
    _, fewer = limited("other=5", "ground_glass=4")
    np.testing.assert_array_equal(np.bincount(rows.labels[fewer["train"]]), [5, 4])
    assert set(fewer["train"]) < set(some["train"]) < set(whole["train"])
    _, all_of_them = limited("other=1000")
    for name in whole:
        np.testing.assert_array_equal(all_of_them[name], whole[name])
        if name != "train":
            np.testing.assert_array_equal(fewer[name], whole[name])


@pytest.mark.parametrize("limit", ["others=5", "other", "other=0", "other=many", "=5"])
def test_a_mistyped_limit_is_named(limit):
    with pytest.raises(
        InputError, match=rf"train_limit has '{limit}'.*the classes are other, ground_glass"
    ):
        limited(limit)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"predict__threshold": 1.5}, r"predict\.threshold is 1\.5"),
        ({"masks__resize": "cubic"}, r"masks\.resize='cubic' is unknown; known: nearest, linear"),
        ({"masks__ignore": "ignore"}, r"no masks of ignore"),
        (
            {"masks__ignore": "ignore", "masks__source": "none"},
            r"go with masks\.source='dataset', not 'none'",
        ),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_trained(fields, message):
    with pytest.raises(InputError, match=message):
        prepare(config(**fields))
