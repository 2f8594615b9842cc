"""Shipped configs, shrunk to a run of seconds on phantom images."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from configs import common


def load(name: str, preset: str = "") -> ConfigDict:
    """The config of `configs/<name>.py`, as `--config=configs/<name>.py:<preset>` gives it."""
    return importlib.import_module(f"configs.{name}").get_config(preset)


def shrink(config: ConfigDict, data_dir: Path, **changes: Any) -> ConfigDict:
    """The same experiment on 24 phantom patients, with a minute network and three optimiser steps.

    Args:
      config: of one run or of a study, whose stages are all shrunk.
      data_dir: where prepared data sets are; one folder for all tests of a session.
      **changes: further fields, with `__` for the dot: `train__epochs=2`.
    """
    if config.task == "study":
        config.data.data_dir = str(data_dir)
        config.parallel.compilation_cache = ""
        config.study.folds = 2
        stages = [config[name] for name in ("segment", "ensemble") if name in config]
        for stage in [*stages, *config.learners.values()]:
            shrink(stage, data_dir)
    else:
        _shrink_run(config, data_dir)
    for name, value in changes.items():
        section, _, field = name.rpartition("__")
        (config[section] if section else config)[field] = value
    return config


def _shrink_run(config: ConfigDict, data_dir: Path) -> None:
    _phantoms(config.data, data_dir)
    config.parallel.compilation_cache = ""
    config.split.folds = 2
    config.split.valid_fraction = 0.3
    config.train.epochs = 1.0
    config.train.eval_every = 1.0
    config.train.batch_size = config.evaluate.batch_size = 8
    config.train.log_every = 1
    if config.task == "ensemble":
        config.train.epochs = 3.0
        return
    config.model.width = config.model.depth = 0.05
    if config.task == "segment":
        config.masks.structures = ("left_lung", "right_lung")
        config.data.classes = ()
        config.data.image_size = 32  # halved five times
        _phantoms(config.predict.data, data_dir)
        return
    config.patches.size = 32
    config.patches.eval_count = config.patches.valid_count = 2 if config.patches.enabled else 1
    if config.patches.enabled:
        config.masks.source = "dataset"


def _phantoms(section: ConfigDict, data_dir: Path) -> None:
    section.builders = ("tfds_builders.phantom_cxr",)
    section.options.phantom_cxr = ConfigDict(dict(size=48, patients=24, seed=0, confounder=0.0))
    section.classes = common.PHANTOM_CLASSES
    section.patient_key = "patient_id"
    section.data_dir = str(data_dir)
    section.image_size = 48


def phantom_classifier(data_dir: Path, **changes: Any) -> ConfigDict:
    """A ResNet-18 on lung patches: the smallest of the networks with BatchNorm."""
    config = shrink(load("patched_resnet"), data_dir)
    config.model.name = "resnet18"
    return shrink_fields(config, changes)


def shrink_fields(config: ConfigDict, changes: Mapping[str, Any]) -> ConfigDict:
    return config
