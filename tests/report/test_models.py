"""A study of several classifiers in its report: what each sees, macro-F1, and pairs of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from jaxcxr.report.comparison import compare
from jaxcxr.report.models import read_models
from jaxcxr.report.models_report import table_6, write_models_report
from jaxcxr.storage.files import read_json, write_json
from tests.report import fakes

# Not in the order of the alphabet, and not all of them.
NAMES = ("whole_image", "shape_of_the_lungs", "patches")
PAIRS = ["shape_of_the_lungs:whole_image", "patches:whole_image"]


@pytest.fixture
def folder(tmp_path) -> Path:
    for name in NAMES:
        made = fakes.predictions(images=80, skill=0.3 if "shape" in name else 2.0)
        run = fakes.write_run(tmp_path / "models" / name / "repeat0", made, patched=name[0] == "p")
        config = read_json(run / "config.json")
        config["data"] = {"image_size": 128, "lungs": "shape" if "shape" in name else "whole"}
        config["patches"] |= {"apply_mask": True}
        write_json(run / "config.json", config)
    write_json(tmp_path / "config.json", {"study": {"models": NAMES, "pairs": PAIRS}})
    return tmp_path


def test_the_models_stand_in_the_studys_order_with_what_they_see(folder):
    header, rows = table_6(read_models(folder))
    assert [row[0] for row in rows] == ["Whole image", "Shape of the lungs", "Patches"]
    assert [row[header.index("Sees")] for row in rows] == [
        "whole image", "shape of the lungs", "patches of 32 of 128 px, black outside the lungs",
    ]  # fmt: skip


def test_of_more_than_two_classes_there_is_macro_f1_with_its_interval(folder):
    models = read_models(folder)
    header, rows = table_6(models)
    at = header.index("Macro-F1")
    for model, row in zip(models, rows, strict=True):
        low, high = map(float, row[at + 1].split(" – "))
        assert low < float(row[at]) < high
        assert float(row[at]) == pytest.approx(np.mean(model.values("macro_f1")), abs=1e-4)


def test_of_two_classes_there_is_none(folder):
    for path in folder.glob("models/*/repeat0"):
        fakes.predictions(classes=("other", "covid19")).save(path / "predictions.npz")
    assert "Macro-F1" not in table_6(read_models(folder))[0]


def test_pairs_have_the_differences_of_the_comparison_corrected_for_their_number(folder):
    write_models_report(folder)
    text = (folder / "report.md").read_text()
    table = text.split("## Pairwise comparisons")[1].split("###")[0]
    rows = [line.split("|")[1:-1] for line in table.splitlines() if line.startswith("| S")]
    [(a, b, accuracy, macro, p, holm)] = [[cell.strip() for cell in row] for row in rows]
    found = compare(*(folder / "models" / name / "repeat0" for name in PAIRS[0].split(":")))
    of_a, of_b, low, high = found.scores["macro_f1"]
    assert (a, b) == ("Shape of the lungs", "Whole image")
    assert macro == f"{of_a - of_b:+.4f} ({low:+.4f} to {high:+.4f})"
    assert float(accuracy.split()[0]) < -0.2
    assert p == holm == "< 0.0001"
    assert list(read_json(folder / "report.json")["pairs"]) == PAIRS
