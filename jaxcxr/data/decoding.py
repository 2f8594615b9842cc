"""Encoded image bytes -> grey pixels at native depth, with a size cap and one kind of error."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import warnings
from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image, UnidentifiedImageError

from jaxcxr.data import containers, memory_budget, wide_colour
from jaxcxr.data.containers import Container
from jaxcxr.errors import InputError
from jaxcxr.storage import files

# The largest plates in the public sets are about 20 million pixels. Pillow itself only warns at
# 89 million, so a small file that claims more is refused here before anything is decoded.
MAX_PIXELS = 64_000_000
MAX_SIDE = 65_535  # of DICOM and JPEG; readers keep something for every row
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF")
# Decompression bombs: more bytes of pixels than the first, in a file of fewer than the second's
# part of them. X-rays compress to a third as PNG, and to a thirtieth as poor JPEG; masks to a
# thousandth.
_HARMLESS_BYTES = 40_000_000
_MOST_COMPRESSED = 50
_MOST_SCANS = 50  # of a progressive JPEG; encoders make about ten
_GREY16 = ("I;16", "I;16L", "I;16B", "I;16N")
_BITS = {"1": 1, "L": 8, "P": 8, "I": 32, "F": 32, "RGB": 24, "YCbCr": 24, "LAB": 24, "HSV": 24}
_WHITE_IS_ZERO, _RGB = 0, 2  # TIFF's PhotometricInterpretation
# Grey X-rays saved in colour differ between channels by a level or two (JPEG); none of 272 public
# ones by 16.
_COLOURED = 16
_BAND = 4 << 20  # pixels that are converted at a time
_AS_GREY = "save it as grey of 8 or 16 bits"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Picture:
    """A decoded image file and its peculiarities.

    pixels: as of `decode_grey`. coloured: it is not grey. several: the file contains further
    images; pixels is the first. turned: its EXIF header asks viewers to turn it, which
    `decode_grey` does not.
    """

    pixels: np.ndarray
    coloured: bool
    several: bool
    turned: bool


def decode_grey(encoded: bytes, name: str) -> np.ndarray:
    """Decodes one image to grey, keeping 16-bit depth.

    Colour becomes luminance (ITU-R 601-2, as Pillow and the published code), transparent pixels
    become black, and EXIF orientation is ignored, as in the published code: masks and boxes of
    the public sets refer to the stored pixels. Metadata, damaged or not, plays no part.

    Args:
        encoded: the bytes of a PNG, JPEG, GIF, BMP or TIFF file.
        name: what the error message calls the image, e.g. "image of ccx-12".

    Returns:
        [H, W] uint8, or uint16 for files of more than 8 bits per sample.

    Raises:
        InputError: not an image, cut off, damaged, of a kind that would lose grey levels here,
            larger than MAX_PIXELS, or a decompression bomb.
    """
    with _reading(encoded, name) as container, _decoded(container, name) as (pixels, _):
        return pixels


def decode_picture(encoded: bytes, name: str) -> Picture:
    """`decode_grey` with the peculiarities of the file; same arguments and errors."""
    with _reading(encoded, name) as container, _decoded(container, name) as (pixels, source):
        is_image = isinstance(source, Image.Image)
        return Picture(
            pixels=pixels,
            coloured=_has_colour(source) if is_image else is_coloured(source),
            several=container.several or (is_image and _is_animated(source)),
            turned=container.turned,
        )


def is_coloured(pixels: np.ndarray) -> bool:
    """Returns whether more than one pixel in a thousand (sampled in large images) is not grey.

    Args:
        pixels: [H, W, C] uint8 or uint16; of 3 channels or more the first three are colours.
    """
    if pixels.shape[-1] < 3:
        return False
    step = max(1, round((pixels.shape[0] * pixels.shape[1] / 1e6) ** 0.5))
    sample = pixels[::step, ::step, :3]
    limit = _COLOURED if sample.dtype == np.uint8 else _COLOURED / 255 * sample.max(initial=0)
    return bool((np.ptp(sample, axis=-1) > limit).mean() > 1e-3)


def image_shape(encoded: bytes, name: str) -> tuple[int, int]:
    """(height, width) of an encoded image, from its header alone."""
    with _reading(encoded, name) as container:
        if container.bits > 8 and container.samples > 1:
            width, height = container.size
            return height, width
        with Image.open(io.BytesIO(container.encoded), formats=FORMATS) as image:
            return image.height, image.width


def check_size(size: tuple[int, int], name: str) -> None:
    """Raises InputError if a (width, height) exceeds MAX_PIXELS, or a side MAX_SIDE."""
    width, height = size
    if max(width, height) > MAX_SIDE:
        raise InputError(
            f"{name} is {width}x{height} pixels: a side is longer than the {MAX_SIDE:,} allowed"
        )
    if width * height > MAX_PIXELS:
        raise InputError(
            f"{name} is {width}x{height} pixels, more than the {MAX_PIXELS:,} allowed: "
            "reduce it before use"
        )


@contextlib.contextmanager
def _reading(encoded: bytes, name: str) -> Iterator[Container]:
    """The file without its metadata; any error becomes an InputError that says what is wrong."""
    # Of what they ignore, which is nothing here; repeated, since tests reset filters.
    warnings.filterwarnings("ignore", module=r"PIL(\.|$)")
    container = Container(encoded=encoded)
    try:
        container = containers.essential(encoded)
        _check_kind(container, name)
        yield container
    except InputError:
        raise
    except Exception as error:  # damaged files raise a dozen types in Pillow
        if container.is_cut_off or "truncated" in str(error).lower():
            reason = "it is cut off: the file ends within its pixels"
        elif isinstance(error, UnidentifiedImageError):
            reason = _unidentified(container)
        elif "decoder error" in str(error):  # Pillow's number, of libtiff
            reason = "its compressed pixels are damaged, or compressed in a way that is not read"
        else:
            reason = f"{files.reason(error)} ({type(error).__name__})"
        raise InputError(f"{name} is unreadable: {reason}") from error


def _check_kind(container: Container, name: str) -> None:
    """Raises InputError for files of a kind that Pillow misreads, or says nothing useful about."""
    if container.kind == "JPEG":
        if container.bits > 8:
            raise InputError(
                f"{name} is a JPEG of {container.bits} bits per sample, and only those of 8 are "
                "read: save it as PNG or TIFF of 16 bits"
            )
        pixels = container.size[0] * container.size[1]
        if container.scans > _MOST_SCANS or container.scans * pixels > 10 * MAX_PIXELS:
            raise InputError(
                f"{name} is a JPEG that goes through its pixels {container.scans} times, a "
                "decompression bomb: save it again"
            )
    tags = container.tags
    if container.kind == "TIFF":
        if container.bits == 8 and 2 in tags.get(339, ()):
            raise InputError(f"{name} has signed grey values: {_AS_GREY}")
        tile = [(tags.get(tag) or (0,))[0] for tag in (322, 323)]
        if tile[0] * tile[1] > MAX_PIXELS:
            raise InputError(
                f"{name} has tiles of {tile[0]}x{tile[1]} pixels, more than the {MAX_PIXELS:,} "
                "allowed"
            )


def _check_claims(size: tuple[int, int], bits: int, container: Container, name: str) -> None:
    """Raises InputError for a decompression bomb.

    That is a small file of (width, height) pixels of `bits` each.
    """
    if container.kind == "JPEG":  # whose colours are few numbers; several scans are kept in 16 bits
        bits = (8 if container.scans == 1 else 16) * (1 if container.samples <= 3 else 2)
    tile = [(container.tags.get(tag) or (0,))[0] for tag in (322, 323)]
    decoded_bytes = max(size[0] * size[1], tile[0] * tile[1]) * bits // 8
    stored_bytes = len(container.encoded)
    if decoded_bytes > max(_HARMLESS_BYTES, _MOST_COMPRESSED * stored_bytes):
        raise InputError(
            f"{name} is {size[0]}x{size[1]} pixels in {stored_bytes:,} bytes, a decompression "
            "bomb, for no X-ray compresses so well: reduce it, or save it as grey of 8 bits"
        )


def _unidentified(container: Container) -> str:
    if container.kind == "TIFF":
        tags = container.tags
        fields = {
            "bits": 258,
            "sample format": 339,
            "samples": 277,
            "photometry": 262,
            "compression": 259,
        }
        values = ", ".join(
            f"{n} {'/'.join(map(str, tags[t][:4]))}" for n, t in fields.items() if tags.get(t)
        )
        return f"a kind of TIFF that is not read ({values or 'no tags'}): {_AS_GREY}"
    if container.kind == "JPEG" and container.coding not in (0, 0xC0, 0xC1, 0xC2):
        return "a kind of JPEG that is not read (lossless, hierarchical or JPEG-LS): save it as PNG"
    if container.kind:
        return f"the header of a {container.kind} file, damaged"
    return "neither a PNG, JPEG, TIFF, GIF nor BMP picture, or its header is damaged"


@contextlib.contextmanager
def _decoded(
    container: Container, name: str
) -> Iterator[tuple[np.ndarray, Image.Image | np.ndarray]]:
    """Grey pixels, and what they were made of: Pillow's image, or samples [H, W, 1 to 4] uint16."""
    if container.bits > 8 and container.samples > 1:
        check_size(container.size, name)
        with _memory(container.size):
            samples, has_alpha = _wide_samples(container, name)
            yield wide_colour.to_grey(samples, has_alpha=has_alpha), samples
        return
    with Image.open(io.BytesIO(container.encoded), formats=FORMATS) as image:
        check_size(image.size, name)
        _check_claims(image.size, _BITS.get(image.mode, 32), container, name)
        with _memory(image.size):
            yield _to_grey(image, container, name), image


def _memory(size: tuple[int, int]) -> contextlib.AbstractContextManager[None]:
    return memory_budget.IMAGES.hold(size[0] * size[1] * memory_budget.BYTES_PER_PIXEL)


def _wide_samples(container: Container, name: str) -> tuple[np.ndarray, bool]:
    """Samples [H, W, 1 to 4] uint16 of 16 bits each, and whether the last is transparency."""
    bits = container.tags.get(258, (container.bits,))
    if set(bits) != {16}:
        raise InputError(f"{name} has samples of {'/'.join(map(str, bits[:4]))} bits: {_AS_GREY}")
    _check_claims(container.size, container.bits * container.samples, container, name)
    if container.kind == "PNG":
        return wide_colour.read_png(container), container.samples in (2, 4)
    photometry = (container.tags.get(262) or (1,))[0]
    colours = {_WHITE_IS_ZERO: 1, 1: 1, _RGB: 3}.get(photometry)
    if colours is None or not colours <= container.samples <= 4:
        raise InputError(f"{name} has colours of 16 bits that are not RGB: {_AS_GREY}")
    samples = wide_colour.read_tiff(container, lambda grey: _grey16(grey, container, name))
    if photometry == _WHITE_IS_ZERO:
        samples[..., 0] = ~samples[..., 0]
    # Of the samples beyond the colours the first may be transparency that is not yet applied.
    has_alpha = container.samples > colours and (container.tags.get(338) or (0,))[0] == 2
    return samples[..., : colours + has_alpha], has_alpha


def _grey16(encoded: bytes, container: Container, name: str) -> np.ndarray:
    with Image.open(io.BytesIO(encoded), formats=("TIFF",)) as image:
        return _to_grey(image, container, name)


def _to_grey(image: Image.Image, container: Container, name: str) -> np.ndarray:
    """Grey [H, W] uint8 or uint16, converted in blocks of rows.

    Copies of large plates are large.
    """
    image.load()
    if image.mode in _GREY16:
        grey = _in_bands(image, np.asarray, np.uint16)
        # Pillow inverts such TIFFs of 8 bits, not those of 16.
        is_negative = container.samples <= 1 and container.tags.get(262) == (_WHITE_IS_ZERO,)
        return ~grey if is_negative else grey
    if image.mode == "I":  # what some TIFF and PNG readers make of 16-bit grey
        return _in_bands(
            image, lambda part: _narrowed(np.asarray(part), container, name), np.uint16
        )
    if image.mode == "F":
        raise InputError(f"{name} has floating-point values: {_AS_GREY}")
    if image.mode == "P":  # of its 256 colours, not of every pixel
        palette = image.crop((0, 0, 16, 16))
        palette.info = image.info
        palette.putdata(range(256))
        levels = _luminance(palette).ravel()
        return _in_bands(image, lambda part: levels[np.asarray(part)], np.uint8)
    return _in_bands(image, _luminance, np.uint8)


def _narrowed(wide: np.ndarray, container: Container, name: str) -> np.ndarray:
    if wide.min() < 0 or wide.max() > np.iinfo(np.uint16).max:
        kind = "signed" if 2 in container.tags.get(339, ()) else "32-bit"
        raise InputError(f"{name} has {kind} grey values: {_AS_GREY}")
    return wide


def _in_bands(
    image: Image.Image, convert: Callable[[Image.Image], np.ndarray], dtype: type[np.generic]
) -> np.ndarray:
    width, height = image.size
    rows = max(1, _BAND // width)
    if rows >= height:
        return convert(image).astype(dtype, copy=False)
    grey = np.empty((height, width), dtype)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        grey[top:bottom] = convert(image.crop((0, top, width, bottom)))
    return grey


def _luminance(image: Image.Image) -> np.ndarray:
    """[H, W] uint8: transparent pixels black."""
    if image.mode in ("P", "LA", "La", "PA", "RGBA", "RGBa"):
        image = image.convert("RGBA")
        if image.getchannel("A").getextrema() != (255, 255):
            opaque = Image.new("RGBA", image.size, (0, 0, 0, 255))
            image = Image.alpha_composite(opaque, image)
        image = image.convert("RGB")
    if image.mode not in ("1", "L", "RGB"):  # CMYK, YCbCr, LAB, HSV
        image = image.convert("RGB")
    return np.asarray(image.convert("L"))


def _has_colour(image: Image.Image) -> bool:
    """`is_coloured` of an image that is loaded."""
    if image.mode in (*_GREY16, "1", "L", "LA", "La", "I"):
        return False
    step = max(1, round((image.width * image.height / 1e6) ** 0.5))
    size = (-(-image.width // step), -(-image.height // step))
    sample = image.resize(size, Image.Resampling.NEAREST) if step > 1 else image
    return is_coloured(np.asarray(sample.convert("RGB")))


def _is_animated(image: Image.Image) -> bool:
    """Returns whether a GIF has a second image; a damaged one does not count."""
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:  # as above
        return False
