"""Options of a builder: each combination of choices is a TFDS config of its own."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence

import tensorflow_datasets as tfds


@dataclasses.dataclass(eq=False)
class ChoiceConfig(tfds.core.BuilderConfig):
    """A BuilderConfig whose `options` say what was chosen; its name spells them out."""

    options: dict[str, str] = dataclasses.field(default_factory=dict)


def all_configs(choices: Mapping[str, tuple[str, ...]]) -> list[ChoiceConfig]:
    """A config for every combination of `choices`; the default comes first."""
    configs = []
    for values in itertools.product(*choices.values()):
        options = dict(zip(choices, values, strict=True))
        name = "-".join(f"{key}_{value}" for key, value in options.items()) or "default"
        configs.append(ChoiceConfig(name=name, options=options))
    return configs


def find_config(configs: Sequence[ChoiceConfig], **options: str) -> ChoiceConfig:
    """The member of `configs` with `options`; those not given are as in the first config.

    TFDS wants the very object that its builder class lists, not an equal one.

    Raises:
        TypeError: an option is unknown; names the known ones.
        ValueError: a value is not among the choices.
    """
    defaults = configs[0].options
    for name, value in options.items():
        if name not in defaults:
            allowed = ", ".join(sorted(defaults)) or "none: this data set has no options"
            raise TypeError(f"unknown option {name!r}; known options: {allowed}")
        choices = list(dict.fromkeys(config.options[name] for config in configs))
        if value not in choices:
            raise ValueError(f"option {name}={value!r}: must be one of {', '.join(choices)}")
    requested = {**defaults, **options}
    return next(config for config in configs if config.options == requested)
