"""The JSON files of a run folder."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from jaxcxr.inference import best
from jaxcxr.report import document
from jaxcxr.report import segmentation_tables as segment_tables
from jaxcxr.report.document import Report
from jaxcxr.storage import run_files
from jaxcxr.storage.files import write_json
from jaxcxr.storage.metric_writer import MetricWriter, read_metrics
from jaxcxr.storage.run_folder import RunFolder
from jaxcxr.studies.stages import Stage, run_stages
from tests import tiny
from tests.faults.limits import mutants
from tests.faults.promises import Context, promise

_CONFIG = tiny.load("patched_densenet").to_dict()
_SCORES = {name: 0.5 for name in ("accuracy", "jaccard", "dice", "pooled_jaccard", "pooled_dice")}
_MEAN = {"mean": 0.5, "low": 0.4, "high": 0.6}
_PER_IMAGE = {
    "file": "segmentation.csv",
    "threshold": 0.5,
    "side": 32,
    "groups": [
        {
            "group": "class",
            "name": "normal",
            "structure": "left_lung",
            "images": 5,
            "patients": 4,
            "dice": {**_MEAN, "worst_decile": 0.2},
            "jaccard": _MEAN,
            "hd95": {"images": 4, "mean": 3.5, "median": 3.0, "mean_percent": 10.9},
            "hd95_undefined": {
                "no_prediction": 1,
                "no_reference": 0,
                "neither": 0,
                "no_outline": 0,
            },
        }
    ],
    "worst": [
        {
            "id": "a",
            "patient": "p",
            "source": "phantom",
            "class": "normal",
            "structure": "left_lung",
            "dice": 0.1,
            "jaccard": 0.05,
            "hd95": None,
        }
    ],
}
_FIELDS = {
    "task": "classify",
    "dataset": {"images": 120, "fingerprint": "1" * 64},
    "split": {"sha256": "2" * 64, "sizes": {"train": 90, "test": 30}},
    "upstream": [],
}


def _sample(name: str) -> Any:
    return {
        "config.json": {**_CONFIG, "workdir": "/study/learners/a/fold0"},
        "manifest.json": {
            **_FIELDS,
            "upstream": [{"path": "../index.json", "sha256": "3" * 64}],
            "python": "3.11.2",
        },
        "finished.json": {
            "fit": {"best_step": 60, "time": "2026-01-01"},
            "train": {"split_sha256": "4" * 64},
        },
        "timings.json": {
            "stages": {
                "train": {
                    "seconds": 3.25,
                    "images": 100,
                    "patches": 200,
                    "patches_per_second": 61.5,
                }
            }
        },
        "training.json": {
            "step": 60,
            "best_step": 55,
            "best": 0.75,
            "images": 480,
            "placement": {"where": "host"},
        },
        "stages.json": {"a": {"inputs": {"segment/finished.json": "5" * 64}, "seconds": 1.5}},
        "segmentation.json": {
            "structures": {"left_lung": {"jaccard": 0.9, "jaccard_smoothed": 0.91, "dice": 0.95}},
            "split": "held out",
            "images": 20,
            "scores": [{"choice": "configured", "threshold": 0.5, **_SCORES}],
            "classes": {"normal": {"images": 5, **_SCORES}},
            "per_image": _PER_IMAGE,
        },
        "pretrained.json": {
            "name": "densenet161.tv",
            "file": {"path": "a.pth", "sha256": "6" * 64},
            "not_used": [],
        },
    }[name]


def _report(folder: Path) -> Report:
    return Report(folder, {})


def _config(folder: Path) -> None:
    with RunFolder.open(folder, _CONFIG) as run:
        run.config()


def _manifest(folder: Path) -> None:
    document.add_provenance(_report(folder), document.read_json(folder / "manifest.json"))
    with RunFolder.open(folder, {}) as run:
        run.write_manifest(_FIELDS)


def _finished(folder: Path) -> None:
    run = RunFolder(folder)
    run.is_finished("train")
    run.mark_finished("explain")


def _timings(folder: Path) -> None:
    document.add_timings(_report(folder), folder, patched=True)
    RunFolder(folder).add_timing("predict", seconds=1.0, images=3)


def _training(folder: Path) -> None:
    write_json(folder / "finished.json", _sample("finished.json"))
    best.training_result(RunFolder(folder))


def _stages(folder: Path) -> None:
    stage = Stage(
        "a", tiny.load("patched_densenet"), folder / "a", lambda *_: None, (), folder / "a" / "none"
    )
    with contextlib.redirect_stdout(None), RunFolder.open(folder, {}) as run:
        run_stages(run, [stage], stage.config)


def _segmentation(folder: Path) -> None:
    overlap = document.read_segmentation(folder)
    assert overlap is not None
    document.overlap_rows(overlap)
    segment_tables.texts(overlap)
    segment_tables.add_details(_report(folder), overlap)


def _pretrained(folder: Path) -> None:
    run_files.read(folder / "pretrained.json")


_READERS: dict[str, Callable[[Path], None]] = {
    "config.json": _config,
    "manifest.json": _manifest,
    "finished.json": _finished,
    "timings.json": _timings,
    "training.json": _training,
    "stages.json": _stages,
    "segmentation.json": _segmentation,
    "pretrained.json": _pretrained,
}


def _register(name: str, read: Callable[[Path], None]) -> None:
    @promise(f"mutants/{name}", f"a damaged {name} is one error", full=1_000, quick=20)
    def trials(context: Context) -> Iterator[str]:
        def write_and_read(content: bytes) -> None:
            (context.folder / name).write_bytes(content)
            read(context.folder)

        yield from mutants(context, [json.dumps(_sample(name), indent=2).encode()], write_and_read)


for _name, _read in _READERS.items():
    _register(_name, _read)


@promise("mutants/metrics.jsonl", "a damaged metrics.jsonl is one error", full=1_000, quick=50)
def metrics(context: Context) -> Iterator[str]:
    rows = [{"step": n, "train/loss": 0.5 / (n + 1), "valid/dice": None} for n in range(20)]
    sample = "".join(json.dumps(row) + "\n" for row in rows).encode()

    def write_and_read(content: bytes) -> None:
        (context.folder / "metrics.jsonl").write_bytes(content)
        with MetricWriter(context.folder) as writer:
            writer.truncate_after(10)
        read_metrics(context.folder)

    yield from mutants(context, [sample], write_and_read)
