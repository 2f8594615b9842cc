"""Examples of a run, as metadata, and their splits."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from ml_collections import ConfigDict

from jaxcxr import data
from jaxcxr.data import duplicates, image_facts
from jaxcxr.errors import InputError
from jaxcxr.training import given_split


@dataclasses.dataclass(frozen=True)
class Examples:
    """Metadata of the examples, in the order of their arrays.

    Attributes:
        ids: [N] image ids.
        patient_ids: [N] patients, what the splits keep together.
        labels: [N] int32 indices into classes.
        sources: [N] the data set each image comes from.
        age_groups: [N] adult, paediatric or ''.
        classes: class names; empty for segmentation.
        views: [N] AP, PA, ... or ''; None of an ensemble, whose learners' predictions do not say.
    """

    ids: np.ndarray
    patient_ids: np.ndarray
    labels: np.ndarray
    sources: np.ndarray
    age_groups: np.ndarray
    classes: tuple[str, ...]
    views: np.ndarray | None = None

    @classmethod
    def of(cls, dataset: data.Dataset) -> Examples:
        """Those of a data set."""
        return cls(
            ids=dataset.ids,
            patient_ids=dataset.patient_ids,
            labels=dataset.labels,
            sources=dataset.sources,
            age_groups=dataset.age_groups,
            classes=dataset.classes,
            views=dataset.views,
        )


@dataclasses.dataclass(frozen=True)
class SplitExamples:
    """Examples and their splits.

    Attributes:
        examples: their metadata.
        splits: "train", "valid", "oof", "test" -> indices of examples [n], disjoint.
        sha256: hash of the folds.
    """

    examples: Examples
    splits: Mapping[str, np.ndarray]
    sha256: str


def split(
    config: ConfigDict, examples: Examples, together: Sequence[Sequence[str]] = ()
) -> SplitExamples:
    """The splits that `config.split` describes, of this run's fold.

    Args:
        config: of the run.
        examples: all of them.
        together: ids of images that no split parts, see `copies`.
    """
    s = config.split
    images = (examples.ids, examples.patient_ids, examples.labels, examples.classes)
    if s.file:
        if s.fold:
            raise InputError(
                f"split.file={s.file!r} gives one split, and split.fold is {s.fold}: set it to 0, "
                "in a study its folds to 1 (--config.study.folds=1)"
            )
        splits, sha256 = given_split.splits(
            s.file, *images, valid_fraction=s.valid_fraction, seed=s.seed
        )
    else:
        folds = data.make_folds(
            *images,
            num_folds=s.folds,
            test_fraction=s.test_fraction,
            seed=s.seed,
            group_by=s.group_by,
            together=together,
        )
        splits, sha256 = folds.split(s.fold, valid_fraction=s.valid_fraction), folds.sha256
    if s.train_fraction < 1:
        train = splits["train"]
        patients, images = data.sample_patients(
            examples.patient_ids[train], examples.labels[train], s.seed
        )
        chosen = patients[np.cumsum(images) <= s.train_fraction * len(train)]
        splits["train"] = train[np.isin(examples.patient_ids[train], chosen)]
    if "train_limit" in s:
        splits["train"] = _limited(splits["train"], examples, tuple(s.train_limit), seed=s.seed)
    return SplitExamples(examples, splits, sha256)


def copies(config: ConfigDict, dataset: data.Dataset) -> list[list[str]]:
    """Ids of images that are one, of each such cluster.

    [] with `split.duplicates=apart`, or where `split.file` says what is in which split.
    """
    if config.split.duplicates == "apart" or config.split.file:
        return []
    facts = image_facts.look(dataset, config.data)
    cluster = duplicates.clusters(facts.pairs, len(dataset))
    rows_of: dict[int, list[str]] = {}
    for name, first in zip(dataset.ids.tolist(), cluster.tolist(), strict=True):
        rows_of.setdefault(first, []).append(name)
    return [names for names in rows_of.values() if len(names) > 1]


def _limited(
    train: np.ndarray, examples: Examples, limits: Sequence[str], *, seed: int
) -> np.ndarray:
    """The training examples with at most as many of each class as `split.train_limit` says.

    They are taken patient by patient in a seeded order, so that those of a smaller limit are part
    of a larger one's.
    """
    for text in limits:
        name, _, number = text.partition("=")
        if name not in examples.classes or not number.isdecimal() or not int(number):
            known = ", ".join(examples.classes) or "none: set data.classes"
            raise InputError(
                f"split.train_limit has {text!r}: write 'class=count', a count of 1 or more; the "
                f"classes are {known}"
            )
        mine = train[examples.labels[train] == examples.classes.index(name)]
        patients, _ = data.sample_patients(examples.patient_ids[mine], examples.labels[mine], seed)
        place = {patient: n for n, patient in enumerate(patients.tolist())}
        order = sorted(mine.tolist(), key=lambda row: place[examples.patient_ids[row].item()])
        train = np.setdiff1d(train, order[int(number) :])
    return train


def with_targets(config: ConfigDict, study: SplitExamples) -> SplitExamples:
    """The examples under the classes that this run learns (`data.targets`).

    Those of other classes leave its splits.
    """
    learned = data.output_classes(config.data)
    examples = study.examples
    if learned == examples.classes:
        return study
    to = data.target_map(config.data)
    number = np.array(
        [learned.index(to[name]) if to[name] else -1 for name in examples.classes], np.int32
    )
    labels = number[examples.labels]
    splits = {name: index[labels[index] >= 0] for name, index in study.splits.items()}
    learned_examples = dataclasses.replace(examples, labels=np.maximum(labels, 0), classes=learned)
    return dataclasses.replace(study, examples=learned_examples, splits=splits)
