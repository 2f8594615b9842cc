"""A promise is one sentence about a fault and the trials that try to break it."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import pkgutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

import tests.faults.trials

Trials = Callable[["Context"], Iterator[str]]


@dataclasses.dataclass(frozen=True)
class Context:
    """What the trials of one promise get.

    Attributes:
        folder: an empty folder of their own.
        trials: how many to make.
        rng: random numbers, the same for the same seed and promise.
    """

    folder: Path
    trials: int
    rng: np.random.Generator


@dataclasses.dataclass(frozen=True)
class Promise:
    """What is promised, and how it is tried.

    Attributes:
        name: 'mutants/png': the kind of fault and what it befalls.
        text: the promise in one sentence.
        full: trials of the full campaign.
        quick: trials in the test suite; 0 leaves the promise to the full campaign.
        run: yields one text a trial: '' where the promise held, else what happened instead.
        needs: modules that it takes and the project does not require; it is skipped without them.
    """

    name: str
    text: str
    full: int
    quick: int
    run: Trials
    needs: tuple[str, ...] = ()

    @property
    def missing(self) -> list[str]:
        """Of the modules that it needs, those that are not installed."""
        return [module for module in self.needs if importlib.util.find_spec(module) is None]


_PROMISES: dict[str, Promise] = {}


def promise(
    name: str, text: str, *, full: int, quick: int, needs: tuple[str, ...] = ()
) -> Callable[[Trials], Trials]:
    """Registers a generator of trials as a promise."""

    def register(run: Trials) -> Trials:
        if name in _PROMISES:
            raise ValueError(f"two promises are called {name!r}")
        _PROMISES[name] = Promise(name, text, full, quick, run, needs)
        return run

    return register


def all_promises() -> dict[str, Promise]:
    """Every promise of the modules in tests/faults/trials, by name."""
    for module in pkgutil.iter_modules(tests.faults.trials.__path__):
        importlib.import_module(f"tests.faults.trials.{module.name}")
    return dict(sorted(_PROMISES.items()))
