"""The headerless JSRT file form: 2048 x 2048 big-endian 16-bit words with 12 bits used."""

from __future__ import annotations

from pathlib import Path

import numpy as np

SIDE = 2048
WHITE = 4095  # 12 bits
BYTES = SIDE * SIDE * 2


def read_img(path: Path) -> np.ndarray:
    """Reads a .IMG file into display polarity.

    JSRT stores high values for dark film, the reverse of a display; the result is `4095 - stored`,
    so that lungs are dark and bones bright as in the other sets.

    Returns:
        uint16 [2048, 2048], values 0..4095.

    Raises:
        ValueError: not exactly 8,388,608 bytes, or words beyond 12 bits; names the file.
    """
    size = path.stat().st_size
    if size != BYTES:
        raise ValueError(
            f"{path}: {size} bytes, but a JSRT .IMG has exactly {BYTES} (2048 x 2048 16-bit words, "
            "no header): damaged, or another format"
        )
    stored = np.fromfile(path, ">u2").reshape(SIDE, SIDE)
    return invert(stored.astype(np.uint16), white=WHITE, path=path)


def invert(pixels: np.ndarray, *, white: int, path: Path) -> np.ndarray:
    """`white - pixels`; raises ValueError where a value is beyond `white`."""
    if pixels.max() > white:
        raise ValueError(
            f"{path}: largest value {pixels.max()} is beyond {white}: not big-endian 12-bit data"
        )
    return (white - pixels).astype(pixels.dtype)
