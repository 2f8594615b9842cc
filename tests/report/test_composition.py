"""Table 2 in the reports of runs and studies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from jaxcxr.report import summary
from jaxcxr.storage.files import write_json
from jaxcxr.training.composition import composition
from jaxcxr.training.examples import Examples, SplitExamples
from tests.report import fakes
from tests.report.test_summary import MANIFEST, read

VIEWS = ("AP", "PA", "")


def manifest(views: tuple[str, ...] | None = VIEWS) -> dict[str, Any]:
    """Of 60 images of 30 patients: 40 in training, 8 in validation, 12 in test."""
    n = np.arange(60)
    rows = Examples(
        ids=np.array([f"i{k}" for k in n]),
        patient_ids=np.array([f"p{k // 2}" for k in n]),
        labels=(n % 4).astype(np.int32),
        sources=np.where(n % 8 < 4, "ccx", "kcx"),
        age_groups=np.full(60, ""),
        classes=fakes.CLASSES,
        views=None if views is None else np.array([views[k % len(views)] for k in n]),
    )
    splits = {"train": n[:40], "valid": n[40:48], "oof": n[:0], "test": n[48:]}
    return {**MANIFEST, "split": {"composition": composition(SplitExamples(rows, splits, "hash"))}}


def row(text: str, *cells: str) -> list[str]:
    """The cells of the first row of a table that begins with the given ones."""
    for line in text.splitlines():
        found = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and found[: len(cells)] == list(cells):
            return found[len(cells) :]
    raise AssertionError(f"no row {cells}")


def report(folder: Path, found: dict[str, Any]) -> tuple[dict[str, Any], str]:
    fakes.write_run(folder, fakes.predictions())
    write_json(folder / "manifest.json", found)
    summary.write_run_report(folder)
    return read(folder)


def test_a_run_has_images_and_patients_of_its_training_too(tmp_path: Path) -> None:
    facts, text = report(tmp_path, manifest())
    assert row(text, "Source", "ccx") == ["32 (16)", *["8 (8)"] * 4]
    assert row(text, "", "unknown")[0] == "20 (20)"
    assert row(text, "Split", "Training") == ["40 (20)", *["10 (10)"] * 4]
    assert row(text, "", "Validation")[0] == "8 (4)" and row(text, "", "Test")[0] == "12 (6)"
    assert row(text, "Total", "")[0] == "60 (30)"
    assert "Out-of-fold |" not in text.split("## Not available")[0].split("### Class dist")[0]
    crossed = [row(text, "Test", "ccx", view)[0] for view in ("AP", "PA", "unknown")]
    assert sum(int(cell.split()[0]) for cell in crossed) == 8
    assert facts["composition"] == manifest()["split"]["composition"]
    assert "composition" not in text.split("## Provenance")[1].split("## Details")[0]


def test_a_data_set_without_views_says_so_once(tmp_path: Path) -> None:
    _, text = report(tmp_path, manifest(("",)))
    assert text.count("the data set records none") == 1
    assert row(text, "View", "not recorded")[0] == "60 (30)"


def test_an_ensemble_points_to_its_learners(tmp_path: Path) -> None:
    assert "its learners' reports do" in report(tmp_path, manifest(None))[1]


def test_an_older_run_has_no_table_and_says_so(tmp_path: Path) -> None:
    facts, text = report(tmp_path, MANIFEST)
    assert facts["composition"] is None
    assert "Images and patients by class, source, view and split: manifest.json has no" in text


def test_a_study_has_its_folds(tmp_path: Path) -> None:
    folder = fakes.write_study(tmp_path)
    for fold in (0, 2):
        write_json(folder / f"learners/densenet161/fold{fold}/manifest.json", manifest())
    summary.write_study_report(folder)
    facts, text = read(folder)
    assert set(facts["composition"]) == {"fold0", "fold2"}
    assert row(text, "Split", "Cross-validation")[0] == "48 (24)"
    assert row(text, "", "Test")[0] == "12 (6)"
    assert row(text, "fold2", "Validation") == ["8 (4)", *["2 (2)"] * 4]
    assert "manifest.json of densenet161/fold1 has no composition" in text
