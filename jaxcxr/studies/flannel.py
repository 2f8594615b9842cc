"""The stages of (Patched) FLANNEL.

segment -> masks -> learners x folds -> ensemble x folds -> biomarkers.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ml_collections import ConfigDict

from jaxcxr import hints
from jaxcxr.errors import InputError
from jaxcxr.storage import files, run_config
from jaxcxr.storage.run_files import CONFIG
from jaxcxr.studies import biomarkers
from jaxcxr.studies.stages import Stage, lung_masks, masks_index, own, training


def stages(config: ConfigDict, workdir: Path) -> Iterator[Stage]:
    """The stages of a study config in their order."""
    unknown = [name for name in config.study.learners if name not in config.learners]
    if unknown or not (config.study.learners or config.study.learners_of):
        raise InputError(
            f"study.learners={tuple(config.study.learners)} names no learner of this config; "
            f"known: {', '.join(config.learners)}"
        )
    others = tuple(str(path) for path in _learners_of_others(config))
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
    for fold in range(config.study.folds):
        ensemble = own(config.ensemble, config)
        ensemble.split.folds, ensemble.split.fold = config.study.folds, fold
        ensemble.inputs.learners = (
            *(str(workdir / "learners" / name) for name in config.study.learners),
            *others,
        )
        inputs = tuple(
            Path(learner) / f"fold{k}" / "predictions.npz"
            for learner in ensemble.inputs.learners
            for k in range(config.study.folds)
        )
        folder = f"ensemble/fold{fold}"
        yield training(folder, ensemble, workdir / folder, inputs, section="ensemble")
    yield from biomarkers.stages(config, workdir)


def _learners_of_others(config: ConfigDict) -> Iterator[Path]:
    """The learners' folders of the studies in `study.learners_of`, in their ensembles' order.

    Raises:
        InputError: one is no study, has other folds, or lacks a learner.
    """
    names = config.study.learners_of
    folders = [files.expanded(name, "give the whole path") for name in names]
    places = [folder.resolve() for folder in folders]
    if twice := [
        name for name, place in zip(names, places, strict=True) if places.count(place) > 1
    ]:
        raise InputError(f"study.learners_of names {twice[0]} twice: each learner counts once")
    absent = [not (folder / CONFIG).is_file() for folder in folders]
    if missing := [name for name, is_absent in zip(names, absent, strict=True) if is_absent]:
        commands = "".join(f"\n  {hint}" for name in missing if (hint := hints.experiment_of(name)))
        raise InputError(
            f"study.learners_of names {' and '.join(missing)}, where no study has run: run it "
            f"first, or name the folder of one that has{commands}"
        )
    for name, folder in zip(names, folders, strict=True):
        study = run_config.read(folder).get("study", {})
        if study.get("system") != "flannel":
            raise InputError(f"study.learners_of names {name}, which is no study of learners")
        if study.folds != config.study.folds:
            raise InputError(
                f"{name} has {study.folds} folds, and study.folds is {config.study.folds}: an "
                "ensemble takes the folds of its learners"
            )
        if not study.learners:
            raise InputError(
                f"the study in {name} has no learners of its own: name the studies that its "
                "study.learners_of names"
            )
        for learner in study.learners:
            for fold in range(study.folds):
                if not (folder / "learners" / learner / f"fold{fold}" / "finished.json").exists():
                    raise InputError(
                        f"the study in {name} is not finished ({learner}, fold {fold}): start it "
                        "again, then this one"
                    )
            yield folder / "learners" / learner
