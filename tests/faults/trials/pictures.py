"""PNG, JPEG and TIFF files: mutants, and small files that claim much."""

from __future__ import annotations

import functools
import io
import struct
import zlib
from collections.abc import Callable, Iterator

import cv2
import numpy as np
from PIL import Image

from jaxcxr.data import xray_files
from tests.data.encoded import png_chunks, png_of, tiff_of, tiled, with_chunk, zeros
from tests.faults.limits import mutants, reading
from tests.faults.promises import Context, promise


def _save(pixels: np.ndarray, form: str, *, mode: str = "", **options) -> bytes:
    image, buffer = Image.fromarray(pixels), io.BytesIO()
    (image.convert(mode) if mode else image).save(buffer, form, **options)
    return buffer.getvalue()


def _grey(side: int = 48) -> np.ndarray:
    rows, columns = np.mgrid[:side, :side]
    noise = np.random.default_rng(0).integers(0, 30, (side, side))
    return (
        (80 + 60 * np.sin(rows / 9) + 60 * np.cos(columns / 7) + noise)
        .clip(0, 255)
        .astype(np.uint8)
    )


def _wide() -> np.ndarray:
    return _grey().astype(np.uint16) * 16


def _cv2(pixels: np.ndarray, ending: str, *options: int) -> bytes:
    return cv2.imencode(ending, pixels, options)[1].tobytes()


def _read(content: bytes) -> None:
    xray_files.read(content, "x")


@promise("mutants/png", "a damaged PNG is read or one error", full=10_000, quick=80)
def png(context: Context) -> Iterator[str]:
    exif = Image.Exif()
    exif[0x0112] = 6
    samples = [
        _save(_grey(), "PNG", exif=exif),
        _save(_wide(), "PNG"),
        _save(_grey(), "PNG", mode="P", transparency=3),
        _save(_grey(), "PNG", mode="LA"),
        _save(_grey(), "PNG", mode="RGBA"),
        _save(_grey(), "PNG", mode="1"),
        _cv2(np.stack([_wide()] * 3, axis=-1), ".png"),
        _cv2(np.stack([_wide()] * 4, axis=-1), ".png"),
        _interlaced(_grey()),
    ]
    yield from mutants(context, samples, _read)


@promise("mutants/jpeg", "a damaged JPEG is read or one error", full=10_000, quick=80)
def jpeg(context: Context) -> Iterator[str]:
    exif = Image.Exif()
    exif[0x0112] = 6
    samples = [
        _save(_grey(), "JPEG", exif=exif),
        _save(_grey(), "JPEG", mode="RGB", progressive=True),
        _save(_grey(), "JPEG", mode="RGB", subsampling=2, comment=b"of a chest"),
        _save(_grey(), "JPEG", mode="CMYK"),
        _cv2(_grey(), ".jpg", cv2.IMWRITE_JPEG_RST_INTERVAL, 4),
    ]
    yield from mutants(context, samples, _read)


@promise("mutants/tiff", "a damaged TIFF is read or one error", full=10_000, quick=80)
def tiff(context: Context) -> Iterator[str]:
    wide = np.stack([_wide()] * 3, axis=-1)
    lzw = (cv2.IMWRITE_TIFF_COMPRESSION, 5, cv2.IMWRITE_TIFF_PREDICTOR, 2)
    samples = [
        _save(_grey(), "TIFF"),
        _save(_wide(), "TIFF", tiffinfo={262: 0}),
        _save(_grey(), "TIFF", compression="tiff_lzw"),
        _save(_wide(), "TIFF", compression="tiff_adobe_deflate", tiffinfo={317: 2}),
        _save(_grey(), "TIFF", mode="P", compression="packbits"),
        _save(_grey(), "TIFF", mode="1", compression="group4"),
        _save(_grey(), "TIFF", mode="RGB", compression="jpeg"),
        _save(_grey(), "TIFF", mode="LA"),
        _save(
            _grey(), "TIFF", save_all=True, append_images=[Image.fromarray(_grey())], big_tiff=True
        ),
        _cv2(wide, ".tif", *lzw),
        tiled(_wide(), tile=16),
    ]
    yield from mutants(context, samples, _read)


@promise("bombs/pictures", "a small picture that claims much costs little", full=28, quick=10)
def bombs(context: Context) -> Iterator[str]:
    _read(_save(_grey(), "PNG"))
    for n, (name, make) in zip(range(context.trials), BOMBS.items(), strict=False):
        problem = reading(functools.partial(_read, make()))
        yield f"{n} {name}: {problem}" if problem else ""


def _interlaced(pixels: np.ndarray) -> bytes:
    """A PNG [H, W] uint8 by Adam7."""
    passes = (
        (0, 0, 8, 8),
        (0, 4, 8, 8),
        (4, 0, 8, 4),
        (0, 2, 4, 4),
        (2, 0, 4, 2),
        (0, 1, 2, 2),
        (1, 0, 2, 1),
    )
    rows = b"".join(
        b"\0" + row.tobytes()
        for top, left, down, right in passes
        for row in pixels[top::down, left::right]
    )
    height, width = pixels.shape
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 1)
    return png_chunks([(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")])


def _pages(count: int) -> bytes:
    """A TIFF of so many images of one pixel."""
    size = 2 + 12 * 8 + 4
    tags = {256: 1, 257: 1, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 279: 1}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    pages = (
        struct.pack("<H", 8)
        + entries
        + struct.pack("<I", 10 + size * (n + 1) if n + 1 < count else 0)
        for n in range(count)
    )
    return b"II*\0" + struct.pack("<I", 10) + b"\7\0" + b"".join(pages)


def _many_tags() -> bytes:
    """A TIFF whose 60,000 private tags all hold the whole file."""
    plain = tiff_of([bytes(100)], {256: 10, 257: 10, 258: 8, 259: 1, 262: 1, 277: 1})
    plain += bytes(1 << 20)
    [at] = struct.unpack_from("<I", plain, 4)
    directory = plain[at + 2 : at + 2 + 12 * 8]
    more = b"".join(struct.pack("<HHII", 5_000 + n, 1, 1 << 20, 0) for n in range(60_000))
    entries = struct.pack("<H", 60_008) + directory + more + bytes(4)
    return plain[:4] + struct.pack("<I", len(plain)) + plain[8:] + entries


def _scans(count: int, *, side: int) -> bytes:
    """A progressive JPEG whose last scan comes again and again, and whose header claims more."""
    small = _save(np.zeros((64, 64), np.uint8), "JPEG", progressive=True)
    frame = small.index(b"\xff\xc2")
    small = small[: frame + 5] + struct.pack(">HH", side, side) + small[frame + 9 :]
    last = small.rindex(b"\xff\xda")
    return small[:-2] + small[last:-2] * count + b"\xff\xd9"


def _bmp_runs() -> bytes:
    """A BMP of 8,000 x 8,000 by run-length encoding."""
    runs = (b"\xff\0" * 31 + b"\x5f\0" + b"\0\0") * 8000 + b"\0\1"
    head = struct.pack("<IiiHHIIiiII", 40, 8000, 8000, 1, 8, 1, len(runs), 0, 0, 256, 0)
    return b"BM" + struct.pack("<IHHI", 1078 + len(runs), 0, 0, 1078) + head + bytes(1024) + runs


def _gif(width: int, height: int, frames: int = 1) -> bytes:
    buffer = io.BytesIO()
    Image.new("P", (64, 64)).save(buffer, "GIF")
    small = bytearray(buffer.getvalue())
    start = small.index(b"\x2c", 13 + 3 * (2 << (small[10] & 7)))
    small[6:10] = small[start + 5 : start + 9] = struct.pack("<HH", width, height)
    return bytes(small[:start]) + bytes(small[start:-1]) * frames + b";"


def _wide_rgb() -> bytes:
    return png_of(5000, 12000, bits=16, colours=2)


BOMBS: dict[str, Callable[[], bytes]] = {
    "TIFF of 200,000 pages": lambda: _pages(200_000),
    "TIFF of 60,000 tags of 1 MB": _many_tags,
    "PNG that claims 2^31 x 2^31": lambda: png_of(2**31 - 1, 2**31 - 1, data=b""),
    "PNG with a zTXt of 256 MB": lambda: with_chunk(
        png_of(64, 64), b"zTXt", b"a\0\0" + zeros(256 << 20)
    ),
    "PNG with a profile of 256 MB": lambda: with_chunk(
        png_of(64, 64), b"iCCP", b"a\0\0" + zeros(256 << 20)
    ),
    "TIFF of one tile of 2^31 pixels": lambda: tiff_of(
        [zlib.compress(bytes(9))],
        {256: 9, 257: 9, 258: 8, 259: 8, 262: 1, 277: 1, 322: 65536, 323: 32768},
        places=(324, 325),
    ),
    "JPEG of 2,000 scans": lambda: _scans(2000, side=4000),
    "GIF that claims 8,000 x 8,000": lambda: _gif(8000, 8000),
    "GIF of 100,000 frames": lambda: _gif(64, 64, frames=100_000),
    "BMP by run lengths": _bmp_runs,
    "PNG of 64 megapixels": lambda: png_of(8000, 8000),
    "PNG of 64 megapixels, 1 bit": lambda: png_of(8000, 8000, bits=1),
    "PNG of 64 megapixels, palette of 1 bit": lambda: png_of(8000, 8000, bits=1, colours=3),
    "PNG of 64 megapixels, 16 bits": lambda: png_of(8000, 8000, bits=16),
    "PNG of 64 megapixels, RGBA": lambda: png_of(8000, 8000, colours=6),
    "PNG of 60 megapixels, RGB of 16 bits": _wide_rgb,
    "PNG of one row of 64 megapixels": lambda: png_of(64_000_000, 1),
    "PNG of one column of 64 megapixels": lambda: png_of(1, 64_000_000, bits=1),
    "PNG of 500,000 chunks": lambda: (
        png_of(64, 64)[:33] + png_chunks([(b"tEXt", b"")])[8:] * 500_000
    ),
    "JPEG of 500,000 segments": lambda: b"\xff\xd8" + b"\xff\xfe\0\2" * 500_000,
    "JPEG that is blank, 8,000 x 8,000": lambda: _save(
        np.zeros((8000, 8000), np.uint8), "JPEG", progressive=True
    ),
    "JPEG of four colours that is blank": lambda: _save(
        np.zeros((4000, 4000), np.uint8), "JPEG", mode="CMYK", progressive=True
    ),
    "JPEG of 40 scans": lambda: _scans(40, side=5000),
    "TIFF of 64 megapixels, deflated": lambda: tiff_of(
        [zeros(64_000_000)], {256: 8000, 257: 8000, 258: 8, 259: 8, 262: 1, 277: 1}
    ),
    "TIFF of 64 megapixels, 1 bit": lambda: _save(
        np.zeros((8000, 8000), np.uint8), "TIFF", mode="1", compression="group4"
    ),
    "TIFF of 8,000 strips in one place": lambda: tiff_of(
        [zeros(8000)], {256: 8000, 257: 8000, 258: 8, 259: 8, 262: 1, 277: 1, 278: 1}
    ),
    "TIFF of a million strips": lambda: tiff_of(
        [b""] * 1_100_000, {256: 9, 257: 1_100_000, 258: 8, 259: 1, 262: 1, 277: 1, 278: 1}
    ),
    "PNG of 33 megapixels": lambda: png_of(5700, 5800),
}
