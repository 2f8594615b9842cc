"""Files of finished runs and prepared data that are damaged between two starts."""

from __future__ import annotations

import contextlib
import io
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from jaxcxr.commands import train
from jaxcxr.data import DatasetMasks, Preprocessing, build_store
from jaxcxr.errors import InputError
from jaxcxr.storage.checkpoint import Checkpointer
from tests import tiny
from tests.data.fakes import encode, make_dataset
from tests.faults import scenarios
from tests.faults.mutations import damage
from tests.faults.promises import Context, promise
from tests.storage.states import make_state, save_steps

# Pictures and event files for TensorBoard, times, and who is at work: nothing is computed from
# them.
UNREAD = ("tensorboard/", "timings.json", ".lock")


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _kinds(paths: list[Path]) -> list[list[Path]]:
    """Files by folder and suffix, so that each kind is tried as often as another."""
    kinds: dict[tuple[str, str], list[Path]] = {}
    for path in paths:
        kinds.setdefault((path.parent.name, path.name), []).append(path)
    return list(kinds.values())


@promise(
    "damage/run",
    "a damaged file of a finished run is named at the next start, or nothing depends on it",
    full=1500,
    quick=40,
)
def finished_run(context: Context) -> Iterator[str]:
    config = tiny.learner(
        train__epochs=1.0, data__data_dir=str(context.folder / "data"), name="damaged"
    )
    folder = context.folder / "run"

    def start() -> str:
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            train.run(config, folder)
        return said.getvalue()

    with pytest.MonkeyPatch.context() as patch:
        scenarios.prepare(patch)
        start()
        expected = start()
        kinds = _kinds(_files(folder))
        for n in range(context.trials):
            kind = kinds[n % len(kinds)]
            path = kind[int(context.rng.integers(len(kind)))]
            name, whole = str(path.relative_to(folder)), path.read_bytes()
            done = damage(context.rng, path)
            problem = ""
            try:
                said = start()
            except InputError as error:
                if Path(name).name not in str(error):
                    problem = f"{done}: the error does not name it: {error}"
            except Exception as error:
                problem = f"{done}: {type(error).__name__}: {error}"
            else:
                if not name.startswith(UNREAD):
                    again = "made again" if said != expected else "the same output"
                    sound = path.exists() and path.read_bytes() == whole
                    # A lost mark makes the run do its last stages once more, with the same result.
                    if not (sound or (name == "finished.json" and expected[-200:] in said)):
                        problem = f"{name}: {done}: unnoticed ({again})"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(whole)
            yield problem


@promise(
    "damage/checkpoints",
    "a damaged checkpoint is named and never used; another is used only to train on from it",
    full=1500,
    quick=60,
)
def checkpoints(context: Context) -> Iterator[str]:
    whole = context.folder / "whole"
    save_steps(whole, {1: 0.5, 2: 0.9, 3: 0.1})
    copy = context.folder / "copy"
    files = [str(path.relative_to(whole)) for path in _files(whole)]
    for n in range(context.trials):
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(whole, copy)
        name = files[n % len(files)]
        done = damage(context.rng, copy / name)
        step = int(Path(name).parts[0])
        problem = ""
        with Checkpointer(copy) as checkpointer:
            try:
                checkpointer.restore(step, make_state(0))
                problem = f"{name}: {done}: unnoticed"
            except InputError as error:
                if f"step {step}" not in str(error):
                    problem = f"{name}: {done}: {error}"
            except Exception as error:
                problem = f"{name}: {done}: {type(error).__name__}: {error}"
            # With a damaged step 3 the training goes on from 2; without 2, the best, from nowhere.
            if not problem:
                try:
                    restored = checkpointer.restore_latest(make_state(0))
                    if step != 3 or restored is None or restored.step != 2:
                        problem = f"{name}: {done}: resumed from {restored and restored.step}"
                except InputError:
                    problem = "" if step == 2 else f"{name}: {done}: step 2 is not resumed from"
        yield problem


@promise(
    "damage/prepared",
    "damaged prepared images are made again",
    full=1500,
    quick=60,
)
def prepared(context: Context) -> Iterator[str]:
    rng = np.random.default_rng(0)
    mask = np.zeros((24, 24), np.uint8)
    mask[4:20, 4:20] = 255
    images = [
        {"image": encode(rng.integers(0, 256, (24, 24), np.uint8)), "mask_lung": encode(mask)}
        for _ in range(4)
    ]
    dataset = make_dataset(images)
    settings = Preprocessing(image_size=16, equalise=False, gamma=1.0, match="first")

    def build():
        return build_store(
            dataset,
            settings,
            masks=DatasetMasks(),
            cache_dir=context.folder / "cache",
            max_bad_images=0,
        )

    first = build()
    whole = {path: path.read_bytes() for path in _files(first.path)}
    for n in range(context.trials):
        path = list(whole)[n % len(whole)]
        done = damage(context.rng, path)
        try:
            build()
        except Exception as error:
            yield f"{path.name}: {done}: {type(error).__name__}: {error}"
            continue
        now = {path: path.read_bytes() for path in _files(first.path)}
        yield "" if now == whole else f"{path.name}: {done}: unnoticed"
