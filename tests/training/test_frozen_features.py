"""Features of frozen layers are computed once, and training is what it would be without that."""

from __future__ import annotations

import errno
import pathlib

import jax
import numpy as np
import pytest

from jaxcxr.commands import train
from jaxcxr.errors import InputError
from jaxcxr.inference import best
from jaxcxr.storage.files import read_json
from jaxcxr.storage.metric_writer import read_metrics
from jaxcxr.storage.run_folder import RunFolder
from jaxcxr.tasks.classify_features import ClassifyFeatures
from jaxcxr.training import frozen_features
from jaxcxr.training.prepare import prepare
from tests import tiny
from tests.models.variables import filled

FROZEN = ("^(conv1|bn1|layer1)/",)
SAYS = "features of the images"


def config(**fields):
    """A whole-image learner whose last layer alone is trained."""
    whole = tiny.learner(
        patched=False,
        patches__flip=False,
        patches__size=0,
        model__norm_statistics="running",
        optim__freeze=FROZEN,
        optim__schedule="constant",
        optim__warmup=0.0,
        train__epochs=3.0,
        train__eval_every=1.0,
        train__log_every=1,
    )
    return tiny.change(whole, **{"train__cache_features": True, **fields})


@pytest.fixture(autouse=True)
def _data(tmp_path_factory, monkeypatch):
    """Prepared data of this test alone, so that no other has cached its features."""
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path_factory.mktemp("data")))


def cached_folders(c):
    return [p for p in frozen_features._cache(c).iterdir() if not p.name.startswith(".")]


def test_the_losses_are_those_of_training_without_it(tmp_path):
    """Same batches, same dropout; only sums come in another order."""
    train.run(config(), tmp_path / "cached")
    train.run(config(train__cache_features=False), tmp_path / "plain")
    rows, plain = read_metrics(tmp_path / "cached"), read_metrics(tmp_path / "plain")
    assert len(rows) == len(plain) > 3
    for ours, theirs in zip(rows, plain, strict=True):
        assert ours.keys() == theirs.keys()
        for name, value in theirs.items():
            assert ours[name] == pytest.approx(value, abs=1e-5), (name, ours["step"])
    losses = [row["train/loss"] for row in rows if "train/loss" in row]
    assert losses[-1] < losses[0]


def test_frozen_layers_keep_every_bit_and_the_last_one_moves(tmp_path):
    c = config()
    train.run(c, tmp_path)
    with RunFolder.open(tmp_path, c.to_dict(), active=True) as folder:
        trained = best.best_variables(prepare(c).task, folder)
    first = prepare(c).task.init(c.seed)
    for part in ("conv1", "bn1", "layer1"):
        jax.tree.map(np.testing.assert_array_equal, trained["params"][part], first["params"][part])
    jax.tree.map(np.testing.assert_array_equal, trained["batch_stats"], first["batch_stats"])
    assert np.abs(trained["params"]["fc"]["kernel"] - first["params"]["fc"]["kernel"]).max() > 1e-4


def test_another_fold_finds_them_and_other_weights_do_not(tmp_path, capsys):
    train.run(config(), tmp_path / "fold0")
    assert SAYS in capsys.readouterr().err
    train.run(config(split__fold=1), tmp_path / "fold1")
    said = capsys.readouterr()
    assert SAYS not in said.err and "features of 49 images: found in" in said.out
    assert len(cached_folders(config())) == 1
    train.run(config(seed=1), tmp_path / "seed1")  # other random first values
    assert SAYS in capsys.readouterr().err
    assert len(cached_folders(config())) == 2


def test_damaged_ones_are_computed_again(tmp_path, capsys, caplog):
    train.run(config(), tmp_path / "whole")
    [folder] = cached_folders(config())
    path = folder / "features.f32"
    content = bytearray(path.read_bytes())
    path.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    capsys.readouterr()
    train.run(config(), tmp_path / "again")
    assert SAYS in capsys.readouterr().err
    assert "features.f32 has changed" in caplog.text
    assert path.read_bytes() == content
    results = [read_json(tmp_path / name / "report.json") for name in ("whole", "again")]
    assert results[0]["splits"] == results[1]["splits"]


def test_a_write_that_fails_leaves_nothing_behind(tmp_path, monkeypatch):
    """A quota, say: a short file must never be vouched for."""

    def fail(path, content):
        with open(path, "wb") as file:
            file.write(bytes(content)[:100])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(pathlib.Path, "write_bytes", fail)
        with pytest.raises(InputError, match=r"disk is full|no space"):
            train.run(config(), tmp_path)
    assert cached_folders(config()) == []
    train.run(config(), tmp_path)
    assert len(cached_folders(config())) == 1


def test_a_stopped_run_goes_on_with_the_same_bits(tmp_path):
    train.run(config(), tmp_path / "whole")
    half = config(checkpoint__every_minutes=0.0)
    half.train.epochs = 1.0
    # What a kill after an epoch leaves: its checkpoint, and no mark.
    with RunFolder.open(tmp_path / "run", config().to_dict(), active=True) as folder:
        train.fit(prepare(half), folder)
        (folder.path / "finished.json").unlink()
    train.run(config(), tmp_path / "run")
    ours, theirs = (read_metrics(tmp_path / name) for name in ("run", "whole"))
    assert ours == theirs


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"optim__freeze": ("",)}, "keeps every parameter as it is, so that nothing is trained"),
        ({"optim__freeze": ()}, r"9 parameters before the last layers.*optim\.freeze"),
        ({"optim__freeze": ("^layer1/",)}, "3 parameters before the last layers.*bn1/bias"),
        ({"model__norm_statistics": "batch"}, "--config.model.norm_statistics=running"),
        ({"patches__flip": True}, r"at each step: patches\.flip\."),
        ({"patches__size": 32}, r"at each step: patches\.size\."),
        ({"augment__max_rotation": 5.0, "augment__shift": 0.1},
         r"augment\.max_rotation, augment\.shift"),
        ({"augment__brightness": (0.9, 1.1), "augment__zoom": (0.9, 1.1)},
         r"augment\.zoom, augment\.brightness"),
        ({"augment__vflip": True}, r"augment\.vflip"),
        ({"model__name": "qatar_cnn", "model__norm_statistics": "batch", "optim__freeze": ("conv",),
          "model__width": 1.0},
         "qatar_cnn cannot be called with its features"),
    ],
)  # fmt: skip
def test_what_would_change_features_is_refused_before_a_folder_is_claimed(
    tmp_path, fields, message
):
    with pytest.raises(InputError, match=message):
        train.run(config(**fields), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_patches_are_refused():
    c = tiny.learner(optim__freeze=FROZEN, model__norm_statistics="running", patches__flip=False)
    with pytest.raises(InputError, match=r"at each step: patches\.enabled\."):
        ClassifyFeatures(c, axis_name=None)


def test_predictions_of_features_are_those_of_images():
    c = config()
    experiment = prepare(c)
    variables = filled(experiment.task.init(0))
    known = frozen_features.with_features(experiment, variables)
    assert known.arrays["pooled"].shape == (len(known.examples.ids), 6)
    index = np.arange(7)
    [ours] = known.predict(variables, index, count=1)
    [theirs] = experiment.predict(variables, index, count=1)
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        np.testing.assert_allclose(ours[name], value, atol=1e-6, err_msg=name)
