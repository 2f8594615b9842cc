"""Every config as it resolves, a line a field, in text files beside this one.

A change of a shared default shows in the diff of these files for each experiment that it reaches.
After an intended change write them anew with `python -m tests.golden`.
"""

import importlib
from pathlib import Path

from ml_collections import ConfigDict

import configs
from jaxcxr import schema

FOLDER = Path(__file__).parent
_EXPERIMENTS = Path(configs.__file__).parent.glob("*.py")
CONFIGS = sorted(p.stem for p in _EXPERIMENTS if not p.stem.startswith(("__", "common")))


def load(name: str, preset: str) -> ConfigDict:
    return importlib.import_module(f"configs.{name}").get_config(preset)


def fields(config: ConfigDict, prefix: str = "") -> dict[str, object]:
    """'optim.learning_rate' -> value; a ConfigDict without fields counts as a value."""
    flat: dict[str, object] = {}
    for key, value in config.items():
        if isinstance(value, ConfigDict) and value:
            flat |= fields(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = {} if isinstance(value, ConfigDict) else value
    return flat


def resolved(name: str) -> str:
    """`field: value`; where the presets differ, a line each."""
    presets = {preset: fields(load(name, preset)) for preset in schema.PRESETS}
    lines = []
    for field in sorted(set().union(*presets.values())):
        values = {
            preset: repr(values[field]) if field in values else "(absent)"
            for preset, values in presets.items()
        }
        if len(set(values.values())) == 1:
            lines.append(f"{field}: {values['']}")
        else:
            lines += [
                f"{field}:",
                *(f"    {preset or 'phantom'}: {v}" for preset, v in values.items()),
            ]
    return "\n".join(lines) + "\n"
