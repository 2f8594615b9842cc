"""Shipped configs, shrunk to a run of seconds on phantom images."""

from __future__ import annotations

import functools
import importlib
from typing import Any

import pytest
from ml_collections import ConfigDict

from configs import common_cxnet
from jaxcxr import models
from jaxcxr.models.fc_densenet import FCDenseNet
from jaxcxr.models.resnet import BasicBlock, ResNet
from jaxcxr.schema.data import PHANTOM_CLASSES

ONE_BLOCK, ONE_DOWN = "one_block", "one_down"


def load(name: str, preset: str = "") -> ConfigDict:
    """The config of `configs/<name>.py`, as `--config=configs/<name>.py:<preset>` gives it."""
    return importlib.import_module(f"configs.{name}").get_config(preset)


def change(config: ConfigDict, **fields: Any) -> ConfigDict:
    """Sets fields, with `__` for the dot: `train__epochs=2`."""
    for name, value in fields.items():
        *sections, field = name.split("__")
        functools.reduce(lambda part, section: part[section], sections, config)[field] = value
    return config


def shrink(config: ConfigDict) -> ConfigDict:
    """The same experiment on 24 phantom patients, with a minute network and one epoch."""
    if config.task == "study":
        config.parallel.compilation_cache = ""
        stages = [config[name] for name in ("segment", "ensemble") if name in config]
        if config.study.system == "flannel":
            config.study.folds = 2
            stages += config.learners.values()
        else:
            for model in config.models.values():
                stages += model.values() if "level1" in model else [model]
        for stage in stages:
            shrink(stage)
        return config
    _phantoms(config.data)
    config.parallel.compilation_cache = ""
    config.split.folds = min(config.split.folds, 2)
    config.split.valid_fraction = 0.3
    config.train.epochs = config.train.eval_every = 1.0
    config.train.batch_size = config.evaluate.batch_size = 8
    if config.task == "ensemble":
        config.train.epochs = 3.0
        return config
    config.model.width = config.model.depth = 0.05
    # A network of that width has no published weights.
    config.model.pretrained, config.model.head = "", "new"
    if config.task == "segment":
        if config.model.outputs == "softmax":
            config.masks.structures = ("left_lung", "right_lung")
        config.data.classes = ()
        config.data.image_size = 32  # halved five times
        config.masks.ignore = ""  # phantoms have no such mask
        _phantoms(config.predict.data)
        return config
    if config.model.name == "covid_cxnet_base":
        config.model.input_size = 65  # its smallest
    config.patches.size = min(32, config.patches.size)  # 0 is the whole image
    config.data.cut = tuple(min(2, pixels) for pixels in config.data.cut)
    config.patches.eval_count = config.patches.valid_count = 2 if config.patches.enabled else 1
    if config.patches.enabled or config.data.lungs != "whole":
        config.masks.source = "dataset"
    return config


def _phantoms(section: ConfigDict) -> None:
    classes = tuple(section.classes)
    section.builders, section.sources = ("tfds_builders.phantom_cxr",), ()
    section.options.phantom_cxr = ConfigDict(
        {"size": 48, "patients": 24, "seed": 0, "confounder": 0.0}
    )
    section.classes = PHANTOM_CLASSES
    if section.relabel:  # COVID-CXNet's, of two or three classes
        tables = (common_cxnet.BINARY_PHANTOM, common_cxnet.THREE_PHANTOM)
        names = {len(table["data.classes"]): table["data.classes"] for table in tables}
        real, section.classes = section.classes, names[len(classes)]
        section.relabel = tuple(f"{label}=" for label in real if label not in section.classes)
        new = dict(zip(classes, section.classes, strict=True))
        pairs = [text.split("=") for text in section.targets]
        section.targets = tuple(f"{new[name]}={new.get(target, target)}" for name, target in pairs)
    section.patient_key = "patient_id"
    section.image_size = 48


def learner(*, patched: bool = True, **fields: Any) -> ConfigDict:
    """A ResNet of one block, which compiles in seconds and has BatchNorm; see `add_networks`."""
    config = shrink(load("patched_resnet" if patched else "resnet"))
    config.model.name, config.model.width, config.model.depth = ONE_BLOCK, 0.1, 1.0
    return change(config, **fields)


def add_networks(patch: pytest.MonkeyPatch) -> None:
    """Makes two networks known that compile in seconds: ONE_BLOCK of `learner`, and ONE_DOWN, a
    segmenter.
    """
    patch.setitem(
        models.MODELS, ONE_BLOCK, functools.partial(ResNet, block=BasicBlock, blocks=(1,))
    )
    patch.setitem(models.MODELS, ONE_DOWN, functools.partial(FCDenseNet, down=(1,), bottleneck=1))
