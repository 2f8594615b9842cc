"""Frame headers of JPEG, JPEG-LS and JPEG 2000 code streams, read without decoding pixels."""

from __future__ import annotations

import dataclasses

_SIZES = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF, 0xF7}
_DCT = {0xC0, 0xC1, 0xC2}  # baseline, extended, progressive
_LOSSLESS, _LS = 0xC3, 0xF7
_SOC_SIZ = b"\xff\x4f\xff\x51"


@dataclasses.dataclass(frozen=True)
class CodeStream:
    """The frame header of a JPEG, JPEG-LS or JPEG 2000 code stream.

    Attributes:
        family: "JPEG", "JPEG-LS" or "JPEG 2000".
        lossless: by its process; JPEG-LS and JPEG 2000 may be either.
        shape: (height, width, components).
        precision: bits of a sample.
        signed: of JPEG 2000.
        rgb, ycc: whether the names of its components, or its JFIF segment, say which colours they
            are.
    """

    family: str
    lossless: bool
    shape: tuple[int, int, int]
    precision: int
    signed: bool = False
    rgb: bool = False
    ycc: bool = False


def begins(data: bytes | memoryview) -> bool:
    """Returns whether `data` (4 bytes or more) begins a code stream or a JP2 file."""
    return (
        bytes(data[:3]) == b"\xff\xd8\xff"
        or bytes(data[:4]) == _SOC_SIZ
        or bytes(data[4:8]) == b"jP  "
    )


def read(frame: bytes) -> CodeStream | None:
    """The frame header of a code stream; None if `data` is not one."""
    if frame[:2] == b"\xff\xd8":
        return _jpeg(frame)
    start = _box(frame) if frame[4:8] == b"jP  " else 0
    return (
        None if start is None or frame[start : start + 4] != _SOC_SIZ else _jpeg_2000(frame, start)
    )


def _number(frame: bytes, at: int, size: int) -> int:
    return int.from_bytes(frame[at : at + size], "big")


def _box(frame: bytes) -> int | None:
    """The offset of the code stream of a JP2 file, which its box jp2c contains."""
    start = 0
    while start + 8 <= len(frame):
        if frame[start + 4 : start + 8] == b"jp2c":
            return start + 8
        size = _number(frame, start, 4)
        if size < 8:
            return None
        start += size
    return None


def _jpeg_2000(frame: bytes, start: int) -> CodeStream:
    right, bottom, left, top = (_number(frame, start + at, 4) for at in (8, 12, 16, 20))
    depth = _number(frame, start + 42, 1)
    components = _number(frame, start + 40, 2)
    return CodeStream(
        "JPEG 2000",
        False,
        (bottom - top, right - left, components),
        (depth & 0x7F) + 1,
        depth > 0x7F,
    )


def _jpeg(frame: bytes) -> CodeStream | None:
    at, jfif = 2, False
    while at + 10 <= len(frame) and frame[at] == 0xFF:
        marker = frame[at + 1]
        if marker in _SIZES:
            components = frame[at + 9]
            names = bytes(frame[at + 10 : at + 10 + 3 * components : 3])
            return CodeStream(
                "JPEG-LS" if marker == _LS else "JPEG",
                marker == _LOSSLESS,
                (_number(frame, at + 5, 2), _number(frame, at + 7, 2), components),
                frame[at + 4],
                rgb=names in (b"RGB", b"rgb"),
                ycc=jfif,
            )
        jfif = jfif or (marker == 0xE0 and frame[at + 4 : at + 8] == b"JFIF")
        at += 1 if marker == 0xFF else 2 + _number(frame, at + 2, 2)
    return None
