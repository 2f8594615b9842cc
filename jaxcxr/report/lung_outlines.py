"""An X-ray with the outline of its lungs, at its own proportions."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

# `plots.SKY` and `plots.VERMILION`, which colour-blind readers tell apart.
_COLOUR, _LEFT_OUT = (86, 180, 233), (213, 94, 0)
_SIDE = 600  # pixels of the longer side, which smaller pictures are enlarged to
_NOTE, _NOT_COUNTED = "Research use only. Not for diagnosis.", "pieces left out"


def lung_outline(
    image: np.ndarray, lungs: np.ndarray | None, *, every_piece: np.ndarray | None = None
) -> np.ndarray:
    """The X-ray with a line just outside its lungs, and a note below.

    Args:
        image: [H, W] uint8.
        lungs: [h, w] bool of the same view, in whichever resolution; None draws no line.
        every_piece: [h, w] bool, with what was taken for lung and left out of them: it gets a line
            of another colour, which the note names.

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
    left_out = None if lungs is None or every_piece is None else every_piece & ~lungs
    for piece, colour in ((left_out, _LEFT_OUT), (lungs, _COLOUR)):
        if piece is not None and piece.any():
            pixels[:height][_line(piece, (height, width))] = colour
    canvas = Image.fromarray(pixels)
    draw = ImageDraw.Draw(canvas)
    texts: dict[str, str | tuple[int, int, int]] = {_NOTE: "white"}
    if left_out is not None and left_out.any():
        texts[_NOT_COUNTED] = _LEFT_OUT
    size = 0.75 * strip
    lengths = [draw.textlength(text, font_size=size) for text in texts]
    shrunk = min(1.0, (width - 8) / (sum(lengths) + strip * (len(texts) - 1)))
    left = 4.0
    for (text, colour), length in zip(texts.items(), lengths, strict=True):
        draw.text((left, height + 1), text, fill=colour, font_size=shrunk * size)
        left += shrunk * (length + strip)
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
