"""Where a study takes its masks from: the data set itself, or a finished segment run."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from PIL import Image

from jaxcxr import files
from jaxcxr.data import decoding
from jaxcxr.data.dataset import Dataset
from jaxcxr.types import InputError

IGNORE = 255  # in masks of structure ids: neither structure nor background
RESIZES = ("nearest", "linear")
OnEmpty = Literal["error", "whole_image", "drop"]


class MaskSource(Protocol):
    """Gives each image a mask of structure ids: 0 background, i+1 = structures[i], 255 ignore."""

    @property
    def structures(self) -> tuple[str, ...]: ...

    @property
    def on_empty(self) -> OnEmpty:
        """What to do with an image whose mask has no lung pixel."""
        ...

    def check(self, dataset: Dataset) -> None:
        """Raises InputError if some image of `dataset` has no mask here."""
        ...

    def fingerprint(self, dataset: Dataset) -> str:
        """sha256 over all that `read` depends on, without decoding a mask."""
        ...

    def read(self, dataset: Dataset, index: int) -> np.ndarray:
        """[h, w] uint8 structure ids, in the size they have; InputError if unreadable."""
        ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class DatasetMasks:
    """The data set's own masks. Where structures overlap the later one wins, and the ignored region over all.

    Attributes:
      structures: names of the ids 1, 2, ...
      on_empty: see `MaskSource`.
      ignore: name of the mask whose pixels count for nothing, '' for none; pixels of value 127 that no structure
        claims are ignored anyway.
      shrink_to: side S of the images that the masks are for; they are then made by `shrunk`. 0 leaves them as stored.
    """

    structures: tuple[str, ...] = ("lung",)
    on_empty: OnEmpty = "error"
    ignore: str = ""
    shrink_to: int = 0

    def __post_init__(self):
        _check_options(self.structures, self.on_empty)
        if self.ignore in self.structures:
            raise InputError(
                f"masks.ignore is '{self.ignore}', which masks.structures names as something to find"
            )

    def check(self, dataset: Dataset) -> None:
        dataset.require_masks(self._names)

    def fingerprint(self, dataset: Dataset) -> str:
        self.check(dataset)
        hashes = [dataset.mask_hashes[name].tolist() for name in self._names]
        further = [self.ignore, self.shrink_to] if self.ignore or self.shrink_to else []
        return _sha256("data set", self.structures, self.on_empty, hashes, *further)

    def read(self, dataset: Dataset, index: int) -> np.ndarray:
        layers = [dataset.mask_values(index, name) for name in self._names]
        for name, layer in zip(self._names, layers, strict=True):
            if layer.shape != layers[0].shape:
                raise InputError(
                    f"masks of {dataset.ids[index]} differ in size: {self.structures[0]} "
                    f"{_size(layers[0].shape)}, {name} {_size(layer.shape)}"
                )
        combined = np.zeros(layers[0].shape, np.uint8)
        for layer in layers[: len(self.structures)]:
            combined[layer == 127] = IGNORE
        for number, layer in enumerate(layers[: len(self.structures)], start=1):
            combined[layer > 127] = number
        if self.ignore:
            combined[layers[-1] > 127] = IGNORE
        return (
            shrunk(combined, len(self.structures), size=self.shrink_to)
            if self.shrink_to
            else combined
        )

    @property
    def _names(self) -> tuple[str, ...]:
        return (*self.structures, self.ignore) if self.ignore else self.structures


@dataclasses.dataclass(frozen=True)
class FolderMasks:
    """The masks of a finished segment run: `<path>/masks/<id>.png` and `masks/index.json`.

    index.json holds {"ids": [...]} and may hold "structures" (["lung"] if absent), "bad_images"
    (ids that the run could not read: they need no mask), "image_sha256", in the order of ids, by
    which masks of other images under the same ids are found out, and "mask_sha256", which is part
    of the fingerprint. A PNG's value v > 0 is structures[v-1]; with a single structure every value
    > 0 is it. 'lung' may be asked of a run that made 'left_lung' and 'right_lung'.
    """

    path: Path
    _: dataclasses.KW_ONLY
    structures: tuple[str, ...] = ("lung",)
    on_empty: OnEmpty = "error"

    def __post_init__(self):
        object.__setattr__(self, "path", Path(self.path))
        _check_options(self.structures, self.on_empty)
        self._values  # noqa: B018 -- reads index.json, so that errors come early

    def check(self, dataset: Dataset) -> None:
        listed, bad = set(self._index["ids"]), set(self._index["bad_images"])
        missing = [
            name
            for name in dataset.ids.tolist()
            if name not in bad and (name not in listed or not self._file(name).exists())
        ]
        if missing:
            raise InputError(
                f"{len(missing)} of {len(dataset)} images have no mask in {self.path / 'masks'}: "
                f"{', '.join(missing[:10])}{', ...' if len(missing) > 10 else ''}. Make them with "
                "`python main.py --config=configs/fc_densenet103.py --config.run=predict "
                f"--workdir={self.path}` and the same --config.data.* as here"
            )

        if self._index["image_sha256"]:
            made_of = dict(zip(self._index["ids"], self._index["image_sha256"], strict=True))
            pairs = zip(dataset.ids.tolist(), dataset.image_hashes.tolist(), strict=True)
            other = [name for name, sha256 in pairs if made_of.get(name, sha256) != sha256]
            if other:
                raise InputError(
                    f"{len(other)} masks in {self.path / 'masks'} were made from other images than "
                    f"those of the same id here: {', '.join(other[:10])}. Run predict again with "
                    "the same --config.data.*"
                )

    def fingerprint(self, dataset: Dataset) -> str:
        self.check(dataset)
        there = [self._file(name) for name in dataset.ids.tolist()]
        hashes = [files.sha256_file(path) if path.exists() else "" for path in there]
        values = sorted(self._values.items())
        return _sha256("folder", self.structures, self.on_empty, values, hashes)

    def read(self, dataset: Dataset, index: int) -> np.ndarray:
        name = dataset.ids[index].item()
        try:
            encoded = self._file(name).read_bytes()
        except OSError as error:
            raise InputError(f"mask {self._file(name)} is unreadable: {error}") from error
        stored = decoding.decode_grey(encoded, f"mask {self._file(name)}")
        if len(self._index["structures"]) == 1:
            stored = np.minimum(stored, 1)
        combined = np.zeros(stored.shape, np.uint8)
        for number, values in self._values.items():
            combined[np.isin(stored, values)] = number
        return combined

    def _file(self, name: str) -> Path:
        return self.path / "masks" / f"{name}.png"

    @functools.cached_property
    def _index(self) -> dict[str, list[str]]:
        file = self.path / "masks" / "index.json"
        try:
            index = json.loads(file.read_text())
            return {
                "ids": list(index["ids"]),
                "structures": list(index.get("structures", ["lung"])),
                "bad_images": list(index.get("bad_images", [])),
                "image_sha256": list(index.get("image_sha256", [])),
            }
        except FileNotFoundError as error:
            raise InputError(
                f"{file} does not exist: masks.path must be the folder of a segment run whose "
                "predict has finished (--config.run=predict)"
            ) from error
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{file} is damaged ({error!r}): run predict again") from error

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


def _check_options(structures: Sequence[str], on_empty: str) -> None:
    if not structures or len(set(structures)) < len(structures):
        raise InputError(f"masks.structures is {tuple(structures)}: name each structure once")
    if on_empty not in ("error", "whole_image", "drop"):
        raise InputError(f"masks.on_empty is '{on_empty}': choose error, whole_image or drop")


def shrunk(mask: np.ndarray, structures: int, *, size: int) -> np.ndarray:
    """What is left of a mask where it is interpolated and a threshold of 0.5 makes it hard again (Zhang, section 4.2).

    A pixel of an image of `size` x `size` becomes a structure where that has more than half of what is not ignored
    there, and is ignored where more than half of it is. Shares are Pillow's bilinear ones, as of the image.

    Args:
      mask: [h, w] uint8 structure ids, 0 background, 255 ignored.
      structures: how many ids there are.
      size: side of the image.

    Returns:
      [h, w] uint8, or that enlarged by a whole factor where it is less than `size`: blocks of one value, which the
      nearest-neighbour reduction to `size` x `size` finds again.
    """

    def share(number: int) -> np.ndarray:
        part = Image.fromarray((mask == number).astype(np.float32))
        return np.asarray(part.resize((size, size), Image.Resampling.BILINEAR))

    ignored = share(IGNORE)
    small = np.zeros((size, size), np.uint8)
    for number in range(1, structures + 1):
        small[share(number) > 0.5 * (1 - ignored)] = number
    small[ignored > 0.5] = IGNORE
    height, width = mask.shape
    factor = -(-size // min(height, width))
    return np.asarray(
        Image.fromarray(small).resize((factor * width, factor * height), Image.Resampling.NEAREST)
    )


def lung_ids(structures: Sequence[str]) -> list[int]:
    """The ids of the structures that are lungs: 1 for the first structure, and so on."""
    return [number for number, name in enumerate(structures, start=1) if "lung" in name]


def check_same_aspect(name: str, image: tuple[int, int], mask: tuple[int, int]) -> None:
    """Raises InputError unless the mask is the image's size, or that size scaled (to a pixel)."""
    (height, width), (mask_height, mask_width) = image, mask
    fits = (
        abs(mask_width / width * height - mask_height) <= 1
        or abs(mask_height / height * width - mask_width) <= 1
    )
    if not fits:
        raise InputError(
            f"{name}: the mask is {_size(mask)} (width x height), the image {_size(image)}; "
            "they must have the same shape"
        )


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[0]}"


def _sha256(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
