"""The interface of mask sources, and the masks that a data set brings.

`mask_folder` provides those of a segment run.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

import numpy as np
from PIL import Image

from jaxcxr.data.dataset import Dataset
from jaxcxr.errors import InputError

IGNORE = 255  # in masks of structure ids: neither structure nor background
RESIZES = ("nearest", "linear")
OnEmpty = Literal["error", "whole_image", "drop"]
OnImplausible = Literal["error", "warn"]


class MaskSource(Protocol):
    """A mask for each image, of structure ids: 0 background, i+1 = structures[i], 255 ignore."""

    @property
    def structures(self) -> tuple[str, ...]:
        """Names of the ids 1, 2, ..."""
        ...

    @property
    def on_empty(self) -> OnEmpty:
        """The action for an image whose mask has no lung pixel."""
        ...

    @property
    def on_implausible(self) -> OnImplausible:
        """The action for masks that `mask_looks` judges not to be lungs."""
        ...

    def check(self, dataset: Dataset) -> None:
        """Raises InputError if some image of `dataset` has no mask here."""
        ...

    def expected(self, dataset: Dataset) -> tuple[str, ...]:
        """The structures of which a data set's masks show some."""
        ...

    def fingerprint(self, dataset: Dataset) -> str:
        """sha256 over all that `read` depends on, without decoding a mask."""
        ...

    def read(self, dataset: Dataset, index: int) -> np.ndarray:
        """[h, w] uint8 structure ids, in the size they have; InputError if unreadable."""
        ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class DatasetMasks:
    """The data set's own masks.

    Where structures overlap the later one wins, and the ignored region over all.

    Attributes:
        structures: names of the ids 1, 2, ...
        on_empty, on_implausible: see `MaskSource`.
        ignore: name of the mask whose pixels count for nothing, '' for none; pixels of value 127
            that no structure claims are ignored anyway.
        shrink_to: side S of the images that the masks are for; they are then made by `shrunk`. 0
            leaves them as stored.
        by_source: source of an image -> which of `structures` its mask of lungs shows; {}: every
            image has a mask of each structure.
    """

    structures: tuple[str, ...] = ("lung",)
    on_empty: OnEmpty = "error"
    on_implausible: OnImplausible = "error"
    ignore: str = ""
    shrink_to: int = 0
    by_source: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        check_options(self.structures, self.on_empty, self.on_implausible)
        for source, structure in self.by_source.items():
            if structure not in self.structures:
                raise InputError(
                    f"masks.by_source has '{source}={structure}': after = stands one of "
                    f"masks.structures, {', '.join(self.structures)}"
                )
        if self.ignore in self.structures:
            raise InputError(
                f"masks.ignore is '{self.ignore}', which masks.structures names as something to "
                "find"
            )

    def check(self, dataset: Dataset) -> None:
        """See `MaskSource.check`."""
        dataset.require_masks(self._names)
        sources = np.unique(dataset.sources).tolist()
        if self.by_source and (missing := sorted({*sources} - {*self.by_source})):
            raise InputError(
                "masks.by_source does not say which structure the masks of "
                f"{', '.join(missing)} show: add '{missing[0]}=STRUCTURE', of "
                f"{', '.join(self.structures)}"
            )

    def expected(self, dataset: Dataset) -> tuple[str, ...]:
        """See `MaskSource.expected`."""
        if not self.by_source:
            return self.structures
        shown = {self.by_source[source] for source in np.unique(dataset.sources).tolist()}
        return tuple(name for name in self.structures if name in shown)

    def fingerprint(self, dataset: Dataset) -> str:
        """See `MaskSource.fingerprint`."""
        self.check(dataset)
        hashes = [dataset.mask_hashes[name].tolist() for name in self._names]
        further: list[object] = []
        if self.ignore or self.shrink_to:
            further += [self.ignore, self.shrink_to]
        if self.by_source:
            further += [sorted(self.by_source.items()), dataset.sources.tolist()]
        return sha256_of("data set", self.structures, self.on_empty, hashes, *further)

    def read(self, dataset: Dataset, index: int) -> np.ndarray:
        """See `MaskSource.read`."""
        layers = [dataset.mask_values(index, name) for name in self._names]
        for name, layer in zip(self._names, layers, strict=True):
            if layer.shape != layers[0].shape:
                raise InputError(
                    f"masks of {dataset.ids[index]} differ in size: {self._names[0]} "
                    f"{_size(layers[0].shape)}, {name} {_size(layer.shape)}"
                )
        combined = np.zeros(layers[0].shape, np.uint8)
        shown = layers[: len(layers) - bool(self.ignore)]
        numbers = range(1, len(shown) + 1)
        if self.by_source:
            structure = self.by_source[dataset.sources[index].item()]
            numbers = (self.structures.index(structure) + 1,)
        for layer in shown:
            combined[layer == 127] = IGNORE
        for number, layer in zip(numbers, shown, strict=True):
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
        shown = ("lung",) if self.by_source else self.structures
        return (*shown, self.ignore) if self.ignore else shown


def check_options(structures: Sequence[str], on_empty: str, on_implausible: str = "warn") -> None:
    """Raises InputError where a field of the config's `masks` has a value that it cannot have."""
    if not structures or len(set(structures)) < len(structures):
        raise InputError(f"masks.structures is {tuple(structures)}: name each structure once")
    if on_empty not in ("error", "whole_image", "drop"):
        raise InputError(f"masks.on_empty is '{on_empty}': choose error, whole_image or drop")
    if on_implausible not in ("error", "warn"):
        raise InputError(f"masks.on_implausible is '{on_implausible}': choose error or warn")


def shrunk(mask: np.ndarray, structures: int, *, size: int) -> np.ndarray:
    """A mask reduced by bilinear interpolation and a threshold of 0.5 (Zhang, section 4.2).

    A pixel of the `size` x `size` result is a structure if that covers more than half of its area
    that is not ignored, and is ignored if more than half of its area is. The fractions are those of
    Pillow's bilinear filter, which also resizes the image.

    Args:
        mask: [h, w] uint8 structure ids, 0 background, 255 ignored.
        structures: number of ids.
        size: side of the image.

    Returns:
        [h, w] uint8, or that enlarged by a whole factor where it is less than `size`: blocks of one
        value, which the nearest-neighbour reduction to `size` x `size` finds again.
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


def sha256_of(*parts: object) -> str:
    """The hex SHA-256 of JSON values."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
