"""One bad element of a DICOM header: ignored by its name, or the reason why the file is refused."""

from __future__ import annotations

import time

import numpy as np
import pytest
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from jaxcxr.data import dicom
from jaxcxr.errors import InputError
from tests.data import dicoms
from tests.data.test_dicom import EIGHT, TWELVE, decode, jpeg
from tests.data.test_dicom_values import assert_shows

WINDOW = {"WindowCenter": "2000", "WindowWidth": "1000.5"}
CENTRE, WIDTH, FRAMES = b"\x28\x00\x50\x10", b"\x28\x00\x51\x10", b"\x28\x00\x08\x00"
INTERCEPT, SLOPE = b"\x28\x00\x52\x10", b"\x28\x00\x53\x10"
TAKEN = "and was taken to be MONOCHROME2"
KEYWORDS = {
    CENTRE: "WindowCenter",
    WIDTH: "WindowWidth",
    FRAMES: "NumberOfFrames",
    INTERCEPT: "RescaleIntercept",
    SLOPE: "RescaleSlope",
}


def with_text(element: bytes, text: bytes, **elements) -> bytes:
    """A file that holds another text for an element, of at most 16 letters."""
    number = {KEYWORDS[element]: 1 if element == FRAMES else 1000}
    encoded = dicoms.dicom(TWELVE, BitsStored=12, **elements, **number)
    at = encoded.index(element) + 6
    old = int.from_bytes(encoded[at : at + 2], "little")
    text = text.ljust(16)
    return encoded[:at] + len(text).to_bytes(2, "little") + text + encoded[at + 2 + old :]


@pytest.mark.parametrize(
    ("element", "text", "doubt"),
    [
        (CENTRE, b"2048,5", "Window Center is not a number and is ignored"),
        (CENTRE, b"NORMAL", "Window Center is not a number and is ignored"),
        (CENTRE, b"nan", "Window Center is not a number and is ignored"),
        (CENTRE, b"\\2000", "Window Center is not a number and is ignored"),
        (CENTRE, b"\xe9\xe9", "Window Center is not a number and is ignored"),
        (WIDTH, b"1e999", "Window Width is not a number and is ignored"),
        (WIDTH, b"0", "Window Width is too small and is ignored"),
        (WIDTH, b"-300", "Window Width is too small and is ignored"),
        (SLOPE, b"0", "Rescale Slope is 0 and is ignored"),
        (SLOPE, b"1,0", "Rescale Slope is not a number and is ignored"),
        (SLOPE, b"inf", "Rescale Slope is not a number and is ignored"),
        (SLOPE, b"1e308", "Rescale Slope leaves no contrast and is ignored"),
        (INTERCEPT, b"-1024 HU", "Rescale Intercept is not a number and is ignored"),
        (FRAMES, b"one", "Number of Frames is not a number and is ignored"),
        (FRAMES, b"1.5", "Number of Frames is not a whole number and is ignored"),
    ],
)
def test_text_that_is_no_number_is_ignored_by_name(element, text, doubt):
    others = {CENTRE: {"WindowWidth": "500"}, WIDTH: {"WindowCenter": "500"}}
    assert_shows(with_text(element, text, **others.get(element, {})), TWELVE, doubt)


def test_a_window_of_several_numbers_is_its_first():
    encoded = with_text(
        CENTRE, b" 2000 \\abc", WindowWidth=["1001", "5"], VOILUTFunction="LINEAR_EXACT"
    )
    assert_shows(encoded, np.clip(TWELVE, 1500, 2500))


def test_half_a_window_and_an_unknown_function_are_named():
    centre = dicoms.dicom(TWELVE, BitsStored=12, WindowCenter="2000")
    assert_shows(centre, TWELVE, "Window Center stands without Window Width and is ignored")
    odd = dicoms.dicom(TWELVE, BitsStored=12, **WINDOW, VOILUTFunction="LOGARITHM")
    assert_shows(
        odd, np.clip(TWELVE, 1500, 2500), "VOI LUT Function is none that is known and is ignored"
    )


@pytest.mark.parametrize(
    ("elements", "doubt"),
    [
        ({"SamplesPerPixel": None}, "Samples per Pixel is missing and was taken to be 1"),
        ({"PixelRepresentation": None}, "Pixel Representation is missing and was taken to be 0"),
        ({"PixelRepresentation": 7}, "Pixel Representation is impossible and is ignored"),
        ({"BitsStored": None, "HighBit": 11}, "Bits Stored is missing"),
        ({"BitsStored": 0, "HighBit": 11}, "Bits Stored is impossible and is ignored"),
        ({"BitsStored": 40, "HighBit": 11}, "Bits Stored is impossible and is ignored"),
        ({"HighBit": None}, "High Bit is missing"),
        ({"PhotometricInterpretation": None}, f"Photometric Interpretation is missing {TAKEN}"),
        (
            {"PhotometricInterpretation": "GREY"},
            f"Photometric Interpretation is none that is known {TAKEN}",
        ),
        ({"NumberOfFrames": 0}, "Number of Frames is below 1 and is ignored"),
    ],
)
def test_a_missing_or_impossible_layout_has_the_standards_default(elements, doubt):
    encoded = dicoms.dicom(TWELVE, **{"BitsStored": 12, **elements})
    assert_shows(encoded, TWELVE, doubt)


def test_a_photometric_interpretation_in_small_letters_is_known():
    encoded = dicoms.dicom(TWELVE, BitsStored=12, PhotometricInterpretation="MONOCHROME1")
    encoded = encoded.replace(b"MONOCHROME1", b"monochrome1")
    assert_shows(encoded, -TWELVE.astype(int))


@pytest.mark.parametrize(
    ("elements", "says"),
    [
        ({"Rows": None}, "its Rows is missing"),
        ({"Columns": 0}, "x has no pixels"),
        ({"BitsAllocated": None}, "its Bits Allocated is missing"),
        (
            {"PhotometricInterpretation": "RGB"},
            "Photometric Interpretation and its Samples per Pixel contradict",
        ),
        ({"Rows": 4000}, "its pixels are fewer than Rows and Columns say"),
    ],
)
def test_what_cannot_be_guessed_is_refused_by_name(elements, says):
    with pytest.raises(InputError, match=says):
        dicom.decode_dicom(dicoms.dicom(TWELVE, **elements), "x")


@pytest.mark.parametrize(
    "word",
    [
        "TORAX",
        "TORACE",
        "TÓRAX",
        "Thorax",
        "POUMONS",
        "BRUSTKORB",
        "PULMONES",
        "胸部",
        "Грудная клетка",
        "TÓRAX PA",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "native"])
def test_the_chest_is_known_in_many_languages(word, encoding):
    native = {"胸部": "gb18030", "Грудная клетка": "iso8859_5"}.get(word, "latin-1")
    raw = word.encode(native if encoding == "native" else "utf-8")
    encoded = dicoms.dicom(TWELVE, BitsStored=12, BodyPartExamined="X" * 16)
    raw = raw.ljust(28)
    encoded = encoded.replace(b"CS\x10\0" + b"X" * 16, b"CS" + bytes([len(raw), 0]) + raw)
    assert dicom.decode_dicom(encoded, "x").doubts == ()


@pytest.mark.parametrize("word", ["COLUNA TORACICA", "THORACIC SPINE", "KNEE", "BREAST"])
def test_what_is_near_the_chest_is_not_the_chest(word):
    encoded = dicoms.dicom(TWELVE, BodyPartExamined=word)
    assert dicom.decode_dicom(encoded, "x").doubts == (dicom.NOT_THE_CHEST,)


def test_rle_without_an_end_is_read_where_the_frame_is_whole():
    packed = dicoms.written(TWELVE, uid.RLELossless, BitsStored=12)
    end = packed.rindex(b"\xfe\xff\xdd\xe0")
    assert_shows(packed[:end], TWELVE)
    with pytest.raises(InputError, match="x is cut off: it ends within its pixels"):
        dicom.decode_dicom(packed[: end - 6], "x")


def test_a_stream_without_an_end_is_read_where_its_own_end_is_there():
    packed = dicoms.written(TWELVE, uid.JPEG2000Lossless, BitsStored=12)
    end = packed.rindex(b"\xfe\xff\xdd\xe0")
    assert_shows(packed[:end], TWELVE)


@pytest.mark.parametrize("table", [True, False], ids=["offsets", "no offsets"])
def test_the_first_of_several_compressed_frames_is_taken(table):
    made = dicoms.data_set(EIGHT, NumberOfFrames=2)
    first, second = jpeg(EIGHT), jpeg(EIGHT[::-1].copy())
    encoded = dicoms.fragmented(made, uid.JPEGBaseline8Bit, first, second)
    if not table:  # an empty one
        at = encoded.index(b"\xfe\xff\x00\xe0\x08\x00\x00\x00")
        encoded = encoded[: at + 4] + bytes(4) + encoded[at + 16 :]
    pixels = dicom.decode_dicom(encoded, "x").pixels
    assert np.corrcoef(pixels.ravel(), EIGHT.ravel())[0, 1] > 0.9


def test_a_header_of_too_many_elements_is_refused_soon():
    made = dicoms.data_set(TWELVE)
    made.ViewCodeSequence = Sequence([Dataset()])
    made["ViewCodeSequence"].is_undefined_length = True
    encoded = dicoms.save(made)
    item = b"\xfe\xff\x00\xe0" + bytes(4)
    at = encoded.index(item)
    started = time.process_time()
    with pytest.raises(InputError, match="x has a header of more elements than any X-ray's"):
        dicom.decode_dicom(encoded[:at] + item * 1_000_000 + encoded[at:], "x")
    assert time.process_time() - started < 2


@pytest.mark.parametrize("syntax", [uid.JPEGBaseline8Bit, uid.RLELossless, uid.JPEG2000Lossless])
def test_a_large_image_in_a_few_bytes_is_refused(syntax):
    black = dicoms.written(np.zeros((2100, 2100), np.uint8), syntax)
    with pytest.raises(InputError, match="bytes for 2100x2100 pixels: no X-ray packs so small"):
        dicom.decode_dicom(black, "x")


@pytest.mark.parametrize(
    "elements",
    [
        {"ImageComments": str(uid.DeflatedExplicitVRLittleEndian)},
        {"AvailableTransferSyntaxUID": uid.DeflatedExplicitVRLittleEndian},
    ],
)
def test_only_the_file_meta_information_says_that_a_file_is_deflated(elements):
    np.testing.assert_array_equal(decode(dicoms.dicom(TWELVE, BitsStored=12, **elements)), TWELVE)
