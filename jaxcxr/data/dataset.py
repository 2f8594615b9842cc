"""The images of a study: metadata in memory, encoded pixels read one by one when asked for."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from PIL import Image

from jaxcxr.data import decoding
from jaxcxr.data.dropped import Dropped
from jaxcxr.errors import InputError


class Examples(Protocol):
    """Random access to examples: encoded bytes by feature name."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Mapping[str, Any]: ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dataset:
    """N images in a fixed order. All arrays have shape [N] and are numpy strings unless noted.

    labels is int32, an index into `classes` (all 0 when `classes` is empty: segmentation).
    image_hashes and mask_hashes are the sha256 of the encoded bytes. examples[rows[i]] gives the
    encoded bytes of image i: {"image": bytes, "mask_lung": bytes, ...}. dropped: images
    that this study does not use, by reason. notices: assumptions made in reading. versions: name
    of each builder -> its version.
    """

    ids: np.ndarray
    patient_ids: np.ndarray
    labels: np.ndarray
    findings: np.ndarray
    views: np.ndarray
    sources: np.ndarray
    age_groups: np.ndarray
    classes: tuple[str, ...]
    image_hashes: np.ndarray
    mask_hashes: Mapping[str, np.ndarray]
    examples: Examples
    rows: np.ndarray
    dropped: Mapping[str, Dropped] = dataclasses.field(default_factory=dict)
    notices: tuple[str, ...] = ()
    versions: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def mask_names(self) -> frozenset[str]:
        """The structures that every image has a mask of: 'lung', 'heart', 'left_lung', ..."""
        return frozenset(self.mask_hashes)

    @functools.cached_property
    def fingerprint(self) -> str:
        """sha256 over ids, patients, class names and image bytes, in order."""
        digest = hashlib.sha256(json.dumps(["dataset", 1, self.classes]).encode())
        columns = (self.ids, self.patient_ids, self.labels, self.image_hashes)
        for row in zip(*(column.tolist() for column in columns), strict=True):
            digest.update(json.dumps(row).encode() + b"\n")
        return digest.hexdigest()

    def encoded(self, index: int) -> bytes:
        """The image file's own bytes."""
        return self.examples[int(self.rows[index])]["image"]

    def image(self, index: int) -> np.ndarray:
        """[H, W] uint8 or uint16 grey at native size; InputError naming the id if unreadable."""
        return decoding.decode_grey(self.encoded(index), f"image {self.ids[index]}")

    def source_shape(self, index: int) -> tuple[int, int]:
        """(H, W) of the image as stored, without decoding its pixels."""
        return decoding.image_shape(self.encoded(index), f"image {self.ids[index]}")

    def mask_values(self, index: int, name: str) -> np.ndarray:
        """[H, W] uint8: 0 background, 127 ignore (V7's convention), 255 structure, edges between.

        A mask of one level besides 0 has that as its structure.

        Raises:
            InputError: it has other values than a builder may give, or is unreadable.
        """
        self.require_masks((name,))
        encoded = self.examples[int(self.rows[index])][f"mask_{name}"]
        called = f"{name} mask of {self.ids[index]}"
        values = decoding.decode_grey(encoded, called)
        if values.dtype != np.uint8:
            raise InputError(f"{called} must have 8 bits, values 0 and 255")
        levels = levels_of(values)
        if levels[-1] in (0, 255):
            return values
        if len(levels[levels > 0]) > 1:
            shown = ", ".join(map(str, levels[:5].tolist())) + ", ..." * (len(levels) > 5)
            raise InputError(
                f"{called} has the values {shown}: a builder gives 0 outside, 255 inside and 127 "
                "where pixels are ignored"
            )
        return np.where(values > 0, np.uint8(255), values)

    def mask(self, index: int, name: str) -> np.ndarray:
        """[H, W] uint8: 1 inside the structure, else 0."""
        return (self.mask_values(index, name) > 127).astype(np.uint8)

    def require_masks(self, names: Sequence[str]) -> None:
        """Raises InputError if some image has no mask of one of these structures."""
        missing = [name for name in names if name not in self.mask_hashes]
        if missing:
            there = ", ".join(sorted(self.mask_names)) or "no masks at all"
            raise InputError(
                f"the data set has no masks of {', '.join(missing)} for every image; it has: "
                f"{there}. Choose other structures or data.builders, or take lungs that a "
                "segmenter finds (masks.source)"
            )

    def take(self, indices: Sequence[int] | np.ndarray) -> Dataset:
        """The images at `indices`, in that order. The pixels are shared, not copied."""
        indices = np.asarray(indices, dtype=np.int64)
        columns = ("ids", "patient_ids", "labels", "findings", "views", "sources", "age_groups")
        return dataclasses.replace(
            self,
            **{name: getattr(self, name)[indices] for name in (*columns, "image_hashes", "rows")},
            mask_hashes={name: column[indices] for name, column in self.mask_hashes.items()},
        )


def levels_of(pixels: np.ndarray) -> np.ndarray:
    """The values that occur in [H, W] uint8 or uint16, sorted."""
    if pixels.dtype == np.uint8:  # NumPy widens what it counts eightfold
        return np.flatnonzero(Image.fromarray(pixels).histogram())
    return np.unique(pixels)


def subsample_patients(dataset: Dataset, count: int, seed: int) -> Dataset:
    """Whole patients, drawn by seed, with at most `count` images (0 = all), in the old order.

    The sample keeps the class proportions (a patient counts for the class of the first image),
    and a smaller count gives a subset of a larger one.
    """
    if count < 0:
        raise InputError(f"data.limit is {count}: give a number of images, or 0 for all")
    if count == 0 or count >= len(dataset):
        return dataset
    patients, images = sample_patients(dataset.patient_ids, dataset.labels, seed)
    chosen = patients[np.cumsum(images) <= count]
    if not len(chosen):
        raise InputError(
            f"data.limit={count} has no room for the {images[0]} images of one patient"
        )
    return dataset.take(np.flatnonzero(np.isin(dataset.patient_ids, chosen)))


def sample_patients(
    patient_ids: np.ndarray, labels: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Patients in a seeded order of which every prefix has about the same class proportions.

    A patient counts for the class of the first image.

    Args:
        patient_ids: [N] of each image.
        labels: [N] int.
        seed: of the draw.

    Returns:
        (patients [M], their numbers of images [M]).
    """
    patients, first, images = np.unique(patient_ids, return_index=True, return_counts=True)
    ranks = [seeded_rank(seed, name) for name in patients.tolist()]
    label_of_patient = labels[first]
    quantile = np.zeros(len(patients))
    for label in np.unique(label_of_patient):
        members = sorted(np.flatnonzero(label_of_patient == label), key=lambda i: ranks[i])
        quantile[members] = (np.arange(len(members)) + 0.5) / len(members)
    order = sorted(range(len(patients)), key=lambda i: (quantile[i], ranks[i]))
    return patients[order], images[order]


def seeded_rank(seed: int | str, name: str) -> str:
    """A sort key that shuffles names by seed, the same on every platform and library version."""
    return hashlib.sha256(f"{seed}:{name}".encode()).hexdigest()
