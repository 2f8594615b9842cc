"""TFDS builders, by module name -> one Dataset. TensorFlow is never imported."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib
import io
import json
import logging
import os
import pkgutil
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import absl.logging
import numpy as np
import tensorflow_datasets as tfds

from jaxcxr import files
from jaxcxr.data.dataset import Dataset, Examples, limit_patients
from jaxcxr.data.locking import locked
from jaxcxr.types import InputError

# TFDS' own word for all splits together: how a builder divides its images does not matter here.
SPLIT = "all"
PATIENT_KEYS = ("patient_id", "strict_patient_id")
_TEXTS = ("id", *PATIENT_KEYS, "label", "finding", "view", "source", "age_group")
_TABLE = "jaxcxr_table_v1.npz"
_log = logging.getLogger(__name__)


def where_given(section: Any, first: Any) -> Any:
    """A copy of a second data section, whose `manual_dir` and `data_dir` are the first one's where it names none."""
    section = section.copy_and_resolve_references()
    for name in ("manual_dir", "data_dir"):
        section[name] = section[name] or first[name]
    return section


def open_dataset(data_config: Any) -> Dataset:
    """Opens the builders that the config names, prepares what is missing, and concatenates them.

    Args:
        data_config: has builders (module names), options ({short name: builder options}),
            data_dir ('' = $TFDS_DATA_DIR or ~/tensorflow_datasets), manual_dir, classes
            (() = none: every label is 0), relabel (label of a builder -> class, '' = leave out),
            patient_key, and limit (0 = all; else the images of a fixed stratified draw of
            patients, at most so many).

    Returns:
        The images, ordered by builder and then by id, so that neither TFDS' shuffling nor the
        number of shards matters. Rows without a class are left out and counted in `dropped`.

    Raises:
        InputError: unknown builder or option, source files missing, label outside `classes`,
            the same id twice, or nothing left.
    """
    if data_config.patient_key not in PATIENT_KEYS:
        raise InputError(
            f"data.patient_key is '{data_config.patient_key}': choose one of "
            f"{', '.join(PATIENT_KEYS)}"
        )
    if not data_config.builders:
        raise InputError("data.builders is empty: name at least one builder module")
    parts = [_open_one(module, data_config) for module in data_config.builders]
    tables, examples, rejected = zip(*parts, strict=True)
    dataset = _concatenate(
        tables,
        examples,
        tuple(data_config.classes),
        relabel=relabelling(data_config),
        patient_key=data_config.patient_key,
    )
    dropped = {reason: count for counts in rejected for reason, count in counts.items()}
    dataset = dataclasses.replace(dataset, dropped={**dropped, **dataset.dropped})
    return limit_patients(dataset, data_config.limit, seed=0)


def label_counts(data_config: Any) -> dict[str, int]:
    """Images of each label that the builders give, before `relabel`; those without a label count under ''."""
    tables = [_open_one(module, data_config)[0] for module in data_config.builders]
    labels, counts = np.unique(np.concatenate([table["label"] for table in tables]), return_counts=True)
    return dict(zip(labels.tolist(), counts.tolist(), strict=True))


def relabelling(data_config: Any) -> dict[str, str]:
    """Label of the builders -> class, '' to leave it out; see configs/common_data.py, `data.relabel`."""
    return _pairs("data.relabel", data_config.relabel)


def learned_classes(data_config: Any) -> tuple[str, ...]:
    """The classes that a run learns: those of `targets` where it has any, else all of the study's."""
    classes = tuple(data_config.classes)
    to = targets(data_config)
    return tuple(dict.fromkeys(to[name] for name in classes if to[name]))


def targets(data_config: Any) -> dict[str, str]:
    """Class of the study -> class that this run learns, '' for none; see configs/common_data.py, `data.targets`.

    Raises:
        InputError: `targets` does not say what becomes of each of `classes`.
    """
    classes = tuple(data_config.classes)
    found = _pairs("data.targets", data_config.targets)
    if found and set(found) != set(classes):
        raise InputError(f"data.targets must map each of data.classes {classes}, but has {tuple(found)}")
    return found or {name: name for name in classes}


def _pairs(field: str, texts: Sequence[str]) -> dict[str, str]:
    """('viral=cap', 'other=') -> {'viral': 'cap', 'other': ''}."""
    pairs = [text.partition("=") for text in texts]
    for text, (name, sign, _) in zip(texts, pairs, strict=True):
        if not (name and sign):
            raise InputError(f"{field} has {text!r}: write 'from=to', or 'from=' to leave it out")
    return {name: to for name, _, to in pairs}


def cache_dir(data_config: Any) -> Path:
    """Where preprocessed images are kept: beside the prepared data sets."""
    return _data_dir(data_config.data_dir) / "preprocessed"


def _concatenate(
    tables: Sequence[Mapping[str, np.ndarray]],
    examples: Sequence[Examples],
    classes: tuple[str, ...],
    *,
    relabel: Mapping[str, str],
    patient_key: str,
) -> Dataset:
    offsets = np.cumsum([0, *(len(part) for part in examples)])
    orders = [np.argsort(table["id"]) for table in tables]
    shared = set.intersection(*({n for n in table if n.startswith("mask_")} for table in tables))

    def column(name: str) -> np.ndarray:
        return np.concatenate([t[name][order] for t, order in zip(tables, orders, strict=True)])

    ids, labels, dropped = column("id"), column("label"), {}
    unique, counts = np.unique(ids, return_counts=True)
    if (counts > 1).any():
        names = ", ".join(unique[counts > 1][:10])
        raise InputError(f"{(counts > 1).sum()} ids occur more than once in data.builders: {names}")
    keep = np.ones(len(ids), bool)
    if classes:
        if strange := sorted({*relabel.values()} - {*classes, ""}):
            raise InputError(f"data.relabel names {', '.join(strange)}, which is not in data.classes {classes}")
        labels = np.array([relabel.get(label, label) for label in labels.tolist()])
        unknown = np.flatnonzero(~np.isin(labels, (*classes, "")))
        if len(unknown):
            raise InputError(
                f"label '{labels[unknown[0]]}' of {ids[unknown[0]]} is not in data.classes "
                f"{classes} ({len(unknown)} such images); data.relabel may map it to one of them, or to ''"
            )
        keep = labels != ""
        findings = column("finding")[~keep]
        for finding, count in zip(*np.unique(findings, return_counts=True), strict=True):
            dropped[f"no class of the study: {finding or 'no finding given'}"] = int(count)
        indices = np.array([classes.index(label) if label else -1 for label in labels], np.int32)
    else:
        indices = np.zeros(len(ids), np.int32)
    if not keep.any():
        raise InputError("data.builders give no image with a class of the study")
    rows = np.concatenate([order + o for order, o in zip(orders, offsets[:-1], strict=True)])
    return Dataset(
        ids=ids[keep],
        patient_ids=column(patient_key)[keep],
        labels=indices[keep],
        findings=column("finding")[keep],
        views=column("view")[keep],
        sources=column("source")[keep],
        age_groups=column("age_group")[keep],
        classes=classes,
        image_hashes=column("image")[keep],
        mask_hashes={n.removeprefix("mask_"): column(n)[keep] for n in sorted(shared)},
        examples=_Concatenated(examples, offsets),
        rows=rows[keep],
        dropped=dropped,
    )


class _Concatenated:
    """Examples of several builders, one after the other."""

    def __init__(self, parts: Sequence[Examples], offsets: np.ndarray):
        self._parts, self._offsets = parts, offsets

    def __len__(self) -> int:
        return int(self._offsets[-1])

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        part = int(np.searchsorted(self._offsets, index, side="right")) - 1
        return self._parts[part][index - int(self._offsets[part])]


class _Prepared:
    """The examples of one prepared builder, images and masks still encoded."""

    def __init__(self, builder: Any):
        self._folder = builder.data_dir
        skip = {
            name: tfds.decode.SkipDecoding()
            for name, feature in builder.info.features.items()
            if isinstance(feature, tfds.features.Image)
        }
        try:
            self._source = builder.as_data_source(split=SPLIT, decoders=skip)
            self._length = len(self._source)
        except RuntimeError as error:  # how array_record reports damage
            raise self._damaged(error) from error

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        try:
            example = self._source[index]
        except (RuntimeError, ValueError) as error:
            raise self._damaged(error) from error
        if not example.get("id"):  # what a truncated file gives
            raise self._damaged(f"example {index} is empty")
        return example

    def _damaged(self, problem: object) -> InputError:
        return InputError(
            f"the prepared data set in {self._folder} is damaged ({problem}): remove that folder, "
            "it is then prepared again"
        )


def _open_one(
    module: str, data_config: Any
) -> tuple[dict[str, np.ndarray], Examples, dict[str, int]]:
    """Prepares one builder if need be; its metadata table, encoded examples, rejected counts."""
    builder_class, name = _builder_class(module)
    options = dict(data_config.options.get(name, {}).items())
    try:
        builder_config = builder_class.configure(**options)
    except (TypeError, ValueError) as error:
        raise InputError(f"data.options.{name}: {error}") from error
    root = _data_dir(data_config.data_dir)
    manual_dir = None
    if builder_class.MANUAL_DOWNLOAD_INSTRUCTIONS and data_config.manual_dir:
        manual_dir = Path(data_config.manual_dir).expanduser().resolve()
        root = root / f"manual-{_manual_fingerprint(manual_dir)[:16]}"
    try:
        root.mkdir(parents=True, exist_ok=True)
        with locked(root / f".{name}.lock"), _quiet_tfds():
            builder = builder_class(
                config=builder_config, data_dir=root, file_format="array_record"
            )
            if not Path(builder.data_dir, "dataset_info.json").exists():
                origin = f" from {manual_dir}" if manual_dir else ""
                print(f"preparing {name}{origin} in {builder.data_dir} ...", flush=True)
                _prepare(builder, manual_dir)
            if not builder.info.splits or not builder.info.splits.total_num_examples:
                raise InputError(f"data set {name} has no images in {builder.data_dir}")
            examples = _Prepared(builder)
            return _table(Path(builder.data_dir), examples), examples, _rejected(builder)
    except InputError:
        raise
    except (ValueError, OSError, AssertionError) as error:  # AssertionError: tfds' manual_dir
        raise InputError(f"data set {name} cannot be prepared: {error}") from error


def _builder_class(module: str) -> tuple[Any, str]:
    """The Builder of `<package>.<name>` lives in `<package>.<name>.<name>_dataset_builder`."""
    package, _, name = module.rpartition(".")
    path = f"{module}.{name}_dataset_builder"
    try:
        return importlib.import_module(path).Builder, name
    except ModuleNotFoundError as error:
        if error.name is None or not path.startswith(error.name):
            raise  # the builder exists; something that it needs does not
    known = []
    with contextlib.suppress(ModuleNotFoundError, ValueError):
        paths = importlib.import_module(package).__path__
        known = [f"{package}.{m.name}" for m in pkgutil.iter_modules(paths) if m.ispkg]
    raise InputError(
        f"data.builders names '{module}', which does not exist; there is: "
        f"{', '.join(known) or f'no builder in {package!r}'}"
    )


def _data_dir(data_dir: str) -> Path:
    default = os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    return Path(data_dir or default).expanduser().resolve()


def _manual_fingerprint(manual_dir: Path) -> str:
    """sha256 over the path and every file's relative name, size and time, without reading files.

    Another source gets its own folder of prepared data, so that an answer is never a stale one.
    """
    if not manual_dir.is_dir():
        raise InputError(f"data.manual_dir {manual_dir} is not a folder")
    entries = []
    for folder, _, names in os.walk(manual_dir):
        for name in names:
            path = os.path.join(folder, name)
            if os.path.exists(path):
                status = os.stat(path)
                entries.append(
                    (os.path.relpath(path, manual_dir), status.st_size, status.st_mtime_ns)
                )
    return hashlib.sha256(json.dumps([str(manual_dir), sorted(entries)]).encode()).hexdigest()


def _prepare(builder: Any, manual_dir: Path | None) -> None:
    download = tfds.download.DownloadConfig(manual_dir=manual_dir)
    with contextlib.redirect_stdout(io.StringIO()):
        builder.download_and_prepare(download_config=download)


def _table(folder: Path, examples: Examples) -> dict[str, np.ndarray]:
    """The metadata of every example, cached beside the prepared data."""
    cached = folder / _TABLE
    shards = sorted(folder.glob("*.array_record*"))
    version = json.dumps([(p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in shards])
    try:
        with open(cached, "rb") as file, np.load(file, allow_pickle=False) as table:
            columns = {name: table[name] for name in table.files}
        if columns.pop("version").item() == version:
            return columns
    except FileNotFoundError:
        pass
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        _log.warning("%s is damaged and is made again: %s", cached, error)
    columns = _read_table(examples)
    try:
        files.write_npz(cached, {"version": np.array(version), **columns})
    except OSError as error:  # a shared, read-only data folder: slower the next time, not wrong
        _log.warning("the metadata table of %s cannot be kept: %s", folder, error)
    return columns


def _rejected(builder: Any) -> dict[str, int]:
    """What the builder itself left out (laterals, CT, missing files), if it counts that."""
    counts = (builder.info.metadata or {}).get("rejected", {})
    return {f"{builder.name}: {reason}": n for reason, n in counts.items() if n}


def _read_table(examples: Examples) -> dict[str, np.ndarray]:
    columns: dict[str, list[str]] = {}
    for index in range(len(examples)):
        for name, value in examples[index].items():
            if name in _TEXTS:
                columns.setdefault(name, []).append(value.decode())
            elif name == "image" or name.startswith("mask_"):
                columns.setdefault(name, []).append(hashlib.sha256(value).hexdigest())
    return {name: np.array(values) for name, values in columns.items()}


@contextlib.contextmanager
def _quiet_tfds() -> Iterator[None]:
    """Only errors from tfds and absl; tfds' own progress bars are off."""
    verbosity = absl.logging.get_verbosity()
    absl.logging.set_verbosity(absl.logging.ERROR)
    tfds.disable_progress_bar()
    try:
        yield
    finally:
        absl.logging.set_verbosity(verbosity)
