"""Predictions as a file: what the learners hand to the ensemble and to the reports."""

from __future__ import annotations

import dataclasses
import json
import os
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxcxr.errors import InputError
from jaxcxr.storage import files

SPLITS = ("train", "valid", "oof", "test")
_FORMAT = "jaxcxr.predictions/1"
_META = ("classes", "fold", "learner", "split_sha256", "dataset_fingerprint", "group_by")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Predictions:
    """Class probabilities of one learner for one fold, with all that is needed to score them.

    Attributes:
        ids: unique image ids [N], str.
        patient_ids: [N], str.
        split: [N], str: 'train', 'valid', 'oof' (the fold held out) or 'test'.
        labels: [N], int32, indices into `classes`.
        probabilities: [N, C], float32, rows sum to 1.
        classes: names of the C classes.
        fold: number of the fold that was held out.
        learner: name of the model.
        split_sha256: hash of the folds of the whole data set.
        dataset_fingerprint: hash of the data set.
        group_by: 'patient', or 'image' where the folds let a patient be in two splits.
        extra: further arrays [N, ...] by name: other aggregates of the patches, source, age_group.
        path: where it was loaded from; '' if it was not.
    """

    ids: np.ndarray
    patient_ids: np.ndarray
    split: np.ndarray
    labels: np.ndarray
    probabilities: np.ndarray
    classes: tuple[str, ...]
    fold: int
    learner: str
    split_sha256: str
    dataset_fingerprint: str
    group_by: str = "patient"
    extra: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    path: str = dataclasses.field(default="", compare=False)

    def __post_init__(self) -> None:
        convert = object.__setattr__  # the dataclass is frozen
        for name in ("ids", "patient_ids", "split"):
            convert(self, name, np.asarray(getattr(self, name), dtype=np.str_))
        convert(self, "labels", np.asarray(self.labels, dtype=np.int32))
        convert(self, "probabilities", np.asarray(self.probabilities, dtype=np.float32))
        convert(self, "classes", tuple(map(str, self.classes)))
        convert(self, "fold", int(self.fold))
        convert(self, "extra", {name: np.asarray(array) for name, array in self.extra.items()})
        problem = self._problem()
        if problem is not None:
            raise InputError(f"{self.name}: {problem}.")

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def name(self) -> str:
        """The file, or else learner and fold: for messages."""
        return self.path or f"predictions of {self.learner}, fold {self.fold}"

    def select(self, split: str) -> Predictions:
        """Returns the rows of one split, in their order; none if it holds none.

        Raises:
            InputError: there is no such split at all.
        """
        if split not in SPLITS:
            raise InputError(f"split {split!r} is unknown; known: {', '.join(SPLITS)}")
        return self._take(np.flatnonzero(self.split == split))

    def output(self, name: str) -> np.ndarray:
        """Returns `probabilities` or one of `extra`, as the ensemble's input: float32 [N, C].

        Raises:
            InputError: there is none of that name.
        """
        if name == "probabilities":
            return self.probabilities
        if name not in self.extra or self.extra[name].shape != self.probabilities.shape:
            shape = self.probabilities.shape
            outputs = [key for key, array in self.extra.items() if array.shape == shape]
            raise InputError(
                f"{self.name} holds no {name!r}; it holds: "
                f"{', '.join(['probabilities', *outputs])}."
            )
        return self.extra[name].astype(np.float32)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the `.npz` atomically, rows in the order of their ids.

        Equal content, equal bytes.
        """
        ordered = self._take(np.argsort(self.ids))
        meta = {"format": _FORMAT, **{name: getattr(self, name) for name in _META}}
        arrays = {
            "id": ordered.ids,
            "patient_id": ordered.patient_ids,
            "split": ordered.split,
            "label": ordered.labels,
            "probabilities": ordered.probabilities,
            "meta": np.asarray(json.dumps(meta)),
            **{f"extra/{name}": array for name, array in sorted(ordered.extra.items())},
        }
        files.write_npz(path, arrays)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Predictions:
        """Reads what `save` wrote.

        Raises:
            InputError: it is missing, damaged, or not valid; the message names the file.
        """
        path = Path(path)
        if not path.exists():
            raise InputError(f"{path} does not exist: finish the run that writes it first.")
        try:
            # Opened here, as np.load leaves a damaged file open.
            with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
            meta: dict[str, Any] = json.loads(str(arrays["meta"]))
            if meta.pop("format") != _FORMAT:
                raise ValueError(f"its format is not {_FORMAT}")
            fields = {
                "ids": arrays["id"],
                "patient_ids": arrays["patient_id"],
                "split": arrays["split"],
                "labels": arrays["label"],
                "probabilities": arrays["probabilities"],
                **{name: meta[name] for name in _META},
            }
        except (OSError, EOFError, ValueError, KeyError, AttributeError, NotImplementedError,
                zipfile.BadZipFile, zlib.error) as error:  # fmt: skip
            raise InputError(
                f"{path} is damaged ({error}): write it again with --config.run=predict."
            ) from error
        prefix = "extra/"
        extra = {n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)}
        return cls(**fields, extra=extra, path=str(path))

    def _take(self, rows: np.ndarray) -> Predictions:
        names = ("ids", "patient_ids", "split", "labels", "probabilities")
        return dataclasses.replace(
            self,
            **{name: getattr(self, name)[rows] for name in names},
            extra={name: array[rows] for name, array in self.extra.items()},
        )

    def _problem(self) -> str | None:
        n, c = len(self.ids), len(self.classes)
        if self.ids.ndim != 1:
            return f"ids have shape {self.ids.shape}, not [N]"
        for name in ("patient_ids", "split", "labels"):
            if getattr(self, name).shape != (n,):
                return f"{name} have shape {getattr(self, name).shape}, not ({n},) as the ids"
        if self.probabilities.shape != (n, c):
            return f"probabilities have shape {self.probabilities.shape}, not ({n}, {c})"
        for name, array in self.extra.items():
            if array.dtype.hasobject or array.shape[:1] != (n,):
                return (
                    f"{name} is {array.dtype}{list(array.shape)}; plain arrays [{n}, ...] are kept"
                )
        if len(np.unique(self.ids)) != n:
            names, counts = np.unique(self.ids, return_counts=True)
            return f"ids are not unique: {_some(names[counts > 1])}"
        if not np.isin(self.split, SPLITS).all():
            return f"unknown splits: {_some(np.setdiff1d(self.split, SPLITS))}"
        invalid = (self.labels < 0) | (self.labels >= c)
        if invalid.any():
            return f"labels outside the {c} classes: {_some(self.ids[invalid])}"
        invalid = ~np.isfinite(self.probabilities).all(axis=1)
        if invalid.any():
            return f"probabilities are not finite: {_some(self.ids[invalid])}"
        # In float64 and loose enough for mean_softmax over 100 patches in float32.
        total = self.probabilities.astype(np.float64).sum(axis=1)
        invalid = (np.abs(total - 1) > 1e-4) | (self.probabilities < 0).any(axis=1)
        if invalid.any():
            return f"probabilities are negative or do not sum to 1: {_some(self.ids[invalid])}"
        return None


def check_same_split(predictions: Sequence[Predictions], *, splits: Sequence[str] = ()) -> None:
    """Checks that files may be compared or stacked: same data, same folds, nobody on both sides.

    Any learners and folds together. All: same classes, data set and folds; an id has the same
    patient and label everywhere; no patient in two splits of a file, nor held out by two folds, nor
    out of fold and in the test set (unless the folds are by image). Files of the same fold: the
    same ids in the same order within each split that both hold.

    Args:
        predictions: what to check; loaded ones are named by their file.
        splits: splits that every file must hold.

    Raises:
        InputError: names the file and what differs.
    """
    if not predictions:
        raise InputError("there are no predictions to compare")
    first = predictions[0]
    first_seen: dict[str, tuple[str, int, str]] = {}
    for p in predictions:
        for field in ("classes", "split_sha256", "dataset_fingerprint", "group_by"):
            a, b = getattr(first, field), getattr(p, field)
            if a != b:
                raise InputError(
                    f"{p.name} does not belong with {first.name}: {field} is {_short(b)}, there "
                    f"{_short(a)}. Predict again with the same data and split configuration."
                )
        for split in splits:
            if not (p.split == split).any():
                raise InputError(
                    f"{p.name} holds no rows of split {split!r}; write them with "
                    "--config.run=predict and that name among --config.predict.splits."
                )
        for row in zip(p.ids.tolist(), p.patient_ids.tolist(), p.labels.tolist(), strict=True):
            before = first_seen.setdefault(row[0], (row[1], row[2], p.name))
            if before[:2] != row[1:]:
                what = "patient" if before[0] != row[1] else "label"
                raise InputError(
                    f"{p.name} does not belong with {before[2]}: the {what} of {row[0]} is "
                    f"{row[1] if what == 'patient' else row[2]}, there {before[what == 'label']}."
                )
    _check_folds(predictions)
    if first.group_by == "patient":
        _check_patients(predictions)


def _check_folds(predictions: Sequence[Predictions]) -> None:
    """Checks that the files of a fold have the same rows, and all learners the same folds."""
    first_of: dict[tuple[int, str], Predictions] = {}
    folds_of: dict[str, set[int]] = {}
    for p in predictions:
        origin = str(Path(p.path).parent.parent) if p.path else p.learner
        folds_of.setdefault(origin, set()).add(p.fold)
        for split in np.unique(p.split).tolist():
            other = first_of.setdefault((p.fold, split), p)
            ours, theirs = p.ids[p.split == split], other.ids[other.split == split]
            if np.array_equal(ours, theirs):
                continue
            missing, more = np.setdiff1d(theirs, ours), np.setdiff1d(ours, theirs)
            parts = [f"lacks {_some(missing)}"] * bool(len(missing))
            parts += [f"has in addition {_some(more)}"] * bool(len(more))
            raise InputError(
                f"{p.name} and {other.name} differ in split {split!r} of fold {p.fold}: the former "
                + (" and ".join(parts) or "has the same ids in another order")
                + "."
            )
    (reference, folds), *others = folds_of.items()
    for origin, its in others:
        if its != folds:
            raise InputError(
                f"{origin} holds folds {sorted(its)}, but {reference} holds {sorted(folds)}: train "
                "the missing folds first."
            )


def _check_patients(predictions: Sequence[Predictions]) -> None:
    def disjoint(a: set[str], b: set[str], where: str) -> None:
        if both := a & b:
            raise InputError(
                f"patients are {where}: {_some(sorted(both))}. Make the folds by patient "
                "(--config.split.group_by=patient) and train again."
            )

    def patients(p: Predictions, split: str) -> set[str]:
        return set(p.patient_ids[p.split == split].tolist())

    tested: dict[str, str] = {}
    held_out: dict[str, int] = {}
    for p in predictions:
        held = {split: patients(p, split) for split in SPLITS}
        for i, a in enumerate(SPLITS):
            for b in SPLITS[i + 1 :]:
                disjoint(held[a], held[b], f"both in {a!r} and in {b!r} of {p.name}")
        tested |= dict.fromkeys(held["test"], p.name)
        for patient in held["oof"]:
            if held_out.setdefault(patient, p.fold) != p.fold:
                raise InputError(
                    f"patient {patient} is held out by fold {p.fold} ({p.name}) and by fold "
                    f"{held_out[patient]}: the files are of different folds."
                )
    for p in predictions:
        out = patients(p, "oof") & tested.keys()
        if out:
            file = tested[min(out)]
            disjoint(out, out, f"out of fold in {p.name} and in the test set of {file}")


def _some(names: Any, limit: int = 5) -> str:
    names = [str(name) for name in names]
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def _short(value: Any) -> str:
    text = str(value) if isinstance(value, str) else repr(value)
    return f"{text[:12]}..." if isinstance(value, str) and len(text) == 64 else text
