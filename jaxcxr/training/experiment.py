"""An experiment, ready to train or predict: examples, arrays, splits and compiled programs."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from jaxcxr import parallel
from jaxcxr.data.dataset import Dataset
from jaxcxr.data.dropped import Dropped
from jaxcxr.inference.predictor import Predictor
from jaxcxr.state import Variables
from jaxcxr.training import placement, steps
from jaxcxr.training.examples import Examples, SplitExamples
from jaxcxr.training.placement import Placement


@dataclasses.dataclass(frozen=True)
class DataRecord:
    """What a run's data are and where they come from, for its manifest and report.

    Attributes:
        fingerprint: hash of the data.
        upstream: files of earlier runs that this one reads.
        dropped: what the data hold and this run does not use, by reason; None: other runs opened
            them.
        notices: what was guessed while the data were read.
        reference: picture that the images' histograms were matched to, where `data.match` asks for
            it.
        mask_summary: see `data.Store`.
        builders: name of each data set -> the version of its builder.
        dataset: the images as files, in the order of the examples; None: other runs opened them.
    """

    fingerprint: str
    upstream: tuple[Path, ...] = ()
    dropped: Mapping[str, Dropped] | None = None
    notices: tuple[str, ...] = ()
    reference: Path | None = None
    mask_summary: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    builders: Mapping[str, str] = dataclasses.field(default_factory=dict)
    dataset: Dataset | None = None


@dataclasses.dataclass(frozen=True)
class Experiment:
    """One experiment, ready to train or predict.

    Attributes:
        config: its config.
        own: the examples, under the classes that this run learns, and their splits.
        study: the same under the classes of the study, where `data.targets` gives this run others.
        arrays: name -> [N, ...] array or memory map; what batches are made of.
        compiled: task and programs.
        record: of the data.
    """

    config: ConfigDict
    own: SplitExamples
    study: SplitExamples
    arrays: Mapping[str, Any]
    compiled: steps.Compiled
    record: DataRecord

    @property
    def examples(self) -> Examples:
        """Metadata of the examples."""
        return self.own.examples

    @property
    def splits(self) -> Mapping[str, np.ndarray]:
        """Of "train", "valid", "oof", "test": indices of examples."""
        return self.own.splits

    @property
    def task(self) -> Any:
        """The task of the compiled programs."""
        return self.compiled.task

    @property
    def inputs(self) -> dict[str, Any]:
        """The arrays that the task's batches are made of."""
        return {name: self.arrays[name] for name in self.task.inputs}

    @functools.cached_property
    def placement(self) -> Placement:
        """Where the inputs live while the run computes."""
        needed = sum(array.nbytes for array in self.inputs.values())
        return placement.decide(self.config.train.placement, needed=needed)

    @functools.cached_property
    def resident(self) -> dict[str, jax.Array] | None:
        """The inputs on every device, put there once; None: they stay with the host."""
        if self.placement.where == "host":
            return None
        return parallel.place({name: np.asarray(array) for name, array in self.inputs.items()})

    def predictor(self, variables: Variables) -> Predictor:
        """What predicts with these variables, on the devices, of this run's network."""
        return Predictor(self.config, self.compiled, variables)

    def predict(
        self, variables: Variables, indices: np.ndarray, *, count: int
    ) -> Iterator[dict[str, np.ndarray]]:
        """Predictions for examples, see `Predictor.rows`."""
        return self.predictor(variables).rows(
            self.inputs, indices, count=count, resident=self.resident
        )

    def host_batch(self, prediction: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The true arrays for the rows of a prediction, as `Task.metrics` wants them."""
        index = prediction["index"]
        batch = {
            name: np.asarray(self.arrays[name][index])
            for name in ("label", "mask")
            if name in self.arrays
        }
        return {**batch, "weight": np.ones(len(index), np.float32)}
