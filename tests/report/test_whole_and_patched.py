"""The papers' main claim in a joint report: whole images against patches, patient by patient."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from jaxcxr.metrics import over_folds
from jaxcxr.report import tables
from jaxcxr.report.entries import read_entries, told_apart
from jaxcxr.report.summary import write_study_report
from jaxcxr.report.whole_and_patched import pairs
from tests.report import fakes
from tests.report.test_ensembles import rewritten
from tests.report.test_summary import read


@pytest.fixture
def halves(tmp_path) -> list[Path]:
    """A whole-image study, and one of patches whose DenseNet-161 knows less."""
    found = [
        fakes.write_study(tmp_path / name, patched=name == "patched", images=60)
        for name in ("whole", "patched")
    ]
    flat = lambda p, _: (p.probabilities + 0.25 * 3) / 4  # noqa: E731
    shift = lambda p, _: np.where(  # noqa: E731
        (np.arange(len(p)) % 3 == 0)[:, None], np.roll(flat(p, _), 1, axis=1), flat(p, _)
    )
    rewritten(found[1], "learners/densenet161", shift)
    return found


def test_each_network_is_compared_with_itself_on_the_other_part(halves):
    whole, patched = halves
    write_study_report(patched, beside=[whole])
    facts, text = read(patched)
    rows = {(row["split"], row["model"]): row for row in facts["whole_and_patched"]}
    assert list(rows) == [
        *(("test", name) for name in ("densenet161", "inception_v3", "flannel")),
        # The out-of-fold images chose the ensemble's checkpoint.
        *(("oof", name) for name in ("densenet161", "inception_v3")),
    ]
    assert "### Whole images and patches, patient by patient" in text
    for (split, name), row in rows.items():
        assert (row["first"], row["second"]) == ("whole image", "patched")
        part = "ensemble" if name == "flannel" else f"learners/{name}"
        scores = [
            tables.classification_scores(
                fakes.Predictions.load(half / part / f"fold{k}" / "predictions.npz").select(split)
            )["macro_f1"]
            for half in halves
            for k in range(3)
        ]
        assert row["difference"] == pytest.approx(
            np.mean(scores[:3]) - np.mean(scores[3:]), abs=1e-4
        )
    worse, same = rows["test", "densenet161"], rows["test", "inception_v3"]
    assert worse["interval"][0] > 0.1
    assert worse["p_holm"] < 0.001
    assert worse["images"] == 180  # an image once a fold
    assert worse["patients"] == 60
    assert (same["difference"], same["interval"], same["p_patients"]) == (0, [0, 0], 1)


def test_an_ensemble_of_both_is_compared_with_each(halves, tmp_path):
    mixed = fakes.write_study(tmp_path / "mixed", images=60)
    shutil.rmtree(mixed / "learners")
    write_study_report(mixed, learners_of=halves)
    found = [
        (row["first"], row["second"])
        for row in read(mixed)[0]["whole_and_patched"]
        if row["model"] == "flannel"
    ]
    assert found == [
        ("whole image and patched", "whole image"),
        ("whole image and patched", "patched"),
        ("whole image", "patched"),
    ]


def test_one_study_alone_has_nothing_to_compare(halves):
    write_study_report(halves[0])
    facts, text = read(halves[0])
    assert facts["whole_and_patched"] is None
    assert "patient by patient" not in text.split("## Provenance")[1]


def test_two_studies_of_patches_are_told_apart_also_where_their_folders_have_one_name(tmp_path):
    whole = fakes.write_study(tmp_path / "whole", patched=False, folds=1)
    roots = [fakes.write_study(tmp_path / name / "run", folds=1) for name in ("far", "near")]
    entries = told_apart([e for root in (whole, *roots) for e in read_entries(root)])
    assert len({entry.file("confusion", "test") for entry in entries}) == len(entries)
    assert [e.title for e in entries if e.model == "densenet161"] == [
        "DenseNet-161", "DenseNet-161 (far/run)", "DenseNet-161 (near/run)",
    ]  # fmt: skip
    assert len(list(pairs(entries))) == 6
    write_study_report(roots[0], beside=[whole, roots[1]])
    facts, _ = read(roots[0])
    seconds = [row["second"] for row in facts["whole_and_patched"] if row["split"] == "test"]
    assert seconds.count("patched (far/run)") == seconds.count("patched (near/run)") == 3


def test_the_numbers_are_those_of_the_paired_bootstrap(halves):
    whole, patched = (read_entries(half)[0] for half in halves)
    write_study_report(halves[1], beside=[halves[0]])
    row = read(halves[1])[0]["whole_and_patched"][0]
    parts = [
        (a.select("test"), b.select("test"))
        for a, b in zip(whole.predictions, patched.predictions, strict=True)
    ]
    expected = over_folds.difference(
        [over_folds.Fold(a.labels, a.patient_ids, a.probabilities, b.probabilities)
         for a, b in parts]
    )  # fmt: skip
    assert row["interval"] == [round(expected.low, 4), round(expected.high, 4)]
    assert row["p_patients"] == expected.errors.p_patients
