"""A user's own X-rays: finds the files and reads one at a time.

Pictures and DICOM files are told apart by their content.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fnmatch
import glob
import os
import re
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from absl import logging
from PIL import Image
from scipy import stats

from jaxcxr.data import decoding, dicom, memory_budget, stray_files
from jaxcxr.data.preprocessing import FEWEST_LEVELS, Prepared
from jaxcxr.errors import InputError
from jaxcxr.storage import files
from jaxcxr.storage.names import printable

# Of the published patches and crops: a smaller image shows the networks less than they know.
SMALLEST_SIDE = 224
TINY = f"tiny image: a side is under {SMALLEST_SIDE} pixels"
SHAPE = "implausible shape: over four times as wide as high, or over twice as high as wide"
COLOUR = dicom.COLOUR
PAGES = "several images in the file, of which the first was taken"
TURNED = "the file asks viewers to turn it, which is not done here"
FLAT = "implausible intensity range: hardly any contrast"
FEW_LEVELS = "implausible intensity range: too few grey levels for an X-ray"
SEES_FEW = f"the network sees fewer than {FEWEST_LEVELS} grey levels of it"
SATURATED = "implausible intensity range: half of the pixels are the darkest or the brightest"
INVERTED = "looks inverted: lungs and air should be dark"

# Errors after which no other file of that disk can be expected to be readable.
OF_THE_DISK = frozenset(
    (errno.ENOTCONN, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETUNREACH,
     errno.ETIMEDOUT,
     errno.ENODEV, errno.EMFILE, errno.ENFILE)
)  # fmt: skip


_HIDDEN = "begins with a dot"  # a `problem` that `find` keeps apart
# What Windows leaves in folders of pictures.
_OF_THE_SYSTEM = {"thumbs.db", "ehthumbs.db", "desktop.ini"}
_ADDRESS = re.compile(r"( object)? at 0x[0-9a-fA-F]+")


class DiskError(InputError):
    """No other file can be expected to be readable: the disk or the network is gone."""


@dataclasses.dataclass(frozen=True)
class XRayFile:
    """A file below the inputs.

    Attributes:
        id: its path below the input folder, with '/', unique.
        path: of the file.
        problem: the reason why it cannot be read, '' if none is known yet.
    """

    id: str
    path: Path
    problem: str = ""

    @property
    def name(self) -> str:
        """The id for messages: without what a terminal would obey."""
        return printable(self.id)


@dataclasses.dataclass(frozen=True)
class Found:
    """The files of an input folder.

    files: in the order of their ids. hidden: sorted ids of skipped files, whose names begin with a
    dot or are those of what Windows puts beside pictures. strays: sorted ids of files that are left
    out since they are no X-rays, see `stray_files`.
    """

    files: list[XRayFile]
    hidden: list[str]
    strays: list[str]

    @property
    def passed_over(self) -> dict[str, list[str]]:
        """What is said of the files that nobody predicts -> their ids; without empty lists."""
        kinds = {"hidden, unread": self.hidden, "no X-ray files": self.strays}
        return {text: ids for text, ids in kinds.items() if ids}


@dataclasses.dataclass(frozen=True)
class XRay:
    """A decoded X-ray.

    pixels: [H, W] uint8 or uint16, lungs dark. warnings: doubts about it, usually none.
    """

    pixels: np.ndarray
    warnings: tuple[str, ...]


def find(inputs: str, *, leave_out: Path | None = None) -> Found:
    """The files that `inputs` names.

    Args:
        inputs: a file, a folder (with all folders below it), or a pattern with *, ? or ** of files
            and folders. Files and folders whose names begin with a dot, and Thumbs.db and the like,
            are passed over unless `inputs` names them, and so are notes, tables and documents.
        leave_out: a folder that is passed over, since it is written to.

    Returns:
        Regular files of any kind: what they are shows when they are read; and, with their
        `problem`, what cannot be read as a file: links to nothing and to folders, pipes, sockets,
        devices, folders that may not be looked into.

    Raises:
        InputError: there are none.
    """
    start = Path(os.path.expanduser(inputs))
    if os.path.lexists(start):
        root, places = (start, [start]) if start.is_dir() else (start.parent, [start])
    else:
        parts, fixed = start.parts, len(start.parts) - 1
        for n, part in enumerate(parts):
            if glob.has_magic(part) and not os.path.lexists(Path(*parts[: n + 1])):
                fixed = n
                break
        root = Path(*parts[:fixed])
        places = list(_matches(root, parts[fixed:]))
        if not places:
            raise InputError(
                f"predict.inputs={inputs!r} {_why_nothing(start)}: give a file, a folder or a "
                "pattern such as 'in/*.dcm'"
            )
    avoid = os.path.realpath(leave_out) if leave_out is not None else None
    problems = {}
    for place in places:
        for path, problem in _walk(place):
            if not (avoid and _is_below(path, avoid)):
                problems[path] = problem
    hidden = {path for path, problem in problems.items() if problem is _HIDDEN}
    # A file that is named alone is meant, whatever it is.
    others = problems.keys() - hidden - {start}
    strays = {path for path in others if not problems[path] and stray_files.is_stray(path)}
    named = _ids(problems.keys() - hidden - strays, root)
    if not named:
        kinds = ["hidden ones"] * bool(hidden) + ["ones that are no X-ray files"] * bool(strays)
        raise InputError(
            f"predict.inputs={inputs!r} contains no files{' but ' * bool(kinds)}"
            f"{' and '.join(kinds)}: give a folder with X-rays, a file or a pattern such as "
            "'in/*.dcm'"
        )
    return Found(
        [XRayFile(name, path, problems[path]) for name, path in sorted(named.items())],
        sorted(_ids(hidden, root)),
        sorted(_ids(strays, root)),
    )


def read(encoded: bytes, name: str) -> XRay:
    """Decodes an X-ray and checks its plausibility.

    Args:
        encoded: the file's bytes.
        name: of the file, for errors.

    Raises:
        InputError: neither a picture nor DICOM, unreadable, or too large.
    """
    if dicom.is_dicom(encoded[:132]):
        with memory_budget.IMAGES.hold(_dicom_pixels(encoded) * memory_budget.BYTES_PER_PIXEL):
            decoded = dicom.decode_dicom(encoded, name)
        return XRay(decoded.pixels, (*decoded.doubts, *look_at(decoded.pixels)))
    if not encoded.startswith(stray_files.SIGNATURES):
        what = (
            "is empty"
            if not encoded
            else "is neither DICOM nor a PNG, JPEG, TIFF, GIF or BMP picture"
        )
        raise InputError(f"{name} {what}")
    picture = decoding.decode_picture(encoded, name)
    odd = {COLOUR: picture.coloured, PAGES: picture.several, TURNED: picture.turned}
    return XRay(
        picture.pixels, (*(text for text, holds in odd.items() if holds), *look_at(picture.pixels))
    )


def read_file(file: XRayFile) -> XRay:
    """`read` of a file that is not larger than `dicom.MAX_BYTES`; errors call it by its name.

    Raises:
        InputError: as `read`, or the file cannot be opened.
        DiskError: what is wrong is not the file, but what it lies on.
    """
    if file.problem:
        raise InputError(f"{file.name} {file.problem}")
    try:
        size = file.path.stat().st_size
        if size > dicom.MAX_BYTES:
            raise InputError(
                f"{file.name} has {size:,} bytes, more than the {dicom.MAX_BYTES:,} allowed"
            )
        encoded = file.path.read_bytes()
    except OSError as error:
        kind = DiskError if error.errno in OF_THE_DISK else InputError
        raise kind(f"{file.name} cannot be opened: {error.strerror}") from error
    return read(encoded, file.name)


def reason(name: str, error: Exception) -> str:
    """The reason why a file could not be used, as written to failed.csv.

    Messages of other libraries might quote a header and are omitted, as are memory addresses.

    Args:
        name: of the file.
        error: what was raised.

    Raises:
        InputError: the next file would meet the same error, since a disk is full or gone.
    """
    if isinstance(error, OSError) and error.errno in OF_THE_DISK:
        raise DiskError(f"{name} or what is made of it: {error.strerror}") from error
    if isinstance(error, DiskError) or (
        isinstance(error, InputError) and files.is_disk_full(error)
    ):
        raise error
    if files.is_disk_full(error):
        raise DiskError(f"The disk is full: what is made of {name} was not written.") from error
    if isinstance(error, InputError):
        return _ADDRESS.sub("", str(error))
    if isinstance(error, MemoryError):
        return f"{name} needs more memory than there is"
    if isinstance(error, OSError) and error.strerror:
        return f"{name} or what is made of it: {error.strerror}"
    logging.info("%s:", name, exc_info=error)
    kind = type(error).__name__
    return f"{name}: unexpected {kind}; please report it, with what --verbosity=0 prints of it"


def look_at(pixels: np.ndarray) -> tuple[str, ...]:
    """Warnings about the pixels [H, W] of an X-ray, uint8 or uint16.

    Of 2,007 public X-rays the width is 0.78 to 3.2 times the height. The other limits leave wide
    margins around 272 public X-rays: these have 144 grey levels or more, at least 63 of 255
    between the 1st and 99th percentile, at most a third of the pixels at their two ends; one of
    them looked inverted here, of their negatives all but one.
    """
    step = max(1, round((pixels.size / 1e6) ** 0.5))
    sample = pixels[::step, ::step]
    low, high = np.percentile(sample, (1, 99))
    ends = (sample == sample.min()) | (sample == sample.max())
    flat = bool(high - low < (16 if pixels.dtype == np.uint8 else 64))
    checks = {
        TINY: min(pixels.shape) < SMALLEST_SIDE,
        SHAPE: not 0.5 <= pixels.shape[1] / pixels.shape[0] <= 4,
        FLAT: flat,
        FEW_LEVELS: not flat and len(np.unique(sample)) < 32,
        SATURATED: not flat and bool(ends.mean() > 0.5),
        INVERTED: not flat and _looks_inverted(sample),
    }
    return tuple(text for text, holds in checks.items() if holds)


def look_at_view(view: Prepared, warnings: tuple[str, ...]) -> tuple[str, ...]:
    """Warnings about an X-ray after preprocessing, in addition to those about its file."""
    return (SEES_FEW,) if view.few_levels and not {FLAT, FEW_LEVELS} & {*warnings} else ()


def _dicom_pixels(encoded: bytes) -> int:
    """Number of pixels of a DICOM file, by the first rows and columns in it.

    The most that are allowed, if there are none.
    """
    pixels = 1
    for tag in (b"\x28\x00\x10\x00", b"\x28\x00\x11\x00"):
        at = encoded.find(tag)
        side = int.from_bytes(encoded[at + 8 : at + 10], "little") if at >= 0 else 0
        pixels *= side or decoding.MAX_SIDE
    return min(pixels, decoding.MAX_PIXELS)


def _looks_inverted(pixels: np.ndarray) -> bool:
    """Returns whether spine and heart are darker than the air above the shoulders and the lungs.

    Compared by rank at 64 x 64; the air is in the upper corners.
    """
    small = np.asarray(
        Image.fromarray(pixels.astype(np.float32)).resize((64, 64), Image.Resampling.BOX)
    )
    ranks = stats.rankdata(small).reshape(64, 64)
    corners = np.mean([ranks[:8, :8], ranks[:8, -8:]])
    lungs = np.mean([ranks[16:44, 12:24], ranks[16:44, 40:52]])
    return bool(2 * ranks[16:48, 26:38].mean() < corners + lungs)


def _why_nothing(start: Path) -> str:
    if glob.has_magic(str(start)):
        return "matches no file"
    try:
        os.lstat(start)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return "does not exist"
    except OSError as error:
        return f"cannot be looked at ({error.strerror})"
    return "does not exist"


def _matches(root: Path, pattern: tuple[str, ...]) -> Iterator[Path]:
    """The paths below a folder that match a pattern; an existing name is taken literally."""
    first, rest = pattern[0], pattern[1:]
    if first == "**":
        for folder in _folders(root) if rest else [root]:
            yield from _matches(folder, rest) if rest else [folder]
        return
    if os.path.lexists(root / first):
        names = [first]
    else:
        try:
            names = fnmatch.filter(os.listdir(root), first) if glob.has_magic(first) else []
        except OSError:  # a file, or a folder that nobody may look into
            names = []
        names = [name for name in names if first.startswith(".") or not name.startswith(".")]
    for name in names:
        yield from _matches(root / name, rest) if rest else [root / name]


def _folders(root: Path) -> Iterator[Path]:
    """A folder and all below it."""
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        yield folder
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            waiting += [Path(entry.path) for entry in entries if _is_folder_to_enter(entry)]


def _walk(place: Path) -> Iterator[tuple[Path, str]]:
    """A file, or every file below a folder, each with what speaks against reading it."""
    if not place.is_dir():
        yield place, _problem(place)
        return
    waiting = [place]
    while waiting:  # not recursive: folders can be nested deeper than functions
        folder = waiting.pop()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.name.startswith(".") or entry.name.casefold() in _OF_THE_SYSTEM:
                        yield Path(entry.path), _HIDDEN
                    elif entry.is_dir(follow_symlinks=False):
                        waiting.append(Path(entry.path))
                    else:
                        yield Path(entry.path), _problem(Path(entry.path))
        except OSError as error:
            if error.errno in OF_THE_DISK:
                raise DiskError(f"the folder {folder} cannot be read: {error.strerror}") from error
            yield folder, f"is a folder that cannot be read: {error.strerror}"


def _is_folder_to_enter(entry: os.DirEntry[str]) -> bool:
    return entry.is_dir(follow_symlinks=False) and not entry.name.startswith(".")


def _problem(path: Path) -> str:
    """The reason why a path cannot be read as a file, '' if it can."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        if path.is_symlink() and error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return "is a link to nothing"
        return f"cannot be opened: {error.strerror}"
    if stat.S_ISREG(mode):
        return ""
    if stat.S_ISDIR(mode):
        return "is a link to a folder, which is not followed: give that folder itself"
    # These would never end.
    kinds = {stat.S_ISFIFO: "a pipe", stat.S_ISSOCK: "a socket"}
    what = next((name for holds, name in kinds.items() if holds(mode)), "a device")
    return f"is {what}, not a file"


def _is_below(path: Path, folder: str) -> bool:
    return Path(os.path.realpath(path)).is_relative_to(folder)


def _ids(paths: Iterable[Path], root: Path) -> dict[str, Path]:
    r"""Files by id, {id: path}.

    Names that are no UTF-8 are written with \x.., and a number where another has the name already.
    """
    ids: dict[str, Path] = {}
    unclear = []
    for path in sorted(paths):
        name = path.relative_to(root).as_posix() if path != root else root.name
        encoded = os.fsencode(name)
        text = encoded.decode("utf-8", "backslashreplace")
        if text.encode() == encoded:
            ids[text] = path
        else:
            unclear.append((text, path))
    for text, path in unclear:
        number = 1
        while (name := f"{text} ({number})" if number > 1 else text) in ids:
            number += 1
        ids[name] = path
    return ids
