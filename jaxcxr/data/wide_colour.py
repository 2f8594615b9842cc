"""Colour, or grey with transparency, of 16 bits per sample: Pillow keeps the upper 8 of them.

X-rays of 10 to 14 bits are stored so by image editors, and would have 4 to 64 grey levels left.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

import cv2
import numpy as np

from jaxcxr.data.containers import Container, png_data, rewritten

_RGB = (19595, 38470, 7471)  # ITU-R 601-2 of 65536, as Pillow
_BAND = 1 << 20  # pixels that are worked on at a time


def read_png(container: Container) -> np.ndarray:
    """[H, W, 3 or 4] uint16, red, green, blue, transparency.

    Raises:
        ValueError: damaged, or with more pixels than its header says, which libpng would inflate to
            the end.
    """
    encoded = container.encoded
    (width, height), samples = container.size, container.samples
    # Each row has a byte for its filter; interlaced, there are seven images with up to two rows for
    # one.
    most = 2 * height * (width * samples + 1) + 2 * height + 64
    inflate = zlib.decompressobj()
    left = most
    for data in png_data(encoded):
        left -= len(inflate.decompress(data, max(left, 1)))
        if left <= 0:
            raise ValueError("it holds more pixels than its header says")
    pixels = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.ndim != 3 or pixels.dtype != np.uint16:
        raise ValueError("its pixels are damaged")
    return pixels[..., [2, 1, 0, 3][: pixels.shape[-1]]]


def read_tiff(container: Container, read_grey: Callable[[bytes], np.ndarray]) -> np.ndarray:
    """[H, W, samples] uint16 as stored.

    The file is read as a grey one that is `samples` times as wide, or one grey image per plane.

    Args:
        container: of a TIFF with several samples of 16 bits per pixel.
        read_grey: decodes a file of 16-bit grey: [H, W] uint16.

    Raises:
        ValueError: the samples are no unsigned whole numbers of 16 bits.
    """
    tags, samples = container.tags, container.samples
    if set(tags.get(339) or (1,)) != {1}:
        raise ValueError("its samples are no unsigned whole numbers")
    [predictor] = (tags.get(317) or (1,))[:1]
    if predictor not in (1, 2):
        raise ValueError(f"its predictor {predictor} is not one of whole numbers")
    plain = {258: (16,), 262: (1,), 277: (1,), 317: (), 338: (), 339: (), 284: ()}
    if (tags.get(284) or (1,))[0] == 2:
        planes = []
        for n in range(samples):
            parts = {
                tag: numbers[n * len(numbers) // samples : (n + 1) * len(numbers) // samples]
                for tag in (273, 279, 324, 325)
                if (numbers := tags.get(tag))
            }
            planes.append(read_grey(rewritten(container.encoded, {**plain, **parts})))
        pixels = np.stack(planes, axis=-1)
    else:
        wider = {tag: (samples * tags[tag][0],) for tag in (256, 322) if tags.get(tag)}
        grey = read_grey(rewritten(container.encoded, {**plain, **wider}))
        pixels = grey.reshape(grey.shape[0], -1, samples).copy()  # Pillow's own are read-only
    if predictor == 2:  # of samples of the same kind, which the grey image does not know
        step = (tags.get(322) or (pixels.shape[1],))[0]
        for left in range(0, pixels.shape[1], step):
            part = pixels[:, left : left + step]
            np.cumsum(part, axis=1, dtype=np.uint16, out=part)
    return pixels


def to_grey(pixels: np.ndarray, *, has_alpha: bool) -> np.ndarray:
    """Luminance (ITU-R 601-2), transparent pixels black; equal channels keep their values exactly.

    Args:
        pixels: [H, W, 1 to 4] uint16: grey or red, green, blue, and transparency.
        has_alpha: whether the last channel says how opaque a pixel is. It is measured against the
            most opaque pixel, as the values are often of fewer than 16 bits.

    Returns:
        [H, W] uint16.
    """
    alpha = pixels[..., -1] if has_alpha else None
    opaque = int(alpha.max()) if alpha is not None else 0
    grey = np.empty(pixels.shape[:2], np.uint16)
    rows = max(1, _BAND // pixels.shape[1])
    for top in range(0, len(pixels), rows):
        part = slice(top, top + rows)
        if pixels.shape[-1] - has_alpha >= 3:
            red, green, blue = (pixels[part, :, n].astype(np.uint32) for n in range(3))
            values = (_RGB[0] * red + _RGB[1] * green + _RGB[2] * blue + 0x8000) >> 16
        else:
            values = pixels[part, :, 0].astype(np.uint32)
        if alpha is not None and opaque:
            values = (values * alpha[part].astype(np.uint64) + opaque // 2) // opaque
        grey[part] = values if alpha is None or opaque else 0
    return grey
