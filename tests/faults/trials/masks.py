"""Mask files and the masks of a finished segment run."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import numpy as np
from PIL import Image

from jaxcxr.data import Dataset, FolderMasks, mask_folder, writing_masks
from jaxcxr.errors import InputError
from jaxcxr.storage import files
from tests.data.fakes import encode, make_dataset
from tests.faults.limits import mutants
from tests.faults.mutations import damage
from tests.faults.promises import Context, promise
from tfds_builders import mask_files


@promise("mutants/masks", "a damaged mask file is one error", full=10_000, quick=200)
def mask_reader(context: Context) -> Iterator[str]:
    path = context.folder / "mask.png"

    def read(content: bytes) -> None:
        path.write_bytes(content)
        try:
            mask_files.read_mask(path)
        except ValueError as error:
            if type(error) is not ValueError or str(path) not in str(error):
                raise
            raise InputError(str(error)) from error  # as `open_dataset` does

    yield from mutants(context, _mask_files(), read)


def _mask_files() -> list[bytes]:
    """Masks of 60 x 80 in the forms and formats that masks have."""
    rows, columns = np.mgrid[:60, :80]
    right = ((rows - 30) / 22) ** 2 + ((columns - 22) / 12) ** 2 < 1
    left = ((rows - 30) / 22) ** 2 + ((columns - 58) / 14) ** 2 < 1
    labels = (right + 2 * left).astype(np.uint8)
    inside = np.where(labels > 0, 255, 0).astype(np.uint8)
    colours = np.array([(0, 0, 0), (255, 0, 0), (0, 0, 255)], np.uint8)[labels]
    palette = Image.fromarray(labels).convert("P")
    palette.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
    grey = Image.fromarray(inside)
    alpha = Image.merge("RGBA", [grey.point(lambda _: 255)] * 3 + [grey])
    wide = Image.fromarray(inside.astype(np.uint16) * 257)
    pictures: list[tuple[Image.Image, str, dict[str, object]]] = [
        (grey, "PNG", {}),
        (Image.fromarray(labels), "PNG", {}),
        (Image.fromarray(labels > 0), "PNG", {}),
        (Image.fromarray(colours), "PNG", {}),
        (palette, "PNG", {}),
        (palette, "PNG", {"transparency": 0}),
        (alpha, "PNG", {}),
        (wide, "PNG", {}),
        (grey, "JPEG", {}),
        (Image.fromarray(colours), "JPEG", {}),
        (palette, "GIF", {}),
        (grey, "BMP", {}),
        (grey, "TIFF", {}),
        (wide, "TIFF", {"compression": "tiff_lzw"}),
        (Image.fromarray(inside / np.float32(255)), "TIFF", {"compression": "tiff_adobe_deflate"}),
    ]
    encoded = []
    for image, file_format, options in pictures:
        buffer = io.BytesIO()
        image.save(buffer, file_format, **options)
        encoded.append(buffer.getvalue())
    return encoded


@promise(
    "damage/masks", "damage to predicted masks is noticed or without effect", full=1_000, quick=60
)
def predicted_masks(context: Context) -> Iterator[str]:
    run, whole = context.folder / "run", context.folder / "whole"
    dataset = _dataset()
    drawn = _predict(run, dataset, seed=0)
    shutil.copytree(run, whole)
    index, *masks = sorted((run / "masks").rglob("*.*"), key=lambda path: path.suffix)
    for _ in range(context.trials):
        path = index if context.rng.random() < 0.5 else masks[int(context.rng.integers(len(masks)))]
        if context.rng.random() < 0.1:
            other = masks[int(context.rng.integers(len(masks)))]
            done = f"{path.name} and {other.name} swapped"
            content = path.read_bytes()
            path.write_bytes(other.read_bytes())
            other.write_bytes(content)
        else:
            done = damage(context.rng, path)
        problem = _accepted(run, dataset, [drawn])
        yield f"{done}: {problem}" if problem else ""
        shutil.rmtree(run)
        shutil.copytree(whole, run)


@promise(
    "kills/mask-folders",
    "masks whose prediction was killed are the former ones, the new ones or none",
    full=500,
    quick=8,
)
def killed_predictions(context: Context) -> Iterator[str]:
    dataset = _dataset()
    for n in range(context.trials):
        run = context.folder / f"run{n}"
        former = _predict(run, dataset, seed=0)
        new = _draw(dataset, seed=1)
        at = int(context.rng.integers(30))
        with contextlib.suppress(_KilledError), _killed_after(at):
            _predict(run, dataset, seed=1)
        problem = _accepted(run, dataset, [former, new])
        if not problem:
            again = _predict(run, dataset, seed=1)
            leftovers = sorted(path.name for path in run.iterdir() if path.name.startswith("."))
            problem = _accepted(run, dataset, [again], refused=False) or " ".join(leftovers)
        yield f"killed after {at} file operations: {problem}" if problem else ""


class _KilledError(BaseException):
    """Nothing of the process runs after it: what cleans up is killed, too."""


@contextlib.contextmanager
def _killed_after(operations: int) -> Iterator[None]:
    left = operations

    def counted(real: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object, **options: object) -> object:
            nonlocal left
            left -= 1
            if left < 0:
                raise _KilledError
            return real(*args, **options)

        return call

    with (
        mock.patch.object(files, "write_bytes", counted(files.write_bytes)),
        mock.patch.object(mask_folder.os, "replace", counted(os.replace)),
        mock.patch.object(mask_folder.shutil, "rmtree", counted(shutil.rmtree)),
    ):
        yield


def _dataset() -> Dataset:
    pixels = np.arange(8 * 10, dtype=np.uint8).reshape(8, 10)
    return make_dataset([{"image": encode(pixels + n)} for n in range(6)])


def _draw(dataset: Dataset, *, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.random((8, 10)) < 0.4 for _ in range(len(dataset))]


def _predict(run: Path, dataset: Dataset, *, seed: int) -> list[np.ndarray]:
    """Masks, 8 x 10 bool for each image, as `--config.run=predict` writes them."""
    masks = _draw(dataset, seed=seed)
    with writing_masks(run, dataset, masked_images=True, bad_images=()) as writer:
        for row, mask in enumerate(masks):
            writer.write(row, mask)
    return masks


def _accepted(
    run: Path, dataset: Dataset, right: list[list[np.ndarray]], *, refused: bool = True
) -> str:
    """What is wrong with the masks that a classifier is given; '' too if it is given none, where
    that may be.
    """
    try:
        source = FolderMasks(run)
        source.fingerprint(dataset)
        masks = [source.read(dataset, row) for row in range(len(dataset))]
    except InputError as error:
        named = str(run / "masks") in str(error) and "--config.run=predict" in str(error)
        return "" if refused and named else f"refused: {error}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    if any(all((a == b).all() for a, b in zip(masks, drawn, strict=True)) for drawn in right):
        return ""
    return "other masks were taken for them"
