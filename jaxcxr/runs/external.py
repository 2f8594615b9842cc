"""A finished classifier on another labelled data set: what it is worth where it was not made."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict
from tqdm import tqdm

from jaxcxr import data, parallel
from jaxcxr.artifacts import MANIFEST, VOLATILE, Predictions, RunFolder
from jaxcxr.data import dropped, overlap, xray_files
from jaxcxr.data.dataset import Dataset
from jaxcxr.data.preprocessing import Prepared
from jaxcxr.report.document import NOTICE, read_predictions
from jaxcxr.report.external import write_external_report
from jaxcxr.runs.trained import Network, enlarged, open_segmenter
from jaxcxr.types import InputError

FOLDER = "external"
# The learner stays what it is, whoever finds the lungs for it.
_VOLATILE = (*VOLATILE, "masks.workdir", "masks.on_empty")
_THREADS = 4


def run(config: ConfigDict, workdir: Path) -> None:
    """`--config.run=evaluate` of a trained classifier with `evaluate.data.builders`.

    Writes `external/<name>/` below the run folder: predictions.npz, report.md, report.json and
    plots/; prints the scores beside those on the run's own test images. Patients of the run's own
    data are left out, so these must be there: `data.manual_dir` and `data.data_dir` are those of
    the training where they are not given.

    Raises:
        InputError: the run is not finished, its data are not there, or no image is left to measure
            on.
    """
    if config.evaluate.same_source not in ("left_out", "kept"):
        raise InputError(
            f"evaluate.same_source={config.evaluate.same_source!r} is unknown; known: left_out, "
            "kept"
        )
    parallel.check_batch_size(config.evaluate.batch_size, field="evaluate.batch_size")
    name = "-".join(module.rpartition(".")[2] for module in config.evaluate.data.builders)
    with RunFolder.open(
        workdir, config.to_dict(), active=parallel.is_main(), volatile=_VOLATILE
    ) as folder:
        learner = Learner.open(config, folder)
        folder.claim()
        own = _own(config, folder)
        section, unknown = _section(config)
        dataset = data.open_dataset(section)
        if parallel.is_main():
            dropped.print_once(dataset.dropped, dataset.notices)
        left_out = {reason: found.count for reason, found in dataset.dropped.items()}
        rows, shared = _unseen(config, dataset, section, own, left_out)
        started = time.monotonic()
        predictions, bad = learner.predict(dataset, rows)
        left_out |= _counted(bad, section.max_bad_images)
        if predictions is None:
            raise InputError(f"no image of {name} is left: {_listed(left_out)}")
        folder.add_timing(
            f"{FOLDER}/{name}", seconds=time.monotonic() - started, images=len(predictions)
        )
        if not parallel.is_main():
            return
        target = folder.path / FOLDER / name
        predictions.save(target / "predictions.npz")
        said = write_external_report(
            target,
            folder.path,
            name=name,
            settings=section.to_dict(),
            left_out={reason: count for reason, count in left_out.items() if count},
            warnings=[*shared, *unknown, *dataset.notices],
        )
        folder.write_text(f"{FOLDER}/{name}/table.txt", said)
        print(f"{said}\n\nwrote {target / 'report.md'}. {NOTICE}")


@dataclasses.dataclass(frozen=True)
class Learner:
    """The run's network, and what finds the lungs for it.

    Nothing, the data set's own masks or a segmenter.
    """

    network: Network
    masks: data.DatasetMasks | None
    segmenter: Network | None

    @classmethod
    def open(cls, config: ConfigDict, folder: RunFolder) -> Learner:
        """The run in `folder` with the masks that its config asks for.

        Raises:
            InputError: the run, or the segmenter that it needs, cannot be read.
        """
        network = Network.open(config, folder)
        if not network.needs_lungs:
            return cls(network, None, None)
        # A run that was trained with a segmenter's masks knows that segmenter.
        given = config.masks.workdir or folder.config().get("masks", {}).get("workdir", "")
        if given:
            return cls(network, None, open_segmenter(Path(given)))
        masks = data.DatasetMasks(
            structures=tuple(config.masks.structures), on_empty=config.masks.on_empty
        )
        return cls(network, masks, None)

    def predict(
        self, dataset: Dataset, rows: np.ndarray
    ) -> tuple[Predictions | None, dict[str, str]]:
        """Of these rows; and why some have none: id -> reason.

        Raises:
            InputError: the learner needs masks, and there are none.
        """
        self._check_masks(dataset)
        config = self.network.config
        size, count = config.evaluate.batch_size, config.patches.eval_count
        parts: list[dict[str, np.ndarray]] = []
        used: list[int] = []
        bad: dict[str, str] = {}
        with (
            tqdm(
                total=len(rows), desc="external", unit="image", disable=not parallel.is_main()
            ) as bar,
            ThreadPoolExecutor(_THREADS) as pool,
        ):
            for start in range(0, len(rows), size):
                some = rows[start : start + size].tolist()
                seen = self._views(dataset, some, pool, bad)
                if seen:
                    parts.append(self.network.predict(list(seen.values()), count=count, size=size))
                    used += seen
                bar.update(len(some))
        if not used:
            return None, bad
        whole = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        return _predictions(config, dataset.take(used), whole), bad

    def _check_masks(self, dataset: Dataset) -> None:
        if self.masks is None:
            return
        try:
            self.masks.check(dataset)
        except InputError as error:
            raise InputError(
                f"evaluate.data: {error}: --config.masks.workdir=SEGMENTER, the folder of such a "
                "run"
            ) from error

    def _views(
        self, dataset: Dataset, rows: list[int], pool: ThreadPoolExecutor, bad: dict[str, str]
    ) -> dict[int, Prepared]:
        """Row -> what the network sees of it, for those that it can use; the others go to `bad`."""
        network, segmenter = self.network, self.segmenter
        names = {row: dataset.ids[row].item() for row in rows}

        def load(row: int) -> tuple[np.ndarray, np.ndarray | None] | InputError:
            try:
                return dataset.image(row), self.masks.read(dataset, row) if self.masks else None
            except InputError as error:
                return error

        loaded = {}
        for row, found in zip(rows, pool.map(load, rows), strict=True):
            if isinstance(found, InputError):
                bad[names[row]] = _UNREADABLE
            else:
                loaded[row] = found
        if segmenter is not None and loaded:
            first = [
                segmenter.view(pixels, None, names[row]) for row, (pixels, _) in loaded.items()
            ]
            lungs = segmenter.find_lungs(first, size=network.config.evaluate.batch_size)
            pairs = zip(loaded.items(), lungs, strict=True)
            loaded = {
                row: (pixels, enlarged(lung, pixels.shape)) for (row, (pixels, _)), lung in pairs
            }
        structures = self.masks.structures if self.masks else ("lung",)
        views = {
            row: network.view(*found, names[row], structures=structures)
            for row, found in loaded.items()
        }
        bad |= {
            names[row]: xray_files.NO_LUNGS
            for row, view in views.items()
            if not network.can_use(view)
        }
        return {row: view for row, view in views.items() if network.can_use(view)}


_UNREADABLE = "unreadable"


def _predictions(
    config: ConfigDict, dataset: Dataset, found: Mapping[str, np.ndarray]
) -> Predictions:
    """Predictions in which all rows count as test images.

    The hash stands for their choice, so that two runs can be compared on them.
    """
    probabilities = found["probabilities"].astype(np.float32)
    extra = {n: a for n, a in found.items() if n not in ("probabilities", "loss", "index")}
    chosen = sorted(
        zip(
            dataset.ids.tolist(), dataset.patient_ids.tolist(), dataset.labels.tolist(), strict=True
        )
    )
    return Predictions(
        ids=dataset.ids,
        patient_ids=dataset.patient_ids,
        split=np.full(len(dataset), "test"),
        labels=dataset.labels,
        probabilities=probabilities / probabilities.sum(axis=1, keepdims=True),
        classes=dataset.classes,
        fold=config.split.fold,
        learner=config.model.name,
        split_sha256=hashlib.sha256(json.dumps(["external", chosen]).encode()).hexdigest(),
        dataset_fingerprint=dataset.fingerprint,
        extra={"source": dataset.sources, "age_group": dataset.age_groups, **extra},
    )


@dataclasses.dataclass(frozen=True)
class _Own:
    """The data that the run was made with, all splits: images, and their patients by every key."""

    dataset: Dataset
    patients: np.ndarray


def _own(config: ConfigDict, folder: RunFolder) -> _Own:
    """Without its pixels.

    Raises:
        InputError: it is not there, or is not what the run was made with.
    """
    section = config.data.copy_and_resolve_references()
    saved = folder.config().get("data", {})
    for name in ("manual_dir", "data_dir"):
        section[name] = section[name] or saved.get(name, "")
    where = (
        "evaluate.data is measured without the patients of the run's own data "
        "(--config.data.manual_dir)"
    )
    try:
        dataset = data.open_dataset(section)
    except InputError as error:
        raise InputError(f"{where}, which are not there: {error}") from error
    recorded = folder.read_json(MANIFEST, {}).get("dataset", {})
    ids = read_predictions(folder.path).ids
    whole = len(dataset) == recorded.get("images")  # else some were unreadable, and are in no split
    changed = whole and dataset.fingerprint != recorded["fingerprint"]
    if changed or len(dataset) < recorded.get("images", 0) or not np.isin(ids, dataset.ids).all():
        raise InputError(f"{where}, and what is there now is not what {folder.path} was made with")
    return _Own(dataset, overlap.patient_names(dataset, section))


def _section(config: ConfigDict) -> tuple[ConfigDict, list[str]]:
    """`evaluate.data` with the run's classes and labels, and a warning of unknown labels.

    Other labels are what the run calls them.
    """
    section = data.where_given(config.evaluate.data, config.data)
    to = data.targets(config.data)
    given = data.relabelling(section)
    if strange := sorted({*given.values()} - {*to, ""}):
        raise InputError(
            f"evaluate.data.relabel names {', '.join(strange)}; the run's classes are "
            f"{', '.join(to)}"
        )
    calls = {**data.relabelling(config.data), **given}
    counts = data.label_counts(section)
    class_of = {label: calls.get(label, label) for label in counts if label}
    unknown = {label: counts[label] for label, name in class_of.items() if name not in to and name}
    section.classes, section.targets = data.learned_classes(config.data), ()
    section.relabel = tuple(f"{label}={to.get(name, '')}" for label, name in class_of.items())
    for name in data.Preprocessing.fields():
        section[name] = config.data[name]
    listed = ", ".join(f"{label} ({count:,})" for label, count in unknown.items())
    if all(to.get(name, "") == "" for name in class_of.values()):
        raise InputError(
            f"evaluate.data has no image of a class of the run ({', '.join(section.classes)}), "
            f"but {listed or 'none'}: say what they are, "
            "--config.evaluate.data.relabel=\"('label=class',)\""
        )
    if not unknown:
        return section, []
    return section, [
        (
            f"Left out because the run has no such class: {listed}; evaluate.data.relabel may map "
            "them to one."
        )
    ]


def _unseen(
    config: ConfigDict, dataset: Dataset, section: ConfigDict, own: _Own, left_out: dict[str, int]
) -> tuple[np.ndarray, list[str]]:
    """The rows that the run's own data know nothing of; counts the others.

    With a warning where they share a source.
    """
    drop = config.evaluate.same_source == "left_out"
    patients = overlap.patient_names(dataset, section)
    seen = overlap.overlap(dataset, patients, own.dataset, own.patients, sources=drop)
    left_out |= {reason: len(rows) for reason, rows in seen.items()}
    rows = np.setdiff1d(np.arange(len(dataset)), np.concatenate(list(seen.values())))
    if not len(rows):
        hint = (
            "; evaluate.same_source=kept measures on other patients of the same source"
            if drop
            else ""
        )
        raise InputError(
            "no image of evaluate.data is left that the run's own data do not have: "
            f"{_listed(left_out)}{hint}"
        )
    shared = np.isin(dataset.sources[rows], own.dataset.sources)
    if not shared.any():
        return rows, []
    sources = ", ".join(np.unique(dataset.sources[rows][shared]).tolist())
    return rows, [
        (
            f"{int(shared.sum()):,} of {len(rows):,} images are of a source that the run's own "
            f"data have ({sources}): they are other patients, but no external test."
        )
    ]


def _counted(bad: Mapping[str, str], most: int) -> dict[str, int]:
    """Reason -> images; InputError where more than `most` are unreadable."""
    unreadable = [name for name, reason in bad.items() if reason == _UNREADABLE]
    if len(unreadable) > most:
        raise InputError(
            f"{len(unreadable)} images are unreadable: {', '.join(unreadable[:10])}. Mend or "
            f"remove them, or set evaluate.data.max_bad_images to {len(unreadable)} to go on "
            "without them"
        )
    return {reason: list(bad.values()).count(reason) for reason in dict.fromkeys(bad.values())}


def _listed(left_out: Mapping[str, int]) -> str:
    return "; ".join(f"{reason} ({count:,})" for reason, count in left_out.items() if count)
