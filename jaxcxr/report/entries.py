"""The rows of Table 3: the learners of a study and its ensemble, read from their folders."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxcxr.errors import InputError
from jaxcxr.papers import patched_flannel
from jaxcxr.report import document, tables
from jaxcxr.report.tables import VARIANT_TITLES, MeanStd
from jaxcxr.storage.predictions import Predictions

ENSEMBLE = "flannel"


@dataclasses.dataclass(frozen=True)
class Entry:
    """One row of Table 3: a learner or the ensemble, over its folds.

    Attributes:
        name: the learner's folder name; `flannel` for the ensemble.
        model: the architecture (config.model.name), what the published rows are named by.
        variant: whole_image or patched; mixed of an ensemble of both; None where no config.json
            tells.
        config: config.json of its first fold; empty where there is none.
        folders: its run folders in the order of the folds.
        predictions: their predictions, in the same order.
        scores: split -> classification_scores of every fold.
        members: of an ensemble: the learners that it weighs.
        root: the folder of its study.
        study: the name of that folder, with those above it where two studies have the same.
        is_alone: whether no other entry has its name, so that it needs none of a study.
    """

    name: str
    model: str
    variant: str | None
    config: Mapping[str, Any]
    folders: tuple[Path, ...]
    predictions: tuple[Predictions, ...]
    scores: Mapping[str, Sequence[Mapping[str, Any]]]
    members: tuple[Entry, ...] = ()
    root: Path = Path()
    study: str = ""
    is_alone: bool = True

    @property
    def title(self) -> str:
        """The name of the model in tables."""
        title = tables.learner_title(self.model)
        return title if self.is_alone else f"{title} ({self.study})"

    def file(self, *words: str) -> str:
        """The name of a figure of it: `confusion_test_patched_densenet161`."""
        study = "" if self.is_alone else self.study.replace("/", "_")
        return "_".join(filter(None, (*words, self.variant, self.name, study)))

    def summary(self, split: str) -> dict[str, MeanStd]:
        """Score -> mean and standard deviation over the folds of `split`."""
        return tables.over_folds(self.scores[split])

    def confusion(self, split: str) -> np.ndarray:
        """Counts [C, C] summed over the folds."""
        return np.sum([fold["confusion"] for fold in self.scores[split]], axis=0)

    def published(self) -> Mapping[str, MeanStd] | None:
        """The paper's row for it; None where the paper has none or the classes are others."""
        if self.variant is None or set(self.predictions[0].classes) != set(patched_flannel.CLASSES):
            return None
        row = patched_flannel.TABLE_3.get(self.variant, {}).get(self.model)
        return None if row is None else {name: MeanStd(*pair) for name, pair in row.items()}


def read_entries(root: Path, *, learners_of: Sequence[Path] | None = None) -> list[Entry]:
    """The learners of a study in the paper's order, then its ensemble.

    Args:
        root: its folder.
        learners_of: other studies whose learners its ensemble weighs, too; None: those where the
            ensemble's config.json says they were.

    Raises:
        InputError: there is neither, or a learner lacks a fold that another has.
    """
    names = sorted(path.name for path in (root / "learners").glob("*") if path.is_dir())
    if not names and not (root / "ensemble").exists():
        raise InputError(f"{root / 'learners'} holds no learner: run the study first")
    entries = [_entry(name, root / "learners" / name) for name in names]
    order = list(tables.LEARNER_TITLES)
    entries.sort(key=lambda e: (order.index(e.model) if e.model in order else len(order), e.name))
    if (root / "ensemble").exists():
        if learners_of is None:
            learners_of = _studies_of_learners(root)
        others = [e for other in learners_of for e in read_entries(other) if e.model != ENSEMBLE]
        entries.append(_ensemble(root, (*entries, *others)))
    folds = {entry.name: [path.name for path in entry.folders] for entry in entries}
    if len(set(map(tuple, folds.values()))) > 1:
        raise InputError(f"{root}: the learners have different folds: {folds}; run the study again")
    return [dataclasses.replace(entry, root=root, study=root.name) for entry in entries]


def _studies_of_learners(root: Path) -> list[Path]:
    """Other studies whose learners a study's ensemble weighs, those that are still there."""
    config = document.read_json(root / "ensemble" / "fold0" / "config.json") or {}
    learners = map(Path, config.get("inputs", {}).get("learners", ()))
    studies = dict.fromkeys(path.parent.parent for path in learners if path.is_dir())
    return [study for study in studies if study.resolve() != root.resolve()]


def _ensemble(root: Path, learners: Sequence[Entry]) -> Entry:
    """The ensemble of a study; `learners` are those that it can have weighed."""
    ensemble = _entry(ENSEMBLE, root / "ensemble")
    # Folders of learners that the study had before are there, too.
    paths = [Path(path) for path in ensemble.config.get("inputs", {}).get("learners", ())]
    members = _named_by(paths, learners) if paths else tuple(learners)
    variants = {entry.variant for entry in members} or {None}
    variant = variants.pop() if len(variants) == 1 else None if None in variants else "mixed"
    return dataclasses.replace(ensemble, model=ENSEMBLE, variant=variant, members=members)


def _named_by(paths: Sequence[Path], learners: Sequence[Entry]) -> tuple[Entry, ...]:
    """The learners whose folders these were; of one that has moved since, those of its name."""
    at = {entry.folders[0].parent.resolve(): entry for entry in learners}
    here = {path.resolve() for path in paths} & at.keys()
    moved = {path.name for path in paths if path.resolve() not in here}
    return tuple(entry for place, entry in at.items() if place in here or entry.name in moved)


def told_apart(entries: Sequence[Entry]) -> list[Entry]:
    """The entries, those of the same name with the names of their studies."""
    counts = collections.Counter(map(named, entries))
    studies = _distinct_names([entry.root for entry in entries])
    changed = {
        entry.folders: dataclasses.replace(
            entry, study=studies[entry.root], is_alone=counts[named(entry)] == 1
        )
        for entry in entries
    }
    return [
        dataclasses.replace(
            entry, members=tuple(changed.get(member.folders, member) for member in entry.members)
        )
        for entry in changed.values()
    ]


def _distinct_names(roots: Sequence[Path]) -> dict[Path, str]:
    """Folder -> the end of its path, as many names as tell it from the others."""
    whole = {root: root.resolve().parts for root in roots}
    found = {}
    for root, parts in whole.items():
        others = [other for other in whole.values() if other != parts]
        length = next(
            n for n in range(1, len(parts) + 1) if all(o[-n:] != parts[-n:] for o in others)
        )
        found[root] = "/".join(parts[-length:])
    return found


def named(entry: Entry) -> str:
    """`DenseNet-161, patched`."""
    return (
        f"{entry.title}, {VARIANT_TITLES[entry.variant].lower()}" if entry.variant else entry.title
    )


def _entry(name: str, folder: Path) -> Entry:
    # Not the former results beside them, fold0.old-<time>.
    folds = [path for path in folder.glob("fold*") if path.name.removeprefix("fold").isdecimal()]
    folders = sorted(folds, key=lambda path: int(path.name.removeprefix("fold")))
    if not folders:
        raise InputError(f"{folder} holds no fold0, fold1, ...: run the study again to resume it")
    predictions = tuple(document.read_predictions(path) for path in folders)
    scores = {
        split: [tables.classification_scores(p.select(split)) for p in predictions]
        for split in ("test", "oof")
        if all(split in document.splits_of(p) for p in predictions)
    }
    config = document.read_json(folders[0] / "config.json") or {}
    patched = document.uses_patches(config)
    variant = None if patched is None else "patched" if patched else "whole_image"
    model = config.get("model", {}).get("name", name)
    return Entry(name, model, variant, config, tuple(folders), predictions, scores)
