"""Runs the trials of a promise."""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
import time
import traceback
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from tests.faults.promises import Context, Promise


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of a promise.

    Attributes:
        promise: which.
        trials: how many were made.
        failures: a text for each that broke it.
        seconds: of all of them.
        skipped: why none was made, or ''.
    """

    promise: Promise
    trials: int
    failures: list[str]
    seconds: float
    skipped: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "promise": self.promise.name,
            "text": self.promise.text,
            "trials": self.trials,
            "failures": self.failures,
            "seconds": round(self.seconds, 1),
            "skipped": self.skipped,
        }


def try_promise(promise: Promise, trials: int, *, seed: int, folder: Path) -> Outcome:
    """Makes the trials in a folder of their own below `folder`, which stays where one failed."""
    if promise.missing:
        return Outcome(promise, 0, [], 0.0, skipped=f"needs {', '.join(promise.missing)}")
    own = folder / promise.name.replace("/", "_")
    own.mkdir(parents=True)
    digest = hashlib.sha256(f"{seed}:{promise.name}".encode()).digest()
    context = Context(own, trials, np.random.default_rng(int.from_bytes(digest[:8], "big")))
    started, made, failures = time.monotonic(), 0, []
    with tqdm(total=trials, desc=promise.name, disable=None) as bar:
        try:
            for text in promise.run(context):
                made += 1
                failures += [text] if text else []
                bar.update()
        except Exception:  # of the trials themselves: the other promises are tried all the same
            failures.append(traceback.format_exc())
    if made < trials:
        failures.append(f"only {made} of {trials} trials were made")
    if not failures:
        shutil.rmtree(own)
    return Outcome(promise, made, failures, time.monotonic() - started)
