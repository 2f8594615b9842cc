"""The first frame of a DICOM file: the layout of its pixels and its stored bits.

Every claim of a file about its pixels is checked against its content before memory is allocated.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import re

import numpy as np
from pydicom import uid
from pydicom.pixels.processing import convert_color_space

from jaxcxr.data import code_stream, decoding, dicom_decoder
from jaxcxr.data.dicom_header import ImageHeader, described
from jaxcxr.errors import InputError

GREY = ("MONOCHROME1", "MONOCHROME2")
PALETTE = "PALETTE COLOR"
_COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_RCT", "YBR_ICT")
DISAGREE = "its transfer syntax and its pixels disagree"
MAX_FRAGMENTS = 1 << 16
# X-rays do not shrink to less; from 4 million pixels on, where a few bytes may claim much memory.
LARGE = 1 << 22
BITS_PER_PIXEL = {"lossless": 0.5, "lossy": 0.1}

_RLE = uid.RLELossless
_JPEG_LOSSLESS = ("1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70")
_STREAMS = {  # which code stream a transfer syntax stands for
    "1.2.840.10008.1.2.4.50": "JPEG",
    "1.2.840.10008.1.2.4.51": "JPEG",  # extended
    "1.2.840.10008.1.2.4.57": "JPEG",  # lossless
    "1.2.840.10008.1.2.4.70": "JPEG",  # lossless, selection value 1
    "1.2.840.10008.1.2.4.80": "JPEG-LS",
    "1.2.840.10008.1.2.4.81": "JPEG-LS",  # near-lossless
    "1.2.840.10008.1.2.4.90": "JPEG 2000",  # lossless
    "1.2.840.10008.1.2.4.91": "JPEG 2000",
    "1.2.840.10008.1.2.4.201": "JPEG 2000",  # HTJ2K lossless
    "1.2.840.10008.1.2.4.202": "JPEG 2000",  # HTJ2K lossless RPCL
    "1.2.840.10008.1.2.4.203": "JPEG 2000",  # HTJ2K
    "1.2.840.10008.1.2.5": "RLE",
}
_ITEM, _DELIMITER = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"


@dataclasses.dataclass(frozen=True)
class Layout:
    """The Image Pixel module, complete: missing and invalid elements have the standard's defaults.

    Attributes:
        rows, columns, samples, allocated, stored, high, planar, frames: as the elements of these
            names.
        photometric: one of GREY, PALETTE or a colour space of three samples.
        signed: Pixel Representation is 1.
    """

    rows: int
    columns: int
    samples: int
    photometric: str
    allocated: int
    stored: int
    high: int
    signed: bool
    planar: int
    frames: int


@dataclasses.dataclass(frozen=True)
class Stored:
    """The pixels as they are stored.

    Attributes:
        patterns: [H, W] or [H, W, 3] uint8 or uint16, bit patterns.
        precision: number of their bits that may be used.
        signed: whether they are signed numbers: by Pixel Representation, or by JPEG 2000's own
            header.
    """

    patterns: np.ndarray
    precision: int
    signed: bool


def layout(header: ImageHeader, name: str) -> Layout:
    """The layout of the pixels of a file.

    Raises:
        InputError: the header does not define it, or the pixels cannot be displayed.
    """
    rows, columns = (_needed(header, keyword, name) for keyword in ("Rows", "Columns"))
    if min(rows, columns) < 1:
        raise InputError(f"{name} has no pixels: its Rows and Columns are below 1")
    decoding.check_size((columns, rows), name)
    allocated = _needed(header, "BitsAllocated", name)
    photometric = header.word("PhotometricInterpretation")
    samples = _one_of(header, "SamplesPerPixel", 3 if photometric in _COLOUR else 1)
    if allocated not in (1, 8, 16) or samples not in (1, 3):
        raise InputError(
            f"{name} has neither grey nor RGB values of 8 or 16 bits: it is no displayable X-ray"
        )
    allowed = (*GREY, PALETTE) if samples == 1 else _COLOUR
    if photometric not in allowed:
        if photometric in (*GREY, *_COLOUR, PALETTE):
            raise InputError(
                f"{name}: its {described('PhotometricInterpretation')} and its "
                f"{described('SamplesPerPixel')} contradict each other"
            )
        why = "is none that is known" if photometric else "is missing"
        photometric = "MONOCHROME2" if samples == 1 else "RGB"
        header.note(
            f"{described('PhotometricInterpretation')} {why} and was taken to be {photometric}"
        )
    stored = _bits(header, "BitsStored", allocated)
    high = _bits(header, "HighBit", allocated - 1, least=0)
    if stored is None:
        stored = allocated if high is None else high + 1
    if high is None or high + 1 < stored:
        if high is not None:
            header.ignore("HighBit", f"is below {described('BitsStored')}")
        high = stored - 1
    frames = header.integer("NumberOfFrames")
    if frames is not None and frames < 1:
        header.ignore("NumberOfFrames", "is below 1")
    return Layout(
        rows=rows, columns=columns, samples=samples, photometric=photometric, allocated=allocated,
        stored=stored, high=high, signed=_one_of(header, "PixelRepresentation", 0, (0, 1)) == 1,
        planar=_one_of(header, "PlanarConfiguration", 0, (0, 1)) if samples == 3 else 0,
        frames=max(1, frames or 1),
    )  # fmt: skip


def _needed(header: ImageHeader, keyword: str, name: str) -> int:
    value = header.integer(keyword)
    if value is None:
        wrong = "is not a number" if header.raw(keyword) else "is missing"
        raise InputError(f"{name} is a damaged DICOM file: its {described(keyword)} {wrong}")
    return value


def _one_of(header: ImageHeader, keyword: str, default: int, allowed: tuple[int, ...] = ()) -> int:
    """An element that the standard requires, or its default and a note."""
    if not header.raw(keyword):
        header.note(f"{described(keyword)} is missing and was taken to be {default}")
        return default
    value = header.integer(keyword)
    if value is None or (allowed and value not in allowed):
        header.ignore(keyword, "is impossible")
        return default
    return value


def _bits(header: ImageHeader, keyword: str, most: int, least: int = 1) -> int | None:
    if not header.raw(keyword):
        header.note(f"{described(keyword)} is missing")
        return None
    value = header.integer(keyword)
    if value is None or least <= value <= most:
        return value
    header.ignore(keyword, "is impossible")
    return None


def first_frame(header: ImageHeader, layout: Layout, name: str) -> Stored:
    """The first frame of a file, decompressed.

    Raises:
        InputError: damaged, cut off, larger than it says, or compressed in a way that no decoder
            here knows.
    """
    syntax = header.syntax
    if not syntax.is_transfer_syntax:
        number = f" {syntax}" if re.fullmatch(r"[0-9.]{1,64}", syntax) else ""
        raise InputError(
            f"{name} has the transfer syntax{number}, which is not read: save it without "
            "compression"
        )
    if not syntax.is_encapsulated:
        return Stored(_native(header, layout, name), layout.allocated, layout.signed)
    if syntax not in _STREAMS:
        raise InputError(
            f"{name} is compressed in a way that cannot be decoded: save it without compression"
        )
    if header.length is not None and header.pixel_bytes(4) != _ITEM:
        raise InputError(f"{name}: {DISAGREE}: pixels are not compressed as it says")
    frame = _frame(header.pixel_bytes(), layout.frames, name)
    return _rle(frame, layout, name) if syntax == _RLE else _decoded(frame, header, layout, name)


def _native(header: ImageHeader, layout: Layout, name: str) -> np.ndarray:
    """Pixels without compression: [H, W] or [H, W, 3]."""
    bits = layout.rows * layout.columns * layout.samples * layout.allocated
    size = -(-bits // 8)
    length = header.length
    if length is None:
        raise InputError(f"{name}: {DISAGREE}: it says that they are not compressed, and they are")
    halved = layout.photometric == "YBR_FULL_422" and length < size
    size = size * 2 // 3 if halved else size
    head = header.pixel_bytes(8)
    compressed = head[:4] == _ITEM or code_stream.begins(head)
    if compressed and not size <= length <= size + 1:
        raise InputError(f"{name}: {DISAGREE}: it says that they are not compressed, and they are")
    if length < size:
        raise InputError(
            f"{name} is a damaged DICOM file: its pixels are fewer than Rows and Columns say"
        )
    _check_packing(header.packed, layout, "lossless", name)
    swapped = header.syntax == uid.ExplicitVRBigEndian and layout.allocated == 8
    swapped = swapped and header.pixel_vr == "OW"  # bytes in words, of which the upper comes first
    data = header.pixel_bytes(size + size % 2 if swapped else size)
    if len(data) < size:
        raise InputError(f"{name} is cut off: it ends within its pixels")
    if layout.allocated == 1:
        pixels = np.unpackbits(np.frombuffer(data, np.uint8), count=bits, bitorder="little")
    elif swapped:
        pixels = np.frombuffer(data, np.uint8, len(data) // 2 * 2)
        pixels = pixels.reshape(-1, 2)[:, ::-1].reshape(-1)[:size]
    else:
        order = ">" if header.syntax == uid.ExplicitVRBigEndian else "<"
        pixels = np.frombuffer(data, f"{order}u{layout.allocated // 8}")
        pixels = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
    if halved:  # Y1 Y2 B R of each two pixels
        pairs = pixels.reshape(-1, 4)
        pixels = pairs[:, [0, 2, 3, 1, 2, 3]].reshape(-1)
    return _in_rows(pixels, layout, planar=layout.planar == 1 and not halved)


def _in_rows(
    pixels: np.ndarray, layout: Layout, *, planar: bool, photometric: str = ""
) -> np.ndarray:
    """[H W S] or [S H W] -> [H, W] or [H, W, 3] of RGB."""
    shape = (layout.rows, layout.columns)
    if layout.samples == 1:
        return pixels.reshape(shape)
    pixels = pixels.reshape(3, *shape).transpose(1, 2, 0) if planar else pixels.reshape(*shape, 3)
    if (photometric or layout.photometric) in ("YBR_FULL", "YBR_FULL_422"):
        pixels = convert_color_space(pixels, "YBR_FULL", "RGB")
    return pixels


def _check_packing(packed: int, layout: Layout, way: str, name: str) -> None:
    """Raises InputError if a large image claims to be in a few bytes."""
    pixels = layout.rows * layout.columns
    if pixels > LARGE and 8 * packed < BITS_PER_PIXEL[way] * pixels:
        raise InputError(
            f"{name} holds {packed:,} bytes for {layout.columns}x{layout.rows} pixels: no X-ray "
            "packs so small"
        )


def _frame(value: memoryview, frames: int, name: str) -> bytes:
    """The bytes of the first frame out of the fragments of all (PS3.5 A.4)."""
    offsets, at, first = np.zeros(0, "<u4"), 0, 0
    fragments: list[memoryview] = []
    ended = False
    while at + 8 <= len(value):
        tag, length = value[at : at + 4], int.from_bytes(value[at + 4 : at + 8], "little")
        if tag == _DELIMITER:
            ended = True
            break
        if tag != _ITEM:
            raise InputError(f"{name} is a damaged DICOM file: its pixels are in no fragments")
        if at + 8 + length > len(value):
            raise InputError(f"{name} is cut off: it ends within its pixels")
        fragment = value[at + 8 : at + 8 + length]
        if at == 0:
            offsets = np.frombuffer(fragment[: min(length, 8) // 4 * 4], "<u4")
            first = 8 + length
        elif frames > 1 and fragments and _starts_next(fragment, fragments[0], at - first, offsets):
            ended = True
            break
        else:
            fragments.append(fragment)
        if len(fragments) > MAX_FRAGMENTS:
            raise InputError(
                f"{name} has pixels in more than the {MAX_FRAGMENTS:,} fragments allowed"
            )
        at += 8 + length
    frame = b"".join(fragments)
    # Without its delimiter a sequence may lack fragments: the code stream shows it, RLE when it is
    # decoded.
    whole = ended or not code_stream.begins(frame) or frame.rstrip(b"\0").endswith(b"\xff\xd9")
    if not frame or not whole:
        raise InputError(f"{name} is cut off: it ends within its pixels")
    return frame


def _starts_next(fragment: memoryview, first: memoryview, at: int, offsets: np.ndarray) -> bool:
    """Returns whether a fragment begins the second frame.

    Decided by the table of offsets or, without one, by the fragment's bytes.
    """
    if len(offsets) > 1:
        return at >= int(offsets[1])
    return code_stream.begins(fragment) or not code_stream.begins(first)  # RLE: one for each frame


def _rle(frame: bytes, layout: Layout, name: str) -> Stored:
    size = layout.rows * layout.columns * layout.samples * layout.allocated // 8
    # PackBits makes 2 bytes of 128 at best and 129 at worst; a header of 64 bytes comes first.
    fits = layout.allocated > 1 and 2 * (size // 128) <= len(frame) - 64 <= 2 * size + 4096
    if not fits:
        raise InputError(
            f"{name} is a damaged DICOM file: its compressed pixels are not what its header says"
        )
    _check_packing(len(frame), layout, "lossless", name)
    decoded = _decompressed("rle", frame, layout, name, allocated=layout.allocated)
    return Stored(_in_rows(decoded, layout, planar=True), layout.allocated, layout.signed)


def _decoded(frame: bytes, header: ImageHeader, layout: Layout, name: str) -> Stored:
    """The pixels of a JPEG, JPEG-LS or JPEG 2000 code stream."""
    stream = code_stream.read(frame)
    family = _STREAMS[header.syntax]
    if stream is None or stream.family != family:
        what = stream.family if stream else "no code stream"
        raise InputError(f"{name}: {DISAGREE}: it says {family}, they are {what}")
    shape = (layout.rows, layout.columns, layout.samples)
    if stream.shape != shape or not 1 <= stream.precision <= max(8, layout.allocated):
        raise InputError(
            f"{name} is a damaged DICOM file: its compressed pixels are not what its header says"
        )
    _check_packing(len(frame), layout, "lossless" if stream.lossless else "lossy", name)
    if family == "JPEG" and stream.lossless != (header.syntax in _JPEG_LOSSLESS):
        header.note(f"{DISAGREE}: they were read as what they are")
    if family == "JPEG 2000":
        decoded, photometric = _decompressed("openjpeg", frame, layout, name), layout.photometric
    elif family == "JPEG" and not stream.lossless:
        if stream.precision != 8:
            raise InputError(  # there is no other number, whatever the code stream says
                f"{name} holds a JPEG of 12 bits, which cannot be read: convert it with DCMTK's "
                "dcmdjpeg"
            )
        rgb = layout.photometric == "RGB"
        decoded, photometric = _decompressed("pillow", frame, layout, name, rgb=rgb), "RGB"
    else:
        odd = stream.precision in (6, 7) or (stream.precision < 8 and layout.signed)
        if family == "JPEG-LS" and odd:
            raise InputError(
                f"{name} holds a JPEG-LS of {stream.precision} bits, which GDCM reads wrongly: "
                "save it without compression"
            )
        decoded = _decompressed(
            "gdcm", frame, layout, name, precision=stream.precision, signed=int(layout.signed),
            syntax=header.syntax if family == "JPEG-LS" else _JPEG_LOSSLESS[0],
        )  # fmt: skip
        photometric = "RGB" if stream.rgb else "YBR_FULL" if stream.ycc else layout.photometric
    pixels = _in_rows(decoded, layout, planar=False, photometric=photometric)
    # Writers that make unsigned code streams of signed values are known; none the other way round.
    if stream.signed and not layout.signed:
        header.ignore(
            "PixelRepresentation", "contradicts the JPEG 2000 code stream, which is signed,"
        )
    return Stored(pixels, stream.precision, layout.signed or stream.signed)


def _decompressed(
    decoder: str, frame: bytes, layout: Layout, name: str, **how: object
) -> np.ndarray:
    """Samples [H W S] of one byte or two."""
    needed = dicom_decoder.PACKAGES[decoder]
    if missing := [needed[module] for module in needed if not importlib.util.find_spec(module)]:
        raise InputError(f"{name} is compressed; to read it: pip install {' '.join(missing)}")
    image = {
        "decoder": decoder,
        "rows": layout.rows,
        "columns": layout.columns,
        "samples": layout.samples,
        **how,
    }
    decoded = dicom_decoder.decode(frame, image, name)
    size = layout.rows * layout.columns * layout.samples
    if len(decoded) not in (size, 2 * size):
        raise InputError(f"{name} is a damaged DICOM file: its pixels are not what its header says")
    return np.frombuffer(decoded, "u1" if len(decoded) == size else "<u2")
