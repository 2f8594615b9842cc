"""Every image of a data set, preprocessed once, as memory-mapped uint8 arrays."""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import functools
import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tqdm

from jaxcxr.data import derived, mask_looks, preprocessing
from jaxcxr.data.dataset import Dataset
from jaxcxr.data.mask_looks import MaskLook
from jaxcxr.data.mask_sources import MaskSource
from jaxcxr.data.preprocessing import Prepared, Preprocessing
from jaxcxr.errors import InputError
from jaxcxr.storage import files, manifests
from jaxcxr.storage.run_files import REFERENCE

# Part of the cache key: raise it whenever the pixels that `preprocessing` makes change.
CODE_VERSION = 6
_REMOVED_VERSION = 7  # with the lungs removed; all other images are as they were, and are kept
# Data sets stored as negatives, whose published equalisation (Oh's code) saturates this many pixels
# at the dark end of the negative. No other set has such a tail.
NEGATIVE_TAIL = {"jsrt": 10}
_THREADS = 4
_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Store:
    """N preprocessed images.

    Attributes:
        images: [N, S, S] or [N, S, S, C] uint8, see `Preprocessing.shape`.
        masks: [N, S, S] uint8 structure ids (0 background, i+1 = structures[i], 255 ignore), of the
            size of the images; or None.
        dataset: the N images, without the unreadable ones.
        structures: names of the ids 1, 2, ...
        bad_ids: id -> error message of each unreadable image.
        empty_ids: images whose mask has no lung; `on_empty` decides whether the store contains
            them, with the whole image as mask.
        path: the folder.
        mask_summary: `mask_looks.summary` of the original masks; empty without masks.
    """

    images: np.ndarray
    masks: np.ndarray | None
    dataset: Dataset
    structures: tuple[str, ...]
    bad_ids: dict[str, str]
    empty_ids: tuple[str, ...]
    path: Path
    mask_summary: dict[str, Any]

    def __len__(self) -> int:
        return len(self.dataset)

    def arrays(self) -> dict[str, np.ndarray]:
        """The pipeline's inputs: image [N, S, S, ...], label [N], and mask [N, S, S] if any."""
        arrays = {"image": self.images, "label": self.dataset.labels}
        return arrays if self.masks is None else {**arrays, "mask": self.masks}

    @property
    def reference(self) -> Path | None:
        """The picture [S, S] that histograms were matched to, if any."""
        path = self.path / REFERENCE
        return path if path.exists() else None


def build_store(
    dataset: Dataset,
    settings: Preprocessing,
    *,
    masks: MaskSource | None,
    cache_dir: str | Path,
    max_bad_images: int,
    shared_dir: str | Path | None = None,
    field: str = "data",
) -> Store:
    """Preprocesses every image once; the same images and settings are read from the cache.

    Args:
        dataset: N images.
        settings: of the preprocessing.
        masks: the source of masks, None = no masks.
        cache_dir: contains a folder for every combination of data and settings.
        max_bad_images: largest number of unreadable images, which are excluded with a warning.
        shared_dir: another such folder, which is only read.
        field: the section of the config that they are of, for messages.

    Raises:
        InputError: more unreadable images (all are named), missing masks, masks of
            another shape than their image, empty lung masks with on_empty='error', disk full.
    """
    if len(dataset) == 0:
        raise InputError("the data set has no images")
    made_of = {
        "code_version": _REMOVED_VERSION if settings.lungs == "removed" else CODE_VERSION,
        "dataset": dataset.fingerprint,
        "preprocessing": settings.to_json(),
        "masks": masks.fingerprint(dataset) if masks else None,
    }
    key = derived.key(made_of)
    # A folder of that name is whole, since it was renamed to it: no lock is needed to read it,
    # which may be where nobody can write.
    folder = files.expanded(cache_dir, "give the whole path") / key
    if shared_dir is not None and derived.is_intact(Path(shared_dir) / key):
        folder = Path(shared_dir) / key
    elif not derived.is_intact(folder):
        write = functools.partial(_write, dataset=dataset, settings=settings, masks=masks)
        derived.make(folder, write, what="prepared images")
    return _open(folder, dataset, settings, masks, max_bad_images, field)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Result:
    """The outcome for one image; at most one of the first three is set.

    look: statistics of its mask, if it has one.
    """

    prepared: Prepared | None = None
    unreadable: str = ""
    mismatch: str = ""
    look: MaskLook | None = None


def _prepare(
    dataset: Dataset,
    index: int,
    settings: Preprocessing,
    masks: MaskSource | None,
    reference: np.ndarray | None,
) -> _Result:
    try:
        pixels = dataset.image(index)
        mask = masks.read(dataset, index) if masks else None
    except InputError as error:
        return _Result(unreadable=str(error))
    try:
        return _Result(
            prepared=preprocessing.prepare(
                pixels,
                mask,
                settings,
                name=dataset.ids[index].item(),
                structures=masks.structures if masks else (),
                fill_empty=masks is not None and masks.on_empty == "whole_image",
                negative_tail=NEGATIVE_TAIL.get(dataset.sources[index].item(), 0),
                reference=reference,
            ),
            look=mask_looks.look(mask, masks.structures) if masks and mask is not None else None,
        )
    except InputError as error:
        return _Result(mismatch=str(error))


def _reference(
    dataset: Dataset, settings: Preprocessing, masks: MaskSource | None
) -> np.ndarray | None:
    """The image that all other histograms are matched to.

    It is the first readable one, prepared but for its enhancement.
    """
    if settings.match == "none":
        return None
    plain = dataclasses.replace(settings, match="none", enhance=())
    for index in range(len(dataset)):
        result = _prepare(dataset, index, plain, masks, None)
        if result.prepared is not None:
            return result.prepared.image
    return None


def _write(
    folder: Path, *, dataset: Dataset, settings: Preprocessing, masks: MaskSource | None
) -> dict[str, Any]:
    """Writes images.u8 and masks.u8, and returns what meta.json says of them."""
    kept, bad, mismatched, empty, few_levels = [], {}, [], [], []
    looks: dict[str, MaskLook] = {}
    reference = _reference(dataset, settings, masks)
    if reference is not None:
        files.write_png(folder / REFERENCE, reference)
    with open(folder / "images.u8", "wb") as images, open(folder / "masks.u8", "wb") as m:
        for index, result in enumerate(_results(dataset, settings, masks, reference)):
            name, prepared = dataset.ids[index].item(), result.prepared
            if prepared is None:
                if result.unreadable:
                    bad[name] = result.unreadable
                else:
                    mismatched.append(result.mismatch)
                continue
            if result.look is not None:
                looks[name] = result.look
            if prepared.empty:
                empty.append(name)
            if not (prepared.empty and masks and masks.on_empty == "drop"):
                kept.append(index)
                if prepared.few_levels:
                    few_levels.append(name)
                images.write(np.ascontiguousarray(prepared.image).data)
                if prepared.mask is not None:
                    m.write(np.ascontiguousarray(prepared.mask).data)
    # With the whole image as the stand-in a run goes on without any lung.
    count = 0 if masks and masks.on_empty == "whole_image" else len(dataset) - len(bad)
    _raise_mask_errors(mismatched, empty, masks, images=count)
    return {
        "settings": settings.to_json(),
        "kept": kept,
        "bad": bad,
        "empty": empty,
        "few_levels": few_levels,
        "has_masks": masks is not None,
        "masks": _summary(looks, masks, dataset) if masks else {},
    }


def _summary(looks: Mapping[str, MaskLook], masks: MaskSource, dataset: Dataset) -> dict[str, Any]:
    return mask_looks.summary(looks, masks.structures, expected=masks.expected(dataset))


def _results(
    dataset: Dataset,
    settings: Preprocessing,
    masks: MaskSource | None,
    reference: np.ndarray | None,
) -> Iterator[_Result]:
    """Results in order, computed ahead by a few threads (Pillow and numpy release the GIL)."""
    with concurrent.futures.ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1)) as pool:
        waiting: collections.deque = collections.deque()
        for index in tqdm.trange(len(dataset), desc="preparing images", unit="img", disable=None):
            waiting.append(pool.submit(_prepare, dataset, index, settings, masks, reference))
            if len(waiting) > 2 * _THREADS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _raise_mask_errors(
    mismatched: list[str], empty: list[str], masks: MaskSource | None, *, images: int
) -> None:
    if mismatched:
        raise InputError(
            f"{len(mismatched)} masks do not fit their images: {'; '.join(mismatched[:10])}"
        )
    if masks and len(empty) == images > 1:
        raise InputError(
            f"all {images} lung masks are empty, none has a pixel of lung: "
            f"{', '.join(empty[:3])}{', ...' if images > 3 else ''}. Look at the mask files; if a "
            "segmenter made them, train it longer or on X-rays like these"
        )
    if empty and masks and masks.on_empty == "error":
        raise InputError(
            f"{len(empty)} images have an empty lung mask: {', '.join(empty[:10])}"
            f"{', ...' if len(empty) > 10 else ''}. Repair the masks, or go on without "
            "these images (--config.masks.on_empty=drop); a classifier can see them as a whole "
            "(--config.masks.on_empty=whole_image)"
        )


def _open(
    folder: Path,
    dataset: Dataset,
    settings: Preprocessing,
    masks: MaskSource | None,
    max_bad_images: int,
    field: str,
) -> Store:
    meta = manifests.read(folder / derived.META)
    if meta is None:
        raise InputError(f"the prepared images in {folder} were removed while they were read")
    bad, kept = meta["bad"], meta["kept"]
    if bad:
        reasons = "; ".join(bad.values())
        message = f"{len(bad)} of {len(dataset)} images are unreadable: {reasons}"
        if len(bad) > max_bad_images:
            raise InputError(
                f"{message}. Repair or remove them, or go on without them with "
                f"--config.{field}.max_bad_images={len(bad)}"
            )
        _log.warning("%s. They are excluded (%s.max_bad_images=%d)", message, field, max_bad_images)
    if masks and masks.on_implausible == "error":
        mask_looks.refuse_implausible(meta["masks"])
    for doubt in meta["masks"].get("doubts", ()):
        _log.warning("lung masks: %s", doubt)
    if few := meta["few_levels"]:
        _log.warning(
            (
                "%d of %d images show the networks fewer than %d of 256 grey levels: %s%s. Look "
                "at them: their range may be that of a border, text or damaged pixels"
            ),
            *(len(few), len(dataset), preprocessing.FEWEST_LEVELS, ", ".join(few[:3])),
            ", ..." if len(few) > 3 else "",
        )
    if not kept:
        raise InputError("no image of the data set is left")
    shape = (len(kept), *settings.shape)
    return Store(
        images=np.memmap(folder / "images.u8", np.uint8, "r", shape=shape),
        masks=np.memmap(folder / "masks.u8", np.uint8, "r", shape=shape[:3]) if masks else None,
        dataset=dataset if len(kept) == len(dataset) else dataset.take(kept),
        structures=masks.structures if masks else (),
        bad_ids=bad,
        empty_ids=tuple(meta["empty"]),
        path=folder,
        mask_summary=meta["masks"],
    )
