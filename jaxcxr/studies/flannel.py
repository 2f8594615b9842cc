"""The stages of (Patched) FLANNEL.

segment -> masks -> learners x folds -> ensemble x folds -> further ensembles -> biomarkers.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from jaxcxr import hints
from jaxcxr.errors import InputError
from jaxcxr.storage import files, run_config
from jaxcxr.storage.run_files import CONFIG
from jaxcxr.studies import biomarkers, further_ensembles
from jaxcxr.studies.stages import Stage, lung_masks, masks_index, own, training


def stages(config: ConfigDict, workdir: Path) -> Iterator[Stage]:
    """The stages of a study config in their order."""
    unknown = [name for name in config.study.learners if name not in config.learners]
    if unknown or not (config.study.learners or config.study.learners_of):
        raise InputError(
            f"study.learners={tuple(config.study.learners)} names no learner of this config; "
            f"known: {', '.join(config.learners)}"
        )
    further = further_ensembles.configs(config)
    of_others = tuple(_learners_of_others(config))
    others = tuple(map(str, of_others))
    ensembles = {"ensemble": config.ensemble, **further}
    further_ensembles.check_in_sample(config, ensembles, workdir, of_others)
    for name, _, study in _finished_studies(config, "beside"):
        _check_same_images(config, f"study.beside names {name}", study)
    masks: tuple[Path, ...] = ()
    sources = {config.learners[name].masks.source for name in config.study.learners}
    if "segment" in config and "workdir" in sources:  # which is the study's own segmenter
        yield from lung_masks(config, workdir)
        masks = (masks_index(workdir),)
    for name in config.study.learners:
        for fold in range(config.study.folds):
            learner = own(config.learners[name], config)
            learner.split.folds, learner.split.fold = config.study.folds, fold
            if learner.masks.source == "workdir":
                learner.masks.workdir = str(workdir / "segment")
            folder = f"learners/{name}/fold{fold}"
            yield training(folder, learner, workdir / folder, masks, section=f"learners.{name}")
    learners = (*(str(workdir / "learners" / name) for name in config.study.learners), *others)
    yield from _ensemble_stages(config, "ensemble", config.ensemble, learners, workdir)
    for name, ensemble in further.items():
        yield from _ensemble_stages(
            config, name, ensemble, learners, workdir, section=hints.FURTHER
        )
    yield from biomarkers.stages(config, workdir)


def _ensemble_stages(
    config: ConfigDict,
    name: str,
    chosen: ConfigDict,
    learners: tuple[str, ...],
    workdir: Path,
    *,
    section: str = "ensemble",
) -> Iterator[Stage]:
    """A stage for each fold of one of the ensembles."""
    for fold in range(config.study.folds):
        ensemble = own(chosen, config)
        ensemble.split.folds, ensemble.split.fold = config.study.folds, fold
        ensemble.inputs.learners = learners
        inputs = tuple(
            Path(learner) / f"fold{k}" / "predictions.npz"
            for learner in learners
            for k in range(config.study.folds)
        )
        folder = f"{name}/fold{fold}"
        yield training(folder, ensemble, workdir / folder, inputs, section=section)


def _learners_of_others(config: ConfigDict) -> Iterator[Path]:
    """The learners' folders of the studies in `study.learners_of`, in their ensembles' order.

    Raises:
        InputError: one is no study, has other folds or images, or lacks a learner.
    """
    for name, folder, other in _finished_studies(config, "learners_of"):
        if not other.study.learners:
            raise InputError(
                f"the study in {name} has no learners of its own: name the studies that its "
                "study.learners_of names"
            )
        _check_same_images(config, f"study.learners_of names {name}", other)
        yield from (folder / "learners" / learner for learner in other.study.learners)


def _finished_studies(config: ConfigDict, field: str) -> Iterator[tuple[str, Path, ConfigDict]]:
    """(name, folder, config) of each study that a field of `study` names.

    Raises:
        InputError: one is named twice, is no study of learners, has other folds, or is not
            finished.
    """
    names = config.study[field]
    folders = [files.expanded(name, "give the whole path") for name in names]
    places = [folder.resolve() for folder in folders]
    if twice := [
        name for name, place in zip(names, places, strict=True) if places.count(place) > 1
    ]:
        raise InputError(f"study.{field} names {twice[0]} twice: each study counts once")
    absent = [not (folder / CONFIG).is_file() for folder in folders]
    if missing := [name for name, is_absent in zip(names, absent, strict=True) if is_absent]:
        commands = "".join(f"\n  {hint}" for name in missing if (hint := hints.experiment_of(name)))
        raise InputError(
            f"study.{field} names {' and '.join(missing)}, where no study has run: run it "
            f"first, or name the folder of one that has{commands}"
        )
    for name, folder in zip(names, folders, strict=True):
        other = run_config.read(folder)
        study = other.get("study", {})
        if study.get("system") != "flannel":
            raise InputError(f"study.{field} names {name}, which is no study of learners")
        if study.folds != config.study.folds:
            raise InputError(
                f"{name} has {study.folds} folds, and study.folds is {config.study.folds}: studies "
                "are put together fold by fold"
            )
        for learner in study.learners:
            for fold in range(study.folds):
                if not (folder / "learners" / learner / f"fold{fold}" / "finished.json").exists():
                    raise InputError(
                        f"the study in {name} is not finished ({learner}, fold {fold}): start it "
                        "again, then this one"
                    )
        yield name, folder, other


# Fields of a learner that say which images there are and how patients are divided.
_IMAGES = {
    "data": ("builders", "classes", "limit", "patient_key", "relabel", "sources",
             "targets"),
    "split": ("duplicates", "file", "group_by", "seed", "test_fraction", "train_fraction",
              "valid_fraction"),
}  # fmt: skip


def _check_same_images(config: ConfigDict, named: str, other: ConfigDict) -> None:
    """Raises InputError where another study's learners have other images or patients to test on.

    Before hours of training; the predictions themselves are compared when they are put together. A
    study without learners of its own says nothing of its images.
    """
    if not (config.study.learners and other.study.learners):
        return
    ours, theirs = (_images(study.learners[study.study.learners[0]]) for study in (config, other))
    for name in ours.keys() & theirs.keys():  # a folder of an older version lacks newer fields
        if ours[name] != theirs[name]:
            raise InputError(
                f"{named}, whose learners have {name}={theirs[name]!r}, and here it is "
                f"{ours[name]!r}: only studies of the same images and patients can be put together"
            )


def _images(learner: ConfigDict) -> dict[str, Any]:
    """'data.classes' and the like -> value, of what decides the images and their split."""
    fields = {
        f"{section}.{name}": files.jsonable(learner[section][name])
        for section, names in _IMAGES.items()
        for name in names
        if name in learner[section]
    }
    for builder in learner.data.builders:
        name = builder.rpartition(".")[2]
        fields[f"data.options.{name}"] = files.jsonable(learner.data.options.get(name, {}))
    return fields
