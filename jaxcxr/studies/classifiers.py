"""The stages of several classifiers of whole images.

Segment -> masks -> models x repeats -> growing training sets.

A hierarchy is a model of two levels, each a training of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ml_collections import ConfigDict

from jaxcxr.errors import InputError
from jaxcxr.studies import hierarchy
from jaxcxr.studies.stages import Stage, lung_masks, masks_index, own, training


def stages(config: ConfigDict, workdir: Path) -> Iterator[Stage]:
    """The stages of a study config in their order."""
    unknown = [name for name in config.study.models if name not in config.models]
    if unknown or not config.study.models:
        raise InputError(
            f"study.models={tuple(config.study.models)} names no model of this config; known: "
            f"{', '.join(config.models)}"
        )
    for pair in config.study.pairs:
        if len(set(pair.split(":")) & set(config.study.models)) != 2:
            raise InputError(
                f"study.pairs has {pair!r}: give 'a:b', two of {', '.join(config.study.models)}"
            )
    masks: tuple[Path, ...] = ()
    if config.study.lungs:
        yield from lung_masks(config, workdir)
        masks = (masks_index(workdir),)
    for name in config.study.models:
        for number in range(config.repeats):
            folder = f"models/{name}/repeat{number}"
            yield from _model(config, name, folder, number, workdir, masks)
    if not config.study.training_sizes:
        return
    grown = config.study.training_sizes_of
    if grown not in config.models or "level1" in config.models[grown]:
        raise InputError(f"study.training_sizes_of={grown!r} is no single model of this config")
    for share in config.study.training_sizes:
        if not 0 < share < 1:
            raise InputError(f"study.training_sizes has {share}: give shares above 0 and below 1")
        learner = _ready(config, config.models[grown], 0, workdir, masks)
        learner.split.train_fraction = share
        folder = f"training_sizes/{grown}/{round(100 * share)}percent"
        yield training(folder, learner, workdir / folder, masks, section=f"models.{grown}")


def _model(
    config: ConfigDict,
    model_name: str,
    folder: str,
    number: int,
    workdir: Path,
    masks: tuple[Path, ...],
) -> Iterator[Stage]:
    model, section = config.models[model_name], f"models.{model_name}"
    if "level1" not in model:
        ready = _ready(config, model, number, workdir, masks)
        yield training(folder, ready, workdir / folder, masks, section=section)
        return
    levels = ConfigDict(
        {name: _ready(config, model[name], number, workdir, masks) for name in model}
    )
    for name, level in levels.items():
        own_section = f"{section}.{name}"
        yield training(
            f"{folder}/{name}", level, workdir / folder / name, masks, section=own_section
        )
    trained = tuple(workdir / folder / name / "finished.json" for name in levels)
    yield Stage(
        folder,
        levels,
        workdir / folder,
        hierarchy.run,
        trained,
        workdir / folder / "predictions.npz",
    )


def _ready(
    config: ConfigDict, model: ConfigDict, number: int, workdir: Path, masks: tuple[Path, ...]
) -> ConfigDict:
    """A model's config with this repeat's seed and the study's masks."""
    ready = own(model, config)
    ready.seed = config.seed + number
    if masks:
        if ready.masks.source != "none":
            ready.masks.source, ready.masks.workdir = "workdir", str(workdir / "segment")
        ready.explain.masks.update({"source": "workdir", "workdir": str(workdir / "segment")})
    return ready
