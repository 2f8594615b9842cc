"""What is killed: a training, a segmenter with its masks, a study, predictions, an export."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import tiny

PHANTOMS = 12  # of the user's own X-rays


@dataclasses.dataclass(frozen=True)
class Scenario:
    """A command and what it leaves.

    Attributes:
        command: runs it in a folder that is empty at first.
        before: the scenario whose finished folder it starts from, '' for none.
        artifacts: patterns of the files that must be bit-equal in the end.
    """

    command: Callable[[Path], None]
    before: str
    artifacts: tuple[str, ...]


def imports() -> None:
    """Loads what the commands use, without opening a JAX backend."""
    import tfds_builders.phantom_cxr.phantom_cxr_dataset_builder
    from jaxcxr.cli import dispatch

    del dispatch, tfds_builders


def prepare(patch: pytest.MonkeyPatch) -> None:
    """Small networks, and figures of one pixel, whose drawing would take most of the time."""
    from jaxcxr.report import plots
    from jaxcxr.storage.files import encode_png

    tiny.add_networks(patch)
    pixel = np.zeros((1, 1, 3), np.uint8)
    patch.setattr(plots, "to_png", lambda figure: encode_png(pixel))
    patch.setattr(plots, "to_array", lambda figure: pixel)


def moments() -> list[tuple[Any, str, str]]:
    """Functions beside renames and deletions whose calls are moments to be killed at."""
    import orbax.checkpoint as ocp

    from jaxcxr.commands import xray_results
    from jaxcxr.data import preprocessing
    from jaxcxr.storage import metric_writer
    from jaxcxr.storage.step_folders import StepFolders
    from jaxcxr.training import stepping
    from tfds_builders.phantom_cxr import drawing

    return [
        (drawing, "draw", "drawing a phantom"),
        (preprocessing, "prepare", "preparing an image"),
        (ocp.PyTreeCheckpointHandler, "finalize", "writing a checkpoint's arrays"),
        (StepFolders, "write_manifest", "hashing a checkpoint"),
        (metric_writer.MetricWriter, "scalars", "a row of metrics.jsonl"),
        (stepping.HostBatches, "step", "a training step"),
        (stepping.ResidentRows, "step", "a training step"),
        (xray_results.Results, "add", "a row of predictions.csv"),
    ]


def _run(config: Any, workdir: Path) -> None:
    from jaxcxr.cli import dispatch

    dispatch.start(config, workdir)


def _train(folder: Path) -> None:
    config = tiny.learner(
        train__epochs=3.0,
        train__eval_every=0.5,
        train__log_every=1,
        checkpoint__every_minutes=0.0,
        data__data_dir=str(folder / "data"),
    )
    _run(config, folder / "run")


def _segmenter(folder: Path, **fields: Any) -> Any:
    config = tiny.shrink(tiny.load("fc_densenet103"))
    config.model.name, config.model.width = tiny.ONE_DOWN, 0.2
    config.train.epochs, config.train.eval_every, config.train.batch_size = 4.0, 2.0, 8
    config.data.data_dir = str(folder / "data")
    return tiny.change(config, **fields)


def _segment(folder: Path) -> None:
    _run(_segmenter(folder), folder / "run")


def _masks(folder: Path) -> None:
    _run(_segmenter(folder, run="predict"), folder / "run")


def _study(folder: Path) -> None:
    config = tiny.shrink(tiny.load("patched_flannel"))
    config.study.learners = ("densenet161",)
    config.study.folds = 2
    config.data.data_dir = str(folder / "data")
    config.segment.model.name, config.segment.model.width = tiny.ONE_DOWN, 0.2
    learner = config.learners["densenet161"]
    learner.model.name, learner.model.width, learner.model.depth = tiny.ONE_BLOCK, 0.1, 1.0
    learner.masks.source, learner.masks.on_empty = "workdir", "whole_image"
    _run(config, folder / "run")


def _xrays(folder: Path) -> None:
    inputs = folder / "in"
    if not inputs.exists():
        inputs.mkdir()
        from jaxcxr import data
        from jaxcxr.storage.files import write_png

        phantoms = data.open_dataset(_segmenter(folder).data)
        for n in range(PHANTOMS):
            write_png(inputs / f"{n}.png", phantoms.image(n))
    _run(_segmenter(folder, run="predict", predict__inputs=str(inputs)), folder / "run")


def _export(folder: Path) -> None:
    _run(_segmenter(folder, run="export"), folder / "run")


SCENARIOS = {
    "train": Scenario(
        _train, "", ("run/predictions.npz", "run/metrics.jsonl", "run/training.json", "run/*.md")
    ),
    "segment": Scenario(_segment, "", ("run/segmentation.json", "run/metrics.jsonl", "run/*.md")),
    "masks": Scenario(_masks, "segment", ("run/masks/*", "run/masked/*")),
    "xrays": Scenario(
        _xrays, "segment", ("run/xrays/*.csv", "run/xrays/*.jsonl", "run/xrays/masks/*")
    ),
    "export": Scenario(_export, "segment", ("run/export/model.safetensors", "run/export/run.py")),
    "study": Scenario(
        _study,
        "",
        ("run/report.md", "run/**/predictions.npz", "run/**/masks/*", "run/**/metrics.jsonl"),
    ),
}


def digests(scenario: str, folder: Path) -> dict[str, str]:
    """Name -> SHA-256 of each artifact, without the times in it."""
    found = {}
    for pattern in SCENARIOS[scenario].artifacts:
        for path in folder.glob(pattern):
            if path.is_file():
                content = b"\n".join(_timeless(path))
                found[str(path.relative_to(folder))] = hashlib.sha256(content).hexdigest()
    if not found:
        found["nothing"] = ""
    return found


_TIMES = re.compile(
    rb"\d\d\d\d-\d\d-\d\dT\S+|\d+\.\d+ s\b|\d+ min\b|/\S*faults\S*|[0-9.]+ \|", re.ASCII
)


def _timeless(path: Path) -> Iterator[bytes]:
    content = path.read_bytes()
    if path.name == "report.md":
        text, _, _ = content.partition(b"### Time")
        lines = text.split(b"\n")
        volatile = (
            b"- Time",
            b"- Started",
            b"- Earlier starts",
            b"- Command",
            b"- Upstream",
            b"- Jaxcxr",
        )
        yield from (_TIMES.sub(b"", line) for line in lines if not line.startswith(volatile))
    elif path.name == "training.json":
        yield json.dumps(
            {k: v for k, v in json.loads(content).items() if k != "seconds"}, sort_keys=True
        ).encode()
    elif path.name == "metrics.jsonl":
        for line in content.splitlines():
            row = {k: v for k, v in json.loads(line).items() if "second" not in k and k != "time"}
            yield json.dumps(row, sort_keys=True).encode()
    else:
        yield content


def leftovers(folder: Path) -> list[str]:
    """Temporary files and folders that a finished command should not leave."""
    names = (".*.tmp", "*.orbax-checkpoint-tmp*", ".building-*", "*.incomplete*", "*.partial")
    return sorted(str(path.relative_to(folder)) for name in names for path in folder.rglob(name))
