"""The mask folder of a segment run: written atomically, every mask checked when it is read.

`<run>/masks/` contains a PNG for each image and `index.json`. A prediction writes into a new
folder, which replaces the old one when it is finished, so that no folder mixes two predictions.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from jaxcxr import hints
from jaxcxr.data import decoding
from jaxcxr.data.dataset import Dataset, levels_of
from jaxcxr.data.mask_sources import OnEmpty, OnImplausible, check_options, sha256_of
from jaxcxr.errors import InputError
from jaxcxr.storage import files
from jaxcxr.storage.names import PictureNames

MASKS, MASKED, INDEX = "masks", "masked", "index.json"
_PARALLEL = ("files", "image_sha256", "mask_sha256")  # lists in the order of ids
_KEYS = {
    "ids", *_PARALLEL, "structures", "bad_images", "dataset_fingerprint", "empty", "left_out",
    "made_with", "sha256",
}  # fmt: skip
REPORTED_SHARE = 0.01  # of the lungs found in an image: left out beyond it, the image is listed
_MAX_LEVELS = 16  # of a mask; pictures have more
_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class FolderMasks:
    """The masks of a finished segment run: `<path>/masks/`.

    index.json contains {"ids": [...]} and optionally, in the order of ids, "files" (<id>.png if
    absent), "mask_sha256", which verifies each mask when it is read, and "image_sha256", which
    detects masks of other images under the same ids; "structures" (["lung"] if absent) and
    "bad_images" (ids that the run could not read: they need no mask). A PNG's value v > 0 is
    structures[v-1]; with a single structure every value > 0 is that structure. 'lung' is the union
    of 'left_lung' and 'right_lung' where a run has only these.
    """

    path: Path
    _: dataclasses.KW_ONLY
    structures: tuple[str, ...] = ("lung",)
    on_empty: OnEmpty = "error"
    on_implausible: OnImplausible = "warn"  # a weak segmenter's masks are the user's to judge

    def __post_init__(self):
        object.__setattr__(self, "path", Path(self.path))
        check_options(self.structures, self.on_empty, self.on_implausible)
        self._values  # noqa: B018 -- reads index.json, so that errors come early

    def check(self, dataset: Dataset) -> None:
        """See `MaskSource.check`; also whether the masks were made of these very images."""
        bad = set(self._index["bad_images"])
        missing = [
            name
            for name in dataset.ids.tolist()
            if name not in bad and (name not in self._files or not self._file(name).is_file())
        ]
        if missing:
            raise InputError(
                f"{len(missing)} of {len(dataset)} images have no mask in {self._folder}: "
                f"{_first(missing)}. {self._again}"
            )
        made_of = self._column("image_sha256")
        pairs = zip(dataset.ids.tolist(), dataset.image_hashes.tolist(), strict=True)
        other = [name for name, sha256 in pairs if made_of.get(name, sha256) != sha256]
        if other:
            raise InputError(
                f"{len(other)} masks in {self._folder} were made from other images than those of "
                f"the same id here: {_first(other)}. {self._again}"
            )
        self._look_for_strangers()

    @property
    def made_with(self) -> dict[str, Any]:
        """The fields that made masks of the network's output; {} of masks without them."""
        return dict(self._index.get("made_with") or {})

    def expected(self, dataset: Dataset) -> tuple[str, ...]:
        """See `MaskSource.expected`."""
        del dataset
        return self.structures

    def fingerprint(self, dataset: Dataset) -> str:
        """See `MaskSource.fingerprint`."""
        self.check(dataset)
        hashes = []
        for name in dataset.ids.tolist():
            there = name in self._files and self._file(name).is_file()
            hashes.append(hashlib.sha256(self._encoded(name)).hexdigest() if there else "")
        values = sorted(self._values.items())
        return sha256_of("folder", self.structures, self.on_empty, values, hashes)

    def read(self, dataset: Dataset, index: int) -> np.ndarray:
        """See `MaskSource.read`."""
        name = dataset.ids[index].item()
        encoded, file = self._encoded(name), self._file(name)
        stored = decoding.decode_grey(encoded, f"mask {file}")
        levels = levels_of(stored)
        if len(self._index["structures"]) == 1 and len(levels) <= _MAX_LEVELS:
            stored = np.minimum(stored, 1)
        elif levels[-1] > len(self._index["structures"]):
            shown = ", ".join(map(str, levels[:5].tolist())) + ", ..." * (len(levels) > 5)
            raise InputError(
                f"mask {file} has the values {shown}, but its structures are numbered from 1 to "
                f"{len(self._index['structures'])}. {self._again}"
            )
        combined = np.zeros(stored.shape, np.uint8)
        for number, values in self._values.items():
            combined[np.isin(stored, values)] = number
        return combined

    @property
    def _folder(self) -> Path:
        return self.path / MASKS

    @property
    def _again(self) -> str:
        """The instruction to write the masks again."""
        return (
            "Make them again: the command that trained this run with --config.run=predict "
            f"{hints.in_folder(self.path)}, and with --config.predict.data.* as --config.data.* "
            "is here"
        )

    def _file(self, name: str) -> Path:
        return self._folder / self._files[name]

    def _encoded(self, name: str) -> bytes:
        """A mask's bytes, which are those that were written."""
        if name not in self._files:
            raise InputError(f"{self._folder} has no mask of {name}. {self._again}")
        with files.reading(self._file(name), self._again):
            encoded = self._file(name).read_bytes()
        expected = self._column("mask_sha256").get(name)
        if expected is not None and hashlib.sha256(encoded).hexdigest() != expected:
            raise InputError(
                f"mask {self._file(name)} is not the one that was written (SHA-256): it was "
                f"changed or damaged since. {self._again}"
            )
        return encoded

    def _look_for_strangers(self) -> None:
        """Warns of files in the folder that the index does not list."""
        listed = {*self._files.values(), INDEX}
        # Folders of masks are part of a file's name.
        there = {path.relative_to(self._folder).as_posix() for path in self._folder.rglob("*.png")}
        if strangers := sorted(there - listed):
            _log.warning(
                "%s contains %d masks that its %s does not list, which are not used: %s",
                self._folder,
                len(strangers),
                INDEX,
                _first(strangers),
            )

    @functools.cached_property
    def _files(self) -> dict[str, str]:
        """Id -> name below the folder."""
        ids = self._index["ids"]
        return self._column("files") or {name: f"{name}.png" for name in ids}

    def _column(self, name: str) -> dict[str, str]:
        """Id -> its entry in an optional list of the index; empty without that list."""
        entries = self._index.get(name) or ()
        return dict(zip(self._index["ids"], entries, strict=True)) if entries else {}

    @functools.cached_property
    def _index(self) -> dict[str, Any]:
        file = self._folder / INDEX
        if not file.exists():
            raise InputError(
                f"{file} does not exist: masks.workdir must be the folder of a segment run whose "
                f"predict has finished. {self._again}"
            )
        with files.reading(file, self._again):
            index = json.loads(file.read_bytes())
            problem = _problem(index)
            if problem:
                raise ValueError(problem)
        if not index.get("mask_sha256"):
            _log.warning("%s has no mask_sha256: whether masks have changed cannot be seen", file)
        return {"structures": ["lung"], "bad_images": [], **index}

    @functools.cached_property
    def _values(self) -> dict[int, list[int]]:
        """Structure id asked for -> the values it has in the PNGs."""
        there = self._index["structures"]
        values = {}
        for number, name in enumerate(self.structures, start=1):
            parts = [name] if name in there else [s for s in there if s.endswith(f"_{name}")]
            if not parts:
                raise InputError(f"{self.path} has masks of {', '.join(there)}, not of '{name}'")
            values[number] = [there.index(part) + 1 for part in parts]
        return values


def _problem(index: Any) -> str:
    """The reason why a value is not a valid index of masks, '' if it is."""
    if not isinstance(index, dict) or "ids" not in index:
        return "it has no ids"
    if unknown := sorted(set(index) - _KEYS):
        return f"unknown entry {', '.join(unknown)}"
    lists = [
        index[name] for name in ("ids", *_PARALLEL, "structures", "bad_images") if name in index
    ]
    if not all(isinstance(part, list) and all(isinstance(s, str) for s in part) for part in lists):
        return "an entry is no list of texts"
    if len(set(index["ids"])) < len(index["ids"]):
        return "an id occurs twice"
    count = len(index["ids"])
    if any(len(index[name]) not in (0, count) for name in _PARALLEL if name in index):
        return f"a list is not as long as the {count} ids"
    if any(
        not name or Path(name).is_absolute() or ".." in Path(name).parts
        for name in index.get("files", ())
    ):
        return "a file lies outside the folder"
    if "structures" in index and not index["structures"]:
        return "structures is empty"
    if "sha256" in index and index["sha256"] != _own_hash(index):
        return "its own sha256 is another"
    return ""


def _own_hash(index: Mapping[str, Any]) -> str:
    return sha256_of({name: index[name] for name in sorted(index) if name != "sha256"})


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")


class MaskWriter:
    """Writes the masks of a data set, and their images masked, into two new folders.

    `empty` and `left_out` have the ids of images without lungs, and of those whose mask leaves more
    than REPORTED_SHARE of the lung pixels found out.

    Everything outside the lungs is 0 in the masked images.
    """

    def __init__(
        self,
        run: Path,
        dataset: Dataset,
        *,
        masked_images: bool,
        made_with: Mapping[str, Any] | None = None,
    ):
        """Use `writing_masks`, which puts the folders in their place."""
        self._made_with = dict(made_with or {})
        self._dataset = dataset
        self._names = PictureNames(reserved=(INDEX,))
        self._masks = _new(run, MASKS)
        self._masked = _new(run, MASKED) if masked_images else None
        self._written: dict[int, tuple[str, str]] = {}
        self.empty: list[str] = []
        self.left_out: list[str] = []

    def write(self, row: int, lungs: np.ndarray, *, left_out_share: float = 0.0) -> None:
        """Writes one mask [s, s] bool, enlarged to its image by nearest neighbour.

        The published code has no other post-processing.

        Args:
            row: of the data set.
            lungs: [s, s] bool, true inside.
            left_out_share: the fraction of the lung pixels found that are left out of it.
        """
        image = self._dataset.image(row)
        name = self._dataset.ids[row].item()
        if not lungs.any():
            self.empty.append(name)
        if left_out_share > REPORTED_SHARE:
            self.left_out.append(name)
        height, width = image.shape
        enlarged = Image.fromarray(lungs.astype(np.uint8) * 255).resize(
            (width, height), Image.Resampling.NEAREST
        )
        mask = np.asarray(enlarged)
        encoded, file = files.encode_png(mask), self._names.of(name)
        files.write_bytes(self._masks / file, encoded)
        if self._masked is not None:
            files.write_png(self._masked / file, np.where(mask > 0, image, 0).astype(image.dtype))
        self._written[row] = (file, hashlib.sha256(encoded).hexdigest())

    def finish(self, bad_images: Sequence[str]) -> None:
        """Writes the index: the names and hashes of the files."""
        rows = sorted(self._written)
        index = {
            "ids": self._dataset.ids[rows].tolist(),
            "files": [self._written[row][0] for row in rows],
            "image_sha256": self._dataset.image_hashes[rows].tolist(),
            "mask_sha256": [self._written[row][1] for row in rows],
            "dataset_fingerprint": self._dataset.fingerprint,
            "empty": self.empty,
            "left_out": self.left_out,
            "made_with": self._made_with,
            "bad_images": list(bad_images),
        }
        files.write_json(self._masks / INDEX, {**index, "sha256": _own_hash(index)})


@contextlib.contextmanager
def writing_masks(
    run: Path,
    dataset: Dataset,
    *,
    masked_images: bool,
    bad_images: Sequence[str],
    made_with: Mapping[str, Any] | None = None,
) -> Iterator[MaskWriter]:
    """Yields a writer whose masks replace the run's former ones if the block ends without error.

    Killed at any moment, it leaves the former masks, the new ones, or none, never a mixture.
    `made_with`: the fields that made masks of the network's output, for the index.
    """
    _remove(_new(run, MASKS), _new(run, MASKED), _old(run, MASKS), _old(run, MASKED))
    _new(run, MASKS).mkdir(parents=True)
    try:
        writer = MaskWriter(run, dataset, masked_images=masked_images, made_with=made_with)
        yield writer
        writer.finish(bad_images)
    except BaseException:
        _remove(_new(run, MASKS), _new(run, MASKED))
        raise
    # Masks go first and come last: while there are none, nothing takes `masked` for theirs.
    for kind in (MASKS, MASKED):
        if (run / kind).exists():
            os.replace(run / kind, _old(run, kind))
    for kind in (MASKED, MASKS):
        if _new(run, kind).exists():
            os.replace(_new(run, kind), run / kind)
    files.fsync_folder(run)
    _remove(_old(run, MASKS), _old(run, MASKED))


def _remove(*folders: Path) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def _new(run: Path, kind: str) -> Path:
    return run / f".{kind}-new"


def _old(run: Path, kind: str) -> Path:
    return run / f".{kind}-old"
