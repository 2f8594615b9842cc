"""DICOM headers, read element by element.

An invalid element is ignored and its name reported; all valid ones are read.

pydicom finds the elements. Their values are decoded here, since pydicom's own conversion raises
seven types of exception for one odd character, even for elements that are not needed. Names of
elements are public, their values may be a patient's: no note and no error quotes a value.
"""

from __future__ import annotations

import io
import math
import zlib
from typing import Any

import numpy as np
from pydicom import datadict, filereader, uid
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from jaxcxr.errors import InputError

MAX_BYTES = 256 << 20  # of a file: 64 million pixels of 16 bits, twice
# Of a header, one to three for each of its elements; those of X-rays have hundreds.
MAX_READS = 30_000
MAX_DEFLATED_HEADER = 16 << 20
ELEMENTS = (
    "Modality", "BodyPartExamined", "ViewPosition", "ViewCodeSequence", "PatientOrientation",
    "PresentationIntentType", "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel",
    "PhotometricInterpretation", "PlanarConfiguration", "BitsAllocated", "BitsStored", "HighBit",
    "PixelRepresentation", "PixelPaddingValue", "PixelPaddingRangeLimit", "RescaleSlope",
    "RescaleIntercept", "ModalityLUTSequence", "VOILUTSequence", "WindowCenter", "WindowWidth",
    "VOILUTFunction", "PresentationLUTShape", "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence", "RedPaletteColorLookupTableDescriptor",
    "GreenPaletteColorLookupTableDescriptor", "BluePaletteColorLookupTableDescriptor",
    "RedPaletteColorLookupTableData", "GreenPaletteColorLookupTableData",
    "BluePaletteColorLookupTableData", "SegmentedRedPaletteColorLookupTableData",
    "SegmentedGreenPaletteColorLookupTableData", "SegmentedBluePaletteColorLookupTableData",
)  # fmt: skip
_MAGIC = b"DICM"
_DEFLATED = str(uid.DeflatedExplicitVRLittleEndian).encode()
_PIXEL_DATA = 0x7FE00010
_FLOAT_PIXELS = (0x7FE00008, 0x7FE00009)
_UNDEFINED = 0xFFFFFFFF
_BINARY = {"US": "u2", "SS": "i2", "UL": "u4", "SL": "i4", "FL": "f4", "FD": "f8"}


def is_dicom(head: bytes) -> bool:
    """Returns whether a file is DICOM, with or without preamble, by its first 132 bytes or more."""
    if head[128:132] == _MAGIC:
        return True
    if head[:2] in (b"\x02\x00", b"\x08\x00"):  # group 2 or 8 comes first
        return head[3:4] == b"\0"
    # Big endian is always explicit: the first element names its type.
    vr = head[4:6]
    return head[:3] in (b"\0\x02\0", b"\0\x08\0") and vr.isalpha() and vr.isupper()


class Header:
    """The elements of a data set or of an item in one of its sequences.

    Attributes:
        notes: sentences about what is ignored; one list for the data set and all its items.
    """

    def __init__(self, elements: Dataset, notes: list[str] | None = None):
        self._elements = elements
        self.notes: list[str] = [] if notes is None else notes

    def __contains__(self, keyword: str) -> bool:
        return bool(self.raw(keyword)) or self._element(keyword) is not None

    def note(self, text: str) -> None:
        """Adds a sentence to the notes, once."""
        if text not in self.notes:
            self.notes.append(text)

    def ignore(self, keyword: str, why: str) -> None:
        """Notes that an element is ignored; `why` completes '<the element> ...'."""
        self.note(f"{described(keyword)} {why} and is ignored")

    def raw(self, keyword: str) -> bytes:
        """The bytes of an element that is no sequence; none where it is empty or missing."""
        value = getattr(self._element(keyword), "value", None)
        return value if isinstance(value, bytes) else b""

    def little_endian(self, keyword: str) -> bool:
        """Whether the bytes of an element are little-endian; True where it is missing."""
        return getattr(self._element(keyword), "is_little_endian", True)

    def vr(self, keyword: str) -> str:
        """The type that the file gives an element, or the one that it should have."""
        own = getattr(self._element(keyword), "VR", None)
        if own in (None, "UN", "OB", "OW") or not str(own).isupper():
            return datadict.dictionary_VR(keyword).split()[0]
        return str(own)

    def numbers(self, keyword: str) -> list[float]:
        """The numbers of an element.

        None where it is missing, or where the first is none and it was ignored.
        """
        raw = self.raw(keyword)
        form = _BINARY.get(self.vr(keyword))
        if form:
            order = "<" if self.little_endian(keyword) else ">"
            size = int(form[1])
            numbers = [
                float(value)
                for value in np.frombuffer(raw[: size * (len(raw[:64]) // size)], order + form)
            ]
        else:
            texts = raw[:1024].decode("latin-1").strip(" \0").split("\\")
            numbers = [_number(text) for text in texts] if texts != [""] else []
        if not raw or (numbers and math.isfinite(numbers[0])):
            return numbers
        self.ignore(keyword, "is not a number")
        return []

    def number(self, keyword: str) -> float | None:
        """The first number of an element: of several windows the first is the default one."""
        return next(iter(self.numbers(keyword)), None)

    def integer(self, keyword: str) -> int | None:
        """The whole number of an element; None where it is missing or none, which is noted."""
        value = self.number(keyword)
        if value is None or value == int(value):
            return None if value is None else int(value)
        self.ignore(keyword, "is not a whole number")
        return None

    def word(self, keyword: str) -> str:
        """The text of an element in capitals, without surrounding blanks.

        Empty where it is missing.
        """
        raw = self.raw(keyword)[:1024]
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            text = raw.decode("latin-1")
        return text.strip(" \0").upper()

    def item(self, keyword: str) -> Header | None:
        """The first item of a sequence, the only one that is decoded; None where there is none."""
        element = self._element(keyword)
        if element is None:
            return None
        if isinstance(element, DataElement):  # of undefined length, which pydicom reads at once
            items = element.value if element.VR == "SQ" else None
            return Header(items[0], self.notes) if items else None
        if not element.value:
            return None
        unknown = element.VR == "UN"  # then it is implicit, whatever the rest is
        try:
            elements = filereader.read_sequence_item(
                _Reads(element.value),
                unknown or element.is_implicit_VR,
                unknown or element.is_little_endian,
                "latin-1",
            )
        except Exception:  # some five types
            self.ignore(keyword, "is damaged")
            return None
        return None if elements is None else Header(elements, self.notes)

    def _element(self, keyword: str) -> Any:
        tag = datadict.tag_for_keyword(keyword)
        assert tag is not None, keyword
        return self._elements.get_item(tag) if tag in self._elements else None


class ImageHeader(Header):
    """The header of a file that holds an image.

    Attributes:
        syntax: its transfer syntax, as it is or, without file meta information, as the header is
            written.
        pixel_vr: OB or OW, the type of its pixel data.
        length: of its pixel data in bytes, as it says; None for a sequence of fragments.
        packed: the bytes that its pixel data take up in the file.
    """

    def __init__(
        self, elements: Any, syntax: uid.UID, pixels: _Pixels, pixel_vr: str, length: int | None
    ):
        super().__init__(elements)
        self.syntax = syntax
        self.pixel_vr = pixel_vr
        self.length = length
        self.packed = pixels.packed
        self._pixels = pixels

    def pixel_bytes(self, count: int | None = None) -> memoryview:
        """The first bytes of the pixel data, or all that there are."""
        if self.length is not None:
            count = self.length if count is None else min(count, self.length)
        return self._pixels.first(count)


class _Reads(io.BytesIO):
    """A file of which a bounded number of pieces is read.

    The elements of a header may be millions.
    """

    def __init__(self, content: bytes):
        super().__init__(content)
        self.left = MAX_READS

    def read(self, size: int | None = -1, /) -> bytes:
        self.left -= 1
        if self.left < 0:
            raise InputError("too many elements")
        return super().read(size)


class _Pixels:
    """Pixel data that lie in a file, or come out of a deflated one as far as they are asked for."""

    def __init__(self, start: memoryview, inflate: Any = None, packed: int = 0):
        self._start = start
        self._inflate = inflate
        self.packed = packed or len(start)

    def first(self, count: int | None) -> memoryview:
        if self._inflate is None or count is None or count <= len(self._start):
            return self._start[:count]
        rest = self._inflate.decompress(self._inflate.unconsumed_tail, count - len(self._start))
        return memoryview(bytes(self._start) + rest)


def _number(text: str) -> float:
    try:
        return float(text.strip(" \0"))
    except ValueError:
        return math.nan


def described(keyword: str) -> str:
    """An element's name in the standard: 'Window Center'."""
    return datadict.dictionary_description(keyword)


def read_header(encoded: bytes, name: str) -> ImageHeader:
    """Reads a file's header up to its pixel data.

    Args:
        encoded: the file's bytes.
        name: what errors call the file.

    Raises:
        InputError: damaged, without pixel data, or with more elements than MAX_READS allows.
    """
    start = _deflated_from(encoded) if _DEFLATED in encoded else None
    if start is None:
        return _parse(encoded, name)
    # File meta information of one element: (0002,0010) UI, the transfer syntax of what is there
    # now.
    syntax = str(uid.ExplicitVRLittleEndian).encode() + b"\0"
    meta = bytes(128) + _MAGIC + b"\x02\x00\x10\x00UI" + len(syntax).to_bytes(2, "little") + syntax
    for size in (1 << 20, MAX_DEFLATED_HEADER):
        inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        plain = inflate.decompress(memoryview(encoded)[start:], size)
        try:
            return _parse(meta + plain, name, inflate, len(encoded) - start)
        except InputError:
            if not inflate.unconsumed_tail:
                raise
    raise InputError(
        f"{name} has a header that inflates to more than the {MAX_DEFLATED_HEADER:,} bytes allowed"
    )


def _deflated_from(encoded: bytes) -> int | None:
    """The offset of the deflated data set, after the file meta information.

    None if the transfer syntax is another one.
    """
    file = _Reads(encoded)
    filereader.read_preamble(file, True)
    meta = filereader.read_dataset(file, False, True, stop_when=lambda tag, *_: tag >> 16 != 2)
    is_deflated = meta.get("TransferSyntaxUID") == uid.DeflatedExplicitVRLittleEndian
    return file.tell() if is_deflated else None


def _parse(content: bytes, name: str, inflate: Any = None, packed: int = 0) -> ImageHeader:
    file = _Reads(content)
    reached: list[tuple[int, str | None, int, int]] = []

    def at_pixels(tag: int, vr: str | None, length: int) -> bool:
        if tag in (_PIXEL_DATA, *_FLOAT_PIXELS):
            reached.append((tag, vr, length, file.tell()))
        return bool(reached)

    tags: list[Any] = [datadict.tag_for_keyword(keyword) for keyword in ELEMENTS]
    try:
        elements = filereader.read_partial(
            file, stop_when=at_pixels, force=True, specific_tags=tags
        )
    except Exception:
        if file.left < 0:
            raise InputError(f"{name} has a header of more elements than any X-ray's") from None
        raise
    if not reached:
        cut = file.tell() > len(content) or any(map(_is_cut, elements.elements()))
        if cut or "Rows" in elements:
            raise InputError(f"{name} is cut off: it ends before its pixels")
        raise InputError(f"{name} is a DICOM file without an image, or cut off before it")
    tag, vr, length, start = reached[-1]
    if tag != _PIXEL_DATA:
        raise InputError(f"{name} has floating-point pixels: it is no displayable X-ray")
    pixels = _Pixels(memoryview(content)[start:], inflate, packed)
    return ImageHeader(
        elements, _syntax(elements), pixels, vr or "OW", None if length == _UNDEFINED else length
    )


def _is_cut(element: Any) -> bool:
    if isinstance(element, DataElement) or not isinstance(element.value, bytes):
        return False
    return len(element.value) < element.length < _UNDEFINED


def _syntax(elements: Any) -> uid.UID:
    if stated := str(elements.file_meta.get("TransferSyntaxUID") or "").strip(" \0"):
        return uid.UID(stated)
    first = next((e for e in elements.elements() if not isinstance(e, DataElement)), None)
    if first is None or first.is_implicit_VR:
        return uid.ImplicitVRLittleEndian
    return uid.ExplicitVRLittleEndian if first.is_little_endian else uid.ExplicitVRBigEndian
