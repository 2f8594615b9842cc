"""Reports of finished runs and studies, from their files alone."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from jaxcxr.data.drawn import DRAWN
from jaxcxr.errors import InputError
from jaxcxr.report import summary, tables
from jaxcxr.storage import files
from jaxcxr.storage.predictions import Predictions
from tests.report import fakes


def read(folder: Path) -> tuple[dict[str, Any], str]:
    """report.json and report.md; every picture that the report shows must be there and decode."""
    text = (folder / "report.md").read_text(encoding="utf-8")
    for picture in re.findall(r"!\[[^]]+\]\(([^)]+)\)", text):
        with Image.open(folder / picture) as opened:
            assert opened.convert("RGB").size[0] > 0
    assert text.index("Research use only. Not for diagnosis.") < text.index("## Result")
    return json.loads((folder / "report.json").read_text(encoding="utf-8")), text


Run = tuple[str, dict[str, Any], str]

MANIFEST = {"command": "python main.py", "seed": 0, "versions": {"jax": "0.10.2"}}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Terminal table, report.json and report.md of a whole run with a confounded source."""
    folder = fakes.write_run(tmp_path_factory.mktemp("run"), fakes.predictions(confounded=True))
    files.write_json(folder / "manifest.json", MANIFEST)
    files.write_png(folder / "overlays" / "phantom-1.png", np.zeros((8, 8), np.uint8))
    table = summary.write_run_report(folder)
    return table, *read(folder)


def test_run_report_holds_the_scores_of_every_split(run: Run) -> None:
    table, facts, text = run
    expected = tables.classification_scores(fakes.predictions().select("test"))
    assert facts["splits"]["test"]["macro_f1"] == pytest.approx(expected["macro_f1"])
    assert set(facts["splits"]) == {"oof", "test"}
    assert f"Macro-F1 **{expected['macro_f1']:.4f}**" in text
    assert table.startswith("DenseNet-161, fold 0: test images\nClass ")
    macro = next(line for line in table.splitlines() if line.startswith("Macro average"))
    assert macro.split()[4] == f"{expected['macro_f1']:.4f}"


def test_run_report_shows_counts_times_and_pictures(run: Run) -> None:
    _, facts, text = run
    assert facts["class_counts"]["test"] == dict.fromkeys(fakes.CLASSES, 10)
    assert "| predict | 4.0 s |     80 |       20.0 |   1,280 |       320.0 |" in text
    assert "![phantom-1](overlays/phantom-1.png)" in text
    names = ("confusion_test", "confusion_oof", "class_counts", "class_sources", "curves")
    names += ("roc_pr_test", "roc_pr_oof")
    assert set(facts["plots"]) == {f"plots/{name}.png" for name in names}


def test_run_report_opens_with_the_result_then_its_provenance(run: Run) -> None:
    _, facts, text = run
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert headings == ["Result", "Provenance", "Details", "Not available"]
    assert ("- Command: `python main.py`\n- Packages: jax 0.10.2\n- Seed: 0\n") in text
    assert facts["manifest"] == MANIFEST


def test_the_start_stands_once_though_the_manifest_was_written_a_second_later(tmp_path):
    folder = fakes.write_run(tmp_path / "run", fakes.predictions())
    times = {"started": "2026-11-29T01:16:53Z", "time": "2026-11-29T01:16:54Z"}
    files.write_json(folder / "manifest.json", {**MANIFEST, **times})
    summary.write_run_report(folder)
    lines = (folder / "report.md").read_text().splitlines()
    assert [line for line in lines if "2026-11-29T01:16" in line] == [
        "- Started: 2026-11-29T01:16:53Z"
    ]


def test_confounded_source_stands_above_the_result(run: Run) -> None:
    table, facts, text = run
    assert text.index("> **Warning.** Class and source are confounded") < text.index("## Result")
    assert facts["confounding"]["source"]["normalised_mutual_information"] == pytest.approx(1.0)
    assert len(facts["warnings"]) == 1
    assert "Warning. Class and source are confounded" in table


def test_constant_predictions_stand_above_the_result_and_in_the_terminal(tmp_path: Path) -> None:
    p = fakes.predictions()
    constant = np.full_like(p.probabilities, 0.25)
    folder = fakes.write_run(tmp_path / "run", dataclasses.replace(p, probabilities=constant))
    said = summary.write_run_report(folder)
    assert "Warning. The predictions are constant: all 40 images" in said
    text = (folder / "report.md").read_text()
    assert text.index("predictions are constant") < text.index("## Result")


def test_what_is_missing_is_named_and_not_invented(tmp_path: Path) -> None:
    fakes.predictions(sources=False).save(tmp_path / "predictions.npz")
    summary.write_run_report(tmp_path)
    facts, text = read(tmp_path)
    assert facts["timings"] is None and facts["manifest"] is None and facts["config"] is None
    said = "\n".join(facts["left_out"])
    for words in (
        "source",
        "age group",
        "manifest.json",
        "metrics.jsonl",
        "timings.json",
        "overlays/",
    ):
        assert words in said
    assert all(line in text for line in facts["left_out"])
    assert "### Time" not in text and "### Class and source" not in text


def test_a_run_without_predictions_or_with_damaged_json_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="predictions.npz is missing"):
        summary.write_run_report(tmp_path)
    with pytest.raises(InputError, match="segmentation.json is missing"):
        summary.write_segment_report(tmp_path)
    files.write_json(tmp_path / "segmentation.json", {"structures": {"lung": {}}, "split": "valid"})
    with pytest.raises(
        InputError, match=r"segmentation.json is damaged .structures.lung.jaccard is missing"
    ):
        summary.write_segment_report(tmp_path)
    folder = fakes.write_run(tmp_path / "run", fakes.predictions())
    files.write_text(folder / "timings.json", "{")
    with pytest.raises(InputError, match="timings.json"):
        summary.write_run_report(folder)


def test_segment_report(tmp_path: Path) -> None:
    table = summary.write_segment_report(fakes.write_segmentation(tmp_path))
    assert table == (
        "Lung segmentation: 12 held out images\n"
        "Structure  Jaccard  Jaccard, smoothed    Dice\n"
        "─────────────────────────────────────────────\n"
        "Lung        0.9000             0.9001  0.9474"
    )
    facts, text = read(tmp_path)
    assert facts["segmentation"]["structures"]["lung"]["dice"] == 0.9474
    assert "Jaccard index on 12 held out images: **lung 0.9000**." in text
    assert "| train | 1 min 15 s |" in text
    assert "### Training images" not in text and "Patches" not in text


def test_lungs_of_drawn_x_rays_are_called_so_on_the_screen_and_above_the_result(tmp_path: Path):
    folder = fakes.write_segmentation(tmp_path)
    files.write_json(folder / "config.json", {"data": {"builders": ["tfds_builders.phantom_cxr"]}})
    assert summary.write_segment_report(folder).endswith(f"Warning. {DRAWN}")
    facts, text = read(tmp_path)
    assert facts["warnings"] == [DRAWN]
    assert text.index(DRAWN) < text.index("## Result")


COUNTS = {
    split: {"source": {"ccx": dict(zip(fakes.CLASSES, row, strict=True))}, "age_group": {}}
    for split, row in {
        "all": (40, 30, 20, 10), "train": (28, 21, 14, 7), "valid": (4, 3, 2, 1),
        "oof": (0, 0, 0, 0), "test": (8, 6, 4, 2),
    }.items()
}  # fmt: skip


@pytest.fixture
def single(tmp_path: Path) -> Path:
    """A whole-image run of one split, as qatar_cnn's."""
    p = fakes.predictions(learner="qatar_cnn")
    p = dataclasses.replace(p, split=np.where(p.split == "oof", "valid", p.split))
    folder = fakes.write_run(tmp_path / "run", p, patched=False)
    config = files.read_json(folder / "config.json")
    files.write_json(
        folder / "config.json",
        {
            **config,
            "split": {"folds": 1},
            "data": {"builders": ["tfds_builders.qatar_radiography"]},
        },
    )
    return folder


def test_a_whole_image_run_of_one_split_shows_what_it_has(single: Path) -> None:
    files.write_png(single / "overlays" / "classes.png", np.zeros((8, 8), np.uint8))
    assert summary.write_run_report(single).startswith("Qatar CNN: test images")
    _, text = read(single)
    assert text.startswith("# Qatar CNN\n")
    assert "### Training images\n" in text
    for word in ("Lungs", "atches", "fold"):
        assert word not in text.partition("## Not available")[0].partition("## Details")[2]
    assert "out-of-fold" not in text
    assert "Training images in class distribution" in text  # it was not recorded, and says so


def test_the_manifest_gives_data_sets_and_the_images_of_all_splits(single: Path) -> None:
    manifest = {
        **MANIFEST,
        "dataset": {
            "images": 100,
            "builders": {"qatar_radiography": "1.2.0"},
            "classes": ["viral"],
        },
        "split": {"counts": COUNTS},
        "jaxcxr": {"version": "0.2.0", "changed": False},
    }
    files.write_json(single / "manifest.json", manifest)
    summary.write_run_report(single)
    facts, text = read(single)
    assert "- Data set: qatar_radiography (version 1.2.0)\n- Classes: Viral pneumonia\n" in text
    assert "- jaxcxr: version 0.2.0, no uncommitted changes\n" in text
    assert "counts" not in text.partition("## Provenance")[2].partition("## Details")[0]
    assert list(facts["class_counts"]) == ["train", "valid", "test"]
    assert "| training   |       28 |" in text
    assert facts["confounding"]["source"]["images"] == 100
    assert "Training images in class distribution" not in text


def test_test_scores_have_intervals_over_patients(single: Path) -> None:
    summary.write_run_report(single)
    facts, text = read(single)
    scores = facts["splits"]["test"]
    for name in ("macro_f1", "accuracy"):
        low, high = scores["intervals"][name]
        assert 0 < low < scores[name] < high <= 1
        assert f"({low:.4f} to {high:.4f})" in text
    assert "intervals" not in facts["splits"]["valid"]  # it chose the checkpoint
    summary.write_run_report(single)
    assert read(single)[0]["splits"] == facts["splits"]
    one = Predictions.load(single / "predictions.npz")
    dataclasses.replace(one, patient_ids=np.full(len(one), "p")).save(single / "predictions.npz")
    summary.write_run_report(single)
    facts, text = read(single)
    assert "intervals" not in facts["splits"]["test"] and "In brackets" not in text


@pytest.mark.parametrize(
    ("name", "said", "line"),
    [
        (
            "densenet161.tv_in1k",
            {"name": "densenet161.tv_in1k", "file": {"path": "w.pth", "sha256": "c0de"}},
            "densenet161.tv_in1k, SHA-256 `c0de`",
        ),
        ("densenet161.tv_in1k", None, "densenet161.tv_in1k, SHA-256 not recorded"),
        ("", None, "random first values"),
    ],
)
def test_the_weights_that_a_training_began_with_are_in_its_provenance(tmp_path, name, said, line):
    folder = fakes.write_run(tmp_path / "run", fakes.predictions())
    config = files.read_json(folder / "config.json")
    config["model"]["pretrained"] = name
    files.write_json(folder / "config.json", config)
    if said:
        files.write_json(folder / "pretrained.json", said)
    summary.write_run_report(folder)
    facts, text = read(folder)
    assert f"- Weights that training began with: {line}\n" in text
    assert facts["pretrained"] == {"name": name, "sha256": "c0de" if said else None}


def test_an_ensemble_begins_with_no_weights(tmp_path):
    summary.write_run_report(fakes.write_run(tmp_path, fakes.predictions(), patched=None))
    facts, text = read(tmp_path)
    assert facts["pretrained"] is None and "Weights that training" not in text
