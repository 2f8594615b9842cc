"""What each X-ray is, but for what it shows: size, depth, encoding, sharpness, and its copies.

Looked at once for a data set, and kept beside its prepared images.
"""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import functools
import hashlib
import io
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tqdm
from PIL import Image

from jaxcxr.data import derived, duplicates
from jaxcxr.data.builders import cache_dir, shared_cache_dir
from jaxcxr.data.dataset import Dataset
from jaxcxr.data.duplicates import Pair
from jaxcxr.errors import InputError
from jaxcxr.storage import files

CODE_VERSION = 1  # part of the folder's name: raise it whenever what is measured changes
FACTS = "facts.npz"
PAIRS = "pairs.json"
THUMBNAILS = "thumbnails.npy"
BINS = 16  # of a histogram
_SIDE = 512  # pixels of the longer side, at which sharpness is measured
_THREADS = 4
_SHOWN_FROM = 200  # images, from which the progress is printed


@dataclasses.dataclass(frozen=True)
class ImageFacts:
    """N images.

    Attributes:
        height, width: [N] pixels of the file.
        bits: [N] of a pixel: 8 or 16.
        encoding: [N] strings: of the file, such as JPEG or DICOM; "" where it is none of these.
        bytes_per_pixel: [N] of the encoded file.
        sharpness: [N] the logarithm of the variance of the Laplacian at `_SIDE` pixels.
        histogram: [N, BINS] fractions of pixels, from the darkest level that there is to the
            brightest.
        unreadable: [N] strings: why an image cannot be read, whose other facts are then empty or
            NaN; "" of all others.
        pairs: images that are one.
        thumbnails: [N, S, S] uint8, see `duplicates.thumbnail`; blank where unreadable.
    """

    height: np.ndarray
    width: np.ndarray
    bits: np.ndarray
    encoding: np.ndarray
    bytes_per_pixel: np.ndarray
    sharpness: np.ndarray
    histogram: np.ndarray
    unreadable: np.ndarray
    pairs: list[Pair]
    thumbnails: np.ndarray

    def __len__(self) -> int:
        return len(self.height)


def look(dataset: Dataset, data_config: Any) -> ImageFacts:
    """The facts of N images, which are looked at unless that was done before.

    Args:
        dataset: the images.
        data_config: says where they are kept, see `builders.cache_dir`.

    Raises:
        InputError: the disk is full, or nothing can be written there.
    """
    digest = hashlib.sha256(json.dumps([CODE_VERSION, dataset.image_hashes.tolist()]).encode())
    name = derived.key({"image_facts": digest.hexdigest()})
    shared = shared_cache_dir(data_config) / name
    if derived.is_intact(shared):
        return _read(shared)
    folder = cache_dir(data_config) / name
    if not derived.is_intact(folder):
        derived.make(folder, functools.partial(_write, dataset=dataset), what="facts of the images")
    return _read(folder)


def _read(folder: Path) -> ImageFacts:
    with np.load(folder / FACTS, allow_pickle=False) as arrays:
        facts = {name: arrays[name] for name in arrays.files}
    rows = json.loads((folder / PAIRS).read_text(encoding="utf-8"))
    thumbnails = np.load(folder / THUMBNAILS, mmap_mode="r", allow_pickle=False)
    return ImageFacts(**facts, pairs=[Pair(**row) for row in rows], thumbnails=thumbnails)


def _write(folder: Path, *, dataset: Dataset) -> Mapping[str, Any]:
    thumbnails, rows = [], []
    for thumbnail, row in _looked_at(dataset):
        thumbnails.append(thumbnail)
        rows.append(row)
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    pairs = duplicates.find(np.stack(thumbnails), show=len(rows) >= _SHOWN_FROM)
    np.save(folder / THUMBNAILS, np.stack(thumbnails))
    files.write_npz(folder / FACTS, columns)
    text = json.dumps([dataclasses.asdict(pair) for pair in pairs])
    (folder / PAIRS).write_text(text, encoding="utf-8")
    return {"images": len(rows), "pairs": len(pairs)}


def _looked_at(dataset: Dataset) -> Iterator[tuple[np.ndarray, dict[str, Any]]]:
    """Thumbnails and facts in order, computed ahead by a few threads (OpenCV releases the GIL)."""
    show = len(dataset) >= _SHOWN_FROM
    with concurrent.futures.ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1)) as pool:
        waiting: collections.deque = collections.deque()
        for index in tqdm.trange(
            len(dataset), desc="looking at images", unit="img", disable=None if show else True
        ):
            waiting.append(pool.submit(_of_image, dataset, index))
            if len(waiting) > 2 * _THREADS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _of_image(dataset: Dataset, index: int) -> tuple[np.ndarray, dict[str, Any]]:
    try:
        pixels, encoded = dataset.image(index), dataset.encoded(index)
    except InputError as error:
        # A blank thumbnail is no copy of anything.
        return np.zeros((duplicates.SIDE, duplicates.SIDE), np.uint8), _unreadable(str(error))
    height, width = pixels.shape
    return duplicates.thumbnail(pixels), {
        "height": height,
        "width": width,
        "bits": 8 * pixels.dtype.itemsize,
        "encoding": encoding_of(encoded),
        "bytes_per_pixel": len(encoded) / pixels.size,
        "sharpness": sharpness(pixels),
        "histogram": histogram(pixels),
        "unreadable": "",
    }


def _unreadable(reason: str) -> dict[str, Any]:
    return {
        "height": 0,
        "width": 0,
        "bits": 0,
        "encoding": "",
        "bytes_per_pixel": np.nan,
        "sharpness": np.nan,
        "histogram": np.full(BINS, np.nan, np.float32),
        "unreadable": reason,
    }


def encoding_of(encoded: bytes) -> str:
    """The form of an encoded image, such as "JPEG"; "" where it is not known."""
    if encoded[128:132] == b"DICM":
        return "DICOM"
    try:
        with Image.open(io.BytesIO(encoded)) as picture:
            return picture.format or ""
    except (OSError, ValueError, Image.DecompressionBombError):
        return ""


def histogram(pixels: np.ndarray) -> np.ndarray:
    """[BINS] float32: fractions of the pixels of [H, W], between its darkest and brightest."""
    low, high = int(pixels.min()), int(pixels.max())
    counts, _ = np.histogram(pixels, BINS, (low, max(high, low + 1)))
    return (counts / pixels.size).astype(np.float32)


def sharpness(pixels: np.ndarray) -> float:
    """The logarithm of the variance of the Laplacian of [H, W], at one size and contrast."""
    scale = _SIDE / max(pixels.shape)
    size = tuple(max(1, round(side * scale)) for side in pixels.shape[::-1])
    small = cv2.resize(pixels.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    contrast = max(float(small.std()), 1e-6)
    edges = cv2.Laplacian((small / contrast).astype(np.float32), cv2.CV_32F)
    return float(np.log(edges.var() + 1e-6))
