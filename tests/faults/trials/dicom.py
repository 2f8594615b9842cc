"""DICOM files: damage in eight transfer syntaxes, bombs, and other people's files."""

from __future__ import annotations

import importlib.util
import io
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pydicom
from pydicom import encaps, uid
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut
from pydicom.pixels.utils import pixel_array
from pydicom.sequence import Sequence

from jaxcxr.data import xray_files
from jaxcxr.errors import InputError
from tests.data import dicoms
from tests.faults.limits import mutants, reading
from tests.faults.promises import Context, promise

_SYNTAXES = {
    "implicit": uid.ImplicitVRLittleEndian,
    "explicit": uid.ExplicitVRLittleEndian,
    "big-endian": uid.ExplicitVRBigEndian,
    "deflated": uid.DeflatedExplicitVRLittleEndian,
    "rle": uid.RLELossless,
    "jpeg": uid.JPEGBaseline8Bit,
    "jpeg-lossless": uid.JPEGLosslessSV1,
    "jpeg-ls": uid.JPEGLSLossless,
    "jpeg-2000": uid.JPEG2000Lossless,
}


def _read(content: bytes) -> None:
    xray_files.read(content, "x.dcm")


def _samples(syntax: uid.UID) -> list[bytes]:
    """Two X-rays: with a window, and signed with a VOI LUT, a rescale and padding."""
    y, x = np.mgrid[:240, :232]
    grey = (2000 + 1500 * np.sin(x / 40) * np.cos(y / 50)).astype(np.uint16)
    grey[:20] = 0
    tables = {"RescaleSlope": 2, "RescaleIntercept": -7, "PixelPaddingValue": -2048}
    lut = dicoms.lut(list(range(0, 65536, 64)), first=-2000, bits=16)
    window = {"WindowCenter": [2000, 50], "WindowWidth": [1500, 2]}
    if syntax == uid.JPEGBaseline8Bit:
        small = (grey // 16).astype(np.uint8)
        return [
            dicoms.written(small, syntax),
            dicoms.written(np.stack([small] * 3, axis=-1), syntax),
        ]
    return [
        dicoms.written(grey, syntax, BitsStored=12, **window),
        dicoms.written(
            (grey - 2048).astype(np.int16), syntax, BitsStored=12, VOILUTSequence=lut, **tables
        ),
    ]


def _damaged(syntax: uid.UID):
    return lambda context: mutants(context, _samples(syntax), _read)


for _name, _syntax in _SYNTAXES.items():
    promise(
        f"mutants/dicom-{_name}",
        f"a damaged DICOM file ({_syntax.name}) is read or one error, in 1 s and 256 MiB",
        full=10_000,
        quick=30,
    )(_damaged(_syntax))


def _header(*, rows: int = 48, columns: int = 40, **elements) -> Dataset:
    """An X-ray of 48 x 40 pixels that says it has others."""
    made = dicoms.data_set(np.zeros((48, 40), np.uint8), **elements)
    made.Rows, made.Columns = rows, columns
    return made


def _larger(syntax: uid.UID, frame: bytes, at: int, size: bytes) -> bytes:
    """A code stream of which header and data set say 8000 x 8000."""
    frame = frame[:at] + size + frame[at + len(size) :]
    return dicoms.fragmented(_header(rows=8000, columns=8000), syntax, frame)


def _stream(syntax: uid.UID) -> bytes:
    encoded = dicoms.written(np.zeros((48, 40), np.uint8), syntax)
    return encaps.get_frame(dicoms.read(encoded).PixelData, 0, number_of_frames=1)


def _deflated(zeros: int, *, header: int = 0, rows: int = 48, columns: int = 40) -> bytes:
    """A file that deflates so many zeros of pixels, and of a private element before them."""
    made = _header(rows=rows, columns=columns)
    made.file_meta.TransferSyntaxUID = uid.DeflatedExplicitVRLittleEndian
    plain = dicoms.save(made)
    made.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    start = dicoms.save(made)
    body = start[start.index(b"\x08\x00\x16\x00") : start.index(b"\xe0\x7f\x10\x00")]
    pack = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    packed = [pack.compress(body)]
    for element, length in (
        (b"\xcf\x7f\x10\x10OB\0\0", header),
        (b"\xe0\x7f\x10\x00OB\0\0", zeros),
    ):
        if length:
            packed.append(pack.compress(element + length.to_bytes(4, "little")))
            packed += [pack.compress(bytes(1 << 20)) for _ in range(length >> 20)]
            packed.append(pack.compress(bytes(length % (1 << 20))))
    meta = plain[: 132 + 12 + int.from_bytes(plain[140:144], "little")]
    return meta + b"".join(packed) + pack.flush()


def _with_elements(elements: bytes) -> bytes:
    """A file with these bytes before its modality."""
    encoded = dicoms.save(_header())
    at = encoded.index(b"\x08\x00\x60\x00")
    return encoded[:at] + elements + encoded[at:]


_ITEM = b"\xfe\xff\x00\xe0"
_SEQUENCE = b"\x08\x00\x50\x00SQ\0\0"
_UNDEFINED = b"\xff\xff\xff\xff"


def _per_frame_groups() -> bytes:
    made = _header(NumberOfFrames=1_000_000)
    made.PerFrameFunctionalGroupsSequence = Sequence([Dataset() for _ in range(3)])
    encoded = dicoms.save(made)
    at = encoded.index(b"\x00\x52\x30\x92SQ")
    old = 12 + int.from_bytes(encoded[at + 8 : at + 12], "little")
    items = (_ITEM + bytes(4)) * 1_000_000
    return encoded[: at + 8] + len(items).to_bytes(4, "little") + items + encoded[at + old :]


def _segments() -> bytes:
    made = _header(PhotometricInterpretation="PALETTE COLOR")
    for colour in ("Red", "Green", "Blue"):
        name = f"{colour}PaletteColorLookupTable"
        made.add_new(tag_for_keyword(f"{name}Descriptor"), "US", [0, 0, 16])
        data = np.array([0, 1, 0, *[2, 0xFFFF, 0, 0] * 50_000], "<u2").tobytes()
        made.add_new(tag_for_keyword(f"Segmented{name}Data"), "OW", data)
    return dicoms.save(made)


def _fragments() -> bytes:
    made = _header()
    encoded = dicoms.fragmented(made, uid.JPEGBaseline8Bit, b"\xff\xd8\xff\xd9")
    at = encoded.rindex(b"\xfe\xff\xdd\xe0")
    return encoded[:at] + (_ITEM + bytes(4)) * 1_000_000 + encoded[at:]


def _rle() -> bytes:
    size = 8000 * 8000 // 64
    frame = (
        (1).to_bytes(4, "little") + (64).to_bytes(4, "little") + bytes(56) + b"\x81\0" * (size // 2)
    )
    return dicoms.fragmented(_header(rows=8000, columns=8000), uid.RLELossless, frame)


def _jpeg_2000(at: int, number: int) -> bytes:
    frame = _stream(uid.JPEG2000Lossless)
    start = frame.index(b"\xff\x4f\xff\x51") + at
    return _larger(uid.JPEG2000Lossless, frame, start, number.to_bytes(4, "big") * 2)


def _jpeg(syntax: uid.UID, marker: bytes) -> bytes:
    frame = _stream(syntax)
    return _larger(syntax, frame, frame.index(marker) + 5, (8000).to_bytes(2, "big") * 2)


def _tiles() -> bytes:
    frame = _stream(uid.JPEG2000Lossless)
    at = frame.index(b"\xff\x4f\xff\x51")
    size, tile = (240).to_bytes(4, "big") * 2, (1).to_bytes(4, "big") * 2
    frame = frame[: at + 8] + size + frame[at + 16 : at + 24] + tile + frame[at + 32 :]
    return dicoms.fragmented(_header(rows=240, columns=240), uid.JPEG2000Lossless, frame)


_BOMBS: dict[str, Callable[[], bytes]] = {
    "8000 x 8000 pixels in 1,920 bytes": lambda: dicoms.save(_header(rows=8000, columns=8000)),
    "65,535 x 65,535 pixels": lambda: dicoms.save(_header(rows=65535, columns=65535)),
    "2,147,483,647 frames": lambda: dicoms.save(_header(NumberOfFrames=2147483647)),
    "RLE of the least size for 8000 x 8000": _rle,
    "JPEG 2000 of 8000 x 8000": lambda: _jpeg_2000(8, 8000),
    "JPEG of 8000 x 8000": lambda: _jpeg(uid.JPEGBaseline8Bit, b"\xff\xc0"),
    "JPEG lossless of 8000 x 8000": lambda: _jpeg(uid.JPEGLosslessSV1, b"\xff\xc3"),
    "JPEG-LS of 8000 x 8000": lambda: _jpeg(uid.JPEGLSLossless, b"\xff\xf7"),
    "JPEG 2000 in 57,600 tiles": _tiles,
    "128 MB of deflated pixels": lambda: _deflated(128 << 20, rows=8192, columns=7812),
    "a million fragments": _fragments,
    "a million items": lambda: _with_elements(
        _SEQUENCE + _UNDEFINED + (_ITEM + bytes(4)) * 1_000_000
    ),
    "sequences 200,000 deep": lambda: _with_elements(
        (_SEQUENCE + _UNDEFINED + _ITEM + _UNDEFINED) * 200_000
    ),
    "a million elements": lambda: _with_elements(b"\x08\x00\x50\x00LO\0\0" * 1_000_000),
    "functional groups of a million frames": _per_frame_groups,
    "palettes of segments within segments": _segments,
    "a deflated header of 300 MB": lambda: _deflated(1920, header=300 << 20),
    "400 MB of zeros after the deflated frame": lambda: _deflated(400 << 20),
}


@promise(
    "bombs/dicom",
    "a small DICOM file that claims much is refused, or read as far as needed, in 1 s and 256 MiB",
    full=len(_BOMBS),
    quick=9,  # those that are made in no time
)
def bombs(context: Context) -> Iterator[str]:
    for syntax in _SYNTAXES.values():
        _read(_samples(syntax)[0])  # what is loaded at first is loaded
    for what, made in list(_BOMBS.items())[: context.trials]:
        bomb = made()
        problem = reading(lambda bomb=bomb: _read(bomb))
        yield f"{what} ({len(bomb):,} bytes): {problem}" if problem else ""


def _corpora() -> list[Path]:
    """The files of pydicom and, where they are installed, of pydicom-data and pylibjpeg-data."""
    found = []
    for package, folder in (("pydicom", "data"), ("data_store", ""), ("ljdata", "")):
        spec = importlib.util.find_spec(package)
        for place in (spec and spec.submodule_search_locations) or ():
            found += [path for path in Path(place, folder).rglob("*") if path.is_file()]
    return sorted(path for path in found if path.suffix not in (".py", ".pyc"))


@promise(
    "corpora/dicom",
    "other people's files are read as pydicom displays them, or one error",
    full=len(_corpora()),
    quick=25,
)
def corpora(context: Context) -> Iterator[str]:
    paths = _corpora()
    chosen = np.sort(context.rng.permutation(len(paths))[: context.trials])
    for path in (paths[n] for n in chosen):
        content = path.read_bytes()
        try:
            shown = xray_files.read(content, path.name)
        except InputError as error:
            yield "" if " at 0x" not in str(error) else f"{path.name}: {error}"
        except Exception as error:  # what is promised is that there is no other
            yield f"{path.name}: {type(error).__name__}"
        else:
            yield _against_pydicom(path.name, content, shown.pixels, shown.warnings)


def _against_pydicom(name: str, content: bytes, pixels: np.ndarray, doubts: tuple[str, ...]) -> str:
    """'' where grey pixels correlate with pydicom's look-up tables, or where these show or know
    nothing.
    """
    theirs = _displayed_by_pydicom(content)
    if theirs is None or not np.ptp(theirs):
        return ""
    if pixels.shape != theirs.shape:
        return f"{name}: {pixels.shape} instead of {theirs.shape}"
    r = np.corrcoef(pixels.ravel(), theirs.ravel())[0, 1]
    return "" if r >= 0.999 else f"{name}: r = {r:.4f}, {doubts}"


def _displayed_by_pydicom(content: bytes) -> np.ndarray | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            header = pydicom.dcmread(io.BytesIO(content), force=True)
            if "SharedFunctionalGroupsSequence" in header:  # which pydicom does not look into
                return None
            values = pixel_array(header, index=0)
            values = apply_voi_lut(apply_modality_lut(values, header), header).astype(float)
            polarity = {"MONOCHROME1": -1.0, "MONOCHROME2": 1.0}[header.PhotometricInterpretation]
            return polarity * values
        except Exception:  # what it cannot read, it cannot tell
            return None
