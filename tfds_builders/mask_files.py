"""Binary masks from mask files of any encoding; ambiguous files are refused.

Masks are stored as 0 and 255, as 0 and 1, in one grey, as labels of several structures, in the
colours of a palette, with smooth edges, or as an alpha channel. A single threshold for all of them
would empty some and fill others.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import io
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import tensorflow_datasets as tfds
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile
from scipy import ndimage

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF")
# The largest public X-rays have 4892 x 4020 pixels. A few kilobytes may claim any number.
MAX_PIXELS, MAX_BYTES = 24_000_000, 80_000_000  # decoded
MAX_FILE_BYTES = 64_000_000
# How a mask was read where that took more than a threshold; Dataset and manifest count these.
LABELS = "labels: every value above 0 is inside"
COLOURS = "colours: all but the background's is inside"
ALPHA = "alpha channel: what is opaque is inside"
_MAX_LABEL = 31  # numbers of structures; greys of a picture go beyond
_MAX_LEVELS = 16  # more are shades, not structures
_FEW_COLOURS = 6  # without smooth edges, which have more
_NOISE = 16  # a colour channel's difference that is no other colour
_SPECKS = 1e-3  # fraction of an image that is of no account
_PIECE, _ROWS = 1 << 20, 256  # pixels and rows at a time
_PNG = b"\x89PNG\r\n\x1a\n"


@dataclasses.dataclass(frozen=True)
class Mask:
    """A binary mask.

    inside: [H, W] bool. form: LABELS, COLOURS, ALPHA, or '' for two grey levels, which need no
    interpretation.
    """

    inside: np.ndarray
    form: str


SAME = 0.95  # Jaccard index beyond which two masks are one


@dataclasses.dataclass
class MaskReader:
    """Reads the masks of one data set, counts their forms and notes equal ones of both lungs."""

    forms: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    compared: int = 0
    same_sides: list[str] = dataclasses.field(default_factory=list)

    def read(self, path: Path) -> np.ndarray:
        """[H, W] bool; see `read_mask`."""
        mask = read_mask(path)
        self.forms.update([mask.form] if mask.form else [])
        return mask.inside

    def compare_sides(self, name: str, left: np.ndarray, right: np.ndarray) -> None:
        """Notes an image whose lungs have one mask: a file or folder was copied onto the other."""
        self.compared += 1
        union = np.count_nonzero(left | right)
        if union and np.count_nonzero(left & right) / union > SAME:
            self.same_sides.append(name)

    def record(self, builder: tfds.core.DatasetBuilder) -> None:
        """Stores forms and a notice in the builder's metadata, written after its last example."""
        metadata = builder.info.metadata
        metadata["mask_forms"] = dict(self.forms)
        if self.same_sides:
            shown = ", ".join(self.same_sides[:3]) + (", ..." if len(self.same_sides) > 3 else "")
            notice = (
                f"{len(self.same_sides)} of {self.compared} images have the same mask as left and "
                f"as right lung: {shown}"
            )
            metadata["notices"] = [*metadata.get("notices", ()), notice]


def read_mask(path: Path) -> Mask:
    """Reads one mask file.

    Raises:
        ValueError: damaged, too large, or ambiguous; names the file, its content and the fix.
    """
    with open_mask(path) as image:
        try:
            samples = _wide_samples(image, path)
            return _read(image) if samples is None else _of_wide(samples)
        except _UnclearError as error:
            raise ValueError(
                f"{path}: {error}. Save this mask as 0 outside and 255 inside"
            ) from error


@contextlib.contextmanager
def open_mask(path: Path) -> Iterator[Image.Image]:
    """The only image in a mask file, with decoded pixels; a PNG's checksums are verified.

    Raises:
        ValueError: damaged, too large, or not one image.
    """
    with warnings.catch_warnings(action="ignore"), _opened(path) as image:  # about metadata
        try:
            # TIFF may claim 200,000 pages: they are not counted.
            several = getattr(image, "is_animated", False)
            image.load()
        except Exception as error:  # Pillow raises a dozen types for damaged files
            raise ValueError(f"{path}: damaged mask ({error})") from error
        if several:
            raise ValueError(f"{path}: contains several images: save the one that is the mask")
        yield image


class _UnclearError(Exception):
    """A file can be read in more than one way."""


def _opened(path: Path) -> Image.Image:
    """The image with its size checked, without metadata; pixels are not decoded yet."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ValueError(f"{path}: more than {MAX_FILE_BYTES:,} bytes are no mask")
        encoded = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from error
    if encoded.startswith(_PNG):
        encoded = _PNG + b"".join(_pixel_chunks(encoded, path))
    try:
        image = Image.open(io.BytesIO(encoded), formats=FORMATS)
    except Exception as error:  # as above, and Pillow's own limit
        # Its message names the buffer by its address.
        reason = "" if isinstance(error, Image.UnidentifiedImageError) else f" ({error})"
        raise ValueError(f"{path}: cannot be read as an image{reason}") from error
    wide = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2}.get(image.mode, 4)
    pixels = image.width * image.height
    if pixels > MAX_PIXELS or pixels * wide > MAX_BYTES:
        size = f"{image.width} x {image.height}"
        raise ValueError(f"{path}: {size} pixels of mode {image.mode} are too large for a mask")
    return image


def _pixel_chunks(encoded: bytes, path: Path) -> Iterator[bytes]:
    """The chunks of a PNG that define its pixels.

    Damaged texts, profiles and EXIF data are therefore no reason to refuse a mask.
    """
    at, kind = len(_PNG), b""
    while kind != b"IEND":
        head = encoded[at : at + 8]
        length, kind = int.from_bytes(head[:4], "big"), head[4:]
        end = at + 12 + length
        if len(head) < 8 or end > len(encoded):
            raise ValueError(f"{path}: damaged mask (cut off)")
        if kind in (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"):
            # Pillow does not look at the checksums of pixels.
            if zlib.crc32(encoded[at + 4 : end - 4]) != int.from_bytes(
                encoded[end - 4 : end], "big"
            ):
                raise ValueError(f"{path}: damaged mask (wrong checksum)")
            yield encoded[at:end]
        elif not kind.isalpha() or kind[:1].isupper():
            raise ValueError(f"{path}: damaged mask (no chunk of a PNG is called {kind!r})")
        at = end


def _read(image: Image.Image) -> Mask:
    """The mask in a loaded image.

    Raises:
        _UnclearError: it can be read in more than one way.
    """
    lossy = image.format in ("JPEG", "MPO")
    if image.mode == "1":
        return Mask(np.asarray(image), "")
    if image.mode.startswith(("I", "F")):
        return _of_levels(_whole_numbers(np.asarray(image)), lossy=False)
    if image.mode == "P":
        counts = np.array(image.histogram())
        used = np.flatnonzero(counts)
        _refuse_void(used, counts)
        palette = np.reshape(image.getpalette("RGB") or [], (-1, 3))
        if used[-1] >= len(palette) or len(np.unique(palette[used], axis=0)) < len(used):
            # The numbers tell apart what the colours do not.
            return _of_levels(np.asarray(image), lossy=False)
    if image.has_transparency_data:
        return _of_alpha(image)
    if image.mode == "L":
        return _of_levels(np.asarray(image), lossy=lossy)
    return _of_colours(lambda: _strips(image, "RGB"), lossy=lossy)


@dataclasses.dataclass(frozen=True)
class _Samples:
    """Colours [H, W, 1 or 3] uint16 and, if the file has one, the alpha channel [H, W] uint16."""

    colours: np.ndarray
    alpha: np.ndarray | None


def _wide_samples(image: Image.Image, path: Path) -> _Samples | None:
    """The samples of a file of several 16-bit channels, of which Pillow keeps the upper 8 bits.

    None for all other files.

    Raises:
        _UnclearError: they cannot be read as they are.
    """
    if image.format == "TIFF" and len(image.getbands()) > 1 and isinstance(image, TiffImageFile):
        bits = image.tag_v2.get(258, (8,))
        if max(bits if isinstance(bits, tuple) else (bits,)) > 8:
            raise _UnclearError("it has several samples of more than 8 bits for each pixel")
    if image.format != "PNG" or len(image.getbands()) == 1:
        return None
    encoded = path.read_bytes()
    bits, kind = encoded[24], encoded[25]
    if bits != 16 or kind not in (2, 4, 6):
        return None
    if "transparency" in image.info:
        raise _UnclearError("it has 16 bits for each colour, one of which is transparent")
    channels = {2: 3, 4: 2, 6: 4}[kind]
    if image.width * image.height * 2 * channels > MAX_BYTES:
        raise _UnclearError("its samples of 16 bits are too large for a mask")
    pixels = cv2.imdecode(
        np.frombuffer(_PNG + b"".join(_pixel_chunks(encoded, path)), np.uint8),
        cv2.IMREAD_UNCHANGED,
    )
    if pixels is None or pixels.dtype != np.uint16 or pixels.ndim != 3:
        raise _UnclearError("its samples of 16 bits cannot be decoded")
    # OpenCV gives blue, green, red, and three equal channels for grey with alpha.
    colours = pixels[..., 2:3] if kind == 4 else pixels[..., 2::-1]
    return _Samples(colours, None if kind == 2 else pixels[..., -1])


def _of_wide(samples: _Samples) -> Mask:
    """`_read` of all 16 bits: greys at full depth, colours if 8 bits distinguish them, too."""
    colours, alpha = samples.colours, samples.alpha
    if alpha is not None and alpha.max() == 0:
        raise _UnclearError("it is transparent everywhere")
    if alpha is None or alpha.min() == alpha.max():
        grey = np.ascontiguousarray(colours[..., 0])
        if all((colours[..., n] == grey).all() for n in range(1, colours.shape[-1])):
            return _of_levels(grey, lossy=False)
        image = Image.fromarray(_in_8_bits(colours))
        return _of_colours(lambda: _strips(image, "RGB"), lossy=False)
    eight = np.broadcast_to(_in_8_bits(colours), (*alpha.shape, 3))
    return _of_alpha(Image.fromarray(np.dstack([eight, _in_8_bits(alpha)])))


def _in_8_bits(values: np.ndarray) -> np.ndarray:
    """uint16 values mapped to uint8, injectively.

    Raises:
        _UnclearError: 8 bits are too few for them.
    """
    used = np.flatnonzero(_counts(values))
    if len(used) <= _MAX_LEVELS:  # far from each other, as colours are
        spread = np.linspace(0 if used[0] == 0 else 64, 255, max(len(used), 2)).astype(np.uint8)
        table, eight = np.zeros(65536, np.uint8), np.empty(values.shape, np.uint8)
        table[used] = spread[: len(used)]
        for top in range(0, len(values), _ROWS):
            eight[top : top + _ROWS] = table[values[top : top + _ROWS]]
        return eight
    if used[-1] < 256:
        return values.astype(np.uint8)
    if len(np.unique(used >> 8)) < len(used):
        raise _UnclearError(f"{_listed(used)} in colours, which 8 bits do not tell apart")
    return (values >> 8).astype(np.uint8)


def _whole_numbers(values: np.ndarray) -> np.ndarray:
    """Values of 16 or 32 bits or floating point as uint16; fractions are spread over its range."""
    if values.dtype.kind == "u" and values.itemsize <= 2:
        return values.astype(np.uint16)
    low, high = values.min(), values.max()
    if not (np.isfinite(low) and np.isfinite(high)) or low < 0:
        raise _UnclearError(f"its values go from {low} to {high}")
    if values.dtype.kind == "f" and any((row != np.rint(row)).any() for row in values):
        scale = 65535 / high
        return np.stack([np.rint(row * scale).astype(np.uint16) for row in values])
    if high > 65535:
        raise _UnclearError(f"its values go up to {high}")
    return values.astype(np.uint16)


def _of_levels(levels: np.ndarray, *, lossy: bool) -> Mask:
    """The mask in grey levels [H, W] uint8 or uint16.

    These are one level and 0, labels, or two levels with smooth edges between them.
    """
    counts = _counts(levels)
    values = np.flatnonzero(counts)
    low, high = int(values[0]), int(values[-1])
    if high == 0 or low == high:
        return Mask(levels > 0, "")
    if 4 * low > high:
        raise _UnclearError(f"{_listed(values)} without a 0, which background has")
    if lossy and high - low < 64:
        raise _UnclearError(f"{_listed(values)} in a JPEG, whose losses are as large")
    if len(values) == 2:
        return Mask(levels > low, "")
    if high <= _MAX_LABEL and low == 0:
        return Mask(levels > 0, LABELS)
    _refuse_void(values, counts)
    shades = _Shades.of(levels, values)
    if len(values) <= _MAX_LEVELS and shades.are_structures:
        if set(values.tolist()) == {0, 127, 255}:
            raise _UnclearError(
                "it has 0, 127 and 255, and 127 may be a lung or, as V7's, be ignored"
            )
        if low == 0:
            return Mask(levels > 0, LABELS)
        raise _UnclearError(f"{_listed(values)} for several structures, without a 0")
    if shades.are_of_a_picture:
        raise _UnclearError(
            f"{_listed(values)} as in a picture, not of two sides with an edge between"
        )
    return Mask(levels > (low + high) // 2, "")


@dataclasses.dataclass(frozen=True)
class _Shades:
    """The pixels between the darkest and the brightest level: edges, structures, or a picture.

    Attributes:
        are_structures: patches of one level, away from the edge of background and brightest level.
        are_of_a_picture: too much of the mask lies between, and away from such an edge.
    """

    are_structures: bool
    are_of_a_picture: bool

    @classmethod
    def of(cls, levels: np.ndarray, values: np.ndarray) -> _Shades:
        step = max(1, round((levels.size / 1e6) ** 0.5))
        small = levels[::step, ::step]
        low, high = int(values[0]), int(values[-1])
        # Losses and noise lie close to the two levels; many shades have an inner half of their own.
        margin = (high - low) // (_NOISE if len(values) <= _MAX_LEVELS else 4)
        dark, bright = small <= low + margin, small >= high - margin
        between = ~(dark | bright)
        if not between.any():
            return cls(False, False)
        reach = 2 * max(2, round(0.01 * max(small.shape))) + 1
        edge = ndimage.maximum_filter(dark, reach) & ndimage.maximum_filter(bright, reach)
        away = between & ~edge
        even = ndimage.maximum_filter(small, 3) == ndimage.minimum_filter(small, 3)
        inside = int((~dark).sum())
        return cls(
            are_structures=bool(
                2 * away.sum() > between.sum()
                and 4 * (even & between).sum() > between.sum()
                and 100 * between.sum() > inside
            ),
            are_of_a_picture=len(values) > _MAX_LEVELS
            and bool(10 * away.sum() > small.size or 4 * away.sum() > inside),
        )


def _refuse_void(values: np.ndarray, counts: np.ndarray) -> None:
    """Refuses labels beside 255, which may mark unlabelled pixels (PASCAL VOC's void).

    A few pixels of small values are not taken for labels.
    """
    labels = values[(values > 0) & (values < 255)]
    few = len(labels) and labels[-1] <= _MAX_LABEL and values[-1] == 255 and values[0] == 0
    if few and 10 * counts[labels].sum() > counts[255]:
        raise _UnclearError(
            f"{_listed(values)}, of which 255 may be a structure or mean 'not labelled'"
        )


_Strips = Callable[[], Iterator[np.ndarray]]


def _strips(image: Image.Image, mode: str) -> Iterator[np.ndarray]:
    """The channels [C, h, W] uint8 of the image in another mode, a few rows at a time.

    A large image as a whole would take too much memory.
    """
    for top in range(0, image.height, _ROWS):
        box = (0, top, image.width, min(top + _ROWS, image.height))
        yield np.stack([np.asarray(band) for band in image.crop(box).convert(mode).split()])


def _of_colours(strips: _Strips, *, lossy: bool) -> Mask:
    """The mask in RGB: greys in three channels, or colours on a background.

    The background is the colour along the border.
    """
    if all((strip.max(axis=0) - strip.min(axis=0)).max() <= _NOISE for strip in strips()):
        if max(int(strip.max()) for strip in strips()) <= _NOISE:  # labels, of a colour maybe
            grey = [strip.max(axis=0) for strip in strips()]
        else:
            grey = [np.asarray(_picture(strip).convert("L")) for strip in strips()]
        return _of_levels(np.concatenate(grey), lossy=lossy)
    background = _border_colour(strips)[:, np.newaxis, np.newaxis]
    distance = np.concatenate(
        [
            (np.maximum(strip, background) - np.minimum(strip, background)).max(axis=0)
            for strip in strips()
        ]
    )
    if _has_few_colours(strips):
        return Mask(distance > distance.max() // _NOISE, COLOURS)
    return Mask(_of_levels(distance, lossy=lossy).inside, COLOURS)


def _picture(strip: np.ndarray) -> Image.Image:
    return Image.merge("RGB", [Image.fromarray(channel) for channel in strip])


def _has_few_colours(strips: _Strips) -> bool:
    """Returns whether there are too few colours for smooth edges."""
    used: set[object] = set()
    for strip in strips():
        colours = _picture(strip).getcolors(_FEW_COLOURS)
        used |= {colour for _, colour in colours or ()}
        if colours is None or len(used) > _FEW_COLOURS:
            return False
    return True


def _border_colour(strips: _Strips) -> np.ndarray:
    """The most frequent colour [3] uint8 along the border; the median if none has the majority."""
    pieces: list[np.ndarray] = []
    last = np.empty((3, 0), np.uint8)
    for strip in strips():
        pieces += (
            [strip[:, :, 0], strip[:, :, -1]]
            if pieces
            else [strip[:, 0], strip[:, 1:, 0], strip[:, 1:, -1]]
        )
        last = strip[:, -1]
    border = np.concatenate([*pieces, last], axis=1)
    colours, counts = np.unique(border, axis=1, return_counts=True)
    if 2 * counts.max() > border.shape[1]:
        return colours[:, counts.argmax()]
    return np.median(border, axis=1).astype(np.uint8)


def _of_alpha(image: Image.Image) -> Mask:
    """The mask in an image with transparency: in its colours or in its alpha channel.

    If both contain one, they must agree.
    """
    alpha = np.concatenate([strip[3] for strip in _strips(image, "RGBA")])
    if alpha.max() == 0:
        raise _UnclearError("it is transparent everywhere")
    if alpha.min() == alpha.max():
        return _of_colours(lambda: (strip[:3] for strip in _strips(image, "RGBA")), lossy=False)
    opaque = _of_levels(alpha, lossy=False).inside

    def over_black() -> Iterator[np.ndarray]:
        for n, strip in enumerate(_strips(image, "RGBA")):
            yield strip[:3] * opaque[n * _ROWS : (n + 1) * _ROWS]

    colours: set[tuple[int, ...]] = set()
    black = white = hidden = 0
    for n, strip in enumerate(_strips(image, "RGBA")):
        seen = opaque[n * _ROWS : (n + 1) * _ROWS]
        brightest, darkest = strip[:3].max(axis=0), strip[:3].min(axis=0)
        black += int((seen & (brightest <= _NOISE)).sum())
        hidden += int((~seen & (brightest > _NOISE)).sum())
        white += int((seen & (darkest >= 255 - _NOISE)).sum())
        if seen.any():
            colours |= {
                tuple(int(end(channel[seen])) for channel in strip[:3]) for end in (np.min, np.max)
            }
    if len(colours) == 1:
        return Mask(opaque, ALPHA)
    if black > _SPECKS * opaque.size:
        if hidden > _SPECKS * opaque.size:
            raise _UnclearError("its alpha channel hides what its colours draw")
        return _of_colours(over_black, lossy=False)
    other = int((_of_colours(over_black, lossy=False).inside != opaque).sum())
    if max(other, min(white, int(opaque.sum()) - white)) > 0.01 * opaque.size:
        raise _UnclearError("its alpha channel and its colours draw different masks")
    return Mask(opaque, ALPHA)


def _counts(levels: np.ndarray) -> np.ndarray:
    """The number of pixels of each value; counted in pieces, since NumPy widens its input."""
    size = 1 << (8 * levels.dtype.itemsize)
    flat = levels.ravel()
    return sum(
        (np.bincount(flat[at : at + _PIECE], minlength=size) for at in range(0, flat.size, _PIECE)),
        np.zeros(size, np.int64),
    )


def _listed(values: np.ndarray) -> str:
    shown = ", ".join(map(str, values[:8].tolist()))
    return (
        f"it has the values {shown}"
        if len(values) <= 8
        else f"it has {len(values)} values, {shown}, ..."
    )
