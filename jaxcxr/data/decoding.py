"""Encoded image bytes -> grey pixels at native depth, with a size cap and one kind of error."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from jaxcxr.types import InputError

# The largest plates in the public sets are about 20 million pixels. Pillow itself only warns at
# 89 million, so a small file that claims more is refused here before anything is decoded.
MAX_PIXELS = 64_000_000
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF")
_GREY16 = ("I;16", "I;16L", "I;16B", "I;16N")


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
    try:
        with Image.open(io.BytesIO(encoded), formats=FORMATS) as image:
            _check_size(image.size, name)
            return _to_grey(image, name)
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


def _check_size(size: tuple[int, int], name: str) -> None:
    width, height = size
    if width * height > MAX_PIXELS:
        raise InputError(
            f"{name} is {width}x{height} pixels, more than the {MAX_PIXELS:,} allowed: "
            "reduce it before use"
        )


def _to_grey(image: Image.Image, name: str) -> np.ndarray:
    if image.mode in _GREY16:
        return np.asarray(image).astype(np.uint16)
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


def _reason(error: Exception) -> str:
    return f"{error} ({type(error).__name__})"
