"""Which values a viewer shows of what a DICOM file stores, where headers are unusual or wrong."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from jaxcxr.data import dicom
from jaxcxr.errors import InputError
from tests.data import dicoms
from tests.data.test_dicom import EIGHT, SIGNED, TWELVE, decode

UNUSED_BITS = "pixels have bits outside Bits Stored, which were left out"


def read(encoded: bytes) -> tuple[np.ndarray, tuple[str, ...]]:
    decoded = dicom.decode_dicom(encoded, "x")
    return decoded.pixels, decoded.doubts


def assert_shows(encoded: bytes, expected: np.ndarray, *doubts: str) -> None:
    """The same picture up to brightness and contrast, with these doubts and no others."""
    pixels, found = read(encoded)
    assert np.corrcoef(pixels.ravel(), np.asarray(expected, float).ravel())[0, 1] > 0.9999
    assert found == doubts


def in_group(*, shared: dict | None = None, frame: dict | None = None) -> dict[str, Sequence]:
    """Functional groups of all frames and of the first; {macro: elements}."""

    def group(macros: dict) -> Sequence:
        made = Dataset()
        for macro, elements in macros.items():
            item = Dataset()
            for name, value in elements.items():
                setattr(item, name, value)
            setattr(made, macro, Sequence([item]))
        return Sequence([made])

    found = {"SharedFunctionalGroupsSequence": shared, "PerFrameFunctionalGroupsSequence": frame}
    return {name: group(macros) for name, macros in found.items() if macros is not None}


@pytest.mark.parametrize(
    "syntax", [uid.ExplicitVRLittleEndian, uid.JPEG2000Lossless, uid.RLELossless]
)
@pytest.mark.parametrize("high", [12, 15])
def test_pixels_in_upper_bits_are_moved_down(high, syntax):
    """Compressed with all 16 bits, as archives do."""
    shift = high - 11
    upper = dicoms.relabelled(dicoms.written(TWELVE << shift, syntax), stored=12, high=high)
    np.testing.assert_array_equal(decode(upper), TWELVE)
    noise = np.arange(TWELVE.size, dtype=np.uint16).reshape(TWELVE.shape) % (1 << shift)
    noisy = dicoms.written(TWELVE << shift | noise, syntax)
    pixels, doubts = read(dicoms.relabelled(noisy, stored=12, high=high))
    np.testing.assert_array_equal(pixels, TWELVE)
    assert doubts == (UNUSED_BITS,)


def test_a_code_stream_of_the_bits_stored_is_not_moved():
    packed = dicoms.written(TWELVE, uid.JPEG2000Lossless, BitsStored=12)
    np.testing.assert_array_equal(decode(dicoms.relabelled(packed, stored=12, high=15)), TWELVE)


def test_a_high_bit_that_the_pixels_deny_or_that_cannot_be_is_ignored():
    denied = dicoms.dicom(TWELVE, BitsStored=12, HighBit=15)
    assert_shows(
        denied, TWELVE, "High Bit does not go with the pixels, which use lower bits, and is ignored"
    )
    assert_shows(
        dicoms.dicom(TWELVE, BitsStored=12, HighBit=9),
        TWELVE,
        "High Bit is below Bits Stored and is ignored",
    )
    assert_shows(
        dicoms.dicom(TWELVE, BitsStored=12, HighBit=70),
        TWELVE,
        "High Bit is impossible and is ignored",
    )


@pytest.mark.parametrize(
    "syntax",
    [
        uid.ExplicitVRLittleEndian,
        uid.RLELossless,
        uid.JPEG2000Lossless,
        uid.JPEGLosslessSV1,
        uid.JPEGLSLossless,
    ],
)
@pytest.mark.parametrize("pixels", [TWELVE, SIGNED], ids=["unsigned", "signed"])
def test_overlays_in_unused_bits_are_left_out(pixels, syntax):
    overlay = (pixels & 0xFFF).astype(np.uint16)
    overlay[::3, ::2] |= 0x5000
    encoded = dicoms.written(overlay, syntax)
    signed = pixels is SIGNED
    found, doubts = read(dicoms.relabelled(encoded, stored=12, high=11, signed=signed))
    np.testing.assert_array_equal(found, pixels + (2048 if signed else 0))
    assert doubts == (UNUSED_BITS,)


@pytest.mark.parametrize("bits", [9, 11, 13, 15])
@pytest.mark.parametrize(
    "syntax", [uid.ExplicitVRLittleEndian, uid.JPEG2000Lossless, uid.JPEGLSLossless]
)
def test_signed_values_of_odd_bits_keep_their_sign(bits, syntax):
    half = 1 << bits - 1
    values = (TWELVE % (2 * half)).astype(np.int32) - half
    encoded = dicoms.written(values.astype(np.int16), syntax, BitsStored=bits)
    np.testing.assert_array_equal(decode(encoded), values + half)
    unextended = dicoms.dicom(
        (values & 2 * half - 1).astype(np.uint16), BitsStored=bits, PixelRepresentation=1
    )
    np.testing.assert_array_equal(decode(unextended), values + half)


@pytest.mark.parametrize(("pixels", "header"), [(SIGNED, 0), (SIGNED.view(np.uint16) & 0xFFF, 1)])
def test_values_are_signed_where_the_header_or_jpeg_2000_itself_says_so(pixels, header):
    """Writers contradict themselves in both ways; two's complement is what they mean."""
    encoded = dicoms.written(pixels, uid.JPEG2000Lossless, BitsStored=12)
    representation = b"\x28\x00\x03\x01US\x02\x00"
    at = encoded.index(representation) + len(representation)
    shown, doubts = read(encoded[:at] + bytes([header, 0]) + encoded[at + 2 :])
    np.testing.assert_array_equal(shown, SIGNED.astype(int) + 2048)
    contradicted = (
        (
            "Pixel Representation contradicts the JPEG 2000 code stream, which is signed, and is "
            "ignored"
        ),
    )
    assert doubts == (() if header else contradicted)


@pytest.mark.parametrize("vr", ["SS", "US", "OW"])
@pytest.mark.parametrize("sequence", ["VOILUTSequence", "ModalityLUTSequence"])
def test_entries_of_luts_are_unsigned_whatever_their_type_says(sequence, vr):
    entries = np.linspace(0, 65535, 4096).round().astype("<u2")
    data = {"OW": entries.tobytes(), "SS": entries.view("<i2").tolist(), "US": entries.tolist()}
    table = [dicoms.lut_item([4096, 0, 16], data[vr], vr)]
    assert_shows(dicoms.dicom(TWELVE, BitsStored=12, **{sequence: table}), TWELVE)


def test_luts_of_8_bits_are_read_packed_and_in_words():
    entries = np.arange(255, -1, -1, dtype=np.uint8)
    packed, words = entries.tobytes(), entries.astype("<u2").tobytes()
    for data, vr in ((packed, "OW"), (words, "OW"), (entries.tolist(), "US")):
        table = [dicoms.lut_item([256, 0, 8], data, vr)]
        assert_shows(dicoms.dicom(EIGHT, VOILUTSequence=table), 255 - EIGHT.astype(int))


def test_a_descriptor_begins_where_the_values_are_whatever_its_sign():
    """PS3.3 C.11.2.1.1: the second number is signed or not as the values are; writers differ."""
    entries = list(range(0, 65536, 16))
    for first in (65536 - 2048, -2048):
        table = [dicoms.lut_item([4096, first, 16], entries, "US")]
        assert_shows(dicoms.dicom(SIGNED, BitsStored=12, VOILUTSequence=table), SIGNED)
    table = [dicoms.lut_item([4096, 40_000 - 65536, 16], entries, "US")]
    high = TWELVE + 40_000
    assert_shows(dicoms.dicom(high, VOILUTSequence=table), high)


@pytest.mark.parametrize("sequence", ["VOILUTSequence", "ModalityLUTSequence"])
@pytest.mark.parametrize(
    "item",
    [
        Dataset(),
        dicoms.lut_item([4096, 0, 0], list(range(4096)), "US"),
        dicoms.lut_item([4096, 0, 40], list(range(4096)), "US"),
        dicoms.lut_item([9000, 0, 16], list(range(4096)), "US"),
        dicoms.lut_item([4096, 0, 16], b"", "OW"),
        dicoms.lut_item([4096, 0, 16], list(range(4095)), "US"),
        dicoms.lut_item([4096, 0, 12], list(range(2048)), "US"),
        dicoms.lut_item([4096, 0, 8], bytes(4100), "OW"),
    ],
    ids=[
        "empty",
        "0 bits",
        "40 bits",
        "too short",
        "no data",
        "one less",
        "half",
        "neither bytes nor words",
    ],
)
def test_an_impossible_lut_beside_a_good_window_is_ignored_by_name(item, sequence):
    window = {"WindowCenter": 2000, "WindowWidth": 1000, "VOILUTFunction": "LINEAR_EXACT"}
    encoded = dicoms.dicom(TWELVE, BitsStored=12, **window, **{sequence: [item]})
    name = "VOI LUT Sequence" if sequence == "VOILUTSequence" else "Modality LUT Sequence"
    assert_shows(encoded, np.clip(TWELVE, 1500, 2500), f"{name} is no valid table and is ignored")


RESCALE = {"RescaleSlope": -1, "RescaleIntercept": 4095}
WINDOW = {"WindowCenter": 1000, "WindowWidth": 1000, "VOILUTFunction": "LINEAR_EXACT"}
OTHER = {"WindowCenter": 3000, "WindowWidth": 1000, "VOILUTFunction": "LINEAR_EXACT"}


@pytest.mark.parametrize("where", ["shared", "frame"])
def test_rescale_and_window_stand_in_functional_groups_too(where):
    groups = in_group(
        **{where: {"PixelValueTransformationSequence": RESCALE, "FrameVOILUTSequence": WINDOW}}
    )
    assert_shows(
        dicoms.dicom(TWELVE, BitsStored=12, **groups), np.clip(4095 - TWELVE.astype(int), 500, 1500)
    )


def test_the_first_frames_window_comes_before_that_of_all_frames_and_that_before_the_data_sets():
    groups = in_group(shared={"FrameVOILUTSequence": OTHER}, frame={"FrameVOILUTSequence": WINDOW})
    assert_shows(dicoms.dicom(TWELVE, BitsStored=12, **groups, **OTHER), np.clip(TWELVE, 500, 1500))
    groups = in_group(shared={"FrameVOILUTSequence": WINDOW}, frame={})
    assert_shows(dicoms.dicom(TWELVE, BitsStored=12, **groups, **OTHER), np.clip(TWELVE, 500, 1500))


def test_of_several_frames_the_first_has_its_own_window():
    made = dicoms.data_set(
        TWELVE, BitsStored=12, NumberOfFrames=2, **in_group(frame={"FrameVOILUTSequence": WINDOW})
    )
    made.PixelData = TWELVE.tobytes() + TWELVE[::-1].tobytes()
    second = in_group(frame={"FrameVOILUTSequence": OTHER})["PerFrameFunctionalGroupsSequence"][0]
    made.PerFrameFunctionalGroupsSequence.append(second)
    assert_shows(dicoms.save(made), np.clip(TWELVE, 500, 1500), dicom.FRAMES)


@pytest.mark.parametrize(
    "tables", [{}, {"RescaleSlope": 3, "RescaleIntercept": -90}], ids=["plain", "rescaled"]
)
@pytest.mark.parametrize("polarity", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_takes_no_grey_level_of_the_image(polarity, tables):
    """A plate of values from 31,744 with padding of 0: what is shown begins at its own darkest
    value.
    """
    pixels = TWELVE + 31_744
    pixels[:6] = 0
    encoded = dicoms.dicom(
        pixels, PhotometricInterpretation=polarity, PixelPaddingValue=0, **tables
    )
    shown = decode(encoded)
    assert (shown[:6] == shown[6:].min()).all()
    assert np.unique(shown).size == np.unique(pixels[6:]).size
    expected = np.corrcoef(shown[6:].ravel(), pixels[6:].ravel())[0, 1]
    assert expected == pytest.approx(-1 if polarity == "MONOCHROME1" else 1)


@pytest.mark.parametrize(
    ("value", "limit"), [(-2000, None), (63536, None), (-2048, -1900), (63488, 63636)]
)
def test_signed_padding_is_found_however_it_is_written(value, limit):
    pixels = (SIGNED.clip(-1000, 1500)).astype(np.int16)
    pixels[:6] = -2000
    elements = {"PixelPaddingValue": value, "PixelPaddingRangeLimit": limit}
    made = dicoms.data_set(pixels, BitsStored=12, PixelRepresentation=1)
    for name, number in elements.items():
        if number is not None:
            setattr(made, name, number)
            made[name].VR = "SS" if number < 0 else "US"
    shown = decode(dicoms.save(made))
    assert shown.min() == 1048
    assert (shown[:6] == 1048).all()


def test_padding_that_would_be_the_whole_image_is_ignored():
    flat = np.full_like(TWELVE, 7)
    pixels, doubts = read(dicoms.dicom(flat, BitsStored=12, PixelPaddingValue=7))
    assert (pixels == 7).all()
    assert doubts == ("Pixel Padding Value covers the whole image and is ignored",)


def test_a_window_that_shows_nothing_is_ignored():
    encoded = dicoms.dicom(TWELVE, BitsStored=12, WindowCenter=60_000, WindowWidth=10)
    assert_shows(encoded, TWELVE, "Window Center leaves no contrast and is ignored")


def test_palettes_are_applied_also_of_16_bits_and_in_segments():
    ramp = np.arange(0, 65536, 257, dtype="<u2")
    # A discrete segment of one entry, then a line of 255 entries to the last one.
    segments = np.array([0, 1, 0, 1, 255, 65535], "<u2")
    for prefix, data in (("", ramp), ("Segmented", segments)):
        made = dicoms.data_set(EIGHT, PhotometricInterpretation="PALETTE COLOR")
        for colour in ("Red", "Green", "Blue"):
            name = f"{colour}PaletteColorLookupTable"
            setattr(made, f"{name}Descriptor", [256, 0, 16])
            made[f"{name}Descriptor"].VR = "US"
            setattr(made, f"{prefix}{name}Data", data.tobytes())
        assert_shows(dicoms.save(made), EIGHT)
    del made.SegmentedRedPaletteColorLookupTableData
    with pytest.raises(InputError, match="its Palette Color Lookup Tables are not valid"):
        read(dicoms.save(made))
