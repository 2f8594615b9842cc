"""A builder's data set on disk: prepared once, checked on every read.

TensorFlow is never imported.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib
import inspect
import io
import json
import logging
import os
import pkgutil
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import absl.logging
import numpy as np
import tensorflow_datasets as tfds

from jaxcxr import shipped
from jaxcxr.data.dataset import Examples
from jaxcxr.data.dropped import Dropped
from jaxcxr.data.locking import is_read_only, locked
from jaxcxr.errors import InputError
from jaxcxr.storage import files

# TFDS' own word for all splits together: how a builder divides its images does not matter here.
SPLIT = "all"
PATIENT_KEYS = ("patient_id", "strict_patient_id")
_TEXTS = ("id", *PATIENT_KEYS, "label", "finding", "view", "source", "age_group")
_TABLE_SUFFIXES = (".csv", ".txt", ".json")
_MAX_TABLE, _MAX_TABLES = 8 << 20, 64 << 20  # bytes of one table, and of all
_TABLE = "jaxcxr_table_v2.npz"
_REMOVE = "remove that folder, it is then prepared again"
_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PreparedSet:
    """A prepared data set of N images.

    Attributes:
        name: of the builder.
        table: column -> [N] strings: texts, and the sha256 of the encoded image and masks.
        examples: the encoded images and masks, checked against these.
        dropped: images that the builder rejected (laterals, missing files), by reason.
        notices: assumptions of the builder.
        unknown_findings: findings that the data set is not known to have.
        known_findings: those that it may have; empty where it has no others, or nobody says.
        version: of the builder, "" where nobody says.
    """

    name: str
    table: Mapping[str, np.ndarray]
    examples: Examples
    dropped: Mapping[str, Dropped]
    notices: tuple[str, ...]
    unknown_findings: frozenset[str]
    known_findings: frozenset[str] = frozenset()
    version: str = ""


def open_prepared(module: str, data_config: Any) -> PreparedSet:
    """Opens the data set of a builder, which is prepared if need be.

    Args:
        module: the builder.
        data_config: see `builders.open_dataset`.

    Raises:
        InputError: unknown builder or option, source files missing or damaged, no space, or the
            prepared data are damaged.
    """
    builder_class, name = _builder_class(module)
    options = dict(data_config.options.get(name, {}).items())
    try:
        builder_config = builder_class.configure(**options)
    except (TypeError, ValueError) as error:
        raise InputError(f"data.options.{name}: {error}") from error
    root = data_folder(data_config.data_dir)
    manual_dir = None
    if builder_class.MANUAL_DOWNLOAD_INSTRUCTIONS and data_config.manual_dir:
        manual_dir = manual_folder(data_config.manual_dir)
        root = root / f"manual-{_manual_fingerprint(manual_dir)[:16]}"
    if code := _code_fingerprint(Path(inspect.getfile(builder_class))):
        root = root / f"code-{code[:16]}"

    def find() -> Any:
        with files.reading(root / name, _REMOVE):
            return builder_class(config=builder_config, data_dir=root, file_format="array_record")

    with _quiet_tfds():
        builder = find()
        if not _is_prepared(builder):
            with _preparing(name, root), locked(root / f".{name}.lock"):
                builder = find()  # another process may have been faster
                if not _is_prepared(builder):
                    _prepare(builder, manual_dir)
        with files.reading(builder.data_dir, _REMOVE):
            return _open(builder, name)


def manual_folder(manual_dir: str, *, field: str = "data.manual_dir") -> Path:
    """The folder of data sets downloaded by hand.

    Raises:
        InputError: there is no such folder; it names the `field`.
    """
    folder = files.expanded(manual_dir, "give the whole path").resolve()
    if not folder.is_dir():
        raise InputError(
            f"{field} {folder} is not a folder: name the one that contains the data sets "
            "(docs/DATASETS.md)"
        )
    return folder


def data_folder(data_dir: str) -> Path:
    """The folder of prepared data sets: `data.data_dir`, or TFDS' default if that is ''."""
    default = os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    return files.expanded(data_dir or default, "name a folder in config.data.data_dir").resolve()


def _builder_class(module: str) -> tuple[Any, str]:
    """The Builder of `<package>.<name>` lives in `<package>.<name>.<name>_dataset_builder`."""
    package, _, name = module.rpartition(".")
    path = f"{module}.{name}_dataset_builder"
    shipped.make_importable()
    try:
        return importlib.import_module(path).Builder, name
    except ModuleNotFoundError as error:
        if error.name is None or not path.startswith(error.name):
            raise  # the builder exists; something that it needs does not
    existing = []
    with contextlib.suppress(ModuleNotFoundError, ValueError):
        paths = importlib.import_module(package).__path__
        existing = [f"{package}.{m.name}" for m in pkgutil.iter_modules(paths) if m.ispkg]
    raise InputError(
        f"data.builders names '{module}', which does not exist; there is: "
        f"{', '.join(existing) or f'no builder in {package!r}'}"
    )


def _manual_fingerprint(manual_dir: Path) -> str:
    """sha256 over the path, every file's relative name, size and time, and the tables' contents.

    No other file is read: a table that is edited may keep its size, and a copy its time.

    Another source gets its own folder of prepared data, so that an answer is never a stale one.
    Links are followed, and their targets are part of it: a data set may lie elsewhere. Every real
    folder is entered once, so that links in a circle end.
    """
    entries, links, entered, left = [], [], set(), [""]
    paths = {}
    while left:
        folder = left.pop()
        with contextlib.suppress(OSError), os.scandir(os.path.join(manual_dir, folder)) as found:
            status = os.stat(os.path.join(manual_dir, folder))
            if (status.st_dev, status.st_ino) in entered:
                continue
            entered.add((status.st_dev, status.st_ino))
            below = []
            for entry in sorted(found, key=lambda entry: os.fsencode(entry.name)):
                relative = os.path.join(folder, entry.name)
                name = os.fsencode(relative).decode(errors="backslashreplace")
                if entry.is_symlink():
                    target = os.fsencode(os.path.realpath(entry.path))
                    links.append((name, target.decode(errors="backslashreplace")))
                with contextlib.suppress(OSError):  # a link to nothing, or removed meanwhile
                    if entry.is_dir():
                        below.append(relative)
                    else:
                        status = entry.stat()
                        entries.append((name, status.st_size, status.st_mtime_ns))
                        paths[name] = entry.path
            left += reversed(below)
    # Folders without links and tables keep the fingerprint that they had before these were in it.
    described = [str(manual_dir), sorted(entries), *([sorted(links)] if links else [])]
    if tables := _table_hashes(entries, paths):
        described.append(tables)
    return hashlib.sha256(json.dumps(described).encode()).hexdigest()


def _table_hashes(
    entries: Sequence[tuple[str, int, int]], paths: Mapping[str, str]
) -> list[tuple[str, str]]:
    """(name, sha256) of the tables among the files, CSV files first, as far as the limits go."""
    found, total = [], 0
    for name, size, _ in sorted(entries, key=lambda entry: (not _is_csv(entry[0]), entry[0])):
        if not name.lower().endswith(_TABLE_SUFFIXES) or size > _MAX_TABLE:
            continue
        total += size
        if total > _MAX_TABLES:
            break
        with contextlib.suppress(OSError):  # the builder says so, if it needs the file
            found.append((name, hashlib.sha256(Path(paths[name]).read_bytes()).hexdigest()))
    return found


def _is_csv(name: str) -> bool:
    return name.lower().endswith(".csv")


def _code_fingerprint(file: Path) -> str:
    """sha256 over the code of a builder of the user's own; '' for one that comes with jaxcxr.

    VERSION is easily forgotten: changed code gets its own folder of prepared data.
    """
    folder = file.resolve().parent
    if folder.is_relative_to(shipped.folder("tfds_builders").resolve()):
        return ""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(folder).as_posix()}\n{len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def _is_prepared(builder: Any) -> bool:
    """Returns whether the data exist; TFDS renames their folder into place when it is complete."""
    folder = Path(builder.data_dir)
    if folder.is_dir() and not (folder / "dataset_info.json").is_file():
        raise InputError(f"{folder} is damaged (dataset_info.json does not exist): {_REMOVE}")
    return folder.is_dir()


def _prepare(builder: Any, manual_dir: Path | None) -> None:
    folder = Path(builder.data_dir)
    # Of a process that was killed: we have the lock.
    for leftover in folder.parent.glob("incomplete.*"):
        shutil.rmtree(leftover, ignore_errors=True)
    origin = f" from {manual_dir}" if manual_dir else ""
    print(f"preparing {builder.name}{origin} in {folder} ...", flush=True)
    download = tfds.download.DownloadConfig(manual_dir=manual_dir)
    with contextlib.redirect_stdout(io.StringIO()):
        builder.download_and_prepare(download_config=download)


@contextlib.contextmanager
def _preparing(name: str, root: Path) -> Iterator[None]:
    """Turns any error of a builder or TFDS during preparation into an InputError."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        if files.is_disk_full(error):
            problem = (
                f"the disk of {root} is full. Free some space and start the same command again"
            )
        elif is_read_only(error):
            problem = (
                f"{root} is read-only and does not contain it. Prepare it as a user who may "
                "write there, or choose another data.data_dir"
            )
        elif isinstance(error, (ValueError, OSError, AssertionError)):
            # With the builder's instructions.
            problem = str(error)
        else:
            problem = f"{type(error).__name__}: {files.reason(error)}"
        raise InputError(f"data set {name} cannot be prepared: {problem}") from error


def _open(builder: Any, name: str) -> PreparedSet:
    if not builder.info.splits or not builder.info.splits.total_num_examples:
        raise InputError(f"data set {name} has no images in {builder.data_dir}")
    examples = _Examples(builder)
    table = _table(builder, examples)
    metadata = builder.info.metadata or {}
    names, faults = metadata.get("rejected_names", {}), metadata.get("faults", ())
    forms = metadata.get("mask_forms", {})
    return PreparedSet(
        name=name,
        table=table,
        examples=_Checked(examples, table),
        dropped={
            f"{name}: {reason}": Dropped(count, tuple(names.get(reason, ())), reason in faults)
            for reason, count in metadata.get("rejected", {}).items()
            if count
        },
        notices=(
            *(f"{name}: {notice}" for notice in metadata.get("notices", ())),
            *(f"{name}: {count:,} masks read as {form}" for form, count in forms.items()),
        ),
        unknown_findings=frozenset(metadata.get("unknown_findings", ())),
        known_findings=frozenset(metadata.get("known_findings", ())),
        version=str(builder.info.version),
    )


class _Examples:
    """The examples of one prepared builder, images and masks still encoded."""

    def __init__(self, builder: Any):
        self.folder = Path(builder.data_dir)
        skip = {
            name: tfds.decode.SkipDecoding()
            for name, feature in builder.info.features.items()
            if isinstance(feature, tfds.features.Image)
        }
        self._source = builder.as_data_source(split=SPLIT, decoders=skip)
        self._length = len(self._source)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        with files.reading(self.folder, _REMOVE):
            example = self._source[index]
            if not example.get("id"):  # what a truncated file gives
                raise ValueError(f"example {index} is empty")
        return example


class _Checked:
    """Examples whose images and masks are verified by the hashes of the table."""

    def __init__(self, examples: _Examples, table: Mapping[str, np.ndarray]):
        self._examples = examples
        self._ids = table["id"]
        self._hashes = {name: table[name] for name in table if _is_encoded(name)}

    def __len__(self) -> int:
        return len(self._examples)

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        example = self._examples[index]
        for name, hashes in self._hashes.items():
            if hashlib.sha256(example[name]).hexdigest() != hashes[index]:
                problem = f"{name} of {self._ids[index]} has changed since it was prepared"
                raise InputError(f"{self._examples.folder} is damaged ({problem}): {_REMOVE}")
        return example


def _is_encoded(name: str) -> bool:
    return name == "image" or name.startswith("mask_")


def _table(builder: Any, examples: _Examples) -> dict[str, np.ndarray]:
    """The metadata of every example, cached beside the prepared data.

    The cache ends with the sha256 of its content. It also contains the builder's counts, which no
    hash of TFDS covers.
    """
    cached = examples.folder / _TABLE
    shards = sorted(examples.folder.glob("*.array_record*"))
    version = json.dumps([(p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in shards])
    counts = json.dumps(dict(builder.info.metadata or {}), sort_keys=True)
    columns = _read_cached(cached)
    if columns is not None and columns.pop("version").item() == version:
        if columns.pop("counts").item() != counts:
            raise ValueError("metadata.json has changed since it was prepared")
        return columns
    columns = _read_table(examples)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, version=np.array(version), counts=np.array(counts), **columns)  # pyright: ignore[reportArgumentType]
    content = buffer.getvalue()
    try:
        files.remove_leftovers(examples.folder)  # of a process that was killed here
        files.write_bytes(cached, content + hashlib.sha256(content).digest())
    except (OSError, InputError) as error:
        # A read-only folder, a full disk: slower the next time, not wrong.
        _log.warning("the metadata table of %s cannot be cached: %s", examples.folder, error)
    return columns


def _read_cached(path: Path) -> dict[str, np.ndarray] | None:
    """The columns of an intact cache, else None."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    size = hashlib.sha256().digest_size
    if hashlib.sha256(content[:-size]).digest() != content[-size:]:
        _log.warning("%s is damaged and is rebuilt", path)
        return None
    with np.load(io.BytesIO(content[:-size]), allow_pickle=False) as table:
        return {name: table[name] for name in table.files}


def _read_table(examples: _Examples) -> dict[str, np.ndarray]:
    columns: dict[str, list[str]] = {}
    for index in range(len(examples)):
        for name, value in examples[index].items():
            if name in _TEXTS:
                columns.setdefault(name, []).append(value.decode())
            elif _is_encoded(name):
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
