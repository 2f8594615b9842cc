"""A chain of runs: every stage is an ordinary run in its own folder and can be run alone.

A stage that is finished and whose input files have not changed is skipped, so the same command
resumes a study that was stopped anywhere.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from jaxcxr import hints, parallel, weights
from jaxcxr.commands import predict, train
from jaxcxr.cpu import host_memory
from jaxcxr.errors import InputError
from jaxcxr.inference import best
from jaxcxr.storage import files
from jaxcxr.storage.names import is_weights_file
from jaxcxr.storage.provenance import content_sha256
from jaxcxr.storage.run_files import STAGES
from jaxcxr.storage.run_folder import RunFolder

TABLE = "table.txt"  # what the terminal shows
_SET_ASIDE = ".old-"


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
        section: of the study's config, where the stage's own fields are: 'learners.densenet161'.
    """

    name: str
    config: ConfigDict
    workdir: Path
    run: Callable[[ConfigDict, Path], None]
    inputs: tuple[Path, ...]
    output: Path
    section: str = ""


def run_stages(folder: RunFolder, stages: Iterable[Stage], shared: ConfigDict) -> None:
    """Runs in their order those that are not done; `stages.json` of the folder remembers them.

    Args:
        folder: of the study.
        stages: its runs.
        shared: the study's config, whose fields messages of a stage may name.

    Raises:
        InputError: a stage is to run and the folder cannot be written, weights that it takes are
            not installed or in a file that cannot be read, or a result of an earlier stage is lost.
    """
    todo = list(stages)
    weights.check_installed(
        dict.fromkeys(
            stage.config.model.pretrained
            for stage in todo
            if "model" in stage.config
            and "pretrained" in stage.config.model
            and not stage.output.exists()
        )
    )
    _check_files_of_weights(todo, shared)
    for number, stage in enumerate(todo, start=1):
        head = f"[{number}/{len(todo)}] {stage.name}"
        if _is_done(stage, folder):
            say(f"{head}: done before")
            continue
        say(head)
        folder.check_writable()
        _set_aside_if_stale(stage, folder)
        started = time.monotonic()
        with _as_of_study(stage, shared):
            stage.run(stage.config, stage.workdir)
        host_memory.give_back()
        if parallel.is_main():
            _remember(stage, folder, seconds=time.monotonic() - started)
        parallel.barrier(stage.name)


def _check_files_of_weights(stages: Iterable[Stage], shared: ConfigDict) -> None:
    """Raises InputError where a training that is to begin names a file that it cannot begin with.

    Before the first stage, for it may be the last one's.
    """
    checked: set[str] = set()  # the folds of a learner have the same file
    for stage in stages:
        model = stage.config.get("model", {})
        if not is_weights_file(model.get("pretrained", "")) or stage.output.exists():
            continue
        has_begun = (stage.workdir / best.CHECKPOINTS).exists()
        if stage.run is train.run and not has_begun and str(model) not in checked:
            with _as_of_study(stage, shared):
                train.check_pretrained(stage.config)
            checked.add(str(model))


@contextlib.contextmanager
def _as_of_study(stage: Stage, shared: ConfigDict) -> Iterator[None]:
    """Errors of a stage name the study's fields."""
    try:
        yield
    except InputError as error:
        raise InputError(hints.of_stage(str(error), stage.section, shared)) from error


def training(
    name: str,
    config: ConfigDict,
    workdir: Path,
    inputs: tuple[Path, ...] = (),
    *,
    section: str = "",
) -> Stage:
    """A stage that trains, predicts and reports."""
    return Stage(name, config, workdir, train.run, inputs, workdir / "finished.json", section)


def lung_masks(config: ConfigDict, workdir: Path) -> Iterator[Stage]:
    """The two stages of a study's segmenter: its training, and the masks of the study's images."""
    segmenter = workdir / "segment"
    segment = own(config.segment, config)
    segment.predict.data.update(config.data)
    trained = training("segment", segment, segmenter, section="segment")
    yield trained
    inputs = (trained.output,)
    yield Stage("masks", segment, segmenter, predict.run, inputs, masks_index(workdir), "segment")


def masks_index(workdir: Path) -> Path:
    """The file that says that a study's masks are there."""
    return workdir / "segment" / "masks" / "index.json"


def own(stage: ConfigDict, study: ConfigDict) -> ConfigDict:
    """A stage's config with what the study decides for all of them."""
    own = stage.copy_and_resolve_references()
    own.seed = study.seed
    own.data.update(study.data)
    if "masks" in own:
        own.masks.update(study.masks)
    own.parallel.update(study.parallel)
    return own


def say(text: str) -> None:
    """Prints, once for all processes."""
    if parallel.is_main():
        print(text, flush=True)


def report(
    folder: RunFolder, what: str, write_report: Callable[[Path], str], manifest: Mapping[str, Any]
) -> None:
    """Writes the manifest and the report of all stages, and prints the table.

    Also prints where everything is.

    Of a folder that cannot be written it prints the table that is there.
    """
    if not parallel.is_main():
        return
    path = folder.path / TABLE
    if folder.read_only and path.exists():
        with files.reading(path, "put the file back."):
            table = path.read_text(encoding="utf-8").rstrip()
    else:
        folder.write_manifest({**manifest, "devices": parallel.describe()})
        table = write_report(folder.path)
        folder.write_text(TABLE, table + "\n")
    say(f"\n{table}\n\n{what:<12} {folder.path}\nreport       {folder.path / 'report.md'}")
    if old := sorted(p for p in folder.path.rglob(f"*{_SET_ASIDE}*") if p.is_dir()):
        say(
            f"former results, of other inputs: {', '.join(map(str, old))}. Delete them when you "
            "need them no more."
        )
    say("Research use only. Not for diagnosis.")


def _record(folder: RunFolder) -> dict[str, Any]:
    return folder.read_json(STAGES, {})


def _hashes(stage: Stage, folder: RunFolder) -> dict[str, str]:
    """Input -> SHA-256, in the stage's order.

    Inside the study by their names in it, so that it can be moved.
    """
    root, hashes = folder.path.resolve(), {}
    for path in stage.inputs:
        made_by = (
            f"it is an input of {stage.name}. Delete {path.parent} and start the same command "
            "again."
        )
        with files.reading(path, made_by):
            digest = content_sha256(path)
        real = path.resolve()
        inside = real.is_relative_to(root)
        hashes[real.relative_to(root).as_posix() if inside else str(real)] = digest
    return hashes


def _same_inputs(saved: Mapping[str, Any], stage: Stage, folder: RunFolder) -> bool:
    """Whether the inputs have the contents that they had; where they lie may have changed."""
    return list(saved["inputs"].values()) == list(_hashes(stage, folder).values())


def _is_done(stage: Stage, folder: RunFolder) -> bool:
    saved = _record(folder).get(stage.name)
    return saved is not None and stage.output.exists() and _same_inputs(saved, stage, folder)


def _set_aside_if_stale(stage: Stage, folder: RunFolder) -> None:
    """A finished stage whose inputs changed is renamed, never overwritten."""
    saved = _record(folder).get(stage.name)
    if saved is None or not stage.output.exists() or _same_inputs(saved, stage, folder):
        return
    current, now = stage.output.parent, int(time.time())
    while (aside := current.with_name(f"{current.name}{_SET_ASIDE}{now}")).exists():
        now += 1
    if parallel.is_main():
        current.rename(aside)
        say(f"  inputs changed since; the former result is kept in {aside}")


def _remember(stage: Stage, folder: RunFolder, *, seconds: float) -> None:
    record = _record(folder)
    record[stage.name] = {"inputs": _hashes(stage, folder), "seconds": round(seconds, 1)}
    folder.write_json(STAGES, record)
