"""Image files reduced to the parts that their pixels need.

Damaged, huge or merely unusual metadata (EXIF, ICC profiles, text, thumbnails) makes image
libraries refuse intact pixels, or work for minutes. Metadata, further images and animations are
therefore removed before decoding; those that change how an image is shown give a note.
"""

from __future__ import annotations

import dataclasses
import struct
import zlib
from collections.abc import Iterator

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
_PNG_KEPT = (b"IHDR", b"PLTE", b"tRNS", b"IDAT")
_PNG_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
# Of JPEG: start and end of image, restarts, and TEM, which have no length.
_BARE = frozenset((0x01, *range(0xD0, 0xDA)))
_START_OF_FRAME = (frozenset(range(0xC0, 0xD0)) | {0xF7}) - {0xC4, 0xC8, 0xCC}  # F7 of JPEG-LS
_JPEG_METADATA = frozenset((*range(0xE0, 0xF0), 0xFE))
_MOST_NUMBERS = 1 << 20  # of a tag: strips are at most as many as rows
_MOST_TAGS = 4096  # of a TIFF
_MOST_PARTS = 50_000  # chunks of a PNG, segments of a JPEG
_ORIENTATION, _STRIPS, _STRIP_BYTES, _TILES, _TILE_BYTES = 0x112, 273, 279, 324, 325
# Width, height, bits, compression, photometry, fill order, strips, samples, rows per strip, planes,
# fax options, predictor, palette, tiles, extra samples, sample format, and those of JPEG and YCbCr.
_TIFF_KEPT = frozenset(
    (256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 292, 293, 317, 320, 322, 323, 324, 325)
) | {338, 339, 347, *range(512, 522), *range(529, 533)}
_TIFF_SIZES = dict(zip(range(1, 14), (1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4), strict=True)) | {
    16: 8,
    17: 8,
    18: 8,
}
_TIFF_FORMATS = {1: "B", 3: "H", 4: "I", 16: "Q"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Container:
    """An image file without what its pixels do not need.

    Attributes:
        encoded: the file, which an image library reads.
        kind: 'PNG', 'JPEG', 'TIFF', or '' for other kinds, which stay as they are.
        bits: per sample, 0 where the header does not tell; as of GIF and BMP.
        samples: per pixel, from the header.
        size: (width, height), from the header.
        several: the file holds more images.
        turned: it asks viewers to turn the image.
        is_cut_off: the file ends before what its header announces.
        tags: of TIFF: tag -> numbers, of the first image.
        scans: of JPEG: how often the image is gone through.
        coding: of JPEG: its marker of start of frame, 0xC0 for baseline.
    """

    encoded: bytes
    kind: str = ""
    bits: int = 0
    samples: int = 0
    size: tuple[int, int] = (0, 0)
    several: bool = False
    turned: bool = False
    is_cut_off: bool = False
    tags: dict[int, tuple[int, ...]] = dataclasses.field(default_factory=dict)
    scans: int = 1
    coding: int = 0


def essential(encoded: bytes) -> Container:
    """An image file without its metadata; one that is too damaged for that stays as it is."""
    readers = {
        _PNG: _png,
        b"\xff\xd8\xff": _jpeg,
        b"II*\0": _tiff,
        b"MM\0*": _tiff,
        b"II+\0": _tiff,
        b"MM\0+": _tiff,
    }
    for signature, reader in readers.items():
        if encoded.startswith(signature):
            return reader(encoded)
    return Container(encoded=encoded)


def _png(encoded: bytes) -> Container:
    parts, at, number = [_PNG], len(_PNG), 0
    width = height = bits = samples = 0
    several = turned = is_whole = False
    while at + 8 <= len(encoded) and not is_whole:
        length, kind = struct.unpack_from(">I4s", encoded, at)
        end = at + 12 + length
        if kind not in _PNG_KEPT and (not kind.isalpha() or end > len(encoded)):
            # Metadata of a wrong length: the pixels are looked for behind it.
            end = encoded.find(b"IDAT", at + 8) - 4
            if end < at:
                break
        elif kind in _PNG_KEPT and end > len(encoded):
            # Readers take memory for all that a chunk announces: it announces what is there.
            data = encoded[at + 8 : at + 8 + length]
            checksum = struct.pack(">I", zlib.crc32(kind + data))
            parts.append(struct.pack(">I", len(data)) + kind + data + checksum)
        elif kind in _PNG_KEPT:
            parts.append(encoded[at:end])
        if kind == b"IHDR" and at + 18 <= len(encoded):
            width, height, bits, colours = struct.unpack_from(">IIBB", encoded, at + 8)
            samples = _PNG_SAMPLES.get(colours, 0)
        elif kind == b"acTL":
            several = several or encoded[at + 8 : at + 12] > b"\0\0\0\1"
        elif kind == b"eXIf":
            turned = _is_turned(encoded[at + 8 : end - 4])
        is_whole = kind == b"IEND"
        at, number = end, _counted(number)
    if number > len(parts) or not is_whole:
        encoded = b"".join((*parts, _PNG_END))
    return Container(
        encoded=encoded,
        kind="PNG",
        bits=bits,
        samples=samples,
        size=(width, height),
        several=several,
        turned=turned,
        is_cut_off=not is_whole,
    )


def png_data(encoded: bytes) -> Iterator[memoryview]:
    """The compressed pixels of a PNG that `essential` made, a chunk at a time."""
    at = len(_PNG)
    while at + 8 <= len(encoded):
        length = int.from_bytes(encoded[at : at + 4], "big")
        if encoded[at + 4 : at + 8] == b"IDAT":
            yield memoryview(encoded)[at + 8 : at + 8 + length]
        at += 12 + length


def _jpeg(encoded: bytes) -> Container:
    parts, at, number = [encoded[:2]], 2, 0
    width = height = bits = samples = coding = 0
    several = turned = False
    while encoded[at : at + 1] == b"\xff" and encoded[at + 1 : at + 2] != b"\xda":
        number = _counted(number)
        marker = encoded[at + 1] if at + 1 < len(encoded) else 0
        if marker == 0xFF or marker in _BARE:  # padding, and markers without a length
            at += 1 if marker == 0xFF else 2
            continue
        end = at + 2 + int.from_bytes(encoded[at + 2 : at + 4], "big")
        segment = encoded[at:end]
        if marker in _START_OF_FRAME and len(segment) >= 10:
            coding, (bits, height, width, samples) = marker, struct.unpack_from(">BHHB", segment, 4)
        elif marker == 0xE1 and segment[4:10] == b"Exif\0\0":
            turned = turned or _is_turned(segment[10:])
        elif marker == 0xE2 and segment[4:8] == b"MPF\0":
            several = several or _images_of_mpf(segment[8:]) > 1
        # Colours depend on these two.
        is_jfif = marker == 0xE0 and segment[4:9] == b"JFIF\0" and len(segment) >= 16
        is_adobe = marker == 0xEE and segment[4:9] == b"Adobe" and len(segment) >= 16
        if marker not in _JPEG_METADATA or is_jfif or is_adobe:
            parts.append(segment)
        at = max(end, at + 2)
    if encoded[at : at + 2] == b"\xff\xda" and number > len(parts) - 1:
        scans = memoryview(encoded)[at:]
        stripped = b"".join((*parts, scans))
    else:  # without any metadata, or so damaged that nobody knows where they end
        stripped = encoded
    return Container(
        encoded=stripped,
        kind="JPEG",
        bits=bits,
        samples=samples,
        size=(width, height),
        several=several,
        turned=turned,
        scans=encoded.count(b"\xff\xda", at),
        coding=coding,
    )


def _counted(number: int) -> int:
    """Counts one more part of a file; at most _MOST_PARTS are allowed."""
    if number >= _MOST_PARTS:
        raise ValueError(f"its header has more than {_MOST_PARTS:,} parts")
    return number + 1


def _images_of_mpf(index: bytes) -> int:
    """The number of images in a multi-picture JPEG, of the index in its header."""
    return next(iter(_numbers(index, _directory(index)[0].get(0xB001))), 1)


def _tiff(encoded: bytes) -> Container:
    """The first image, by a directory of its own behind the file: all offsets stay as they are."""
    entries, following = _directory(encoded)
    relevant = {tag: entry for tag, entry in entries.items() if tag in _TIFF_KEPT}
    tags = {tag: _numbers(encoded, entry) for tag, entry in relevant.items()}
    spans = (
        zip(tags.get(where, ()), tags.get(size, ()), strict=False)
        for where, size in ((_STRIPS, _STRIP_BYTES), (_TILES, _TILE_BYTES))
    )
    reach = max((start + length for part in spans for start, length in part), default=0)
    turned = _is_turned(encoded)
    if len(relevant) < len(entries) or following:
        encoded = _with_directory(encoded, relevant)
    bits = tags.get(258) or (1,)
    return Container(
        encoded=encoded,
        kind="TIFF",
        bits=max(bits),
        samples=(tags.get(277) or (1,))[0],
        size=((tags.get(256) or (0,))[0], (tags.get(257) or (0,))[0]),
        several=following,
        turned=turned,
        is_cut_off=not entries or reach > len(encoded),
        tags=tags,
    )


def rewritten(encoded: bytes, changes: dict[int, tuple[int, ...]]) -> bytes:
    """A TIFF whose first image has other numbers under some tags, and no metadata.

    Args:
        encoded: the file.
        changes: tag -> numbers; () leaves the tag out.
    """
    entries, _ = _directory(encoded)
    remaining = {tag: e for tag, e in entries.items() if tag in _TIFF_KEPT and tag not in changes}
    return _with_directory(encoded, remaining, changes)


def _with_directory(
    encoded: bytes, entries: dict[int, bytes], numbers: dict[int, tuple[int, ...]] | None = None
) -> bytes:
    """A TIFF with another directory, behind the rest, of entries as they are and of numbers."""
    order, big = _form(encoded)
    start = len(encoded) + len(encoded) % 2
    tags = sorted({*entries, *(tag for tag, values in (numbers or {}).items() if values)})
    size, count, offset, end = (20, "Q", "Q", 8) if big else (12, "H", "I", 4)
    behind = start + struct.calcsize(order + count) + size * len(tags) + end
    directory, arrays = [struct.pack(order + count, len(tags))], b""
    for tag in tags:
        if tag in entries:
            directory.append(entries[tag])
            continue
        values = (numbers or {})[tag]
        data = struct.pack(f"{order}{len(values)}I", *values)
        if len(data) > end:
            arrays, data = arrays + data, struct.pack(order + offset, behind + len(arrays))
        directory.append(
            struct.pack(order + "HH" + offset, tag, 4, len(values)) + data.ljust(end, b"\0")
        )
    head = encoded[:8] if big else encoded[:4]
    head += struct.pack(order + offset, start)
    padding = bytes(start - len(encoded))
    body = memoryview(encoded)[len(head) :]
    return b"".join((head, body, padding, *directory, bytes(end), arrays))


def _directory(encoded: bytes) -> tuple[dict[int, bytes], bool]:
    """The first directory of a TIFF (tag -> entry), and whether others follow.

    Entries whose numbers lie outside the file are left out.
    """
    order, big = _form(encoded)
    size, count, offset, first = (20, "Q", "Q", 8) if big else (12, "H", "I", 4)
    try:
        [at] = struct.unpack_from(order + offset, encoded, first)
        [number] = struct.unpack_from(order + count, encoded, at)
    except struct.error:
        return {}, False
    at += struct.calcsize(count)
    entries: dict[int, bytes] = {}
    for n in range(min(number, _MOST_TAGS)):
        entry = encoded[at + size * n : at + size * (n + 1)]
        if len(entry) < size:
            break
        [tag] = struct.unpack_from(order + "H", entry)
        if _place(encoded, entry) is not None:
            entries.setdefault(tag, entry)
    following = encoded[at + size * number :][: struct.calcsize(offset)]
    return entries, any(following)


def _form(encoded: bytes) -> tuple[str, bool]:
    """Byte order of a TIFF, and whether it is a BigTIFF."""
    return ("<", encoded[2:3] == b"+") if encoded[:2] == b"II" else (">", encoded[3:4] == b"+")


def _place(encoded: bytes, entry: bytes) -> tuple[bytes, int, int, int] | None:
    """(bytes, start, type, count) of an entry's values, None where the file does not hold them."""
    order, big = _form(encoded)
    _, form, count = struct.unpack_from(order + ("HHQ" if big else "HHI"), entry)
    inline = len(entry) - (12 if big else 8)
    length = _TIFF_SIZES.get(form, 0) * count
    if not length:
        return None
    if length <= inline:
        return entry, len(entry) - inline, form, count
    [start] = struct.unpack_from(order + ("Q" if big else "I"), entry, len(entry) - inline)
    return (encoded, start, form, count) if start + length <= len(encoded) else None


def _numbers(encoded: bytes, entry: bytes | None) -> tuple[int, ...]:
    """The whole numbers of an entry, () for those of another type."""
    place = _place(encoded, entry) if entry else None
    if place is None or place[2] not in _TIFF_FORMATS:
        return ()
    values, start, form, count = place
    if count > _MOST_NUMBERS:
        raise ValueError(f"a tag has more than {_MOST_NUMBERS:,} values")
    return struct.unpack_from(f"{_form(encoded)[0]}{count}{_TIFF_FORMATS[form]}", values, start)


def _is_turned(exif: bytes) -> bool:
    """Returns whether EXIF data (a small TIFF) ask viewers to rotate the image.

    Damaged EXIF data do not.
    """
    exif = exif.removeprefix(b"Exif\0\0")
    if exif[:4] not in (b"II*\0", b"MM\0*"):
        return False
    entries, _ = _directory(exif)
    return _numbers(exif, entries.get(_ORIENTATION))[:1] not in ((), (0,), (1,))
