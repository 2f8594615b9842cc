"""A finished run as something to predict with, on X-rays that its own data set does not have."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict
from PIL import Image

from jaxcxr import data, exported, hints, parallel
from jaxcxr.artifacts import CONFIG, RunFolder
from jaxcxr.data import decoding, preprocessing
from jaxcxr.data.preprocessing import Prepared
from jaxcxr.data.store import REFERENCE
from jaxcxr.runs import results, steps
from jaxcxr.runs.best import best_variables
from jaxcxr.state import Variables
from jaxcxr.tasks import segment
from jaxcxr.types import InputError

_TYPES = {"index": np.int32, "label": np.int32}


@dataclasses.dataclass(frozen=True)
class Network:
    """A trained run, ready to predict; reference: what it matches histograms to, if it does."""

    config: ConfigDict
    folder: Path
    compiled: steps.Compiled
    variables: Variables
    settings: data.Preprocessing
    reference: np.ndarray | None

    @classmethod
    def open(cls, config: ConfigDict, folder: RunFolder) -> Network:
        """The network of the run in `folder`, compiled for `config`.

        Raises:
            InputError: it has no intact checkpoint, or lacks the image that histograms match.
        """
        extras = {}
        if config.task == "classify":  # the weights of the loss play no part here
            extras["class_weights"] = np.ones(len(data.learned_classes(config.data)), np.float32)
        compiled = steps.compile_for(config, **extras)
        settings = data.Preprocessing.of(config.data)
        reference = None
        if settings.match != "none":
            path = folder.path / REFERENCE
            if not path.exists():
                raise InputError(
                    f"data.match={settings.match!r} gives all images the histogram of one "
                    f"training image, and {path}, which keeps it, does not exist: predict with "
                    "the run's own data once (--config.run=predict "
                    f"{hints.in_folder(folder.path)})"
                )
            results.check(folder, REFERENCE)
            reference = decoding.decode_grey(path.read_bytes(), str(path))
        variables = best_variables(compiled.task, folder)
        return cls(config, folder.path, compiled, variables, settings, reference)

    @property
    def needs_lungs(self) -> bool:
        """Whether a classifier cannot do without a lung mask."""
        return self.config.patches.enabled or self.settings.lungs != "whole"

    def can_use(self, seen: Prepared) -> bool:
        """Whether a classifier is to predict this X-ray, by `masks.on_empty`."""
        return not (seen.empty and self.needs_lungs) or self.config.masks.on_empty == "whole_image"

    def view(
        self,
        pixels: np.ndarray,
        mask: np.ndarray | None,
        name: str,
        *,
        structures: tuple[str, ...] = ("lung",),
    ) -> Prepared:
        """An X-ray as this network sees it; mask: [H, W] uint8 ids of the structures, 0 outside."""
        return preprocessing.prepare(
            pixels,
            mask,
            self.settings,
            name=name,
            structures=structures,
            fill_empty=self.config.masks.on_empty == "whole_image",
            reference=self.reference,
        )

    def predict(self, seen: Sequence[Prepared], *, count: int, size: int) -> dict[str, np.ndarray]:
        """The task's prediction for up to `size` images, always by the same program.

        The patches of an image follow from its own pixels: which other files there are changes
        nothing.
        """
        rows = np.minimum(np.arange(size), len(seen) - 1)
        arrays: dict[str, list[Any]] = {"image": [one.image for one in seen]}
        arrays["index"] = [exported.seed_of(one.image) for one in seen]
        if self.config.task == "classify":
            arrays["label"] = [0] * len(seen)
            if "mask" in self.compiled.task.inputs:
                arrays["mask"] = [one.mask for one in seen]
        batch = {
            name: np.asarray(values, _TYPES.get(name))[rows] for name, values in arrays.items()
        }
        batch["weight"] = (np.arange(size) < len(seen)).astype(np.float32)
        local = size // parallel.process_count()
        part = slice(parallel.process_index() * local, (parallel.process_index() + 1) * local)
        batch = {name: value[part] for name, value in batch.items()}
        key = jax.random.fold_in(jax.random.key(self.config.seed), 1)  # `Experiment.predict`'s
        program = self.compiled.predict(count)
        [prediction] = steps.predict_rows(program, self.variables, [batch], key)
        return prediction

    def find_lungs(self, seen: Sequence[Prepared], *, size: int) -> list[np.ndarray]:
        """Of a segmenter: masks [S, S] bool of so many images."""
        lungs = data.lung_ids(self.config.masks.structures)
        masks = segment.masks_at(
            self.predict(seen, count=0, size=size), self.config.predict.threshold
        )
        return [np.isin(mask, lungs) for mask in masks]


def open_segmenter(path: Path) -> Network:
    """The network of a finished segment run.

    Raises:
        InputError: the folder is of no such run, or of one of an earlier version.
    """
    folder = RunFolder(path)
    saved = folder.read_json(CONFIG)
    if not saved or saved.get("task") != "segment" or not folder.is_finished("train"):
        raise InputError(
            f"masks.workdir={str(path)!r} is not the folder of a finished segment run; make one "
            "with\n"
            f"{hints.any_segmenter(path)}"
        )
    results.check(folder, CONFIG)
    try:
        return Network.open(ConfigDict(saved), folder)
    except AttributeError as error:  # how a ConfigDict says that it lacks a field
        raise InputError(
            f"{path / CONFIG} has not all fields that this version of jaxcxr reads ({error}); "
            "train the segmenter again"
        ) from error


def enlarged(lung: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A mask [S, S] bool at its image's size [H, W], uint8 0 or 1.

    As `predict.write_masks` keeps it.
    """
    size = (shape[1], shape[0])
    return np.asarray(Image.fromarray(lung.astype(np.uint8)).resize(size, Image.Resampling.NEAREST))
