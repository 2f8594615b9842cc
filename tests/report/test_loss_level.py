"""A training's loss beside that of equal probabilities."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from jaxcxr.report import loss_level
from jaxcxr.report.summary import write_run_report, write_study_report
from jaxcxr.storage.files import read_json, write_json, write_text
from tests.report import fakes
from tests.report.test_summary import read


def logged(folder: Path, *losses: float, validation: float | None = None) -> None:
    rows = [{"step": 10 * (n + 1), "train/loss": loss} for n, loss in enumerate(losses)]
    if validation is not None:
        rows.append({"step": rows[-1]["step"], "valid/loss": validation})
    write_text(folder / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def folder(tmp_path) -> Path:
    return fakes.write_run(tmp_path / "run", fakes.predictions())


def test_it_is_the_mean_of_the_last_tenth_of_the_logged_steps(folder):
    logged(folder, *[9.0] * 18, 0.2, 0.4, validation=0.5)
    level = loss_level.of_run(folder, 4)
    assert level == loss_level.LossLevel(4, pytest.approx(0.3), 0.5, 200)
    assert level.sentence == (
        "Cross-entropy: training 0.300 (mean over the last tenth of the logged steps of 200), "
        "validation 0.500; equal probabilities have ln 4 = 1.386."
    )


def test_inceptions_auxiliary_head_does_not_count(folder):
    config = read_json(folder / "config.json")
    config |= {"model": {"name": "inception_v3"}, "loss": {"aux_weight": 0.4}}
    write_json(folder / "config.json", config)
    logged(folder, 1.4 * math.log(4))
    assert loss_level.of_run(folder, 4).training == pytest.approx(math.log(4))


def test_what_was_not_trained_with_cross_entropy_has_none(folder, tmp_path):
    assert (
        loss_level.of_run(fakes.write_run(tmp_path / "e", fakes.predictions(), patched=None), 4)
        is None
    )
    (folder / "metrics.jsonl").unlink()
    assert loss_level.of_run(folder, 4) is None
    write_run_report(folder)
    assert read(folder)[0]["loss"] is None


@pytest.mark.parametrize(("loss", "warns"), [(1.26, True), (1.24, False)])
def test_a_network_that_has_hardly_been_trained_is_warned_of(folder, loss, warns):
    logged(folder, loss)
    table = write_run_report(folder)
    facts, text = read(folder)
    assert facts["loss"]["training"] == loss
    warning = (
        "Hardly trained, by a training loss close to that of equal probabilities: DenseNet-161, "
        "fold 0 1.260 (ln 4 = 1.386)."
    )
    assert (warning in text) == (warning in table) == warns
    assert "equal probabilities have ln 4 = 1.386" in text


def test_a_study_has_the_losses_of_all_its_learners_and_names_those_hardly_trained(tmp_path):
    folder = fakes.write_study(tmp_path / "study")
    for fold, loss in enumerate((0.3, 1.3, 0.5)):
        logged(folder / f"learners/inception_v3/fold{fold}", loss, validation=0.9)
    write_study_report(folder)
    facts, text = read(folder)
    assert [fold["training"] for fold in facts["loss"]["Inception-v3, patched"]] == [0.3, 1.3, 0.5]
    assert "FLANNEL, patched" not in facts["loss"]
    [row] = [line for line in text.splitlines() if "ln 4 = 1.386 |" in line and "Inc" in line]
    assert [cell.strip() for cell in row.split("|")[1:-1]] == [
        "Inception-v3, patched", "10", "0.700", "0.900", "ln 4 = 1.386",
    ]  # fmt: skip
    assert "equal probabilities: Inception-v3, patched 1.300 (ln 4 = 1.386). What" in text
