"""`--config.run=evaluate` with `evaluate.data`: trained classifiers on patients whom they have not
seen.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from jaxcxr import data
from jaxcxr.commands import evaluate, train
from jaxcxr.data.drawn import TRAINED_ON_DRAWN
from jaxcxr.data.leakage import SAME_ID
from jaxcxr.errors import InputError
from jaxcxr.report import comparison
from jaxcxr.storage.files import read_json
from jaxcxr.storage.predictions import Predictions
from tests import tiny
from tests.commands.test_own_xrays import real_looking, segmenter

OTHERS = {"seed": 7, "size": 48, "patients": 12, "confounder": 0.0}


def learner(*, patched: bool = False, **fields):
    return tiny.learner(patched=patched, **{"masks__on_empty": "whole_image", **fields})


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    train.run(learner(), folder / "whole")
    train.run(learner(patched=True), folder / "patched")
    return folder


def measure(workdir: Path, *, patched: bool = False, options=OTHERS, **fields):
    """Evaluates on phantoms; the folder of the results."""
    fields = {"evaluate__same_source": "kept", **fields}
    config = learner(
        patched=patched, evaluate__data__builders=("tfds_builders.phantom_cxr",), **fields
    )
    config.evaluate.data.options.phantom_cxr.update(options)
    evaluate.run(config, workdir)
    return workdir / "external" / "phantom_cxr"


def strangers() -> data.Dataset:
    section = learner().data
    section.options.phantom_cxr.update(OTHERS)
    return data.open_dataset(section)


@pytest.mark.parametrize("name", ["whole", "patched"])
def test_patients_of_another_seed_are_predicted_as_the_run_would(runs, name, capsys):
    before = {
        p: p.read_bytes()
        for p in (runs / name).iterdir()
        if p.suffix == ".npz" or p.name.startswith("report")
    }
    folder = measure(runs / name, patched=name == "patched")
    printed = capsys.readouterr().out
    found, there = Predictions.load(folder / "predictions.npz"), strangers()
    assert (
        found.ids.tolist() == there.ids.tolist() and found.labels.tolist() == there.labels.tolist()
    )
    own = Predictions.load(runs / name / "predictions.npz")
    assert found.classes == own.classes and not np.isin(found.patient_ids, own.patient_ids).any()
    facts = read_json(folder / "report.json")
    assert facts["warnings"][0] == TRAINED_ON_DRAWN and f"Warning. {TRAINED_ON_DRAWN}" in printed
    text = (folder / "report.md").read_text()
    assert text.index(TRAINED_ON_DRAWN) < text.index("## Result")
    right = (found.probabilities.argmax(1) == found.labels).mean()
    assert facts["scores"]["external"]["accuracy"]["value"] == pytest.approx(right)
    own = own.select("test")
    right = (own.probabilities.argmax(1) == own.labels).mean()
    assert facts["scores"]["own_test"]["accuracy"]["value"] == pytest.approx(right)
    assert (
        "are of a source that the run's own data have (phantom)" in printed
        and "Not for diagnosis" in printed
    )
    for path, content in before.items():
        assert path.read_bytes() == content


def test_the_runs_own_images_would_be_predicted_the_same(runs, monkeypatch):
    """Preprocessing, network and weights are the run's: without the search for patients nothing
    differs.
    """
    monkeypatch.setattr(
        "jaxcxr.data.leakage.find_leakage", lambda *_, **__: {"": np.array([], int)}
    )
    folder = measure(
        runs / "whole", options={"seed": 0, "size": 48, "patients": 24, "confounder": 0.0}
    )
    found, own = (
        Predictions.load(folder / "predictions.npz"),
        Predictions.load(runs / "whole" / "predictions.npz"),
    )
    place = {name: n for n, name in enumerate(found.ids.tolist())}
    same = found.probabilities[[place[name] for name in own.ids.tolist()]]
    np.testing.assert_allclose(same, own.probabilities, atol=1e-5)


def test_patients_of_the_run_are_left_out_and_nothing_is_left(runs):
    own = {"seed": 0, "size": 48, "patients": 24, "confounder": 0.0}
    with pytest.raises(InputError, match=rf"no image of evaluate.data is left .*{SAME_ID} \(\d+\)"):
        measure(runs / "whole", options=own)


def test_a_source_that_the_run_knows_is_left_out_unless_it_is_kept(runs):
    with pytest.raises(
        InputError, match=r"of that source \(\d+\); evaluate.same_source=kept measures on other"
    ):
        measure(runs / "whole", evaluate__same_source="left_out")


def test_the_new_patients_of_a_larger_set_are_measured_and_the_others_counted(runs):
    folder = measure(
        runs / "whole", options={"seed": 0, "size": 48, "patients": 30, "confounder": 0.0}
    )
    found = Predictions.load(folder / "predictions.npz")
    assert set(found.patient_ids) == {f"phantom-p{n:04d}" for n in range(24, 30)}
    own = read_json(runs / "whole" / "manifest.json")["dataset"]["images"]
    assert read_json(folder / "report.json")["images_left_out"] == {SAME_ID: own}


def test_labels_that_the_run_does_not_know_are_left_out_or_mapped(runs, tmp_path, capsys):
    fake = {"evaluate__data__builders": ("tests.data.fake_cxr",)}

    def run(**fields):
        config = learner(**fake, **fields)
        config.evaluate.data.data_dir = str(tmp_path)
        evaluate.run(config, runs / "whole")
        return Predictions.load(runs / "whole" / "external" / "fake_cxr" / "predictions.npz")

    found = run()
    assert set(np.array(found.classes)[found.labels]) == {"normal"} and len(found) == 4
    printed = capsys.readouterr().out
    assert "Left out because the run has no such class: covid19 (6)" in printed
    assert "11 images were excluded" in printed  # these, 2 without a label and 3 of the builder
    found = run(evaluate__data__relabel=("covid19=ground_glass",))
    assert len(found) == 10 and set(np.array(found.classes)[found.labels]) == {
        "normal",
        "ground_glass",
    }
    with pytest.raises(
        InputError, match="evaluate.data.relabel names flu; the run's classes are normal, cons"
    ):
        run(evaluate__data__relabel=("covid19=flu",))
    with pytest.raises(
        InputError, match=r"no image of a class of the run .*, but covid19 \(6\): say what they are"
    ):
        run(evaluate__data__relabel=("normal=",))


def test_lungs_come_from_a_segmenter_where_one_is_given(runs, tmp_path):
    train.run(segmenter(train__epochs=1.0, train__eval_every=1.0), tmp_path / "segmenter")
    own = Predictions.load(measure(runs / "patched", patched=True) / "predictions.npz")
    folder = measure(runs / "patched", patched=True, masks__workdir=str(tmp_path / "segmenter"))
    found = Predictions.load(folder / "predictions.npz")
    assert found.ids.tolist() == own.ids.tolist()
    assert np.abs(found.probabilities - own.probabilities).max() > 1e-4


def test_a_network_of_phantoms_in_the_chain_is_warned_of(runs, tmp_path, monkeypatch):
    """The classifier, or the segmenter that finds its lungs; whichever X-rays measure them."""
    train.run(segmenter(train__epochs=1.0, train__eval_every=1.0), tmp_path / "segmenter")
    lungs = {"patched": True, "masks__workdir": str(tmp_path / "segmenter")}

    def warned(name: str, **fields) -> bool:
        folder = measure(runs / name, **fields)
        is_in_json = TRAINED_ON_DRAWN in read_json(folder / "report.json")["warnings"]
        assert (TRAINED_ON_DRAWN in (folder / "report.md").read_text()) == is_in_json
        return is_in_json

    assert warned("whole")
    real_looking(monkeypatch)
    assert not warned("whole")
    assert warned("patched", **lungs)
    assert not warned("patched", patched=True)  # the data set's own masks


def test_two_runs_can_be_compared_on_the_external_images(runs):
    folders = measure(runs / "whole"), measure(runs / "patched", patched=True)
    assert comparison.compare(*folders, draws=20).names == (
        "whole/external/phantom_cxr",
        "patched/external/phantom_cxr",
    )


def test_mistakes_are_named(runs, tmp_path):
    with pytest.raises(InputError, match="holds no finished training"):
        measure(tmp_path / "new")
    with pytest.raises(InputError, match="same_source='both' is unknown; known: left_out, kept"):
        measure(runs / "whole", evaluate__same_source="both")
    manifest = runs / "whole" / "manifest.json"
    saved = manifest.read_text()
    changed = json.loads(saved)
    changed["dataset"]["fingerprint"] = "other"
    manifest.write_text(json.dumps(changed))
    with pytest.raises(InputError, match="what is there now is not what"):
        measure(runs / "whole")
    manifest.write_text(saved)
