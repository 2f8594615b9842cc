"""Training beside validation accuracy in a run's report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jaxcxr.report import plots, summary
from jaxcxr.storage.files import write_json, write_text
from tests.report import fakes
from tests.report.test_summary import read

ROWS = [
    {"step": 2, "train/loss": 1.1, "train/learning_rate": 1e-3},
    {"step": 2, "valid/loss": 1.2, "valid/accuracy": 0.5, "train/accuracy": 0.625},
    {"step": 4, "valid/loss": 1.0, "valid/accuracy": 0.75, "train/accuracy": 0.875},
]


def report(folder: Path, rows: list[dict[str, Any]]) -> tuple[dict[str, Any], str]:
    fakes.write_run(folder, fakes.predictions())
    write_text(folder / "metrics.jsonl", "".join(f"{json.dumps(row)}\n" for row in rows))
    write_json(folder / "training.json", {"step": 4, "best_step": 2, "best": 0.5})
    summary.write_run_report(folder)
    return read(folder)


def test_both_stand_at_the_checkpoints_step_with_what_they_are_of(tmp_path: Path) -> None:
    facts, text = report(tmp_path, ROWS)
    assert facts["training_accuracy"] == {"step": 2, "training": 0.625, "validation": 0.5}
    assert "step (2): training accuracy 0.6250, validation accuracy 0.5000." in text
    assert "with the run's augmentation" in text


def test_an_older_log_says_that_it_has_none(tmp_path: Path) -> None:
    rows = [{k: v for k, v in row.items() if k != "train/accuracy"} for row in ROWS]
    facts, _ = report(tmp_path, rows)
    assert facts["training_accuracy"] is None
    assert any(line.startswith("Training accuracy: metrics.jsonl") for line in facts["left_out"])


def test_both_are_lines_of_one_panel() -> None:
    loss, score, rate = plots.curves(ROWS).axes
    labels = [line.get_label() for line in score.lines]
    assert labels == ["Training accuracy, of the batches", "Validation accuracy"]
    assert len(loss.lines) == 2 and len(rate.lines) == 1
