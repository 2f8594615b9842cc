"""Every shipped config runs end to end, shrunk by `tiny.shrink` alone; studies are in
runs/test_study.py.
"""

from __future__ import annotations

import json

import jax
import numpy as np
import pytest

from jaxcxr import schema
from jaxcxr import state as states
from jaxcxr.commands import train
from jaxcxr.storage.predictions import Predictions
from jaxcxr.training.prepare import prepare
from tests import golden, tiny

NAMES = golden.CONFIGS
STUDIES = [name for name in NAMES if tiny.load(name).task == "study"]
RUNS = [name for name in NAMES if name not in STUDIES]
# As covid_cxnet, and as patched_efficientnet_lite0 but for sizes.
SAME_NETWORK = ("covid_cxnet_lungs", "covid_cxnet_multiclass", "chexnet_probe",
                "patched_efficientnet_lite1", "patched_efficientnet_lite2")  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _networks():
    with pytest.MonkeyPatch.context() as patch:
        tiny.add_networks(patch)
        yield


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.smoke] * (n == "patched_densenet")) for n in RUNS],
)
def test_trains_predicts_and_reports(name, tmp_path, capsys):
    config = tiny.shrink(tiny.load(name))
    # Compiling it once is enough; it is traced below.
    if f"patched_{name}" in RUNS or name in SAME_NETWORK:
        config.model.name, config.model.width, config.model.depth = tiny.ONE_BLOCK, 0.1, 1.0
        config.model.input_size = 0
    train.run(config, tmp_path)
    printed = capsys.readouterr().out
    assert f"run folder   {tmp_path}" in printed and "Not for diagnosis" in printed
    report = json.loads((tmp_path / "report.json").read_text())
    assert (tmp_path / "report.md").stat().st_size > 1000
    assert list((tmp_path / "plots").glob("*.png")) and list((tmp_path / "overlays").glob("*.png"))
    assert list((tmp_path / "tensorboard").iterdir())
    timings = json.loads((tmp_path / "timings.json").read_text())["stages"]
    assert timings["train"]["images"] > 0 and timings["train"]["seconds"] > 0
    if config.task == "segment":
        assert report["segmentation"]["structures"].keys() == set(config.masks.structures)
        return
    predictions = Predictions.load(tmp_path / "predictions.npz")
    assert set(predictions.split) == {"valid", "test", *["oof"] * (config.split.folds > 1)}
    assert predictions.classes == tuple(config.data.classes)
    assert 0 <= report["splits"]["test"]["macro_f1"] <= 1
    assert timings["predict"]["patches"] == len(predictions) * config.patches.eval_count


@pytest.mark.parametrize(
    ("name", "preset"),
    [
        (n, p)
        for n in RUNS
        for p in schema.PRESETS
        if p or f"patched_{n}" in RUNS or n in SAME_NETWORK
    ],
)
def test_every_preset_fits_together(name, preset):
    """On phantoms; the step and the prediction are traced and not compiled."""
    config = tiny.shrink(tiny.load(name, preset))
    assert config.name == (f"{name}-{preset}" if preset else name)
    experiment = prepare(config)
    compiled = experiment.compiled
    count = config.patches.eval_count if "patches" in config else 0
    batch = {
        name: jax.ShapeDtypeStruct((4, 2, *np.shape(array)[1:]), np.asarray(array[:1]).dtype)
        for name, array in experiment.arrays.items()
        if name in experiment.task.inputs
    }
    batch["index"] = jax.ShapeDtypeStruct((4, 2), np.int32)
    batch["weight"] = jax.ShapeDtypeStruct((4, 2), np.float32)
    state = states.create(experiment.task.init(0), compiled.optimizer)
    after, metrics = jax.eval_shape(compiled.train_step, state, batch, jax.random.key(0))
    assert jax.tree.structure(after) == jax.tree.structure(state)
    assert metrics["loss"].shape == ()
    found = jax.eval_shape(compiled.predict(count), state.variables, batch, jax.random.key(0))
    if config.task == "segment":
        assert found["mask"].shape == (8, 32, 32)
    else:
        assert found["probabilities"].shape == (8, len(config.data.classes))
