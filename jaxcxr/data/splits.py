"""Folds of a study: grouped by patient, stratified by class, seeded, locked by a hash."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from scipy.sparse import coo_array, csgraph

from jaxcxr.data.dataset import seeded_rank
from jaxcxr.errors import InputError

TEST = -1  # in Folds.fold: the image belongs to the test set of every fold
_FORMAT = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Folds:
    """A test set and `num_folds` disjoint folds of the remaining images.

    ids, patient_ids: [N] numpy strings. labels: [N] int32. fold: [N] int32, TEST or the fold in
    which the image is held out, as drawn; `split` moves those of `together`, ids of images that
    no split parts, beside those of a group.
    """

    ids: np.ndarray
    patient_ids: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    fold: np.ndarray
    num_folds: int
    test_fraction: float
    seed: int
    group_by: Literal["patient", "image"]
    together: tuple[tuple[str, ...], ...] = ()

    def split(self, fold: int, *, valid_fraction: float) -> dict[str, np.ndarray]:
        """Row indices of one fold's train, valid, oof and test images; no group is in two.

        oof is the held-out fold, on which the ensemble is trained (out of fold); valid is carved
        from the fold's training groups and serves early stopping. valid_fraction 0 = no valid.
        With a single fold nothing is held out besides the test set, and oof is empty.
        """
        if not 0 <= fold < self.num_folds:
            raise InputError(f"fold {fold} does not exist: there are {self.num_folds}, from 0")
        _check_fraction("valid_fraction", valid_fraction)
        held_out = (self.fold == fold) & (self.num_folds > 1)
        rest = np.flatnonzero((self.fold != TEST) & ~held_out)
        part = _assign(
            self._groups()[rest],
            self.labels[rest],
            (1 - valid_fraction, valid_fraction),
            salt=f"{self.seed}/valid/{fold}",
        )
        names = ("train", "valid", "oof", "test")
        part_of = np.where(self.fold == TEST, names.index("test"), names.index("oof"))
        part_of[rest] = part
        part_of = _join(part_of, self._groups(), self.ids, self.together)
        split = {name: np.flatnonzero(part_of == n) for n, name in enumerate(names)}
        for name in ("train", "valid") if valid_fraction else ("train",):
            where = f"the {name} set of fold {fold}"
            _require_every_class(self.labels[split[name]], self.labels, self.classes, where)
        return split

    @functools.cached_property
    def sha256(self) -> str:
        """Identifies the split: runs may be combined only if theirs are equal."""
        return hashlib.sha256(json.dumps(self._content(), sort_keys=True).encode()).hexdigest()

    def to_json(self) -> str:
        """The fold file: one readable line per image, locked by the hash over all of it."""
        content = self._content()
        rows = ",\n  ".join(json.dumps(row) for row in content.pop("rows"))
        head = json.dumps({"sha256": self.sha256, **content}, indent=1)
        return f'{head[:-2]},\n "rows": [\n  {rows}\n ]\n}}\n'

    @classmethod
    def from_json(cls, text: str) -> Folds:
        """Reads a fold file; InputError if it is damaged or was edited."""
        try:
            data = json.loads(text)
            rows = data["rows"]
            if data["format"] != _FORMAT:
                raise InputError(f"fold file format {data['format']} is not known")
            folds = cls(
                ids=np.array([row[0] for row in rows]),
                patient_ids=np.array([row[1] for row in rows]),
                labels=np.array([row[2] for row in rows], np.int32),
                fold=np.array([row[3] for row in rows], np.int32),
                classes=tuple(data["classes"]),
                num_folds=data["num_folds"],
                test_fraction=data["test_fraction"],
                seed=data["seed"],
                group_by=data["group_by"],
                together=tuple(map(tuple, data.get("together", ()))),
            )
            expected = data["sha256"]
        except InputError:
            raise
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise InputError(f"the fold file is damaged: {error!r}") from error
        if folds.sha256 != expected:
            raise InputError(
                "the fold file was edited: its content does not give the sha256 it states "
                f"({expected[:12]}..., found {folds.sha256[:12]}...). Remove it to make new folds"
            )
        return folds

    def _groups(self) -> np.ndarray:
        return self.patient_ids if self.group_by == "patient" else self.ids

    def _content(self) -> dict:
        columns = (self.ids, self.patient_ids, self.labels, self.fold)
        return {
            "format": _FORMAT,
            "classes": list(self.classes),
            "num_folds": self.num_folds,
            "test_fraction": self.test_fraction,
            "seed": self.seed,
            "group_by": self.group_by,
            # Where there are none, the hash is that of folds from before they were looked for.
            **({"together": [list(names) for names in self.together]} if self.together else {}),
            "rows": [list(row) for row in zip(*(c.tolist() for c in columns), strict=True)],
        }


def make_folds(
    ids: np.ndarray,
    patient_ids: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[str],
    *,
    num_folds: int,
    test_fraction: float,
    seed: int,
    group_by: Literal["patient", "image"] = "patient",
    together: Sequence[Sequence[str]] = (),
) -> Folds:
    """Sets a test set aside and cuts the rest into folds, by patient, balanced by class.

    The test set depends on neither num_folds nor the images' order. group_by='image' is the
    published way, which leaks patients; for comparison only.

    Args:
        ids: [N] strings, of the images.
        patient_ids: [N] strings.
        labels: [N] int, index into classes (all 0 without any).
        classes: their names, for errors.
        num_folds: number of folds. With 1 only the test set is held out, which is then required.
        test_fraction: fraction of the images in the test set, 0 <= f < 1.
        seed: of the draw.
        group_by: "patient" keeps the images of a patient in one part; "image" does not.
        together: ids of images that are kept in one part besides, such as copies under other
            patients. They and their groups go where the largest of these groups is: no other image
            changes its part, so that folds with and without them can be compared.

    Raises:
        InputError: fewer groups than folds, or a class without example in a fold or the test.
    """
    labels = np.asarray(labels, np.int32)
    if not len(ids) == len(patient_ids) == len(labels):
        raise InputError(f"{len(ids)} ids, {len(patient_ids)} patients, {len(labels)} labels")
    if group_by not in ("patient", "image"):
        raise InputError(f"split.group_by is '{group_by}': choose patient or image")
    if num_folds < 1:
        raise InputError(f"split.folds is {num_folds}: at least 1")
    _check_fraction("split.test_fraction", test_fraction)
    if num_folds == 1 and not test_fraction:
        raise InputError("split.folds=1 and split.test_fraction=0 hold nothing out to measure on")
    ids, patient_ids = np.asarray(ids), np.asarray(patient_ids)
    groups = patient_ids if group_by == "patient" else ids
    count = len(np.unique(groups))
    if count < num_folds + (test_fraction > 0):
        noun = "patients" if group_by == "patient" else "images"
        raise InputError(
            f"{count} {noun} are too few for {num_folds} folds"
            f"{' and a test set' if test_fraction else ''}: lower split.folds or add data"
        )
    fold = np.full(len(ids), TEST, np.int32)
    test = _assign(groups, labels, (1 - test_fraction, test_fraction), salt=f"{seed}/test") == 1
    fractions = (1 / num_folds,) * num_folds
    fold[~test] = _assign(groups[~test], labels[~test], fractions, salt=f"{seed}/folds")
    together = tuple(tuple(names) for names in together)
    joined = _join(fold, groups, ids, together)
    parts = {f"fold {number}": joined == number for number in range(num_folds)}
    if test_fraction:
        parts["the test set"] = joined == TEST
    for name, part in parts.items():
        _require_every_class(labels[part], labels, tuple(classes), name)
    return Folds(
        ids=ids,
        patient_ids=patient_ids,
        labels=labels,
        classes=tuple(classes),
        fold=fold,
        num_folds=num_folds,
        test_fraction=float(test_fraction),
        seed=seed,
        group_by=group_by,
        together=together,
    )


def _join(
    part: np.ndarray, groups: np.ndarray, ids: np.ndarray, together: Sequence[Sequence[str]]
) -> np.ndarray:
    """[N] parts, in which linked groups are where the largest of them was, then the first by name.

    Args:
        part: [N] int, of each image.
        groups: [N] of each image.
        ids: [N] of each image.
        together: ids of which the groups are linked; those that are not among `ids` count for
            nothing.
    """
    if not together:
        return part
    names, number, images = np.unique(groups, return_inverse=True, return_counts=True)
    group_of = dict(zip(ids.tolist(), number.tolist(), strict=True))
    links = [
        (numbers[0], other)
        for cluster in together
        if (numbers := [group_of[name] for name in cluster if name in group_of])
        for other in numbers
    ]
    edges = np.array(links, np.int64).reshape(-1, 2)
    graph = coo_array((np.ones(len(edges), bool), edges.T), shape=(len(names), len(names)))
    _, component = csgraph.connected_components(graph, directed=False)
    part_of = np.zeros(len(names), part.dtype)
    part_of[number] = part
    leader = {}
    for group in sorted(range(len(names)), key=lambda g: (-images[g], names[g])):
        leader.setdefault(component[group], group)
    return np.array([part_of[leader[c]] for c in component], part.dtype)[number]


def _assign(
    groups: np.ndarray, labels: np.ndarray, fractions: Sequence[float], *, salt: str
) -> np.ndarray:
    """Assigns every group to one part, so that each part gets its fraction of each class.

    Greedy: largest groups first, then by seeded hash; each goes where it lowers the squared
    distance to the parts' class targets most, counted relative to the class size so that rare
    classes weigh as much as common ones. scikit-learn's StratifiedGroupKFold does the same for
    equal parts, but its shuffling has changed between releases: a study's folds must not
    depend on the installed version, hence no library random numbers here at all.

    Returns: [N] int32, the part of every row.
    """
    names, group_of_row = np.unique(groups, return_inverse=True)
    num_classes = int(labels.max(initial=0)) + 1
    counts = np.zeros((len(names), num_classes), np.int64)
    np.add.at(counts, (group_of_row, labels), 1)
    totals = counts.sum(0)
    targets = np.outer(fractions, totals)
    scale = 1 / np.maximum(totals, 1) ** 2
    open_parts = np.asarray(fractions) > 0
    filled = np.zeros(targets.shape, np.int64)
    groups_left = (counts > 0).sum(0)
    order = sorted(
        range(len(names)), key=lambda g: (-int(counts[g].sum()), seeded_rank(salt, str(names[g])))
    )
    part_of_group = np.zeros(len(names), np.int32)
    for g in order:
        change = counts[g] * (2 * (filled - targets) + counts[g])
        cost = np.where(open_parts, np.round((change * scale).sum(1), 12), math.inf)
        # The last groups of a class go to the parts that still lack it.
        lacking = open_parts[:, None] & (filled == 0) & (counts[g] > 0)
        urgent = lacking[:, groups_left <= lacking.sum(0)].any(1)
        if urgent.any():
            cost = np.where(urgent, cost, math.inf)
        part = int(np.argmin(cost))
        part_of_group[g] = part
        filled[part] += counts[g]
        groups_left -= counts[g] > 0
    return part_of_group[group_of_row]


def _require_every_class(
    labels: np.ndarray, all_labels: np.ndarray, classes: tuple[str, ...], where: str
) -> None:
    expected = range(max(len(classes), 1))
    there = np.bincount(labels, minlength=len(expected))
    overall = np.bincount(all_labels, minlength=len(expected))
    for number in expected:
        if there[number] == 0:
            name = f"class '{classes[number]}'" if classes else "the data set"
            total = int(overall[number])
            if classes and not total:
                counts = ", ".join(f"{c} {n}" for c, n in zip(classes, overall, strict=True))
                raise InputError(
                    f"no image has the label of {name} ({counts}): correct the labels of the data "
                    "set, or leave the class out of data.classes"
                )
            counts = ", ".join(f"{c} {n}" for c, n in zip(classes, there, strict=False))
            raise InputError(
                f"{name} has no example in {where} ({counts or 'it is empty'}); there "
                f"{'is' if total == 1 else 'are'} {total} in total. Use fewer folds, larger "
                "fractions or more patients"
            )


def _check_fraction(name: str, fraction: float) -> None:
    if not 0 <= fraction < 1:
        raise InputError(f"{name} is {fraction}: it must be at least 0 and below 1")
