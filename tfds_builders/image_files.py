"""Image files: opened under a limit on their pixels, written as PNG."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

MAX_PIXELS = 64_000_000  # Montgomery, the largest set, has 4892 x 4020; Pillow alone only warns


def open_image(path: Path) -> Image.Image:
    """Opens an image and checks its size; the caller decodes its pixels.

    Raises:
        ValueError: not an image, or more than `MAX_PIXELS`.
    """
    try:
        image = Image.open(path)
    except OSError as error:
        raise ValueError(f"{path}: cannot be read as an image ({error})") from error
    except Image.DecompressionBombError as error:
        raise ValueError(f"{path}: {error}") from error
    if image.width * image.height > MAX_PIXELS:
        size = f"{image.width} x {image.height}"
        raise ValueError(f"{path}: {size} pixels are more than the allowed {MAX_PIXELS}")
    return image


def png(pixels: np.ndarray) -> bytes:
    """Encodes [H, W] bool (as 0/255), uint8 or uint16, or [H, W, 3] uint8, as PNG, level 1."""
    if pixels.dtype == bool:
        pixels = pixels.astype(np.uint8) * 255
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
