"""Biomarkers in a study's report: the regression beside the learners, values by class, gaps."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from jaxcxr.errors import InputError
from jaxcxr.metrics.biomarkers import BIOMARKERS
from jaxcxr.report import biomarkers_report, plots, tables
from jaxcxr.report.summary import write_study_report
from jaxcxr.storage import files
from tests.report import fakes
from tests.report.test_summary import read

FOLDS = 2


def values_of(count: int, *, seed: int = 0) -> np.ndarray:
    """[count, D], without any heart."""
    values = np.random.default_rng(seed).uniform(0.1, 0.9, size=(count, len(BIOMARKERS)))
    values[:, -1] = np.nan
    return values


def write_biomarkers(study: Path, *, fitted: bool = True, split_sha256: str = "c0ffee") -> Path:
    """A finished stage of the fake study."""
    folder = study / biomarkers_report.FOLDER
    made = [
        fakes.predictions(learner="biomarkers", fold=k, skill=1.0, split_sha256=split_sha256)
        for k in range(FOLDS)
    ]
    values = values_of(len(made[0]))
    lines = [",".join(["id", "patient_id", "source", "class", "fold", *BIOMARKERS])]
    for row, (name, label) in enumerate(zip(made[0].ids, made[0].labels, strict=True)):
        cells = ["" if np.isnan(v) else f"{v:.6f}" for v in values[row]]
        lines.append(",".join([name, "p", "ccx", fakes.CLASSES[label], "test", *cells]))
    files.write_text(folder / biomarkers_report.CSV, "\n".join(lines) + "\n")
    for predictions in made if fitted else ():
        predictions.save(folder / f"fold{predictions.fold}" / "predictions.npz")
    summary = {
        "source": "ready",
        "found_by": "lite_unet.lungs",
        "side": 256,
        "images": len(values),
        "without": {"no lungs": 3, "lungs not told apart": 0, "no heart": 77},
        "baseline": None
        if not fitted
        else {"C": 1.0, "biomarkers": list(BIOMARKERS)[:-1], "imputed": 30, "values": 800},
    }
    files.write_json(folder / biomarkers_report.summary_name("ready"), summary)
    return study


def test_the_regression_stands_below_the_learners_and_is_none_of_them(tmp_path):
    study = write_biomarkers(fakes.write_study(tmp_path, folds=FOLDS))
    table = write_study_report(study).splitlines()
    assert "Baseline without a network" in table
    row = next(line for line in table if line.startswith(biomarkers_report.TITLE))
    scores = [
        tables.classification_scores(
            fakes.predictions(learner="biomarkers", fold=k, skill=1.0).select("test")
        )
        for k in range(FOLDS)
    ]
    macro = tables.mean_std([fold["macro_f1"] for fold in scores])
    assert row.endswith(str(macro))
    facts, text = read(study)
    assert [e["name"] for e in facts["learners"]] == ["densenet161", "inception_v3", "flannel"]
    found = facts["biomarkers"]
    assert found["splits"]["test"]["f1"]["macro_f1"] == macro.to_json()
    assert set(found["splits"]) == {"test", "oof"}
    assert "masks of the ready-made segmenter (lite_unet.lungs)" in text
    assert "Missing values: no lungs in 3; no heart in 77." in text
    assert "30 of 800 values" in text and "C = 1, not tuned" in text
    for name in ("biomarkers", "confusion_test_biomarkers"):
        assert (study / f"plots/{name}.png").stat().st_size > 5000


def test_the_table_has_each_classes_quartiles_and_says_what_no_image_has(tmp_path):
    study = write_biomarkers(fakes.write_study(tmp_path, folds=FOLDS))
    write_study_report(study)
    facts, text = read(study)
    labels, values = fakes.predictions().labels, values_of(80)
    for number, name in enumerate(list(BIOMARKERS)[:-1]):
        quartiles = np.percentile(values[labels == 1, number], (25, 50, 75))
        row = facts["biomarkers"]["by_class"][name]["viral"]
        assert row["images"] == 20
        assert [row["q1"], row["median"], row["q3"]] == pytest.approx(quartiles, abs=1e-4)
    assert "cardiothoracic_ratio" not in facts["biomarkers"]["by_class"]
    line = f"Biomarkers that no image has: {BIOMARKERS['cardiothoracic_ratio']}."
    assert line in facts["left_out"] and line in text


def test_a_study_from_before_there_were_biomarkers_says_how_to_get_them(tmp_path):
    table = write_study_report(fakes.write_study(tmp_path, folds=FOLDS))
    facts, text = read(tmp_path)
    assert biomarkers_report.TITLE not in table
    assert facts["biomarkers"] is None and "### Biomarkers" not in text
    assert any(line.startswith("Biomarkers: the study has no") for line in facts["left_out"])


def test_without_a_regression_the_values_stand_alone(tmp_path):
    study = write_biomarkers(fakes.write_study(tmp_path, folds=FOLDS), fitted=False)
    assert biomarkers_report.TITLE not in write_study_report(study)
    facts, _ = read(study)
    assert facts["biomarkers"]["splits"] is None
    assert any("no training image has any biomarker" in line for line in facts["left_out"])


def test_an_ensemble_of_other_studies_learners_has_their_regression(tmp_path):
    half, mixed = (fakes.write_study(tmp_path / n, folds=FOLDS) for n in ("half", "mixed"))
    write_biomarkers(half)
    shutil.rmtree(mixed / "learners")
    assert biomarkers_report.TITLE in write_study_report(mixed, learners_of=[half])


def test_biomarkers_of_another_split_and_damaged_ones_are_refused(tmp_path):
    study = write_biomarkers(fakes.write_study(tmp_path, folds=FOLDS), split_sha256="beef")
    with pytest.raises(InputError, match=r"biomarkers/fold0/predictions\.npz does not belong"):
        write_study_report(study)
    write_biomarkers(study)
    table = study / biomarkers_report.FOLDER / biomarkers_report.CSV
    table.write_text(table.read_text().replace("lung_area", "lung", 1))
    with pytest.raises(InputError, match=r"biomarkers\.csv .*start the study again"):
        write_study_report(study)


@pytest.mark.parametrize("classes", [("Normal", "COVID-19"), (*fakes.CLASSES, "Ground glass")])
@pytest.mark.parametrize("missing", [slice(0, 0), slice(1, None)], ids=["all", "one biomarker"])
def test_nothing_of_the_figure_is_cut_off(classes, missing):
    values = {name: values_of(30, seed=n) for n, name in enumerate(classes)}
    for of_class in values.values():
        of_class[:, missing] = np.nan
    values[classes[0]][:] = np.nan  # of a class nothing could be measured
    figure = biomarkers_report.figure(values, title="Biomarkers by class")
    shown = [axes for axes in figure.axes if axes.get_visible()]
    assert len(shown) == (1 if missing.start else len(BIOMARKERS) - 1)
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == list(classes)
    array = plots.to_array(figure)
    assert (array[[0, -1]] == 255).all() and (array[:, [0, -1]] == 255).all()
