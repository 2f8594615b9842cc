"""`--config.run=export`: what is exported gives the run's own numbers, here and without this
project.
"""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from jax.export import deserialize
from PIL import Image
from safetensors import safe_open

from jaxcxr import data, exported, weights
from jaxcxr.commands import export, export_spec, predict, train
from jaxcxr.data import drawn
from jaxcxr.errors import InputError
from jaxcxr.exported import Model
from jaxcxr.inference.best import best_variables
from jaxcxr.inference.predictor import Predictor
from jaxcxr.storage.files import encode_png, read_json, write_json
from jaxcxr.storage.predictions import Predictions
from jaxcxr.storage.run_folder import RunFolder
from jaxcxr.tasks import segment
from jaxcxr.training.experiment import Experiment
from jaxcxr.training.prepare import prepare
from tests import golden, tiny
from tests.commands import test_own_xrays
from tests.commands.test_own_xrays import learner, rows_of

DRAWN_ONLY = f"research use only; not a diagnosis; {drawn.NOTE}"


def segmenter(**fields):
    """One that leaves all but the largest piece out, as its export must."""
    return test_own_xrays.segmenter(predict__largest_pieces=1, **fields)


CONFIGS = {
    "segmenter": segmenter,
    "patched": lambda **fields: learner(patched=True, **fields),
    "whole": lambda **fields: learner(patched=False, **fields),
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """segmenter, patched and whole: three trained and exported runs."""
    folder = tmp_path_factory.mktemp("runs")
    for name, config in CONFIGS.items():
        train.run(config(), folder / name)
        export.run(config(), folder / name)
    return folder


@pytest.fixture
def copied(runs, tmp_path) -> Path:
    """The whole-image run, to be changed."""
    shutil.copytree(runs / "whole", tmp_path / "whole")
    return tmp_path / "whole"


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> list[str]:
    """Three phantoms as PNG of 8 and 16 bits and TIFF."""
    folder, phantoms = (
        tmp_path_factory.mktemp("files"),
        data.open_dataset(learner(patched=True).data),
    )
    (folder / "a.png").write_bytes(encode_png(phantoms.image(0)))
    (folder / "b.png").write_bytes(encode_png(phantoms.image(1).astype(np.uint16) * 16))
    Image.fromarray(phantoms.image(2)).save(folder / "c.tif")
    return [str(folder / name) for name in ("a.png", "b.png", "c.tif")]


def inputs(experiment: Experiment, rows: np.ndarray) -> tuple[np.ndarray, ...]:
    """What the exported program takes of the data set's rows: images and, of patches, masks and
    seeds.
    """
    images = np.asarray(experiment.arrays["image"][rows])
    if not experiment.config.patches.enabled:
        return (images,)
    return images, np.asarray(experiment.arrays["mask"][rows]), rows.astype(np.int32)


@pytest.mark.parametrize("name", ["patched", "whole"])
def test_test_images_get_the_probabilities_of_the_run(runs, name):
    experiment = prepare(CONFIGS[name]())
    known = Predictions.load(runs / name / "predictions.npz").select("test")
    rows = experiment.splits["test"]
    assert known.ids.tolist() == experiment.examples.ids[rows].tolist() and len(rows) > 3
    model = Model.open(runs / name / "export")
    found = model.predict(*inputs(experiment, rows))
    np.testing.assert_allclose(found, known.probabilities, rtol=0, atol=1e-6)
    assert found.dtype == np.float32 and np.ptp(found, axis=0).max() > 1e-3
    for part in (slice(0, 1), slice(1, 4)):  # a batch of any size
        some = model.predict(*inputs(experiment, rows[part]))
        np.testing.assert_allclose(some, known.probabilities[part], rtol=0, atol=1e-6)


@pytest.mark.smoke
def test_a_segmenter_gives_the_masks_of_the_run(runs):
    experiment = prepare(segmenter())
    rows = experiment.splits["oof"]
    variables = best_variables(experiment.task, RunFolder(runs / "segmenter"))
    predictions = list(experiment.predict(variables, rows, count=0))
    assert (np.concatenate([p["mask"] for p in predictions]) > 0).any()
    known = np.concatenate([segment.masks_at(p, 0.5, largest=1) for p in predictions])
    found = Model.open(runs / "segmenter" / "export").predict(
        np.asarray(experiment.arrays["image"][rows])
    )
    assert found.dtype == np.uint8 and known.any()
    assert np.mean(found != known) < 1e-4  # where two structures are as likely, rounding decides


def printed(capsys, *arguments) -> dict[str, dict[str, str]]:
    """file's name -> row that the runner prints."""
    assert exported.main([str(argument) for argument in arguments]) == 0
    return {
        Path(row["file"]).name: row for row in csv.DictReader(capsys.readouterr().out.splitlines())
    }


@pytest.mark.parametrize("name", ["patched", "whole"])
def test_files_get_the_probabilities_of_predict(runs, name, files, capsys):
    fields = {"masks__workdir": str(runs / "segmenter")} if name == "patched" else {}
    predict.run(CONFIGS[name](predict__inputs=str(Path(files[0]).parent), **fields), runs / name)
    known = rows_of(runs / name)
    capsys.readouterr()
    lungs = ["--lungs", runs / "segmenter" / "export"] if name == "patched" else []
    found = printed(capsys, runs / name / "export", *files, *lungs)
    assert list(found) == list(known) == ["a.png", "b.png", "c.tif"]
    for file, row in found.items():
        columns = [column for column in row if column.startswith("probability_")]
        assert columns == [f"probability_{c}" for c in CONFIGS[name]().data.classes]
        expected = [float(known[file][column]) for column in columns]
        np.testing.assert_allclose(
            [float(row[column]) for column in columns], expected, rtol=0, atol=2e-6
        )
        assert row["note"] == known[file]["note"] == DRAWN_ONLY
        assert row["structure"] == known[file]["structure"]
        assert row["structure"] == ("left_lung+right_lung" if lungs else "")


def test_files_get_the_lungs_of_predict(runs, files, capsys, tmp_path):
    predict.run(segmenter(predict__inputs=str(Path(files[0]).parent)), runs / "segmenter")
    known = rows_of(runs / "segmenter")
    capsys.readouterr()
    found = printed(capsys, runs / "segmenter" / "export", *files, "--masks-to", tmp_path / "masks")
    for file, row in found.items():
        assert float(row["lung_area_share"]) == pytest.approx(
            float(known[file]["lung_area_share"]), abs=1e-3
        )
        assert row["structure"] == known[file]["structure"] == "left_lung+right_lung"
        pictures = [
            folder / f"{file}.png"
            for folder in (tmp_path / "masks", runs / "segmenter" / "xrays" / "masks")
        ]
        mask, expected = (np.asarray(Image.open(picture)) for picture in pictures)
        assert mask.shape == expected.shape and np.mean(mask != expected) < 1e-3


def test_the_copy_beside_the_model_needs_nothing_of_this_project(runs, files):
    """With neither jaxcxr nor Flax, nor anything but JAX, NumPy and Pillow."""
    barred = (
        "jaxcxr",
        "flax",
        "optax",
        "orbax",
        "chex",
        "grain",
        "safetensors",
        "cv2",
        "skimage",
        "ml_collections",
    )
    code = (
        "import runpy, sys\n"
        f"sys.modules.update(dict.fromkeys({barred!r}))\n"
        "sys.argv = sys.argv[1:]\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    place = runs / "whole" / "export"
    command = [sys.executable, "-I", "-c", code, place / "run.py", place, files[0], "none.png"]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert (
        "error: none.png cannot be opened: No such file" in answer.stderr and answer.returncode == 1
    ), answer.stderr
    [row] = csv.DictReader(answer.stdout.splitlines())
    model = Model.open(place)
    [expected] = model.predict(model.preprocess(exported.read_image(files[0]))[0][None])
    found = [float(row[f"probability_{name}"]) for name in model.spec["classes"]]
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("name", ["patched", "whole"])
def test_a_run_started_from_the_weights_predicts_the_same(runs, name, tmp_path):
    spec = read_json(runs / name / "export" / "model.json")
    config = CONFIGS[name](
        train__epochs=0.0,
        model__pretrained=str(runs / name / "export" / "model.safetensors"),
        model__head="pretrained",
        model__mean=tuple(spec["normalisation"]["mean"]),
        model__std=tuple(spec["normalisation"]["std"]),
    )
    train.run(config, tmp_path / "again")
    found, known = (
        Predictions.load(folder / "predictions.npz") for folder in (tmp_path / "again", runs / name)
    )
    np.testing.assert_array_equal(found.probabilities, known.probabilities)
    assert read_json(tmp_path / "again" / "pretrained.json")["not_in_the_file"] == []


def started_from(runs, **fields):
    config = learner(
        patched=False,
        train__epochs=0.0,
        model__pretrained=str(runs / "whole" / "export" / "model.safetensors"),
        **{"model__head": "pretrained", "model__mean": (0.5,), "model__std": (0.5,), **fields},
    )
    return config


def test_a_kept_head_of_classes_in_another_order_is_refused(runs, tmp_path):
    config = started_from(runs)
    named = ",".join(config.data.classes)
    config.data.classes = tuple(reversed(config.data.classes))
    turned = ",".join(config.data.classes)
    with pytest.raises(
        InputError, match=f"has the classes {named}, .* in another order: {turned}.*head=new"
    ):
        train.run(config, tmp_path / "turned")
    config.model.head = "new"
    train.run(config, tmp_path / "new")  # which learns its own order


def test_another_normalisation_than_that_of_the_weights_is_a_warning(runs, tmp_path, capsys):
    train.run(started_from(runs, model__std=(0.25,)), tmp_path / "other")
    [said] = [line for line in capsys.readouterr().out.splitlines() if "WARNING" in line]
    assert "model.std is (0.25)" in said and "trained with (0.5): set model.std" in said
    assert read_json(tmp_path / "other" / "pretrained.json")["doubts"] == [
        said.removeprefix("WARNING: ")
    ]
    train.run(started_from(runs, model__std=(0.5,) * 3), tmp_path / "same")  # one for all channels
    assert "WARNING" not in capsys.readouterr().out


NETWORKS = [name for name in golden.CONFIGS if tiny.load(name).task in ("classify", "segment")]


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_is_exported_and_its_weights_are_read_again(name, tmp_path):
    """For all platforms at once, with a batch of any size; the weights' names are those that the
    loader knows.
    """
    config = tiny.shrink(tiny.load(name))
    task = export._task(config)
    variables = task.init(0)
    names = export._names(variables)
    arrays = dict(zip(jax.tree.leaves(names), jax.tree.leaves(variables), strict=True))
    program = deserialize(
        bytearray(export._serialized(config, export._program(config, task, names), arrays))
    )
    wanted = export_spec.output(config)
    assert (str(program.out_avals[0].dtype), [str(n) for n in program.out_avals[0].shape]) == (
        wanted["dtype"],
        [str(n) for n in wanted["shape"]],
    )
    assert program.platforms == ("cpu", "cuda", "tpu")
    path = tmp_path / "model.safetensors"
    path.write_bytes(export.to_bytes(arrays, {}))
    loaded = weights.load(
        weights.find(str(path)), task.init(None), arch=config.model.name, new_head=False
    )
    jax.tree.map(np.testing.assert_array_equal, loaded.variables, dict(variables))


def test_weights_do_not_fit_a_run_of_other_classes(runs, tmp_path):
    config = learner(
        patched=False,
        model__pretrained=str(runs / "whole" / "export" / "model.safetensors"),
        model__head="pretrained",
        model__mean=(0.5,),
        model__std=(0.5,),
    )
    config.data.targets = (
        "normal=normal",
        "consolidation=ill",
        "interstitial=ill",
        "ground_glass=ill",
    )
    with pytest.raises(InputError, match=r"fc/bias: here it would be \[4\], fc/bias is \[2\]"):
        train.run(config, tmp_path / "other")


def test_model_json_says_what_goes_in_and_comes_out(runs):
    spec = read_json(runs / "patched" / "export" / "model.json")
    config = learner(patched=True)
    assert spec["note"] == DRAWN_ONLY
    assert spec["classes"] == list(config.data.classes) and spec["task"] == "classify"
    assert {
        one["name"]: (one["dtype"], one["shape"]) for one in [*spec["inputs"], spec["output"]]
    } == {
        "images": ("uint8", ["b", 48, 48]),
        "masks": ("uint8", ["b", 48, 48]),
        "seeds": ("int32", ["b"]),
        "probabilities": ("float32", ["b", 4]),
    }
    assert spec["preprocessing"]["fields"] == json.loads(
        json.dumps(data.Preprocessing.of(config.data).to_json())
    )
    assert (
        "2 patches of 32 x 32 pixels around random pixels of the lungs" in spec["program"]["steps"]
    )
    assert spec["program"]["platforms"] == ["cpu", "cuda", "tpu"]
    assert spec["versions"].keys() >= {"jax", "jaxlib", "flax"}
    for name, said in spec["files"].items():
        content = (runs / "patched" / "export" / name).read_bytes()
        assert said == {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    config_sha256 = hashlib.sha256((runs / "patched" / "config.json").read_bytes()).hexdigest()
    with safe_open(runs / "patched" / "export" / "model.safetensors", "numpy") as file:
        metadata = file.metadata()
        assert {"conv1/kernel", "bn1/mean", "fc/bias"} <= set(file.keys())
    assert metadata["classes"].split(",") == spec["classes"] and metadata["note"] == spec["note"]
    assert metadata["config_sha256"] == spec["run"]["config_sha256"] == config_sha256
    assert (metadata["mean"], metadata["std"]) == ("0.5", "0.5")


def test_both_lowerings_of_convolutions_are_one_program_to_its_user(copied, monkeypatch):
    """What is exported on a CPU serves GPUs, and the other way round: the same numbers, other
    speeds.
    """
    images = np.random.default_rng(0).integers(0, 256, (3, 48, 48), np.uint8)
    products = Model.open(copied / "export").predict(images)
    monkeypatch.setattr("jaxcxr.models.layers.platform_lowering", lambda: "native")
    before = (copied / "export" / "model.stablehlo").read_bytes()
    export.run(learner(patched=False), copied)
    assert (copied / "export" / "model.stablehlo").read_bytes() != before
    np.testing.assert_allclose(
        Model.open(copied / "export").predict(images), products, rtol=0, atol=2e-6
    )


def test_weights_that_are_used_as_they_are_need_no_training(runs, tmp_path):
    weights = test_own_xrays.weights_of(runs, "segmenter", tmp_path / "lungs.safetensors")
    config = segmenter(model__pretrained=weights, model__head="pretrained")
    export.run(config, tmp_path / "fresh")
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32), np.uint8)
    fresh, trained = (
        Model.open(folder / "export").predict(images)
        for folder in (tmp_path / "fresh", runs / "segmenter")
    )
    assert trained.any()
    np.testing.assert_array_equal(fresh, trained)
    assert read_json(tmp_path / "fresh" / "export" / "model.json")["run"]["weights"] == weights

    # What has begun to train is exported with its own checkpoint, or not at all.
    (tmp_path / "fresh" / "checkpoints").mkdir()
    with pytest.raises(InputError, match="train it first, or to its end"):
        export.run(config, tmp_path / "fresh")


@pytest.mark.parametrize("says", [True, False])
def test_a_run_that_only_measured_weights_says_what_their_file_says(runs, tmp_path, says):
    """Which X-rays measured them teaches them nothing: these are phantoms in both cases."""
    weights = str(runs / "whole" / "export" / "model.safetensors")
    if not says:
        weights = test_own_xrays.weights_of(runs, "whole", tmp_path / "w.safetensors")
    config = learner(
        patched=False, model__pretrained=weights, model__head="pretrained", model__mean=(0.5,),
        model__std=(0.5,), train__epochs=0.0,
    )  # fmt: skip
    train.run(config, tmp_path / "measured")
    assert Predictor.load(tmp_path / "measured").knows_drawn_only is says
    export.run(config, tmp_path / "measured")
    note = read_json(tmp_path / "measured" / "export" / "model.json")["note"]
    assert note == (DRAWN_ONLY if says else exported.NOTE)


@pytest.mark.parametrize("name", ["model.stablehlo", "model.safetensors"])
def test_damaged_and_missing_files_are_named(copied, name):
    path = copied / "export" / name
    content = bytearray(path.read_bytes())
    was = hashlib.sha256(content).hexdigest()
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    now = hashlib.sha256(content).hexdigest()
    with pytest.raises(
        InputError, match=rf"{name} is damaged .*its SHA-256 is {now}, and model\.json says {was}"
    ):
        Model.open(copied / "export")
    path.unlink()
    with pytest.raises(
        InputError, match=rf"{name} cannot be read \(No such file or directory\): export again"
    ):
        Model.open(copied / "export")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda spec: spec["classes"].pop(), "names 3 classes, and the program tells 4 apart"),
        (
            lambda spec: spec.update(format=2),
            r"is of format 2, and this program reads 1: run the run\.py beside it",
        ),
        (lambda spec: spec.pop("format"), r"model\.json is damaged"),
        (
            lambda spec: spec["versions"].update(jax="99.1.0"),
            r"exported by JAX 99\.1\.0, .*pip install jax==99\.1\.0",
        ),
    ],
    ids=["classes", "format", "damaged", "newer JAX"],
)
def test_what_does_not_fit_is_said(copied, change, says):
    path = copied / "export" / "model.json"
    spec = read_json(path)
    change(spec)
    write_json(path, spec)
    with pytest.raises(InputError, match=says):
        Model.open(copied / "export")


def test_a_program_that_this_jax_cannot_read_names_the_one_that_can(copied):
    path, spec = copied / "export" / "model.stablehlo", read_json(copied / "export" / "model.json")
    path.write_bytes(b"of another age")
    spec["files"]["model.stablehlo"]["sha256"] = hashlib.sha256(b"of another age").hexdigest()
    write_json(copied / "export" / "model.json", spec)
    with pytest.raises(
        InputError,
        match=rf"cannot read it .*: pip install jax=={spec['versions']['jax']}, or export",
    ):
        Model.open(copied / "export")


def test_arrays_of_another_shape_or_type_are_refused(runs):
    whole, patched = (Model.open(runs / name / "export") for name in ("whole", "patched"))
    image = np.zeros((2, 48, 48), np.uint8)
    with pytest.raises(
        InputError, match=r"takes images uint8 \[2, 48, 48\], not uint8 \[2, 40, 48\]"
    ):
        whole.predict(image[:, :40])
    with pytest.raises(
        InputError, match=r"takes images uint8 \[2, 48, 48\], not float32 \[2, 48, 48\]"
    ):
        whole.predict(image.astype(np.float32))
    with pytest.raises(
        InputError, match=r"needs masks \['b', 48, 48\]: 1 in the lungs, 0 elsewhere"
    ):
        patched.predict(image)
    with pytest.raises(
        InputError, match=r"takes masks uint8 \[2, 48, 48\], not uint8 \[1, 48, 48\]"
    ):
        patched.predict(image, image[:1])
    with pytest.raises(InputError, match="finds no lungs: it is a classify model, not a segmenter"):
        whole.find_lungs(image[0])


def test_a_model_for_other_platforms_says_for_which(copied):
    export.run(learner(patched=False, export__platforms=("tpu",)), copied)
    with pytest.raises(
        InputError, match=r"runs on tpu, and this is cpu: name it in --config\.export\.platforms"
    ):
        Model.open(copied / "export").predict(np.zeros((1, 48, 48), np.uint8))


def test_an_export_that_was_stopped_is_none(copied, monkeypatch):
    shutil.rmtree(copied / "export")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(RunFolder, "write_text", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        export.run(learner(patched=False), copied)
    assert {path.name for path in (copied / "export").iterdir()} == {
        "model.stablehlo",
        "model.safetensors",
    }
    with pytest.raises(
        InputError, match=r"model\.json cannot be read .*: make it with --config\.run=export"
    ):
        Model.open(copied / "export")
    export.run(learner(patched=False), copied)
    Model.open(copied / "export")


def test_the_command_line_reports_a_bad_export_in_one_line(tmp_path, capsys):
    assert exported.main([str(tmp_path), "image.png"]) == 1
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith("error: ") and said.err.count("\n") == 1


def test_only_finished_runs_of_one_network_are_exported(runs, copied, tmp_path):
    with pytest.raises(
        InputError, match="is not the folder of a finished run: train it first, or to its end"
    ):
        export.run(learner(patched=False), tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()
    with pytest.raises(InputError, match="contains a run with a different configuration"):
        export.run(learner(patched=False, optim__learning_rate=0.5), copied)
    with pytest.raises(
        InputError, match=r"export\.platforms='gpu' is unknown; known: cpu, cuda, rocm, tpu"
    ):
        export.run(learner(patched=False, export__platforms=("gpu",)), copied)
    with pytest.raises(
        InputError, match=r"repeats=3 are 3 networks: export one of them, --config\.repeats=1"
    ):
        export.run(learner(patched=False, repeats=3), copied)
    with pytest.raises(
        InputError,
        match="export goes with one network that looks at X-rays, and this is 'ensemble'",
    ):
        export.run(tiny.load("flannel").ensemble, tmp_path / "stacking")
    shutil.rmtree(copied / "checkpoints")
    with pytest.raises(InputError, match=r"checkpoint of step \d+ in .* is missing"):
        export.run(learner(patched=False), copied)


def test_the_way_to_use_it_is_printed(copied, capsys):
    export.run(learner(patched=False), copied)
    said = capsys.readouterr().out
    place = copied / "export"
    assert f"python {place / 'run.py'} {place} IMAGE..." in said
    assert (
        "--config.model.head=pretrained --config.model.mean='(0.5,)' --config.model.std='(0.5,)'"
        in said
    )
    assert said.rstrip().endswith("Research use only. Not for diagnosis.")
