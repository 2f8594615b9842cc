"""Scores, tables and the report of a run, from its artifacts."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict
from PIL import Image

from jaxcxr import hints, parallel, schema
from jaxcxr.commands import external, external_masks, predict, scoring
from jaxcxr.inference.best import check_best
from jaxcxr.report import segmentation_tables as segment_tables
from jaxcxr.report import summary as reports
from jaxcxr.storage import files, run_checksums
from jaxcxr.storage.metric_writer import MetricWriter
from jaxcxr.storage.run_folder import RunFolder
from jaxcxr.storage.step_folders import QUARANTINE
from jaxcxr.tasks import is_classifier
from jaxcxr.training.prepare import prepare

TABLE = "table.txt"  # what the terminal shows


@schema.checked
def run(config: ConfigDict, workdir: Path) -> None:
    """`--config.run=evaluate`: predicts again with the best checkpoint and rewrites the report.

    With `evaluate.data.builders` it measures the finished classifier or segmenter on that data set
    instead.
    """
    if "data" in config.evaluate and config.evaluate.data.builders:
        measure = external.measure if is_classifier(config) else external_masks.measure
        measure(config, workdir)
        return
    with RunFolder.open(workdir, config.to_dict(), active=parallel.is_main()) as folder:
        experiment = prepare(config)
        check_best(folder)  # before anything is written
        run_checksums.unseal(folder)
        predict.keep_reference(experiment, folder)
        scoring.predict_and_score(experiment, folder)
        report(folder, segments=not experiment.task.has_classes)
        run_checksums.seal(folder)


def report(folder: RunFolder, *, segments: bool) -> None:
    """Writes report.md and report.json with their pictures, and prints the table.

    Also prints where everything is.
    """
    if not parallel.is_main():
        return
    write = reports.write_segment_report if segments else reports.write_run_report
    tables = [write(folder.path)]
    if segments:
        tables += segment_tables.texts(folder.read_json("segmentation.json"))
    folder.write_text(TABLE, "\n\n".join(tables))
    print(f"\n{closing(folder)}")
    with MetricWriter(folder.path) as writer:
        step = folder.read_json("training.json", {"step": 0})["step"]
        for path in sorted((folder.path / "plots").glob("*.png")):
            with Image.open(path) as picture:
                writer.image(step, f"report/{path.stem}", np.asarray(picture.convert("RGB")))


def _next_steps(folder: RunFolder) -> list[str]:
    """Lines with commands for what the finished run can do."""
    of = {
        "segment": {"lung masks": hints.again("predict", folder.path)},
        "classify": {
            "own X-rays": f"{hints.again('predict', folder.path)} --config.predict.inputs=FOLDER",
            "saliency": hints.again("explain", folder.path),
        },
    }
    commands = of.get(str(folder.config().get("task")), {})
    return [f"{title:12} {command}" for title, command in commands.items()]


def closing(folder: RunFolder) -> str:
    """The report's table as it was written, and where the run's files are."""
    with files.reading(
        folder.path / TABLE, f"write it again: {hints.again('evaluate', folder.path)}"
    ):
        table = (folder.path / TABLE).read_text(encoding="utf-8").rstrip()
    damaged = folder.path / "checkpoints" / QUARANTINE
    return "\n".join(
        [
            table,
            "",
            f"run folder   {folder.path}",
            f"report       {folder.path / 'report.md'}",
            (
                "TensorBoard  "
                f"{shlex.join(['tensorboard', '--logdir', str(folder.path / 'tensorboard')])}"
            ),
            *_next_steps(folder),
            *(
                [f"set aside    {damaged}: damaged checkpoints, to delete"]
                if damaged.exists()
                else []
            ),
            "Research use only. Not for diagnosis.",
        ]
    )
