"""Every command and flag that a message proposes is followed, and the message is then gone.

A situation makes a message. What stands in it is typed as a user would type it: a whole command as
it is, a flag added to the command that failed. Only the sizes of networks and data are changed,
after the command line was read. The last test finds messages that propose something and are in no
situation here.
"""

from __future__ import annotations

import ast
import dataclasses
import re
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from absl import flags
from ml_collections import ConfigDict

from jaxcxr import data, exported, run_modes, weights
from jaxcxr.cli import command_line
from jaxcxr.cli.dispatch import RUNS
from jaxcxr.commands import evaluate, patch_counts, train
from jaxcxr.errors import InputError
from jaxcxr.storage import run_checksums
from jaxcxr.storage.files import encode_png, read_json
from jaxcxr.storage.predictions import Predictions, _check_patients, check_same_split
from jaxcxr.storage.run_files import REFERENCE
from jaxcxr.storage.run_folder import RunFolder
from jaxcxr.studies import biomarkers
from jaxcxr.training.prepare import prepare
from tests import tiny
from tests.commands.test_own_xrays import learner, segmenter
from tests.data import test_builders, test_mask_looks, test_store
from tests.data.fakes import encode, make_dataset
from tests.report import fakes
from tests.test_hints import HOLE, ROOT, TEXTS
from tests.weights import test_backbone as backbone

pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")

# What follows a flag in a sentence is not its value.
_FLAG = re.compile(r"--config\.[a-z_.]+[a-z]=(?:\"[^\"]*\"|'[^']*'|[^\s,;]*[\w}\]/])")
_COMMAND = re.compile(r"(python main\.py [^\n]*|--config\.run=\w+ --workdir=[^\s)]+)")


@pytest.fixture(scope="module", autouse=True)
def _networks():
    with pytest.MonkeyPatch.context() as patch:
        tiny.add_networks(patch)
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """segmenter and whole: finished runs."""
    folder = tmp_path_factory.mktemp("trained")
    RUNS["train"](segmenter(train__epochs=2.0, train__eval_every=2.0), folder / "segmenter")
    RUNS["train"](learner(patched=False), folder / "whole")
    return folder


@pytest.fixture
def runs(trained, tmp_path) -> Path:
    """The finished runs, to be changed."""
    shutil.copytree(trained, tmp_path / "runs")
    return tmp_path / "runs"


@pytest.fixture
def read(monkeypatch):
    """The words after `python main.py` -> the config as the command line reads them."""

    def forget() -> None:
        for name in [name for name in flags.FLAGS if name.startswith("config.")]:
            delattr(flags.FLAGS, name)
        flags.FLAGS["config"].unparse()
        flags.FLAGS["workdir"].unparse()

    def read(words: str) -> tuple[ConfigDict, Path]:
        argv = ["main.py", *shlex.split(words)]
        monkeypatch.setattr(sys, "argv", argv)
        forget()
        command_line.parse_flags(argv)
        config = flags.FLAGS["config"].value
        run_modes.check(config)
        return config, Path(flags.FLAGS["workdir"].value or "")

    monkeypatch.chdir(ROOT)
    yield read
    forget()


@pytest.fixture
def type_it(read, tmp_path):
    """Runs a proposed command: new trainings get tiny networks and data, all else is as typed."""

    def type_it(command: str) -> ConfigDict:
        config, workdir = read(command.removeprefix("python main.py "))
        if "--config=" in command:
            config = tiny.shrink(config)
            if config.task == "classify":
                tiny.change(config, masks__on_empty="whole_image")
            name, width = {
                "segment": (tiny.ONE_DOWN, 0.25),
                "classify": (tiny.ONE_BLOCK, 0.1),
            }[config.task]
            tiny.change(config, model__name=name, model__width=width, model__depth=1.0)
        RUNS[config.run](config, workdir)
        return config

    return type_it


@pytest.fixture
def with_flags(read, tmp_path):
    """A config and flags to add to its command -> the config of the longer command."""

    def with_flags(config: ConfigDict, *added: str) -> ConfigDict:
        file = tmp_path / "experiment.py"
        file.write_text(
            "from ml_collections import ConfigDict\n\n\n"
            f"def get_config():\n    return ConfigDict({config.to_dict()!r})\n"
        )
        return read(shlex.join([f"--config={file}", *(word.replace('"', "") for word in added)]))[0]

    return with_flags


def refusal(action: Callable[[], object]) -> str:
    with pytest.raises(InputError) as refused:
        action()
    return str(refused.value)


def flags_in(message: str, **values: str) -> list[str]:
    """The flags that a message says to add, with the user's values for its names in capitals."""
    proposed = _FLAG.findall(message)
    assert proposed, message
    for name, value in values.items():
        proposed = [flag.replace(f"={name}", f"={value}") for flag in proposed]
    return proposed


def command_in(message: str, number: int = 0) -> str:
    proposed = _COMMAND.findall(message)
    assert len(proposed) > number, message
    return proposed[number]


def started_as(monkeypatch, words: str) -> None:
    monkeypatch.setattr(sys, "argv", ["main.py", *shlex.split(words)])


def test_a_training_that_has_not_finished_is_started(runs, monkeypatch, type_it, tmp_path):
    """Said by predict and by export, which say it in two ways."""
    for run in ("predict", "export"):
        workdir = tmp_path / f"not trained, {run}"
        config = learner(patched=False, predict__inputs=str(tmp_path))
        started_as(monkeypatch, f"--config=configs/resnet.py --config.run={run} --workdir=a")
        message = refusal(lambda run=run, workdir=workdir, c=config: RUNS[run](c, workdir))
        type_it(command_in(message))
        RUNS["export"](learner(patched=False), workdir)
        assert (workdir / "export" / "model.json").exists()


def test_a_damaged_result_is_made_again(runs, type_it):
    workdir = runs / "whole"
    (workdir / "report.json").write_text("{}")
    type_it(command_in(refusal(lambda: RUNS["train"](learner(patched=False), workdir))))
    RUNS["train"](learner(patched=False), workdir)

    (workdir / "table.txt").unlink()
    folder = evaluate.RunFolder(workdir)
    type_it(command_in(refusal(lambda: evaluate.closing(folder))))
    assert "Not for diagnosis" in evaluate.closing(folder)
    run_checksums.check(folder)


def test_damaged_predictions_are_written_again(runs, type_it):
    """The message has the run mode alone, the folder is the one it names."""
    file = runs / "whole" / "predictions.npz"
    file.write_bytes(file.read_bytes()[:-50])
    [proposed] = flags_in(refusal(lambda: Predictions.load(file)))
    type_it(f"{proposed} --workdir={file.parent}")
    assert len(Predictions.load(file).ids)


def test_a_split_that_was_not_predicted_is(runs, type_it):
    file = runs / "whole" / "predictions.npz"
    message = refusal(lambda: check_same_split([Predictions.load(file)], splits=("train",)))
    [proposed] = flags_in(message)
    type_it(
        f"{proposed} --config.predict.splits=\"('train','valid','test')\" --workdir={runs}/whole"
    )
    check_same_split([Predictions.load(file)], splits=("train",))


def test_a_reference_image_that_is_gone_is_kept_again(type_it, tmp_path, inputs):
    config = learner(patched=False, data__match="first")
    workdir = tmp_path / "matched"
    RUNS["train"](config, workdir)
    (workdir / REFERENCE).unlink()
    config.predict.inputs = str(inputs)
    type_it(command_in(refusal(lambda: RUNS["predict"](config, workdir))))
    RUNS["predict"](config, workdir)

    kept = (workdir / REFERENCE).read_bytes()
    (workdir / REFERENCE).write_bytes(kept[:-1])
    type_it(command_in(refusal(lambda: RUNS["predict"](config, workdir))))
    assert (workdir / REFERENCE).read_bytes() == kept
    RUNS["predict"](config, workdir)


@pytest.fixture
def inputs(tmp_path) -> Path:
    """Two phantoms as PNG."""
    phantoms = data.open_dataset(learner(patched=False).data)
    (tmp_path / "xrays").mkdir()
    for row in (0, 1):
        (tmp_path / "xrays" / f"{row}.png").write_bytes(encode_png(phantoms.image(row)))
    return tmp_path / "xrays"


def test_the_segmenter_of_a_learner_without_masks_is_made(type_it, monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    config = tiny.learner(masks__source="workdir")
    message = refusal(lambda: RUNS["train"](config, tmp_path / "learner"))
    proposed = re.findall(r"^  (python main\.py .*)$", message, re.MULTILINE)
    assert len(proposed) == 2
    for command in proposed:
        type_it(command.replace("--workdir=SEGMENTER", f"--workdir={tmp_path}/SEGMENTER"))
    config.masks.workdir = str(tmp_path / "SEGMENTER")
    RUNS["train"](config, tmp_path / "learner")
    assert (tmp_path / "learner" / "report.md").exists()


def test_a_folder_that_is_no_segmenters_is_answered_with_a_command_that_makes_one(
    trained, type_it, inputs, tmp_path
):
    made = str(tmp_path / "SEGMENTER")
    config = learner(patched=True, predict__inputs=str(inputs), masks__workdir=made)
    workdir = tmp_path / "learner"
    RUNS["train"](learner(patched=True), workdir)
    config.run = "predict"
    message = refusal(lambda: RUNS["predict"](config, workdir))
    assert f"masks.workdir={made!r}" in message
    type_it(command_in(message))
    RUNS["predict"](config, workdir)
    assert read_json(workdir / "xrays" / "summary.json")["lungs_from"] == made


def test_a_learner_with_a_segmenter_takes_its_masks_or_ready_ones(with_flags, tmp_path):
    config = tiny.learner(masks__source="ready", masks__workdir="SEGMENTER")
    message = refusal(lambda: RUNS["train"](config, tmp_path / "learner"))
    longer = with_flags(config, *flags_in(message))
    assert longer.masks.source == "workdir"
    message = refusal(lambda: RUNS["train"](longer, tmp_path / "learner"))
    assert "SEGMENTER" in message and "does not exist" in message


def test_explain_finds_lungs(runs, capsys, with_flags):
    config = learner(patched=False, run="explain", explain__per_class=1)
    config.explain.masks.source = "none"
    RUNS["explain"](config.copy_and_resolve_references().unlock(), runs / "whole")
    message = capsys.readouterr().out.partition("in lungs is empty")[2]
    RUNS["explain"](with_flags(config, *flags_in(message)), runs / "whole")
    assert "in lungs is empty" not in capsys.readouterr().out


def test_explain_finds_lungs_by_either_segmenter(runs, with_flags):
    config = learner(patched=False, run="explain", explain__per_class=1)
    config.explain.masks.source = "none"
    inputs = tiny.change(
        config.copy_and_resolve_references().unlock(),
        explain__inputs=("original", "lung_masked"),
    )
    message = refusal(lambda: RUNS["explain"](inputs, runs / "whole"))
    assert with_flags(inputs, *flags_in(message)).explain.masks.source == "ready"
    config.explain.masks.workdir, config.explain.masks.source = "SEGMENTER", "ready"
    message = refusal(lambda: RUNS["explain"](config, runs / "whole"))
    assert with_flags(config, *flags_in(message)).explain.masks.source == "workdir"
    config.explain.masks.workdir, config.explain.masks.source = "", "workdir"
    message = refusal(lambda: RUNS["explain"](config, runs / "whole"))
    longer = with_flags(config, *flags_in(message))
    RUNS["explain"](longer, runs / "whole")


def test_a_segmenter_learns_from_masks_of_lungs_alone(with_flags, tmp_path):
    config = segmenter(masks__source="ready", masks__on_empty="whole_image")
    message = refusal(lambda: RUNS["train"](config, tmp_path / "a"))
    config = with_flags(config, *flags_in(message))
    assert tuple(config.masks.structures) == ("lung",)
    message = refusal(lambda: RUNS["train"](config, tmp_path / "a"))
    assert with_flags(config, *flags_in(message)).masks.on_empty == "drop"


def test_a_run_is_compared_with_another(tmp_path, with_flags):
    for name, network in (("a", "densenet161"), ("b", "resnet152")):
        fakes.write_run(tmp_path / name, fakes.predictions(learner=network))
    for other in ("", str(tmp_path / "a")):
        config = tiny.learner(run="compare", compare__other=other)
        message = refusal(lambda c=config: RUNS["compare"](c, tmp_path / "a"))
        longer = with_flags(config, *flags_in(message, RUN=str(tmp_path / "b")))
        RUNS["compare"](longer, tmp_path / "a")
        assert (tmp_path / "a" / "compare" / "b" / "compare.md").exists()


def test_an_export_runs_and_a_training_starts_from_it(runs, capsys, inputs, with_flags, tmp_path):
    RUNS["export"](learner(patched=False), runs / "whole")
    printed = capsys.readouterr().out
    [command] = re.findall(r"python \S+/run\.py (.*)", printed)
    assert exported.main(shlex.split(command.replace("IMAGE...", f"{inputs}/0.png"))) == 0
    assert "0.png" in capsys.readouterr().out
    [line] = [line for line in printed.splitlines() if "to start from it" in line]
    config = with_flags(
        learner(patched=False, train__epochs=0.0), *shlex.split(line.partition("it  ")[2])
    )
    RUNS["train"](config, tmp_path / "further")
    first, further = (
        Predictions.load(folder / "predictions.npz").probabilities
        for folder in (runs / "whole", tmp_path / "further")
    )
    np.testing.assert_allclose(further, first, atol=1e-6)


def test_one_of_several_networks_is_exported(tmp_path, type_it):
    config = learner(patched=False, repeats=2, train__epochs=0.0)
    RUNS["train"](config, tmp_path / "two words")
    message = refusal(lambda: RUNS["export"](config, tmp_path / "two words"))
    [proposed] = re.findall(r"--config\.repeats.*", message)
    for number in (0, 1):
        type_it(f"--config.run=export {proposed}".replace("=...", f"={number}").replace(
            "repeat'...", f"repeat{number}'"
        ).replace("--config.repeats=1 ", ""))  # fmt: skip


def test_the_learning_rate_that_lr_find_prints_is_taken(tmp_path, capsys, with_flags):
    config = learner(patched=False, lr_find__steps=12, lr_find__low=1e-6, lr_find__high=10.0)
    RUNS["lr_find"](config, tmp_path)
    printed = capsys.readouterr().out
    [rate] = re.findall(r"falls fastest at a learning rate of ([\d.e+-]+)", printed)
    config = with_flags(config, *flags_in(printed))
    assert config.optim.learning_rate == float(rate)
    RUNS["train"](config, tmp_path)


def test_masks_are_taken_where_lungs_are_asked_for(with_flags):
    config = tiny.learner(patched=False, data__lungs="box", masks__source="none")
    flag = flags_in(refusal(lambda: prepare(config)))[0]
    prepare(with_flags(config, flag))


def test_several_structures_get_their_loss(with_flags):
    config = segmenter(model__outputs="sigmoid", masks__structures=("heart", "lung"))
    prepare(with_flags(config, *flags_in(refusal(lambda: prepare(config)))))


def test_a_margin_of_no_structures_is_left_out(with_flags):
    config = segmenter(masks__hull_margin=0.02)
    prepare(with_flags(config, *flags_in(refusal(lambda: prepare(config)))))


def test_a_data_set_with_images_at_fault_is_used_without_them(tmp_path, with_flags):
    section = test_builders.write_ccx(
        tmp_path, test_builders.CCX_ROWS, pictures={f"im{n}.png": n for n in range(3, 10)}
    )
    config = tiny.learner(data__max_dropped=0.2)
    config.data.update(section)
    longer = with_flags(config, *flags_in(refusal(lambda: data.open_dataset(config.data))))
    assert len(data.open_dataset(longer.data)) == 7


def test_unreadable_images_are_left_out(tmp_path, with_flags):
    config = tiny.learner()
    broken = test_store.examples()
    broken[1]["image"], broken[3]["image"] = b"no image", b""

    def build(c: ConfigDict) -> data.store.Store:
        limit = c.data.max_bad_images
        return test_store.build(make_dataset(broken), tmp_path, max_bad_images=limit)

    longer = with_flags(config, *flags_in(refusal(lambda: build(config))))
    assert len(build(longer).images) == 3


@pytest.mark.parametrize(("kind", "number"), [("empty", 0), ("empty", 1), ("inverted", 0)])
def test_doubtful_masks_are_used_or_left_out(tmp_path, with_flags, kind, number):
    """One empty mask: in one of two ways; all masks inverted: used as they are."""
    config = tiny.learner(masks__on_empty="error")
    lungs = 255 * test_mask_looks.LUNGS.astype(np.uint8)
    masks = [255 - lungs] * 10 if kind == "inverted" else [lungs & 0] + [lungs] * 9
    examples = [
        {"image": encode(test_store.noise(n, lungs.shape)), "mask_lung": encode(mask)}
        for n, mask in enumerate(masks)
    ]

    def build(c: ConfigDict) -> data.store.Store:
        masks = data.DatasetMasks(
            on_empty=c.masks.on_empty, on_implausible=c.masks.on_implausible
        )  # fmt: skip
        return test_store.build(make_dataset(examples), tmp_path, masks=masks)

    message = refusal(lambda: build(config))
    message = re.sub(r"(--config\S+=)(\w+) or (\w+)", r"\1\2 \1\3", message)
    build(with_flags(config, flags_in(message)[number]))


def test_an_external_set_is_told_which_label_is_which_class(runs, with_flags):
    config = learner(patched=False, evaluate__data__builders=("tfds_builders.phantom_cxr",))
    tiny.change(config, evaluate__same_source="kept", evaluate__data__relabel=("normal=",))
    config.run = "evaluate"
    config.evaluate.data.options.phantom_cxr.update(seed=7, size=48, patients=12)
    section = ("consolidation=", "ground_glass=", "normal=", "opacity=")
    config.evaluate.data.relabel = tuple(
        f"{name}=" for name in learner(patched=False).data.classes
    ) + tuple(text for text in section if text[:-1] not in config.data.classes)
    message = refusal(lambda: RUNS["evaluate"](config, runs / "whole"))
    longer = with_flags(config, *flags_in(message.replace("label=class", "normal=normal")))
    RUNS["evaluate"](longer, runs / "whole")
    assert (runs / "whole" / "external" / "phantom_cxr" / "report.json").exists()


def test_an_external_set_without_masks_gets_a_segmenter(trained, with_flags, monkeypatch, tmp_path):
    config = learner(patched=True, evaluate__data__builders=("tfds_builders.phantom_cxr",))
    tiny.change(config, evaluate__same_source="kept")
    config.evaluate.data.options.phantom_cxr.update(seed=7, size=48, patients=12)
    RUNS["train"](config, tmp_path / "patched")

    def without_masks(*_: object) -> None:
        raise InputError("the data set has no masks")

    monkeypatch.setattr(data.DatasetMasks, "check", without_masks)
    message = refusal(lambda: RUNS["evaluate"](config, tmp_path / "patched"))
    [flag] = flags_in(message.partition("then this")[2], SEGMENTER=str(trained / "segmenter"))
    RUNS["evaluate"](with_flags(config, flag), tmp_path / "patched")


def test_masks_that_are_gone_are_made_again(runs, type_it, tmp_path):
    """The command is the training's with the two parts that the message names."""
    config = segmenter(train__epochs=2.0, train__eval_every=2.0)
    config.predict.data = tiny.learner().data.copy_and_resolve_references()
    RUNS["predict"](config, runs / "segmenter")
    source = data.FolderMasks(runs / "segmenter")
    dataset = data.open_dataset(config.predict.data)
    file = sorted((runs / "segmenter" / "masks").rglob("*.png"))[0]
    file.write_bytes(b"")

    def read_all() -> None:
        for row in range(len(dataset)):
            source.read(dataset, row)

    message = refusal(read_all)
    assert "with --config.run=predict" in message
    [folder] = re.findall(r"(--workdir=\S+),", message)
    config.run = "predict"
    RUNS["predict"](config, Path(shlex.split(folder)[0].removeprefix("--workdir=")))
    source = data.FolderMasks(runs / "segmenter")
    read_all()


def test_weights_of_another_head_get_a_new_one(tmp_path, with_flags):
    entry = weights.catalog.CATALOG["densenet121.chexnet"]
    path = tmp_path / "weights.safetensors"
    backbone.written(path, backbone.network("densenet121", classes=14), entry)
    template = backbone.network("covid_cxnet", classes=14)

    def load(config: ConfigDict) -> None:
        source = weights.Source(entry.name, entry, path)
        weights.load(source, template, arch="covid_cxnet", new_head=config.model.head == "new")

    config = tiny.learner(model__head="pretrained")
    load(with_flags(config, *flags_in(refusal(lambda: load(config)))))


def test_folds_that_share_patients_are_made_by_patient(with_flags):
    one = fakes.predictions()
    mixed = dataclasses.replace(one, patient_ids=np.full_like(one.patient_ids, "p1"))
    message = refusal(lambda: _check_patients([mixed]))
    assert with_flags(tiny.learner(), *flags_in(message)).split.group_by == "patient"


def test_features_are_computed_once_or_not(with_flags):
    config = tiny.learner(
        patched=False, patches__flip=False, patches__size=0, train__cache_features=True
    )

    def check(c: ConfigDict) -> None:
        train.check(c, has_checkpoints=False)

    for _ in ("norm_statistics", "freeze"):
        does, does_not = flags_in(refusal(lambda config=config: check(config)))
        check(with_flags(config, does_not))
        config = with_flags(config, does)
    check(config)
    config.patches.flip = True
    check(with_flags(config, *flags_in(refusal(lambda: check(config)))))


def test_a_finished_segmenter_names_the_command_that_writes_masks(runs, type_it):
    shutil.rmtree(runs / "segmenter" / "masks", ignore_errors=True)
    told = evaluate.closing(RunFolder(runs / "segmenter"))
    [line] = [line for line in told.splitlines() if line.startswith("lung masks ")]
    type_it(command_in(line))
    assert (runs / "segmenter" / "masks" / "index.json").exists()
    told = evaluate.closing(RunFolder(runs / "whole"))
    assert "lung masks" not in told and "own X-rays" in told
    assert "--config.run=explain" in told and "--config.predict.inputs=FOLDER" in told


def test_a_finished_classifier_names_what_it_can_do(runs, tmp_path, type_it):
    folder = tmp_path / "xrays"
    folder.mkdir()
    (folder / "a.png").write_bytes(encode_png(np.arange(64 * 64, dtype=np.uint8).reshape(64, 64)))
    told = evaluate.closing(RunFolder(runs / "whole"))
    [line] = [line for line in told.splitlines() if line.startswith("own X-rays ")]
    type_it(command_in(line).replace("FOLDER", str(folder)))
    assert (runs / "whole" / "xrays" / "predictions.csv").exists()


def test_as_many_patches_as_are_enough_are_taken(with_flags):
    rows = [(count, 1, 0.7, 0.7, 0.7, 0.7, 0.1) for count in (1, 10)]
    config = with_flags(learner(patched=True), *flags_in(patch_counts.sentence(rows)))
    assert config.patches.eval_count == 1


def test_a_study_without_a_segmenter_or_masks_takes_its_biomarkers_elsewhere(with_flags, tmp_path):
    config = tiny.load("flannel")
    config.study.biomarkers = "segment"
    config = with_flags(config, *flags_in(refusal(lambda: [*biomarkers.stages(config, tmp_path)])))
    assert [stage.name for stage in biomarkers.stages(config, tmp_path)] == ["biomarkers"]
    maskless = make_dataset([{"image": encode(np.zeros((8, 8), np.uint8))}])
    message = refusal(lambda: biomarkers._structures(maskless))
    config = with_flags(config, *flags_in(message))
    assert config.study.biomarkers == "ready"


# A piece of a message -> the test above that follows it, or why it is not followed here.
FOLLOWED = {
    "own X-rays": "a_finished_classifier_names_what_it_can_do",
    "HINT --config.predict.inputs=FOLDER": "a_finished_classifier_names_what_it_can_do",
    "or more patches macro-F1 is within": "as_many_patches_as_are_enough",
    "takes the masks of the study's own segmenter": "takes_its_biomarkers_elsewhere",
    "takes the data set's own masks, and not every": "takes_its_biomarkers_elsewhere",
    "holds no finished training; start or resume it": "a_training_that_has_not_finished",
    "train it first, or to its end": "a_training_that_has_not_finished",
    "Restore it from a copy, or make predictions": "a_damaged_result_is_made_again",
    "write it again: HINT": "a_damaged_result_is_made_again",
    "write it again with --config.run=predict": "damaged_predictions_are_written_again",
    "and that name among --config.predict.splits": "a_split_that_was_not_predicted",
    "predict with the run's own data once": "a_reference_image_that_is_gone",
    "needs masks.workdir, the folder of a finished segment run": "the_segmenter_of_a_learner",
    "is not the folder of a finished segment run": "a_folder_that_is_no_segmenters",
    "takes the masks of the ready-made segmenter: add": "takes_its_masks_or_ready_ones",
    "in lungs is empty": "explain_finds_lungs",
    "which needs lung masks: set --config.explain.masks.source=ready": "explain_finds_lungs_by",
    "compare.other is empty": "a_run_is_compared_with_another",
    "is compared with itself": "a_run_is_compared_with_another",
    "to start from it": "an_export_runs",
    "--config.model.head=pretrained": "an_export_runs",
    "--config.model.mean=": "an_export_runs",
    "export one of them": "one_of_several_networks",
    "to use it: --config.optim.learning_rate": "the_learning_rate",
    "needs lung masks: add --config.masks.source=dataset": "masks_are_taken",
    "--config.loss.name=binary_cross_entropy": "several_structures",
    "is of structures that masks.within names": "a_margin_of_no_structures",
    "without them with --config.data.max_dropped": "a_data_set_with_images_at_fault",
    "--config.HINT.max_bad_images=": "unreadable_images",
    "these images (--config.masks.on_empty=drop)": "doubtful_masks",
    "--config.masks.on_implausible=warn": "doubtful_masks",
    "say what they are, --config.evaluate.data.relabel": "an_external_set_is_told",
    "A segment run finds lungs in its images": "an_external_set_without_masks",
    "needs explain.masks.workdir": "explain_finds_lungs_by_either",
    "add --config.explain.masks.source=workdir, or leave": "explain_finds_lungs_by_either",
    "has masks of lung alone": "learns_from_masks_of_lungs_alone",
    "a segmenter would learn that all of it is lung": "learns_from_masks_of_lungs_alone",
    "the command that trained this run with --config.run=predict": "masks_that_are_gone",
    "add --config.model.head=new": "weights_of_another_head",
    "--config.split.group_by=patient": "folds_that_share_patients",
    "--config.train.cache_features=False": "features_are_computed_once_or_not",
    "--config.model.norm_statistics=running": "features_are_computed_once_or_not",
}
NOT_FOLLOWED = {
    "train        HINT": "the same command with another run mode; tests/test_hints.py",
    "has no images of its own": "tests/commands/test_check_data.py follows it",
    "Checks of the data (copies": "tests/commands/test_check_data.py follows it",
    "lie in two splits": "names the default; tests/commands/test_check_data.py",
    "write them, of every fold of every learner": "tests/studies/test_study.py follows it",
    "--config.learners.HINT.predict.splits": "tests/studies/test_study.py follows it",
    "gives one split, and split.fold is": "sets a field back; tests/training/test_given_split.py",
    "would match the black of data.lungs=": "sets a field back; tests/data/test_preprocessing.py",
    "shows a segmenter the masks": "sets a field back; tests/training/test_lung_controls.py",
    "leaves nothing of the lungs that": "sets a field back; tests/training/test_lung_controls.py",
    "% of the first weights in": "tests/training/test_averaged_weights.py follows it",
    "predict it as a whole with": "tests/commands/test_own_xrays.py predicts with and without",
    "is no run folder": "a word for the user's own choice; tests/test_main.py has the message",
    "--config.run=MODE": "how a run mode is written",
    "--config.FIELD=VALUE": "help: how a field is set",
    "--config=FILE.py[:PRESET]": "help: how an experiment is named",
    "--config=HINT": "what absl is given, never shown",
    "there is no field config.": "names the nearest field; tests/test_main.py",
    "was trained with other values": "shows what was typed, and what the run has",
    "which this version of jaxcxr reads": "names the flag",
    "--config.run=HINT": "the run modes that need no experiment file",
    "example: HINT patched_densenet": "help; tests/test_main.py",
    "real X-rays at reduced resolution": "help: needs real X-rays",
    "real X-rays with the paper's settings": "help: needs real X-rays",
    "asked for": "shows what was typed, and what the run has",
    "measured without the patients of the run's own data": "names the field of what is missing",
    "--config.export.platforms and export again": "names the field; needs an accelerator",
    "read it with jaxcxr (--config.run=predict)": "goes with a file, not a run",
    "(--config.run=predict)": "goes with a file, not a run",
    "make it with --config.run=export": "the folder may be another program's",
    "folder that --config.run=export wrote": "help",
    "several seeds (--config.seed)": "names the field",
    "python -m jaxcxr.exported": "a program's name",
    "python -m jaxcxr.weights": "a program's name",
    "python -m tfds_builders.phantom_cxr.drawing": "a program's name",
    "give the experiment file too (--config=...)": "names the flag",
    "or train that learner again with --config.split.fold": "names the field; its config is known "
    "to the user alone",
    "an ensemble takes the split of its learners": "tests/training/test_ensemble.py prepares so",
}


def proposing() -> list[tuple[str, str]]:
    """(place, text) of the package's messages that have a flag, a command or a hint."""
    names = {"again", "segmenter", "any_segmenter", "in_folder"}
    found = []
    for where, text in TEXTS:
        file, line = where.rsplit(":", 1)
        if file == "jaxcxr/hints.py":
            continue
        tree = _tree(file)
        hinted = any(
            isinstance(node, ast.JoinedStr)
            and node.lineno == int(line)
            and any(
                isinstance(part, ast.Call)
                and isinstance(part.func, ast.Attribute)
                and part.func.attr in names
                for part in ast.walk(node)
            )
            for node in ast.walk(tree)
        )
        if (hinted and " " in text) or re.search(r"--config[.=]|python -m \w", text):
            found.append((where, text.replace(HOLE, "HINT")))
    return found


def _tree(file: str, trees: dict[str, ast.Module] = {}) -> ast.Module:  # noqa: B006 - a cache
    return trees.setdefault(file, ast.parse((ROOT / file).read_text(encoding="utf-8")))


def test_every_message_that_proposes_something_is_followed():
    texts = proposing()
    assert len(texts) > 30
    known = [*FOLLOWED, *NOT_FOLLOWED]
    missing = [(w, t) for w, t in texts if not any(piece in t for piece in known)]
    assert not missing, "\n".join(map(str, missing))
    idle = [piece for piece in known if not any(piece in t for _, t in texts)]
    assert not idle
    tests = [name for name in globals() if name.startswith("test_")]
    for name in FOLLOWED.values():
        assert any(name in test for test in tests), name
