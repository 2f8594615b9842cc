"""PNG and TIFF files built by hand: kinds that no encoder at hand writes, and damaged ones."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping

import numpy as np


def tiled(pixels: np.ndarray, *, tile: int) -> bytes:
    """A deflated TIFF [H, W] or [H, W, C] uint16 of square tiles."""
    height, width = pixels.shape[:2]
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    right, below = -width % tile, -height % tile
    pixels = np.pad(pixels, [(0, below), (0, right)] + [(0, 0)] * (pixels.ndim - 2))
    parts = [
        zlib.compress(np.ascontiguousarray(pixels[top : top + tile, left : left + tile]).tobytes())
        for top in range(0, height, tile)
        for left in range(0, width, tile)
    ]
    tags = {
        256: width, 257: height, 258: [16] * channels, 259: 8, 262: 1 if channels < 3 else 2,
        277: channels, 322: tile, 323: tile,
    }  # fmt: skip
    return tiff_of(parts, tags, places=(324, 325))


def tiff_of(
    parts: list[bytes],
    tags: Mapping[int, int | list[int]],
    *,
    places: tuple[int, int] = (273, 279),
    order: str = "<",
) -> bytes:
    """A TIFF of encoded strips, or tiles, and tags of whole numbers."""
    body = b"".join(parts)
    starts = np.cumsum([8, *map(len, parts)])[:-1].tolist()
    entries = {**tags, places[0]: starts, places[1]: [len(part) for part in parts]}
    at = 8 + len(body) + 2 + 12 * len(entries) + 4
    directory, arrays = struct.pack(order + "H", len(entries)), b""
    for tag, value in sorted(entries.items()):
        values = value if isinstance(value, list) else [value]
        data = struct.pack(f"{order}{len(values)}I", *values)
        if len(data) > 4:
            data, arrays = struct.pack(order + "I", at + len(arrays)), arrays + data
        directory += struct.pack(order + "HHI", tag, 4, len(values)) + data
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8 + len(body))
    return head + body + directory + bytes(4) + arrays


def png_of(
    width: int, height: int, *, bits: int = 8, colours: int = 0, data: bytes | None = None
) -> bytes:
    """A PNG of zeros, or of other deflated rows."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colours]
    row = 1 + (width * bits * channels + 7) // 8
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colours, 0, 0, 0))]
    if colours == 3:
        chunks.append((b"PLTE", bytes(range(6))))
    chunks += [(b"IDAT", zeros(row * height) if data is None else data), (b"IEND", b"")]
    return png_chunks(chunks)


def png_chunks(chunks: list[tuple[bytes, bytes]]) -> bytes:
    """A PNG of (kind, content)."""
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def with_chunk(png: bytes, kind: bytes, data: bytes) -> bytes:
    """A PNG with another chunk behind its header."""
    chunk = png_chunks([(kind, data)])[8:]
    return png[:33] + chunk + png[33:]


def zeros(count: int) -> bytes:
    pack, part = zlib.compressobj(9), bytes(1 << 20)
    pieces = [pack.compress(part) for _ in range(count >> 20)]
    return b"".join((*pieces, pack.compress(bytes(count & (1 << 20) - 1)), pack.flush()))
