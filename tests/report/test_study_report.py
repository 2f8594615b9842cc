"""The study's report: Table 3, the published numbers, times, and what may not be compared."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from jaxcxr.errors import InputError
from jaxcxr.papers import patched_flannel
from jaxcxr.report import tables
from jaxcxr.report.entries import read_entries
from jaxcxr.report.summary import write_study_report
from jaxcxr.storage.files import read_json, write_json
from jaxcxr.storage.predictions import Predictions
from tests.report import fakes
from tests.report.test_summary import read


def test_study_has_mean_std_over_folds_and_the_difference_to_the_paper(tmp_path: Path) -> None:
    table = write_study_report(fakes.write_study(tmp_path))
    facts, text = read(tmp_path)
    assert [e["name"] for e in facts["learners"]] == ["densenet161", "inception_v3", "flannel"]
    folds = [
        tables.classification_scores(
            Predictions.load(tmp_path / f"learners/densenet161/fold{k}/predictions.npz").select(
                "test"
            )
        )
        for k in range(3)
    ]
    macro = tables.mean_std([fold["macro_f1"] for fold in folds])
    densenet = facts["learners"][0]["splits"]["test"]
    assert densenet["f1"]["macro_f1"] == macro.to_json()
    assert densenet["minus_published"]["macro_f1"] == pytest.approx(macro.mean - 0.8043, abs=1e-4)
    np.testing.assert_array_equal(
        densenet["confusion_sum"], np.sum([f["confusion"] for f in folds], 0)
    )
    row = next(line for line in table.splitlines() if line.startswith("DenseNet-161"))
    assert row.endswith(str(macro))
    assert table.splitlines()[3] == "Patched"
    assert patched_flannel.COMPARABLE in text
    assert "0 of the 40 test patients also have images outside the test split" in text
    assert facts["class_counts"] == {
        "cross-validation": dict.fromkeys(fakes.CLASSES, 30),
        "test": dict.fromkeys(fakes.CLASSES, 10),
    }
    assert facts["segmentation"]["images"] == 12
    stage = facts["timings"]["stages"]["DenseNet-161, patched: predict"]
    assert stage == {"seconds": 12.0, "images": 240, "patches": 3840, "patches_per_second": 320.0}
    assert facts["settings"]["DenseNet-161, patched"]["model.width"] == 0.25
    assert facts["manifest"]["seed"] == 7
    assert any(line.startswith("Provenance: ") for line in facts["left_out"])


def test_whole_image_study_beside_the_patched_one(tmp_path: Path) -> None:
    whole = fakes.write_study(tmp_path / "whole", patched=False, folds=1)
    patched = fakes.write_study(tmp_path / "study", folds=1)
    table = write_study_report(patched, beside=[whole])
    facts, _ = read(patched)
    assert [e["variant"] for e in facts["learners"]] == ["whole_image"] * 3 + ["patched"] * 3
    titles = [line for line in table.splitlines() if line in ("Patched", "Whole image")]
    assert titles == ["Whole image", "Patched"]
    assert facts["patched_over_whole_image_seconds"] == {"DenseNet-161": 1.0, "Inception-v3": 1.0}
    assert "patches" not in facts["timings"]["stages"]["DenseNet-161, whole image: predict"]
    assert facts["learners"][0]["published"]["macro_f1"] == {"mean": 0.7625, "std": 0.02}


def test_an_ensemble_of_the_learners_of_two_studies_has_their_rows_above_its_own(tmp_path: Path):
    halves = [
        fakes.write_study(tmp_path / name, patched=name == "patched", folds=1)
        for name in ("whole", "patched")
    ]
    mixed = fakes.write_study(tmp_path / "mixed", folds=1)
    shutil.rmtree(mixed / "learners")
    table = write_study_report(mixed, learners_of=halves, beside=[halves[0], mixed])
    facts, text = read(mixed)
    variants = ["whole_image"] * 3 + ["patched"] * 3 + ["mixed"]
    assert [e["variant"] for e in facts["learners"]] == variants
    assert table.splitlines()[-2:-1] == ["Whole image and patched"]
    assert facts["learners"][-1]["published"] is None
    assert "# Study: whole image and patched learners and their ensemble" in text
    assert "whole image and patched ensemble **" in text


def test_learners_of_the_same_name_are_told_apart_by_their_studies(tmp_path: Path) -> None:
    first, second = (fakes.write_study(tmp_path / name, folds=2) for name in ("first", "second"))
    table = write_study_report(second, beside=[first])
    facts, text = read(second)
    names = [f"DenseNet-161 ({study})" for study in ("first", "second")]
    assert [line.split("  ")[0] for line in table.splitlines() if "DenseNet" in line] == names
    assert set(facts["combinations"]) == {"FLANNEL (first), patched", "FLANNEL (second), patched"}
    assert len(facts["settings"]) == 6
    assert facts["timings"]["stages"]["DenseNet-161 (first), patched: predict"]["images"] == 160
    for name in ("densenet161_first", "flannel_second"):
        assert f"plots/confusion_test_patched_{name}.png" in text


def test_an_ensembles_members_are_those_that_it_weighs_wherever_they_are(tmp_path: Path) -> None:
    half, mixed = (fakes.write_study(tmp_path / name, folds=1) for name in ("half", "mixed"))
    shutil.rmtree(mixed / "learners")
    config = mixed / "ensemble" / "fold0" / "config.json"
    learner = half / "learners" / "inception_v3"
    write_json(config, read_json(config) | {"inputs": {"learners": [str(learner)]}})
    [ensemble] = read_entries(mixed)
    assert [member.name for member in ensemble.members] == ["inception_v3"]
    assert ensemble.variant == "patched"
    shutil.rmtree(half)
    write_study_report(mixed)
    assert read(mixed)[0]["combinations"] is None


def test_of_two_learners_of_one_name_the_ensemble_has_the_one_that_it_weighs(tmp_path: Path):
    halves = [fakes.write_study(tmp_path / name, folds=1) for name in ("first", "second")]
    mixed = fakes.write_study(tmp_path / "mixed", folds=1)
    shutil.rmtree(mixed / "learners")
    config = mixed / "ensemble" / "fold0" / "config.json"
    weighed = [halves[0] / "learners/inception_v3", halves[1] / "learners/densenet161"]
    write_json(config, read_json(config) | {"inputs": {"learners": list(map(str, weighed))}})
    [ensemble] = read_entries(mixed, learners_of=halves)
    assert [member.folders[0].parent for member in ensemble.members] == weighed


def test_an_ensemble_of_other_learners_than_the_papers_says_so(tmp_path: Path) -> None:
    sentence = "The ensemble here weighs other learners than the paper's: EfficientNet-Lite0."
    folder = fakes.write_study(tmp_path, folds=1)
    write_study_report(folder)
    assert sentence not in read(folder)[1]
    config = read_json(folder / "learners/densenet161/fold0/config.json")
    config["model"]["name"] = "efficientnet_lite0"
    write_json(folder / "learners/densenet161/fold0/config.json", config)
    write_study_report(folder)
    assert sentence in read(folder)[1]


def test_phantoms_with_a_confounder_in_one_fold(tmp_path: Path) -> None:
    """Not compared with the paper, no std from one fold, and the warning stands before the
    result.
    """
    classes = ("normal", "consolidation", "interstitial", "ground_glass")
    folder = fakes.write_study(tmp_path, classes=classes, confounded=True, folds=1)
    assert "(–)" in write_study_report(folder)
    facts, text = read(tmp_path)
    assert facts["comparable"] is None and facts["learners"][0]["published"] is None
    assert "## Comparison with published results" not in text
    assert any(line.startswith("Comparison with published results") for line in facts["left_out"])
    assert facts["learners"][0]["splits"]["test"]["f1"]["macro_f1"]["std"] is None
    assert text.index("> **Warning.** Class and source are confounded") < text.index("## Result")


def test_mixed_splits_missing_folds_and_empty_studies_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no learner"):
        write_study_report(tmp_path)
    folder = fakes.write_study(tmp_path / "study")
    fakes.predictions(split_sha256="beef").save(
        folder / "learners/densenet161/fold0/predictions.npz"
    )
    with pytest.raises(InputError, match="split"):
        write_study_report(folder)
    fakes.predictions().save(folder / "learners/densenet161/fold0/predictions.npz")
    (folder / "learners/inception_v3/fold2/predictions.npz").unlink()
    with pytest.raises(InputError, match="inception_v3/fold2/predictions.npz is missing"):
        write_study_report(folder)


def test_the_weights_that_each_learner_began_with_are_in_the_provenance(tmp_path: Path) -> None:
    study = fakes.write_study(tmp_path, folds=2)
    for fold in range(2):
        folders = [study / "learners" / n / f"fold{fold}" for n in ("densenet161", "inception_v3")]
        said = {"name": "densenet161.tv_in1k", "file": {"path": "w.pth", "sha256": "c0de"}}
        write_json(folders[0] / "pretrained.json", said)
        config = read_json(folders[1] / "config.json")
        config["model"]["pretrained"] = ""
        write_json(folders[1] / "config.json", config)
    write_study_report(study)
    facts, text = read(study)
    assert facts["pretrained"] == {
        "DenseNet-161, patched": [{"name": "densenet161.tv_in1k", "sha256": "c0de"}],
        "Inception-v3, patched": [{"name": "", "sha256": None}],
    }
    assert (
        "- Weights that training began with:\n"
        "  - DenseNet-161, patched: densenet161.tv_in1k, SHA-256 `c0de`\n"
        "  - Inception-v3, patched: random first values\n"
    ) in text
