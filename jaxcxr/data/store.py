"""Every image of a data set, preprocessed once, as memory-mapped uint8 arrays."""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
import tqdm
from PIL import Image

from jaxcxr import files
from jaxcxr.data.dataset import Dataset
from jaxcxr.data.locking import locked
from jaxcxr.data.masks import IGNORE, MaskSource, check_same_aspect
from jaxcxr.ops.enhance import equalisation_lut
from jaxcxr.types import InputError

# Part of the cache key: raise it whenever the pixels that this file makes change.
CODE_VERSION = 1
# facts 1.5: sets stored as negatives, whose published equalisation saturates this many pixels at
# the dark end of the negative. The other sets have no such tail.
NEGATIVE_TAIL = {"jsrt": 10}
_THREADS = 4
_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Store:
    """N preprocessed images.

    images: [N, S, S] uint8. masks: [N, S, S] uint8 structure ids (0 background, i+1 =
    structures[i], 255 ignore), or None. dataset: the N images, unreadable ones removed.
    bad_ids: what was unreadable and why. empty_ids: images whose mask has no lung
    (`on_empty` says whether they are in here with the whole image as mask, or left out).
    """

    images: np.ndarray
    masks: np.ndarray | None
    dataset: Dataset
    structures: tuple[str, ...]
    bad_ids: dict[str, str]
    empty_ids: tuple[str, ...]
    path: Path

    def __len__(self) -> int:
        return len(self.dataset)

    def arrays(self) -> dict[str, np.ndarray]:
        """What the pipeline reads: image [N, S, S], label [N], and mask [N, S, S] if any."""
        arrays = {"image": self.images, "label": self.dataset.labels}
        return arrays if self.masks is None else {**arrays, "mask": self.masks}


def build_store(
    dataset: Dataset,
    *,
    image_size: int,
    equalise: bool,
    gamma: float,
    masks: MaskSource | None,
    cache_dir: str | Path,
    max_bad_images: int,
) -> Store:
    """Preprocesses every image once; the same images and settings are read from the cache.

    Args:
        dataset: N images.
        image_size: S; images are squashed to S x S, aspect not kept, as published.
        equalise: histogram equalisation at native depth before resizing (facts 1.5).
        gamma: exponent on [0, 1] after that; 0.5 as published, 1 = none.
        masks: where masks come from, None = no masks.
        cache_dir: holds one folder for every combination of data and settings.
        max_bad_images: how many unreadable images may be left out, with a warning.

    Raises:
        InputError: more unreadable images than that (all are named), missing masks, masks of
            another shape than their image, empty lung masks with on_empty='error', disk full.
    """
    if image_size < 1 or gamma <= 0:
        raise InputError(f"data.image_size {image_size} and data.gamma {gamma} must be positive")
    if len(dataset) == 0:
        raise InputError("the data set has no images")
    settings = {
        "code_version": CODE_VERSION,
        "dataset": dataset.fingerprint,
        "image_size": image_size,
        "equalise": bool(equalise),
        "gamma": float(gamma),
        "masks": masks.fingerprint(dataset) if masks else None,
    }
    key = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
    cache_dir = Path(cache_dir).expanduser()
    try:
        with locked(cache_dir / f".{key[:16]}.lock"):
            if not _is_complete(cache_dir / key):
                _build(cache_dir / key, dataset, settings, masks)
    except OSError as error:
        raise InputError(f"the images cannot be kept in {cache_dir}: {error}") from error
    return _open(cache_dir / key, dataset, masks, max_bad_images)


def preprocess(
    pixels: np.ndarray, *, image_size: int, equalise: bool, gamma: float, negative_tail: int = 0
) -> np.ndarray:
    """[H, W] uint8 or uint16 -> [S, S] uint8, as facts 1.5: look-up at native depth, then resize.

    `pixels` is a positive (lungs dark); with negative_tail > 0 the table is made on its negative.
    Without equalisation 8 bits keep their values; 16 bits are stretched from their own minimum
    to maximum, since a detector's depth (10, 12, 14 bits) is not stored.
    """
    levels = 1 << (8 * pixels.dtype.itemsize)
    if equalise:
        histogram = np.bincount(pixels.ravel(), minlength=levels)
        if negative_tail:
            negative = equalisation_lut(histogram[::-1], tail=negative_tail, invert=True)
            lut = np.asarray(negative)[::-1]
        else:
            lut = np.asarray(equalisation_lut(histogram))
    elif pixels.dtype == np.uint8:
        lut = np.arange(levels, dtype=np.float32) / (levels - 1)
    else:
        low, high = int(pixels.min()), int(pixels.max())
        lut = np.clip((np.arange(levels, dtype=np.float32) - low) / max(high - low, 1), 0, 1)
    lut = 255 * lut**gamma
    resized = Image.fromarray(lut.astype(np.float32)[pixels]).resize(
        (image_size, image_size), Image.Resampling.BILINEAR
    )
    return np.clip(np.rint(np.asarray(resized)), 0, 255).astype(np.uint8)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Prepared:
    """One image's result. Only one of `unreadable` and `mismatch` is ever set."""

    image: np.ndarray | None = None
    mask: np.ndarray | None = None
    unreadable: str = ""
    mismatch: str = ""
    empty: bool = False


def _prepare(dataset: Dataset, index: int, settings: dict, masks: MaskSource | None) -> _Prepared:
    size = settings["image_size"]
    try:
        pixels = dataset.image(index)
        mask = masks.read(dataset, index) if masks else None
    except InputError as error:
        return _Prepared(unreadable=str(error))
    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        image = preprocess(
            pixels,
            image_size=size,
            equalise=settings["equalise"],
            gamma=settings["gamma"],
            negative_tail=NEGATIVE_TAIL.get(dataset.sources[index].item(), 0),
        )
    if mask is None or masks is None:
        return _Prepared(image=image)
    try:
        check_same_aspect(dataset.ids[index].item(), pixels.shape, mask.shape)
    except InputError as error:
        return _Prepared(mismatch=str(error))
    resized = np.asarray(Image.fromarray(mask).resize((size, size), Image.Resampling.NEAREST))
    lungs = [n for n, name in enumerate(masks.structures, start=1) if "lung" in name]
    wanted = lungs or list(range(1, len(masks.structures) + 1))
    empty = not np.isin(resized, wanted).any()
    if empty and masks.on_empty == "whole_image":
        resized = np.where(resized == IGNORE, resized, wanted[0]).astype(np.uint8)
    return _Prepared(image=image, mask=resized, empty=empty)


def _build(folder: Path, dataset: Dataset, settings: dict, masks: MaskSource | None) -> None:
    """Writes images.u8, masks.u8 and meta.json into a temporary folder, then renames it."""
    temporary = folder.parent / f".building-{folder.name}"
    for leftover in (folder, temporary):  # damaged, or of a process that was killed
        shutil.rmtree(leftover, ignore_errors=True)
    temporary.mkdir()
    kept, bad, mismatched, empty = [], {}, [], []
    try:
        with open(temporary / "images.u8", "wb") as images, open(temporary / "masks.u8", "wb") as m:
            for index, result in enumerate(_prepared(dataset, settings, masks)):
                name = dataset.ids[index].item()
                if result.empty:
                    empty.append(name)
                if result.unreadable:
                    bad[name] = result.unreadable
                elif result.mismatch:
                    mismatched.append(result.mismatch)
                elif not (result.empty and masks and masks.on_empty == "drop"):
                    kept.append(index)
                    images.write(result.image)  # pyright: ignore[reportArgumentType]
                    if result.mask is not None:
                        m.write(result.mask)  # pyright: ignore[reportArgumentType]
            for file in (images, m):
                file.flush()
                os.fsync(file.fileno())
        _raise_mask_errors(mismatched, empty, masks)
        meta = {
            "settings": settings,
            "kept": kept,
            "bad": bad,
            "empty": empty,
            "has_masks": masks is not None,
        }
        files.write_json(temporary / "meta.json", meta)
        os.rename(temporary, folder)
        files.fsync_folder(folder.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _prepared(dataset: Dataset, settings: dict, masks: MaskSource | None) -> Iterator[_Prepared]:
    """Results in order, computed ahead by a few threads (Pillow and numpy release the GIL)."""
    with concurrent.futures.ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1)) as pool:
        waiting: collections.deque = collections.deque()
        for index in tqdm.trange(len(dataset), desc="preparing images", unit="img", disable=None):
            waiting.append(pool.submit(_prepare, dataset, index, settings, masks))
            if len(waiting) > 2 * _THREADS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _raise_mask_errors(mismatched: list[str], empty: list[str], masks: MaskSource | None) -> None:
    if mismatched:
        raise InputError(
            f"{len(mismatched)} masks do not fit their images: {'; '.join(mismatched[:10])}"
        )
    if empty and masks and masks.on_empty == "error":
        raise InputError(
            f"{len(empty)} images have an empty lung mask: {', '.join(empty[:10])}"
            f"{', ...' if len(empty) > 10 else ''}. Mend the masks, or set masks.on_empty to "
            "'whole_image' or 'drop'"
        )


def _is_complete(folder: Path) -> bool:
    """Whether a finished store of the right size is there."""
    try:
        meta = json.loads((folder / "meta.json").read_text())
        pixels = len(meta["kept"]) * meta["settings"]["image_size"] ** 2
        sizes = [(folder / name).stat().st_size for name in ("images.u8", "masks.u8")]
        complete = sizes == [pixels, pixels if meta["has_masks"] else 0]
    except FileNotFoundError:
        return False
    except (ValueError, KeyError, TypeError):
        complete = False
    if not complete:
        _log.warning("the cached images in %s are damaged: made again", folder)
    return complete


def _open(folder: Path, dataset: Dataset, masks: MaskSource | None, max_bad_images: int) -> Store:
    meta = json.loads((folder / "meta.json").read_text())
    bad, kept = meta["bad"], meta["kept"]
    if bad:
        reasons = "; ".join(bad.values())
        message = f"{len(bad)} of {len(dataset)} images are unreadable: {reasons}"
        if len(bad) > max_bad_images:
            raise InputError(
                f"{message}. Mend or remove them, or set data.max_bad_images to {len(bad)} to go "
                "on without them"
            )
        _log.warning("%s. They are left out (data.max_bad_images=%d)", message, max_bad_images)
    if not kept:
        raise InputError("no image of the data set is left")
    size = meta["settings"]["image_size"]
    shape = (len(kept), size, size)
    return Store(
        images=np.memmap(folder / "images.u8", np.uint8, "r", shape=shape),
        masks=np.memmap(folder / "masks.u8", np.uint8, "r", shape=shape) if masks else None,
        dataset=dataset if len(kept) == len(dataset) else dataset.take(kept),
        structures=masks.structures if masks else (),
        bad_ids=bad,
        empty_ids=tuple(meta["empty"]),
        path=folder,
    )
