"""A user's own X-rays: finds the files, tells pictures from DICOM by their content, reads one at a time."""

from __future__ import annotations

import dataclasses
import glob
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage, stats

from jaxcxr.data import decoding, dicom
from jaxcxr.types import InputError

SMALLEST_SIDE = 224  # of the published patches and crops: a smaller image shows the networks less than they know
TINY = f"tiny image: a side is under {SMALLEST_SIDE} pixels"
COLOUR = dicom.COLOUR
PAGES = "several images in the file, of which the first was taken"
TURNED = "the file asks viewers to turn it, which is not done here"
FLAT = "implausible intensity range: hardly any contrast"
FEW_LEVELS = "implausible intensity range: too few grey levels for an X-ray"
SATURATED = "implausible intensity range: half of the pixels are the darkest or the brightest"
INVERTED = "looks inverted: lungs and air should be dark"
NO_LUNGS = "no lungs found"
SMALL_LUNGS = "lungs under 5 % of the image"
NOT_TWO_LUNGS = "the lungs found are not two separate fields: a lateral view, or a poor lung mask"

_SIGNATURES = (b"\x89PNG", b"\xff\xd8\xff", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"GIF8", b"BM")


@dataclasses.dataclass(frozen=True)
class XRayFile:
    """id: the path below what was searched, with '/', unique. path: where it lies."""

    id: str
    path: Path


@dataclasses.dataclass(frozen=True)
class XRay:
    """pixels: [H, W] uint8 or uint16, lungs dark. warnings: what is doubtful about it, mostly nothing."""

    pixels: np.ndarray
    warnings: tuple[str, ...]


def find(inputs: str, *, leave_out: Path | None = None) -> list[XRayFile]:
    """The files that `inputs` names, in the order of their ids.

    Args:
      inputs: a file, a folder (with all folders below it), or a pattern with *, ? or ** of files and folders. Files
        and folders whose names begin with a dot are passed over, as are links to folders.
      leave_out: a folder that is passed over, since it is written to.

    Returns:
      Regular files of any kind: what they are shows when they are read.

    Raises:
      InputError: there are none.
    """
    start = Path(inputs).expanduser()
    if start.exists():
        root, found = (start, [start]) if start.is_dir() else (start.parent, [start])
    else:
        fixed = list(start.parts[:-1])
        while any(glob.has_magic(part) for part in fixed):
            fixed.pop()
        root = Path(*fixed)
        found = [Path(name) for name in glob.glob(str(start), recursive=True)]
        if not found:
            what = "matches no file" if glob.has_magic(inputs) else "does not exist"
            raise InputError(
                f"predict.inputs={inputs!r} {what}: give a file, a folder or a pattern such as 'in/*.dcm'"
            )
    avoid = leave_out.resolve() if leave_out is not None else None
    paths = {
        path for place in found for path in _files(place) if not (avoid and _is_below(path, avoid))
    }
    files = sorted((XRayFile(_id(path, root), path) for path in paths), key=lambda file: file.id)
    if not files:
        raise InputError(f"predict.inputs={inputs!r} holds no files")
    return files


def read(encoded: bytes, name: str) -> XRay:
    """Decodes one X-ray and looks at it.

    Args:
      encoded: the file's bytes.
      name: what errors call it.

    Raises:
      InputError: neither a picture nor DICOM, unreadable, or too large.
    """
    if dicom.is_dicom(encoded[:132]):
        decoded = dicom.decode_dicom(encoded, name)
        return XRay(decoded.pixels, (*decoded.doubts, *look_at(decoded.pixels)))
    if not encoded.startswith(_SIGNATURES):
        what = (
            "is empty"
            if not encoded
            else "is neither DICOM nor a PNG, JPEG, TIFF, GIF or BMP picture"
        )
        raise InputError(f"{name} {what}")
    picture = decoding.decode_picture(encoded, name)
    odd = {COLOUR: picture.coloured, PAGES: picture.pages > 1, TURNED: picture.turned}
    return XRay(
        picture.pixels, (*(text for text, holds in odd.items() if holds), *look_at(picture.pixels))
    )


def read_file(file: XRayFile) -> XRay:
    """`read` of a file that is not larger than `dicom.MAX_BYTES`; it is called by its id."""
    try:
        size = file.path.stat().st_size
        if size > dicom.MAX_BYTES:
            raise InputError(
                f"{file.id} has {size:,} bytes, more than the {dicom.MAX_BYTES:,} allowed"
            )
        encoded = file.path.read_bytes()
    except OSError as error:
        raise InputError(f"{file.id} cannot be opened: {error.strerror}") from error
    return read(encoded, file.id)


def look_at(pixels: np.ndarray) -> tuple[str, ...]:
    """Warnings about the pixels [H, W] of an X-ray, uint8 or uint16.

    The limits leave wide margins around 272 public X-rays: these have 144 grey levels or more, at least 63 of 255
    between the 1st and 99th percentile, at most a third of the pixels at their two ends; one of them looked inverted
    here, of their negatives all but one.
    """
    step = max(1, round((pixels.size / 1e6) ** 0.5))
    sample = pixels[::step, ::step]
    low, high = np.percentile(sample, (1, 99))
    ends = (sample == sample.min()) | (sample == sample.max())
    flat = bool(high - low < (16 if pixels.dtype == np.uint8 else 64))
    found = {
        TINY: min(pixels.shape) < SMALLEST_SIDE,
        FLAT: flat,
        FEW_LEVELS: not flat and len(np.unique(sample)) < 32,
        SATURATED: not flat and bool(ends.mean() > 0.5),
        INVERTED: not flat and _looks_inverted(pixels),
    }
    return tuple(text for text, holds in found.items() if holds)


def look_at_lungs(lungs: np.ndarray) -> tuple[str, ...]:
    """Warnings about a lung mask [h, w] bool.

    In 264 masks by hand, of Montgomery, Shenzhen, Kermany's and the COVID-19 image data sets, lungs take 9.9 % of the
    image or more, and the second largest connected piece holds 37 % of their area or more.
    """
    area = int(lungs.sum())
    if not area:
        return (NO_LUNGS,)
    labels, _ = ndimage.label(lungs)  # pyright: ignore[reportGeneralTypeIssues]
    pieces = np.sort(np.bincount(labels.ravel())[1:])[::-1]
    found = {
        SMALL_LUNGS: area < 0.05 * lungs.size,
        NOT_TWO_LUNGS: len(pieces) < 2 or bool(pieces[1] < 0.15 * area),
    }
    return tuple(text for text, holds in found.items() if holds)


def _looks_inverted(pixels: np.ndarray) -> bool:
    """Whether spine and heart are darker than the upper corners (air) and the lung fields, by rank, at 64 x 64."""
    small = np.asarray(
        Image.fromarray(pixels.astype(np.float32)).resize((64, 64), Image.Resampling.BOX)
    )
    ranks = stats.rankdata(small).reshape(64, 64)
    corners = np.mean([ranks[:8, :8], ranks[:8, -8:]])
    lungs = np.mean([ranks[16:44, 12:24], ranks[16:44, 40:52]])
    return bool(2 * ranks[16:48, 26:38].mean() < corners + lungs)


def _files(place: Path) -> Iterator[Path]:
    if place.is_file():
        yield place
    for folder, below, names in os.walk(place, onerror=_refuse):
        below[:] = [name for name in below if not name.startswith(".")]
        for name in names:
            path = Path(folder, name)
            if (
                not name.startswith(".") and path.is_file()
            ):  # no pipes or sockets, which would never end
                yield path


def _refuse(error: OSError) -> None:
    if not isinstance(error, NotADirectoryError):  # of a file, which is no folder to walk through
        raise InputError(f"the folder {error.filename} cannot be read: {error.strerror}") from error


def _is_below(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder)


def _id(path: Path, root: Path) -> str:
    name = path.relative_to(root).as_posix()
    return os.fsencode(name).decode("utf-8", "backslashreplace")  # names that are no UTF-8
