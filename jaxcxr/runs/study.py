"""A whole system as a chain of stages: segment -> masks -> learners x folds -> ensemble x folds -> report.

Every stage is an ordinary run in its own folder and can be run alone. A stage that is finished and whose input
files have not changed is skipped, so the same command resumes a study that was stopped anywhere.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from jaxcxr import parallel
from jaxcxr.artifacts import RunFolder, sha256_file
from jaxcxr.report import summary as reports
from jaxcxr.runs import predict, train
from jaxcxr.types import InputError


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


def run(config: ConfigDict, workdir: Path) -> None:
    """`--config.run=study`."""
    with RunFolder.open(workdir, config.to_dict(), active=parallel.is_main()) as folder:
        todo = list(stages(config, workdir))
        for number, stage in enumerate(todo, start=1):
            head = f"[{number}/{len(todo)}] {stage.name}"
            if _is_done(stage, folder):
                _say(f"{head}: done before")
                continue
            _say(head)
            _set_aside_if_stale(stage, folder)
            started = time.monotonic()
            stage.run(stage.config, stage.workdir)
            if parallel.is_main():
                _remember(stage, folder, seconds=time.monotonic() - started)
            parallel.barrier(stage.name)
        if parallel.is_main():
            folder.write_manifest({"task": "study", "seed": config.seed, "devices": parallel.describe()})
            table = reports.write_study_report(workdir)
            _say(f"\n{table}\n\nstudy folder {workdir}\nreport       {workdir / 'report.md'}")
            _say("Research use only. Not for diagnosis.")


def stages(config: ConfigDict, workdir: Path) -> Iterator[Stage]:
    """The stages of a study config in their order."""
    unknown = [name for name in config.study.learners if name not in config.learners]
    if unknown or not config.study.learners:
        raise InputError(
            f"study.learners={tuple(config.study.learners)} names no learner of this config; "
            f"known: {', '.join(config.learners)}"
        )
    masks: tuple[Path, ...] = ()
    if "segment" in config:
        segmenter = workdir / "segment"
        segment = _own(config.segment, config)
        segment.predict.data.update(config.data)
        masks = (segmenter / "masks" / "index.json",)
        trained = segmenter / "finished.json"
        yield Stage("segment", segment, segmenter, train.run, (), trained)
        yield Stage("masks", segment, segmenter, predict.run, (trained,), masks[0])
    for name in config.study.learners:
        for fold in range(config.study.folds):
            learner = _own(config.learners[name], config)
            learner.split.folds, learner.split.fold = config.study.folds, fold
            if masks:
                learner.masks.source, learner.masks.workdir = "workdir", str(workdir / "segment")
            folder = workdir / "learners" / name / f"fold{fold}"
            yield Stage(
                f"learners/{name}/fold{fold}", learner, folder, train.run, masks, folder / "finished.json"
            )
    for fold in range(config.study.folds):
        ensemble = _own(config.ensemble, config)
        ensemble.split.folds, ensemble.split.fold = config.study.folds, fold
        ensemble.inputs.learners = tuple(str(workdir / "learners" / name) for name in config.study.learners)
        inputs = tuple(
            Path(learner) / f"fold{k}" / "predictions.npz"
            for learner in ensemble.inputs.learners
            for k in range(config.study.folds)
        )
        folder = workdir / "ensemble" / f"fold{fold}"
        yield Stage(f"ensemble/fold{fold}", ensemble, folder, train.run, inputs, folder / "finished.json")


def _own(stage: ConfigDict, study: ConfigDict) -> ConfigDict:
    """A stage's config with what the study decides for all of them."""
    own = stage.copy_and_resolve_references()
    own.seed = study.seed
    own.data.update(study.data)
    own.parallel.update(study.parallel)
    return own


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
        _say(f"  inputs changed since; the former result is kept in {aside}")


def _remember(stage: Stage, folder: RunFolder, *, seconds: float) -> None:
    record = _record(folder)
    record[stage.name] = {"inputs": _hashes(stage), "seconds": round(seconds, 1)}
    folder.write_json("stages.json", record)


def _say(text: str) -> None:
    if parallel.is_main():
        print(text, flush=True)
