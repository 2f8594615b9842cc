"""A chain of runs: every stage is an ordinary run in its own folder and can be run alone.

A stage that is finished and whose input files have not changed is skipped, so the same command resumes a study that
was stopped anywhere.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from jaxcxr import host_memory, parallel
from jaxcxr.artifacts import RunFolder, sha256_file
from jaxcxr.runs import predict, train


@dataclasses.dataclass(frozen=True)
class Stage:
    """One run of a study.

    Attributes:
      name: also its folder below the study's, but for masks, which live with their segmenter.
      config: of the run.
      workdir: its folder.
      run: the function of the RUNS table that does it.
      inputs: files of earlier stages that it reads.
      output: the file whose presence shows, with unchanged inputs, that the stage is done.
    """

    name: str
    config: ConfigDict
    workdir: Path
    run: Callable[[ConfigDict, Path], None]
    inputs: tuple[Path, ...]
    output: Path


def run_stages(folder: RunFolder, stages: Iterable[Stage]) -> None:
    """Runs in their order those that are not done; `stages.json` of the folder remembers them."""
    todo = list(stages)
    for number, stage in enumerate(todo, start=1):
        head = f"[{number}/{len(todo)}] {stage.name}"
        if _is_done(stage, folder):
            say(f"{head}: done before")
            continue
        say(head)
        _set_aside_if_stale(stage, folder)
        started = time.monotonic()
        stage.run(stage.config, stage.workdir)
        host_memory.give_back()
        if parallel.is_main():
            _remember(stage, folder, seconds=time.monotonic() - started)
        parallel.barrier(stage.name)


def training(name: str, config: ConfigDict, workdir: Path, inputs: tuple[Path, ...] = ()) -> Stage:
    """A stage that trains, predicts and reports."""
    return Stage(name, config, workdir, train.run, inputs, workdir / "finished.json")


def lung_masks(config: ConfigDict, workdir: Path) -> Iterator[Stage]:
    """The two stages of a study's segmenter: its training, and the masks of the study's images."""
    segmenter = workdir / "segment"
    segment = own(config.segment, config)
    segment.predict.data.update(config.data)
    trained = training("segment", segment, segmenter)
    yield trained
    yield Stage("masks", segment, segmenter, predict.run, (trained.output,), masks_index(workdir))


def masks_index(workdir: Path) -> Path:
    """The file that says that a study's masks are there."""
    return workdir / "segment" / "masks" / "index.json"


def own(stage: ConfigDict, study: ConfigDict) -> ConfigDict:
    """A stage's config with what the study decides for all of them."""
    own = stage.copy_and_resolve_references()
    own.seed = study.seed
    own.data.update(study.data)
    own.parallel.update(study.parallel)
    return own


def say(text: str) -> None:
    """Prints, once for all processes."""
    if parallel.is_main():
        print(text, flush=True)


def _record(folder: RunFolder) -> dict[str, Any]:
    path = folder.path / "stages.json"
    return json.loads(path.read_text()) if path.exists() else {}


def _hashes(stage: Stage) -> dict[str, str]:
    return {str(path): sha256_file(path) for path in stage.inputs}


def _is_done(stage: Stage, folder: RunFolder) -> bool:
    saved = _record(folder).get(stage.name)
    return saved is not None and stage.output.exists() and saved["inputs"] == _hashes(stage)


def _set_aside_if_stale(stage: Stage, folder: RunFolder) -> None:
    """A finished stage whose inputs changed is renamed, never overwritten."""
    saved = _record(folder).get(stage.name)
    if saved is None or not stage.output.exists() or saved["inputs"] == _hashes(stage):
        return
    aside = stage.output.parent.with_name(f"{stage.output.parent.name}.old-{int(time.time())}")
    if parallel.is_main():
        stage.output.parent.rename(aside)
        say(f"  inputs changed since; the former result is kept in {aside}")


def _remember(stage: Stage, folder: RunFolder, *, seconds: float) -> None:
    record = _record(folder)
    record[stage.name] = {"inputs": _hashes(stage), "seconds": round(seconds, 1)}
    folder.write_json("stages.json", record)
