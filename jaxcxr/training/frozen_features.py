"""Training of the last layers alone, on features that are computed once for each image."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict
from tqdm import tqdm

from jaxcxr import data, optim, parallel
from jaxcxr.data import derived
from jaxcxr.errors import InputError
from jaxcxr.inference import programs
from jaxcxr.state import Variables
from jaxcxr.tasks.classify_features import POOLED, ClassifyFeatures
from jaxcxr.training import steps
from jaxcxr.training.experiment import Experiment

# Part of the cache key: raise it whenever a network makes other features of the same variables.
CODE_VERSION = 1
_FILE = "features.f32"


def check(config: ConfigDict) -> None:
    """Raises InputError where a config's features are not the same at every step of a training."""
    _task(config, None)


def with_features(experiment: Experiment, variables: Variables) -> Experiment:
    """The experiment whose batches hold features in the place of images.

    They are kept beside the prepared images, for other folds and seeds, too.

    Args:
        experiment: of whole images, with `train.cache_features`.
        variables: of the network; only the last layers will change.
    """
    task = _task(experiment.config, experiment.task.class_weights)
    return dataclasses.replace(
        experiment,
        arrays={**experiment.arrays, POOLED: _features(experiment, task, variables)},
        compiled=steps.programs_of_task(task, experiment.config.optim),
    )


def _task(config: ConfigDict, class_weights: np.ndarray | None) -> ClassifyFeatures:
    task = ClassifyFeatures(config, axis_name=parallel.sync_axis(), class_weights=class_weights)
    frozen = _frozen(config, task.init(None)["params"])
    if free := sorted(name for name in frozen if not frozen[name] and name not in task.trained()):
        parts = sorted({name.partition("/")[0] for name in frozen.keys() - task.trained()})
        raise InputError(
            f"train.cache_features: {len(free)} parameters before the last layers are to be "
            f"trained, such as {free[0]}: freeze them, by "
            f"--config.optim.freeze=\"('^({'|'.join(parts)})/',)\", or set "
            "--config.train.cache_features=False"
        )
    return task


def _frozen(config: ConfigDict, params: Any) -> dict[str, bool]:
    """Name of each parameter -> whether `optim.freeze` keeps it as it is."""
    kept = optim.matching(params, patterns=tuple(config.optim.freeze), field="freeze")
    return dict(zip(optim.names(params), jax.tree.leaves(kept), strict=True))


def _features(experiment: Experiment, task: ClassifyFeatures, variables: Variables) -> np.ndarray:
    """[N, D] float32 of all images, computed on all devices where they are not there yet."""
    config, images = experiment.config, experiment.arrays["image"]
    folder = _cache(config) / derived.key(_made_of(config, task, images, variables))
    # All processes compute together, so they must want it together.
    if parallel.agree(not derived.is_intact(folder)):
        features = _computed(experiment, task, variables)

        def write(temporary: Path) -> Mapping[str, Any]:
            (temporary / _FILE).write_bytes(np.ascontiguousarray(features).data)
            return {"shape": features.shape, "network": config.model.name}

        derived.make(folder, write, what="features")
    elif parallel.is_main():
        print(f"features of {len(images)} images: found in {folder}", flush=True)
    return np.memmap(folder / _FILE, np.float32, "r").reshape(len(images), -1)


def _cache(config: ConfigDict) -> Path:
    return data.cache_dir(config.data).with_name("features")


def _made_of(
    config: ConfigDict, task: ClassifyFeatures, images: np.ndarray, variables: Variables
) -> dict[str, Any]:
    """What features follow from, to the last bit."""
    weights = hashlib.sha256()
    trained = task.trained()
    for part in sorted(variables):
        for name, leaf in zip(
            optim.names(variables[part]), jax.tree.leaves(variables[part]), strict=True
        ):
            if part != "params" or name not in trained:
                weights.update(f"{part}/{name}".encode())
                weights.update(np.ascontiguousarray(leaf).data)
    return {
        "code_version": CODE_VERSION,
        "images": hashlib.sha256(np.ascontiguousarray(images).data).hexdigest(),
        "pixels": [list(images.shape), str(images.dtype)],
        "weights": weights.hexdigest(),
        "model": json.loads(config.model.to_json_best_effort()),
        "batch": config.evaluate.batch_size,
        "devices": [parallel.device_count(), parallel.platform()],
        "versions": [jax.__version__, importlib.metadata.version("jaxlib")],
        "precision": str(jax.config.jax_default_matmul_precision),  # pyright: ignore
    }


def _computed(experiment: Experiment, task: ClassifyFeatures, variables: Variables) -> np.ndarray:
    predictor = experiment.predictor(parallel.place(variables))
    count = len(experiment.arrays["image"])
    rows = predictor.rows(
        {name: experiment.arrays[name] for name in experiment.task.inputs},
        np.arange(count),
        program=programs.compiled(task.pooled),
    )
    parts = []
    with tqdm(
        total=count, desc="features of the images", unit="img", disable=not parallel.is_main()
    ) as progress:
        for row in rows:
            parts.append(row[POOLED])
            progress.update(len(row[POOLED]))
    return np.concatenate(parts)
