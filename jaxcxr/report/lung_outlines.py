"""An X-ray with the outline of its lungs, at its own proportions."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

_COLOUR = (86, 180, 233)  # `plots.SKY`, which colour-blind readers see, too
_SIDE = 600  # pixels of the longer side, which smaller pictures are enlarged to
_NOTE = "Research use only"


def lung_outline(image: np.ndarray, lungs: np.ndarray | None) -> np.ndarray:
    """The X-ray with a line just outside its lungs, and a note below.

    Args:
        image: [H, W] uint8.
        lungs: [h, w] bool of the same view, in whichever resolution; None draws no line.

    Returns:
        [H' + strip, W', 3] uint8, H' and W' those of the image, enlarged by a whole factor where it
        is small.
    """
    factor = max(1, _SIDE // max(image.shape))
    height, width = (side * factor for side in image.shape)
    grey = Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC)
    strip = max(14, round(0.03 * max(height, width)))
    canvas = Image.new("RGB", (width, height + strip))
    canvas.paste(grey.convert("RGB"))
    pixels = np.array(canvas)
    if lungs is not None and lungs.any():
        pixels[:height][_line(lungs, (height, width))] = _COLOUR
    canvas = Image.fromarray(pixels)
    ImageDraw.Draw(canvas).text((4, height + 1), _NOTE, fill="white", font_size=0.75 * strip)
    return np.asarray(canvas)


def _line(lungs: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """[H, W] bool: the pixels next to the lungs; not their edge with the image's border."""
    # Linearly enlarged, the steps of a smaller mask are a smooth line.
    soft = Image.fromarray(np.where(lungs, np.float32(1), np.float32(0)))
    height, width = shape
    inside = np.asarray(soft.resize((width, height), Image.Resampling.BILINEAR)) > 0.5
    thickness = max(1, round(max(shape) / 400))
    grown = np.asarray(ndimage.binary_dilation(inside, iterations=thickness), bool)
    return grown & ~inside
