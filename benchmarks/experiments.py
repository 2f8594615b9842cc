"""Configs as the cases use them: a shipped file's `:paper`, or another preset of it, with some
fields changed, from random values.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict


def load(name: str, fields: Mapping[str, Any]) -> ConfigDict:
    """`--config=configs/<name>.py:paper --config.model.pretrained=`, then
    `--config.<field>=<value>` for the fields.

    'flannel.ensemble' is the stage `ensemble` of the study in configs/flannel.py; 'lungs:' is
    configs/lungs.py without a preset.
    """
    name, colon, preset = name.partition(":")
    file, _, stage = name.partition(".")
    config = importlib.import_module(f"configs.{file}").get_config(preset if colon else "paper")
    if stage:
        config = config[stage].copy_and_resolve_references()
    config.model.pretrained = ""
    for path, value in fields.items():
        *sections, field = path.split(".")
        section = functools.reduce(lambda part, name: part[name], sections, config)
        if field not in section:
            raise KeyError(f"configs/{file}.py has no field {path}")
        section[field] = tuple(value) if isinstance(value, list) else value
    return config
