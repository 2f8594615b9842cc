"""`--config.run=evaluate` with `evaluate.data` of a segmenter: masks of patients whom it has not
seen.
"""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest

from jaxcxr import data
from jaxcxr.commands import evaluate, external_data, external_masks, train
from jaxcxr.data.drawn import TRAINED_ON_DRAWN
from jaxcxr.data.leakage import SAME_ID
from jaxcxr.errors import InputError
from jaxcxr.schema.data import PHANTOM_CLASSES
from jaxcxr.storage.files import read_json, write_json
from jaxcxr.storage.run_folder import RunFolder
from jaxcxr.training.prepare import prepare
from tests import tiny
from tests.commands import test_own_xrays

OWN = {"seed": 0, "size": 48, "patients": 24, "confounder": 0.0}
OTHERS = {**OWN, "seed": 7, "patients": 12}
PHANTOMS = ("tfds_builders.phantom_cxr",)


def segmenter(**fields):
    fields = {"train__epochs": 3.0, "train__eval_every": 3.0, **fields}
    return test_own_xrays.segmenter(**fields)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "segmenter"
    train.run(segmenter(), folder)
    return folder


def measure(workdir: Path, *, options=OTHERS, **fields) -> Path:
    """Evaluates on phantoms; the folder of the results."""
    fields = {"evaluate__same_source": "kept", **fields}
    config = segmenter(evaluate__data__builders=PHANTOMS, **fields)
    return evaluated(config, workdir, options)


def evaluated(config, workdir, options) -> Path:
    config.evaluate.data.options.phantom_cxr.update(options)
    evaluate.run(config, workdir)
    return workdir / "external" / "phantom_cxr"


def table(folder: Path) -> list[dict[str, str]]:
    with open(folder / "segmentation.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def strangers() -> data.Dataset:
    section = segmenter().data
    section.options.phantom_cxr.update(OTHERS)
    return data.open_dataset(section)


def test_patients_of_another_seed_are_measured_and_the_run_stays_as_it_was(run, capsys):
    before = {p: p.read_bytes() for p in run.iterdir() if p.is_file() and p.name != "timings.json"}
    folder = measure(run)
    printed, there, rows = capsys.readouterr().out, strangers(), table(folder)
    assert [row["id"] for row in rows[::2]] == there.ids.tolist()
    assert [row["structure"] for row in rows[:2]] == ["left_lung", "right_lung"]
    found = read_json(folder / "segmentation.json")
    assert found["images"] == len(there) and found["split"] == "external"
    for structure, scores in found["structures"].items():
        dice = [float(r["dice"]) for r in rows if r["structure"] == structure and r["dice"]]
        assert scores["dice"] == pytest.approx(np.mean(dice), abs=1e-6)
    classes = {g["name"] for g in found["per_image"]["groups"] if g["group"] == "class"}
    assert classes == {*PHANTOM_CLASSES}
    report, text = read_json(folder / "report.json"), (folder / "report.md").read_text()
    assert report["segmentation"] == found and report["dataset_fingerprint"]
    assert report["warnings"][0] == TRAINED_ON_DRAWN and f"Warning. {TRAINED_ON_DRAWN}" in printed
    assert text.index(TRAINED_ON_DRAWN) < text.index("## Result")
    assert report["own_held_out"]["per_image"]["groups"]
    assert "### The run's own held-out patients" in text
    assert text.index("Not for diagnosis") < text.index("## Result")
    assert "are of a source that the run's own data have (phantom)" in printed
    assert "cannot be known" not in text
    for path, content in before.items():
        assert path.read_bytes() == content


def test_the_runs_own_images_would_be_scored_the_same(run, monkeypatch):
    """Pixels, masks, network and weights are the run's: without the search for patients nothing
    differs.
    """
    monkeypatch.setattr(
        "jaxcxr.data.leakage.find_leakage", lambda *_, **__: {"": np.array([], int)}
    )
    found = {(r["id"], r["structure"]): r for r in table(measure(run, options=OWN))}
    own = table(run)
    assert len(own) == 2 * len(prepare(segmenter()).splits["oof"]) > 0
    for row in own:
        other = found[row["id"], row["structure"]]
        assert other == row | {"class": other["class"]}  # the run has no classes
    assert {row["class"] for row in own} == {""}


def test_patients_of_the_run_are_left_out(run):
    with pytest.raises(InputError, match=rf"no image of evaluate.data is left .*{SAME_ID} \(\d+\)"):
        measure(run, options=OWN)
    with pytest.raises(InputError, match=r"of that source \(\d+\); evaluate.same_source=kept"):
        measure(run, evaluate__same_source="left_out")
    folder = measure(run, options={**OWN, "patients": 30})
    assert {r["patient"] for r in table(folder)} == {f"phantom-p{n:04d}" for n in range(24, 30)}
    own = read_json(run / "manifest.json")["dataset"]["images"]
    report = read_json(folder / "report.json")
    assert report["images_left_out"] == {SAME_ID: own}
    assert f"{own:>6,}  {SAME_ID}" in (folder / "table.txt").read_text()


def test_what_is_done_about_doubtful_masks_of_the_other_set_may_be_another_choice(run):
    """The message about such masks proposes it, and the run stays what it is."""
    rows = table(measure(run, masks__on_implausible="warn", masks__on_empty="drop"))
    assert len(rows) == 2 * len(strangers())


def test_classes_are_the_labels_of_the_set_unless_they_are_mapped(run):
    relabel = ("consolidation=opaque", "interstitial=opaque", "ground_glass=")
    folder = measure(run, evaluate__data__relabel=relabel)
    assert {row["class"] for row in table(folder)} == {"normal", "opaque"}
    [left_out] = read_json(folder / "report.json")["images_left_out"].values()
    assert left_out + len(table(folder)) / 2 == len(strangers())
    nothing = tuple(f"{label}=" for label in PHANTOM_CLASSES)
    with pytest.raises(InputError, match="leaves no class: the labels of the data set are conso"):
        measure(run, evaluate__data__relabel=nothing)


@pytest.fixture(scope="module")
def lungs(tmp_path_factory) -> Path:
    """A folder in which the ready-made lungs were measured on six patients."""
    folder = tmp_path_factory.mktemp("lungs")
    config = tiny.load("lungs")
    config.data.image_size, config.parallel.compilation_cache = 128, ""
    config.evaluate.data.builders = PHANTOMS
    evaluated(config, folder, {**OTHERS, "size": 128, "patients": 6})
    return folder


def test_weights_are_measured_as_they_are_and_the_report_says_what_nobody_knows(lungs):
    folder = lungs / "external" / "phantom_cxr"
    report, text = read_json(folder / "report.json"), (folder / "report.md").read_text()
    assert not (lungs / "checkpoints").exists()
    assert report["weights"] == "lite_unet.lungs" and report["own_held_out"] is None
    note = "The weights lite_unet.lungs are used as they are, nothing was trained here. Whether"
    assert text.index(note) < text.index("## Result") and "docs/WEIGHTS.md" in text
    assert "best on validation" not in {row["choice"] for row in report["segmentation"]["scores"]}
    # Phantoms show one of the two conventions, and count for that alone.
    assert {row["structure"] for row in table(folder)} == {"lung"}
    overall = [g for g in report["segmentation"]["per_image"]["groups"] if g["group"] == "all"]
    assert [g["images"] for g in overall] == [0, len(table(folder))]
    assert overall[1]["dice"]["mean"] > 0.7
    assert "Dice of lung **" in text and "lung field" not in text.partition("###")[0]


def test_a_training_that_began_with_such_weights_has_the_note_too():
    config = tiny.load("lungs")
    [note] = external_masks.weights_note(config, is_trained=True)
    assert note.startswith("The training began with the weights lite_unet.lungs and their last")
    assert "cannot be known from here" in note
    assert external_masks.weights_note(segmenter(), is_trained=True) == []
    config.model.head = "new"  # ImageNet's, say
    assert external_masks.weights_note(config, is_trained=True) == []


@pytest.mark.parametrize("structure", ["", "lung_field"])
def test_masks_of_an_unknown_source_are_compared_with_the_wanted_structure(structure):
    config = tiny.shrink(tiny.load("lungs"))
    config.masks.by_source, config.predict.structure = ("ccx=lung_field",), structure
    masks, [note] = external_masks._masks(config, strangers())
    wanted = structure or "lung"
    assert masks.by_source == {"ccx": "lung_field", "phantom": wanted}
    assert f"masks of phantom show: they are compared with {wanted}" in note


def test_a_mistyped_label_is_named(run):
    with pytest.raises(InputError, match=r"relabel names nrmal; the labels of the data set are "):
        measure(run, evaluate__data__relabel=("nrmal=",))


def test_a_run_whose_held_out_images_are_gone_is_named(run, tmp_path):
    """Where some had no mask, the hash of its data cannot be compared."""
    moved = shutil.copytree(run, tmp_path / "moved")
    manifest = read_json(moved / "manifest.json")
    manifest["dataset"]["images"] -= 1
    write_json(moved / "manifest.json", manifest)
    measure(moved)
    text = (moved / "segmentation.csv").read_text(encoding="utf-8")
    (moved / "segmentation.csv").write_text(text.replace("phantom-p", "phantom-q"), "utf-8")
    with pytest.raises(InputError, match="is not what .*moved was made with"):
        external_data.own_data(segmenter(), RunFolder(moved))


def test_mistakes_are_named(run, tmp_path):
    with pytest.raises(InputError, match="holds no finished training"):
        measure(tmp_path / "new")
    with pytest.raises(InputError, match="data.match='first' gives all images"):
        measure(tmp_path / "match", data__match="first")
    config = tiny.load("lungs")
    config.masks.source, config.masks.by_source, config.masks.resize = "none", (), "nearest"
    config.masks.within, config.masks.hull_margin = (), 0.0
    config.model.outputs, config.evaluate.data.builders = "sigmoid", PHANTOMS
    with pytest.raises(InputError, match="masks.source is 'none'"):
        evaluated(config, tmp_path / "none", OTHERS)
    manifest = read_json(run / "manifest.json")
    manifest["dataset"]["fingerprint"] = "other"
    saved = (run / "manifest.json").read_text()
    write_json(run / "manifest.json", manifest)
    with pytest.raises(InputError, match="what is there now is not what"):
        measure(run)
    (run / "manifest.json").write_text(saved)
