"""Encoded image bytes -> grey pixels at native depth, with a size cap and one kind of error."""

from __future__ import annotations

import contextlib
import dataclasses
import io
from collections.abc import Iterator

import numpy as np
from PIL import ExifTags, Image, TiffImagePlugin

from jaxcxr.types import InputError

# The largest plates in the public sets are about 20 million pixels. Pillow itself only warns at
# 89 million, so a small file that claims more is refused here before anything is decoded.
MAX_PIXELS = 64_000_000
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF")
_GREY16 = ("I;16", "I;16L", "I;16B", "I;16N")
_WHITE_IS_ZERO = 0  # TIFF's PhotometricInterpretation
# Grey X-rays saved in colour differ between channels by a level or two (JPEG); none of 272 public ones by 16.
_COLOURED = 16


@dataclasses.dataclass(frozen=True, kw_only=True)
class Picture:
    """An image file and what is odd about it.

    pixels: as of `decode_grey`. coloured: it is not grey. pages: how many images the file holds, of which pixels is
    the first. turned: its EXIF header asks viewers to turn it, which `decode_grey` does not.
    """

    pixels: np.ndarray
    coloured: bool
    pages: int
    turned: bool


def decode_grey(encoded: bytes, name: str) -> np.ndarray:
    """Decodes one image to grey, keeping 16-bit depth.

    Colour becomes luminance (ITU-R 601-2, as Pillow and the published code), transparent pixels
    become black, and EXIF orientation is ignored, as in the published code: masks and boxes of
    the public sets refer to the stored pixels.

    Args:
        encoded: the bytes of a PNG, JPEG, GIF, BMP or TIFF file.
        name: what the error message calls the image, e.g. "image of ccx-12".

    Returns:
        [H, W] uint8, or uint16 for 16-bit grey.

    Raises:
        InputError: not an image, truncated, damaged, or larger than MAX_PIXELS.
    """
    with _opened(encoded, name) as image:
        return _to_grey(image, name)


def decode_picture(encoded: bytes, name: str) -> Picture:
    """`decode_grey`, and what a user should be told about the file; same arguments and errors."""
    with _opened(encoded, name) as image:
        pages = getattr(image, "n_frames", 1)
        turned = image.getexif().get(ExifTags.Base.Orientation, 1) not in (0, 1)
        pixels = _to_grey(image, name)
        grey = image.mode in (*_GREY16, "1", "L", "LA", "La", "I")
        coloured = not grey and is_coloured(np.asarray(image.convert("RGB")))
        return Picture(pixels=pixels, coloured=coloured, pages=pages, turned=turned)


def is_coloured(pixels: np.ndarray) -> bool:
    """Whether more than one pixel in a thousand of [H, W, 3] uint8 (sampled, if it is large) is not grey."""
    step = max(1, round((pixels.shape[0] * pixels.shape[1] / 1e6) ** 0.5))
    return bool((np.ptp(pixels[::step, ::step], axis=-1) > _COLOURED).mean() > 1e-3)


@contextlib.contextmanager
def _opened(encoded: bytes, name: str) -> Iterator[Image.Image]:
    try:
        with Image.open(io.BytesIO(encoded), formats=FORMATS) as image:
            check_size(image.size, name)
            yield image
    except InputError:
        raise
    except Exception as error:  # damaged files raise a dozen types in Pillow
        raise InputError(f"{name} is unreadable: {_reason(error)}") from error


def image_shape(encoded: bytes, name: str) -> tuple[int, int]:
    """(height, width) of an encoded image, from its header alone."""
    try:
        with Image.open(io.BytesIO(encoded), formats=FORMATS) as image:
            width, height = image.size
    except Exception as error:  # as above
        raise InputError(f"{name} is unreadable: {_reason(error)}") from error
    return height, width


def check_size(size: tuple[int, int], name: str) -> None:
    """Raises InputError if an image of (width, height) is larger than MAX_PIXELS."""
    width, height = size
    if width * height > MAX_PIXELS:
        raise InputError(
            f"{name} is {width}x{height} pixels, more than the {MAX_PIXELS:,} allowed: "
            "reduce it before use"
        )


def _to_grey(image: Image.Image, name: str) -> np.ndarray:
    if image.mode in _GREY16:
        pixels = np.asarray(image).astype(np.uint16)
        # Pillow inverts such TIFFs of 8 bits, not those of 16.
        return ~pixels if _is_negative(image) else pixels
    if image.mode == "I":  # what some TIFF and PNG readers make of 16-bit grey
        wide = np.asarray(image)
        if wide.min() < 0 or wide.max() > np.iinfo(np.uint16).max:
            raise InputError(f"{name} has 32-bit grey values: save it with 8 or 16 bits")
        return wide.astype(np.uint16)
    if image.mode == "F":
        raise InputError(f"{name} has floating-point values: save it with 8 or 16 bits")
    if image.mode == "P" or image.mode in ("LA", "La", "PA", "RGBA", "RGBa"):
        rgba = image.convert("RGBA")
        opaque = Image.new("RGBA", rgba.size, (0, 0, 0, 255))
        image = Image.alpha_composite(opaque, rgba).convert("RGB")
    if image.mode not in ("1", "L", "RGB"):  # CMYK, YCbCr, LAB, HSV
        image = image.convert("RGB")
    return np.asarray(image.convert("L"))


def _is_negative(image: Image.Image) -> bool:
    """Whether a TIFF says that 0 is white."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return False
    return image.tag_v2.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == _WHITE_IS_ZERO


def _reason(error: Exception) -> str:
    return f"{error} ({type(error).__name__})"
