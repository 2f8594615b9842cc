"""DICOM files -> grey pixels as they are displayed (lungs dark), and what is doubtful about them.

Of a header only the elements of `_ELEMENTS` are ever decoded: how pixels are stored, how they are displayed, which
body part and view they show. Neither results nor errors carry text from a header, so names, dates and numbers of
patients go nowhere.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import io
import logging
import warnings
import zlib
from typing import Any

import numpy as np
import pydicom
from PIL import Image
from pydicom import filereader, uid
from pydicom.encaps import get_frame
from pydicom.pixels.processing import apply_color_lut
from pydicom.pixels.utils import pixel_array

from jaxcxr.data import decoding, dicom_decoder
from jaxcxr.data.dicom_display import displayed
from jaxcxr.types import InputError

MAX_BYTES = 256 << 20  # of a file, packed or inflated: 64 million pixels of 16 bits, twice
NOT_AN_X_RAY = "not an X-ray of modality CR, DX or RG"
NOT_THE_CHEST = "the body part examined is not the chest"
LATERAL = "lateral view"
FRAMES = "several frames, of which the first was taken"
COLOUR = "colour image"
UNPROCESSED = "made for processing, not for display: its grey values may look unlike an X-ray's"

_ELEMENTS = (
    "Modality", "BodyPartExamined", "ViewPosition", "ViewCodeSequence", "PatientOrientation", "PresentationIntentType",
    "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration",
    "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelPaddingValue", "PixelPaddingRangeLimit",
    "RescaleSlope", "RescaleIntercept", "ModalityLUTSequence", "VOILUTSequence", "WindowCenter", "WindowWidth",
    "VOILUTFunction", "PresentationLUTShape", "RedPaletteColorLookupTableDescriptor",
    "GreenPaletteColorLookupTableDescriptor", "BluePaletteColorLookupTableDescriptor",
    "RedPaletteColorLookupTableData", "GreenPaletteColorLookupTableData", "BluePaletteColorLookupTableData",
    "PixelData",
)  # fmt: skip
_MODALITIES = ("CR", "DX", "RG", "DR", "XR")  # the last two are no terms of DICOM, yet used
_CHEST = ("CHEST", "THORAX", "LUNG")
# View Position, and the SNOMED CT and RT codes of CID 4010: lateral, left lateral, right lateral, lateral-medial.
_LATERAL_VIEWS = ("LL", "RL", "LAT", "LATERAL", "LLAT", "RLAT")
_LATERAL_CODES = (
    "399067008", "399173006", "399198007", "399352003", "R-102CD", "R-10236", "R-10232", "R-10228",
)  # fmt: skip
_MAGIC = b"DICM"
_DEFLATED = str(uid.DeflatedExplicitVRLittleEndian).encode()
_JPEG_SIZES = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF, 0xF7}


@dataclasses.dataclass(frozen=True)
class Decoded:
    """pixels: [H, W] uint8, or uint16 where more than 256 levels are possible. doubts: sentences, mostly none."""

    pixels: np.ndarray
    doubts: tuple[str, ...]


def is_dicom(head: bytes) -> bool:
    """Whether a file of which these are the first 132 bytes or more is DICOM, with its preamble or without."""
    return head[128:132] == _MAGIC or (
        head[:2] in (b"\x02\x00", b"\x08\x00") and head[3:4] == b"\x00"
    )


def decode_dicom(encoded: bytes, name: str) -> Decoded:
    """Decodes one X-ray: stored values, modality LUT or rescale, VOI LUT or window, polarity; see `displayed`.

    Args:
      encoded: the file's bytes.
      name: what errors call the file.

    Raises:
      InputError: not DICOM, damaged, without pixels, larger than decoding.MAX_PIXELS or MAX_BYTES, or compressed in a
        way that no installed plug-in decodes. Where the header is to blame, the error does not quote it.
    """
    _silence_pydicom()
    if len(encoded) > MAX_BYTES:
        raise InputError(f"{name} has {len(encoded):,} bytes, more than the {MAX_BYTES:,} allowed")
    try:
        header = pydicom.dcmread(
            io.BytesIO(_plain(encoded, name)), force=True, specific_tags=list(_ELEMENTS)
        )
        _check(header, name)
        stored = _stored(header, encoded, name)
        doubts = _doubts(header)
        if stored.ndim == 2 and header.PhotometricInterpretation != "PALETTE COLOR":
            pixels, more = displayed(stored, header)
            return Decoded(pixels, (*doubts, *more))
        rgb = _rgb(stored, header)
        doubts += (COLOUR,) if decoding.is_coloured(rgb) else ()
        return Decoded(np.asarray(Image.fromarray(rgb).convert("L")), doubts)
    except InputError:
        raise
    except Exception as error:  # some seven types, whose texts may quote the header
        raise InputError(f"{name} is a damaged DICOM file ({type(error).__name__})") from None


def _silence_pydicom() -> None:
    """Its warnings quote the header; what matters is told by what can be read. Repeated, since tests reset filters."""
    warnings.filterwarnings("ignore", module=r"pydicom(\.|$)")
    logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)


def _plain(encoded: bytes, name: str) -> bytes:
    """A deflated file, inflated up to MAX_BYTES: pydicom itself would inflate a bomb without bound."""
    if _DEFLATED not in encoded:
        return encoded
    file = io.BytesIO(encoded)
    filereader.read_preamble(file, True)
    meta = filereader.read_dataset(file, False, True, stop_when=lambda tag, *_: tag.group != 2)
    if meta.get("TransferSyntaxUID") != uid.DeflatedExplicitVRLittleEndian:
        raise InputError(f"{name} is a damaged DICOM file: its transfer syntax is not clear")
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    body = inflate.decompress(encoded[file.tell() :], MAX_BYTES)
    if inflate.unconsumed_tail:
        raise InputError(f"{name} inflates to more than the {MAX_BYTES:,} bytes allowed")
    # File meta information of one element: (0002,0010) UI, the transfer syntax of what is there now.
    syntax = str(uid.ExplicitVRLittleEndian).encode() + b"\0"
    start = _MAGIC + b"\x02\x00\x10\x00UI" + len(syntax).to_bytes(2, "little") + syntax
    return bytes(128) + start + body


def _check(header: Any, name: str) -> None:
    """Raises InputError unless the header describes pixels that can be read, of a bounded size."""
    if "PixelData" not in header:
        raise InputError(f"{name} is a DICOM file without an image")
    decoding.check_size((int(header.Columns), int(header.Rows)), name)
    if min(int(header.Columns), int(header.Rows)) < 1:
        raise InputError(f"{name} has no pixels")
    if header.BitsAllocated not in (1, 8, 16) or header.SamplesPerPixel not in (1, 3):
        raise InputError(
            f"{name} has neither grey nor RGB values of 8 or 16 bits: it is no displayable X-ray"
        )
    if not header.file_meta.get("TransferSyntaxUID"):
        implicit, little = header.original_encoding
        known = {
            (True, True): uid.ImplicitVRLittleEndian,
            (False, True): uid.ExplicitVRLittleEndian,
        }
        header.file_meta.TransferSyntaxUID = known.get((implicit, little), uid.ExplicitVRBigEndian)


def _stored(header: Any, encoded: bytes, name: str) -> np.ndarray:
    """The first frame's values: [H, W] integers of 8 or 16 bits, or [H, W, 3] RGB."""
    syntax = header.file_meta.TransferSyntaxUID
    shape = (int(header.Rows), int(header.Columns))
    if not syntax.is_compressed or syntax == uid.DeflatedExplicitVRLittleEndian:
        stored = pixel_array(header, index=0)
    else:
        if syntax not in dicom_decoder.PLUGINS:
            raise InputError(
                f"{name} is compressed in a way that cannot be decoded: save it without compression"
            )
        needed = dicom_decoder.PACKAGES[dicom_decoder.PLUGINS[syntax]]
        if missing := [needed[module] for module in needed if not importlib.util.find_spec(module)]:
            raise InputError(f"{name} is compressed; to read it: pip install {' '.join(missing)}")
        _check_frame(header, shape, name)
        stored = dicom_decoder.decode(encoded, syntax, name)
    whole = stored.dtype.kind in "iu" and stored.dtype.itemsize <= 2
    if stored.shape not in (shape, (*shape, 3)) or not whole:
        raise InputError(f"{name} is a damaged DICOM file: its pixels are not what its header says")
    return np.ascontiguousarray(stored, dtype=stored.dtype.newbyteorder("="))


def _check_frame(header: Any, shape: tuple[int, int], name: str) -> None:
    """Raises InputError where compressed pixels would become more than the header says."""
    frame = get_frame(header.PixelData, 0, number_of_frames=int(header.get("NumberOfFrames") or 1))
    samples = shape[0] * shape[1] * int(header.SamplesPerPixel)
    if header.file_meta.TransferSyntaxUID == uid.RLELossless:
        # The worst case of its PackBits is 129 bytes for 128.
        fits = len(frame) <= 2 * samples * int(header.BitsAllocated) // 8 + 4096
    else:
        fits = _code_stream_size(frame) == (*shape, int(header.SamplesPerPixel))
    if not fits:
        raise InputError(
            f"{name} is a damaged DICOM file: its compressed pixels are not what its header says"
        )


def _code_stream_size(frame: bytes) -> tuple[int, int, int] | None:
    """(height, width, components) of a JPEG, JPEG-LS or JPEG 2000 code stream; None if it is none of these."""

    def number(at: int, size: int) -> int:
        return int.from_bytes(frame[at : at + size], "big")

    start = 0
    if frame[4:8] == b"jP  ":  # a whole JP2 file: boxes, of which jp2c holds the code stream
        while frame[start + 4 : start + 8] != b"jp2c":
            if number(start, 4) < 8:
                return None
            start += number(start, 4)
        start += 8
    if frame[start : start + 4] == b"\xff\x4f\xff\x51":  # JPEG 2000: SOC, SIZ
        right, bottom, left, top = (number(start + at, 4) for at in (8, 12, 16, 20))
        return bottom - top, right - left, number(start + 40, 2)
    at = 2
    while frame[:2] == b"\xff\xd8" and at + 10 <= len(frame) and frame[at] == 0xFF:
        if frame[at + 1] in _JPEG_SIZES:
            return number(at + 5, 2), number(at + 7, 2), frame[at + 9]
        at += 1 if frame[at + 1] == 0xFF else 2 + number(at + 2, 2)
    return None


def _rgb(stored: np.ndarray, header: Any) -> np.ndarray:
    """[H, W, 3] uint8 of RGB values, or of indices [H, W] into the header's palette."""
    if stored.ndim == 2:
        stored = apply_color_lut(stored, header)[..., :3]
        top = np.iinfo(stored.dtype).max
    else:
        top = max((1 << int(header.BitsStored)) - 1, int(stored.max()))
    return np.rint(stored * (255.0 / top)).astype(np.uint8)


def _doubts(header: Any) -> tuple[str, ...]:
    """What a header says that does not go with a frontal chest X-ray; nothing of it is quoted."""
    body = _word(header, "BodyPartExamined")
    codes = [str(item.get("CodeValue", "")) for item in header.get("ViewCodeSequence") or ()]
    # Towards which side of the patient rows of pixels run: A or P in a lateral view.
    side = str((header.get("PatientOrientation") or ("",))[0])[:1].upper()
    found = {
        NOT_AN_X_RAY: _word(header, "Modality") not in _MODALITIES,
        NOT_THE_CHEST: bool(body) and not any(part in body for part in _CHEST),
        LATERAL: _word(header, "ViewPosition") in _LATERAL_VIEWS
        or any(code in _LATERAL_CODES for code in codes)
        or side in ("A", "P"),
        FRAMES: int(header.get("NumberOfFrames") or 1) > 1,
        UNPROCESSED: _word(header, "PresentationIntentType") == "FOR PROCESSING",
    }
    return tuple(text for text, holds in found.items() if holds)


def _word(header: Any, element: str) -> str:
    return str(header.get(element) or "").strip().upper()
