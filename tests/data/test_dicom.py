from __future__ import annotations

import io
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut

from jaxcxr.data import decoding, dicom, dicom_decoder, dicom_worker
from jaxcxr.errors import InputError
from tests.data import dicoms

TWELVE = np.random.default_rng(0).integers(0, 4096, (48, 40)).astype(np.uint16)
EIGHT = (TWELVE // 16).astype(np.uint8)
SIGNED = TWELVE.astype(np.int16) - 2048


def decode(encoded: bytes) -> np.ndarray:
    """Its pixels, where there is nothing to doubt."""
    decoded = dicom.decode_dicom(encoded, "x")
    assert decoded.doubts == ()
    return decoded.pixels


def jpeg(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG")
    return file.getvalue() + bytes(file.tell() % 2)


def share(pixels: np.ndarray) -> np.ndarray:
    assert pixels.dtype == np.uint16
    return pixels / 65535


def test_without_tables_pixels_stay_what_they_are():
    for pixels, bits in ((EIGHT, 8), (TWELVE, 12)):
        decoded = decode(dicoms.dicom(pixels, BitsStored=bits))
        assert decoded.dtype == pixels.dtype
        np.testing.assert_array_equal(decoded, pixels)
    identity = decode(dicoms.dicom(TWELVE, BitsStored=12, RescaleSlope=1, RescaleIntercept=0))
    np.testing.assert_array_equal(identity, TWELVE)


def test_monochrome1_is_inverted_within_the_bits_stored():
    for pixels, bits in ((EIGHT, 8), (TWELVE, 12)):
        decoded = decode(
            dicoms.dicom(pixels, BitsStored=bits, PhotometricInterpretation="MONOCHROME1")
        )
        np.testing.assert_array_equal(decoded, 2**bits - 1 - pixels.astype(int))


def test_signed_values_begin_at_zero():
    np.testing.assert_array_equal(
        decode(dicoms.dicom(SIGNED, BitsStored=12)), SIGNED.astype(int) + 2048
    )


def test_eight_bits_in_sixteen_become_eight():
    decoded = decode(dicoms.dicom(EIGHT.astype(np.uint16), BitsStored=8))
    assert decoded.dtype == np.uint8
    np.testing.assert_array_equal(decoded, EIGHT)


def test_more_bits_used_than_stored_are_kept():
    pixels = TWELVE.copy()
    decoded = decode(dicoms.dicom(pixels, BitsStored=16, PhotometricInterpretation="MONOCHROME1"))
    np.testing.assert_array_equal(decoded, 65535 - pixels.astype(int))


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize("pixels", [TWELVE, SIGNED], ids=["unsigned", "signed"])
def test_windows_equal_pydicoms(pixels, function):
    encoded = dicoms.dicom(
        pixels, BitsStored=12, RescaleSlope=2, RescaleIntercept=-100,
        WindowCenter=[1500, 3], WindowWidth=[1200, 5], VOILUTFunction=function,
    )  # fmt: skip
    header = dicoms.read(encoded)
    theirs = apply_voi_lut(apply_modality_lut(header.pixel_array, header), header)
    low = -2048 if pixels is SIGNED else 0
    low, high = 2 * low - 100, 2 * (low + 4095) - 100
    np.testing.assert_allclose(share(decode(encoded)), (theirs - low) / (high - low), atol=1e-5)


def test_a_negative_slope_does_not_turn_the_window_around():
    """PS3.3 C.11.2.1.2: the least value of the window is shown darkest."""
    encoded = dicoms.dicom(
        TWELVE, BitsStored=12, RescaleSlope=-1, RescaleIntercept=4095,
        WindowCenter=2048, WindowWidth=2000, VOILUTFunction="LINEAR_EXACT",
    )  # fmt: skip
    expected = np.clip((4095.0 - TWELVE - 2048) / 2000 + 0.5, 0, 1)
    np.testing.assert_allclose(share(decode(encoded)), expected, atol=1e-5)


def test_a_rescale_alone_is_spread_over_the_range_of_the_pixels():
    decoded = decode(dicoms.dicom(TWELVE, BitsStored=12, RescaleSlope=-0.5, RescaleIntercept=10))
    expected = (TWELVE.max() - TWELVE.astype(float)) / (TWELVE.max() - TWELVE.min())
    np.testing.assert_allclose(share(decoded), expected, atol=1e-5)


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_voi_luts_equal_pydicoms_and_come_before_windows(bits):
    entries = [round((2**bits - 1) * (n / 255) ** 2) for n in range(256)]
    pixels = EIGHT.astype(np.uint16)
    encoded = dicoms.dicom(
        pixels,
        VOILUTSequence=dicoms.lut(entries, first=0, bits=bits),
        WindowCenter=5,
        WindowWidth=2,
    )
    header = dicoms.read(encoded)
    theirs = apply_voi_lut(header.pixel_array, header)
    np.testing.assert_allclose(share(decode(encoded)), theirs / (2**bits - 1), atol=1e-5)


def test_values_outside_a_lut_get_its_first_or_last_entry():
    """Also where the table has 8 bits and the values do not."""
    entries = list(range(10, 110))
    decoded = decode(dicoms.dicom(TWELVE, VOILUTSequence=dicoms.lut(entries, first=1000, bits=8)))
    expected = np.clip(TWELVE.astype(int) - 1000, 0, 99) + 10
    np.testing.assert_allclose(share(decoded), expected / 255, atol=1e-5)


def test_a_modality_lut_comes_before_the_window():
    entries = [4095 - n for n in range(4096)]
    encoded = dicoms.dicom(
        TWELVE, BitsStored=12, ModalityLUTSequence=dicoms.lut(entries, first=0, bits=16),
        WindowCenter=1000, WindowWidth=500, VOILUTFunction="LINEAR_EXACT",
    )  # fmt: skip
    expected = np.clip((4095.0 - TWELVE - 1000) / 500 + 0.5, 0, 1)
    np.testing.assert_allclose(share(decode(encoded)), expected, atol=1e-5)


@pytest.mark.parametrize("polarity", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_black_and_outside_the_range(polarity):
    pixels = TWELVE % 1000 + 1000
    pixels[:5], pixels[5:9] = 4095, 4090
    encoded = dicoms.dicom(
        pixels, BitsStored=12, PhotometricInterpretation=polarity, RescaleSlope=2,
        RescaleIntercept=0, PixelPaddingValue=4095, PixelPaddingRangeLimit=4090,
    )  # fmt: skip
    decoded = decode(encoded)
    assert (decoded[:9] == 0).all()
    inside = decoded[9:]
    assert (inside.min(), inside.max()) == (0, 65535)
    slope = np.corrcoef(inside.ravel(), pixels[9:].ravel())[0, 1]
    assert slope == pytest.approx(-1 if polarity == "MONOCHROME1" else 1)


def test_colour_becomes_luminance_and_is_mentioned_unless_it_is_grey():
    grey = np.repeat(EIGHT[..., None], 3, axis=-1)
    np.testing.assert_array_equal(decode(dicoms.dicom(grey)), EIGHT)
    red = grey.copy()
    red[..., 1:] = 0
    decoded = dicom.decode_dicom(dicoms.dicom(red), "x")
    assert decoded.doubts == (dicom.COLOUR,)
    np.testing.assert_allclose(decoded.pixels, 0.299 * EIGHT, atol=1)


@pytest.mark.parametrize(
    ("elements", "doubt"),
    [
        ({"Modality": "CT"}, dicom.NOT_AN_X_RAY),
        ({"Modality": None}, dicom.NOT_AN_X_RAY),
        ({"BodyPartExamined": "HAND"}, dicom.NOT_THE_CHEST),
        ({"ViewPosition": "LL"}, dicom.LATERAL),
        ({"ViewPosition": "LATERAL"}, dicom.LATERAL),
        ({"ViewPosition": None, "PatientOrientation": ["A", "F"]}, dicom.LATERAL),
        ({"PresentationIntentType": "FOR PROCESSING"}, dicom.UNPROCESSED),
        (
            {"PresentationLUTShape": "INVERSE"},
            "the header contradicts itself about whether low values are dark",
        ),
    ],
)
def test_what_does_not_go_with_a_frontal_chest_x_ray_is_doubted(elements, doubt):
    assert dicom.decode_dicom(dicoms.dicom(TWELVE, **elements), "x").doubts == (doubt,)


def test_a_coded_lateral_view_is_known_too():
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = (
        "399173006",
        "SCT",
        "left lateral",
    )
    encoded = dicoms.dicom(TWELVE, ViewPosition=None, ViewCodeSequence=[code])
    assert dicom.decode_dicom(encoded, "x").doubts == (dicom.LATERAL,)


@pytest.mark.parametrize(
    "elements",
    [
        {"BodyPartExamined": "THORAX"},
        {"BodyPartExamined": None},
        {"ViewPosition": "AP", "PatientOrientation": ["L", "F"]},
        {"ViewPosition": "LLD"},  # lying on the left side, seen from the front
        {"PresentationLUTShape": "IDENTITY"},
    ],
)
def test_what_goes_with_one_is_not(elements):
    assert dicom.decode_dicom(dicoms.dicom(TWELVE, **elements), "x").doubts == ()


@pytest.mark.parametrize(
    "syntax",
    [uid.RLELossless, uid.JPEG2000Lossless, uid.JPEGLosslessSV1],
    ids=["RLE", "JPEG 2000", "JPEG lossless"],
)
def test_compressed_files_hold_the_same_pixels(syntax):
    np.testing.assert_array_equal(decode(dicoms.written(TWELVE, syntax, BitsStored=12)), TWELVE)


def test_pydicoms_files_of_one_image_agree_whatever_their_encoding():
    plain = dicom.decode_dicom(dicoms.shipped("MR_small.dcm"), "x")
    assert plain.doubts == (dicom.NOT_AN_X_RAY,)
    for form in ("RLE", "bigendian", "implicit", "jp2klossless", "jpeg_ls_lossless", "padded"):
        other = dicom.decode_dicom(dicoms.shipped(f"MR_small_{form}.dcm"), form)
        np.testing.assert_array_equal(other.pixels, plain.pixels, err_msg=form)


def test_pydicoms_computed_radiograph_is_displayed_as_its_header_says():
    """MONOCHROME1, 12 bits, a window over a rescale; a neck from the left."""
    encoded = dicoms.shipped("dicomdirtests/77654033/CR1/6154")
    header = dicoms.read(encoded)
    theirs = apply_voi_lut(apply_modality_lut(header.pixel_array, header), header)
    low, slope = float(header.RescaleIntercept), float(header.RescaleSlope)
    decoded = dicom.decode_dicom(encoded, "x")
    np.testing.assert_allclose(
        share(decoded.pixels), 1 - (theirs - low) / (4095 * slope), atol=1e-5
    )
    assert decoded.doubts == (dicom.NOT_THE_CHEST, dicom.LATERAL)


def deflated_bomb(head: int, body: int) -> bytes:
    """A deflated header of 2000 x 2000 pixels with a private element of `head` zeros, and `body`
    zeros for pixels.
    """
    made = dicoms.data_set(np.zeros((2000, 2000), np.uint8))
    made.add_new(0x00990010, "LO", "jaxcxr")
    made.add_new(0x00991001, "OB", bytes(head))
    made.PixelData = bytes(body)
    made.file_meta.TransferSyntaxUID = uid.DeflatedExplicitVRLittleEndian
    return dicoms.save(made)


def test_deflated_files_are_inflated_as_far_as_their_first_frame():
    assert dicom.decode_dicom(dicoms.shipped("image_dfl.dcm"), "x").pixels.shape == (512, 512)
    assert dicom.decode_dicom(deflated_bomb(2 << 20, 4_000_000), "x").pixels.shape == (2000, 2000)
    bomb = deflated_bomb(0, 48 << 20)
    tracemalloc.start()
    assert dicom.decode_dicom(bomb, "x").pixels.shape == (2000, 2000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 32 << 20


def test_a_deflated_header_is_bounded():
    with pytest.raises(
        InputError, match="x has a header that inflates to more than the 16,777,216"
    ):
        dicom.decode_dicom(deflated_bomb(20 << 20, 4_000_000), "x")


def test_several_frames_give_the_first_and_a_doubt():
    frames = dicoms.shipped("SC_rgb_rle_2frame.dcm")
    first = dicoms.read(frames).pixel_array[0]
    decoded = dicom.decode_dicom(frames, "x")
    assert dicom.FRAMES in decoded.doubts
    np.testing.assert_allclose(decoded.pixels, first @ (0.299, 0.587, 0.114), atol=1)


@pytest.mark.parametrize(
    ("encoded", "says"),
    [
        (dicoms.dicom(TWELVE)[:-100], "x is cut off: it ends within its pixels"),
        (dicoms.dicom(TWELVE)[:600], "x is cut off: it ends before its pixels"),
        (dicoms.shipped("rtplan.dcm"), "x is a DICOM file without an image"),
        (dicoms.shipped("rtdose_1frame.dcm"), "x has neither grey nor RGB values of 8 or 16 bits"),
        (
            dicoms.shipped("JPGExtended.dcm"),
            "x holds a JPEG of 12 bits, which cannot be read: convert it",
        ),
        (
            dicoms.dicom(TWELVE).replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.9\0"),
            (
                r"x has the transfer syntax 1\.2\.840\.10008\.1\.2\.9, which is not read: save it "
                r"without"
            ),
        ),
        (
            dicoms.fragmented(dicoms.data_set(EIGHT), uid.ExplicitVRLittleEndian, jpeg(EIGHT)),
            "x: its transfer syntax and its pixels disagree",
        ),
        (
            dicoms.dicom(EIGHT, PixelData=jpeg(EIGHT)),
            "x: its transfer syntax and its pixels disagree",
        ),
        (
            dicoms.fragmented(dicoms.data_set(EIGHT), uid.JPEG2000, jpeg(EIGHT)),
            "x: its transfer syntax and its pixels disagree: it says JPEG 2000, they are JPEG",
        ),
        (
            dicoms.written(EIGHT, uid.JPEG2000Lossless)[:-400],
            "x is cut off: it ends within its pixels",
        ),
    ],
    ids=[
        "cut pixels",
        "cut header",
        "a plan",
        "32 bits",
        "12-bit JPEG",
        "unknown syntax",
        "JPEG called uncompressed",
        "JPEG without fragments",
        "JPEG called JPEG 2000",
        "cut JPEG 2000",
    ],
)
def test_what_cannot_be_read_says_why(encoded, says):
    with pytest.raises(InputError, match=says):
        dicom.decode_dicom(encoded, "x")


def test_sizes_are_bounded_before_decoding(monkeypatch):
    monkeypatch.setattr(decoding, "MAX_PIXELS", 1919)
    with pytest.raises(InputError, match="x is 40x48 pixels, more than the 1,919 allowed"):
        dicom.decode_dicom(dicoms.dicom(TWELVE), "x")


def test_a_code_stream_that_is_larger_than_its_header_is_refused():
    packed = dicoms.written(TWELVE, uid.JPEG2000Lossless)
    at = packed.index(b"\xff\x4f\xff\x51") + 8
    larger = packed[:at] + (60_000).to_bytes(4, "big") * 2 + packed[at + 8 :]
    with pytest.raises(InputError, match="its compressed pixels are not what its header says"):
        dicom.decode_dicom(larger, "x")


def test_a_missing_plug_in_is_named(monkeypatch):
    monkeypatch.setitem(dicom_decoder.PACKAGES, "gdcm", {"no_such_module": "python-gdcm"})
    with pytest.raises(InputError, match="x is compressed; to read it: pip install python-gdcm"):
        dicom.decode_dicom(dicoms.shipped("MR_small_jpeg_ls_lossless.dcm"), "x")


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        ("CPU_SECONDS = 0.01", "its compressed pixels stop the openjpeg decoder"),
        (
            "RUN_UP = BYTES_PER_SAMPLE = 0",
            "compressed in a way that openjpeg cannot decode|stop the openjpeg decoder",
        ),
    ],
)
def test_a_decoder_beyond_its_limits_ends_and_the_next_file_is_read(
    limits, says, tmp_path, monkeypatch
):
    pixels = np.tile(TWELVE, (8, 10))
    encoded = dicoms.written(pixels, uid.JPEG2000Lossless)
    strict = tmp_path / "worker.py"
    limits = f"CPU_SECONDS_PER_MEGASAMPLE = 0\n{limits}\n\n\ndef serve"
    strict.write_text(Path(dicom_worker.__file__).read_text().replace("def serve", limits))
    dicom_decoder.end_idle()
    with monkeypatch.context() as patch:
        patch.setattr(dicom_worker, "__file__", str(strict))
        with pytest.raises(InputError, match=says):
            dicom.decode_dicom(encoded, "x")
    dicom_decoder.end_idle()
    np.testing.assert_array_equal(decode(encoded), pixels)


def mutations(encoded: bytes, count: int, *, start: int = 132):
    """The same seeded changes of 1 to 5 bytes, and truncations."""
    rng = np.random.default_rng(0)
    for number in range(count):
        mutated = bytearray(
            encoded[: rng.integers(start + 1, len(encoded))] if number % 5 == 4 else encoded
        )
        for _ in range(rng.integers(1, 6)):
            mutated[rng.integers(start, len(mutated))] = rng.integers(256)
        yield bytes(mutated)


@pytest.mark.parametrize("syntax", [None, uid.RLELossless, uid.JPEG2000Lossless])
def test_every_mutation_gives_pixels_or_an_input_error_without_the_header(syntax):
    elements = {"BitsStored": 12, "WindowCenter": 2000, "WindowWidth": 900}
    encoded = (
        dicoms.written(TWELVE, syntax, **elements) if syntax else dicoms.dicom(TWELVE, **elements)
    )
    assert dicoms.PATIENT.encode() in encoded
    seen = set()
    for mutated in mutations(encoded, 60 if syntax else 300):
        try:
            decoded = dicom.decode_dicom(mutated, "x")
            assert decoded.pixels.ndim == 2
            seen.add("pixels")
            said = " ".join(decoded.doubts)
        except InputError as error:
            seen.add("error")
            said = str(error)
            assert said.startswith("x ")
        assert "Quincunx" not in said and "4711" not in said
    assert seen == {"pixels", "error"}


def test_dicom_is_told_by_its_content():
    encoded = dicoms.dicom(TWELVE)
    assert dicom.is_dicom(encoded[:132])
    bare = encoded[encoded.index(b"\x08\x00\x16\x00") :]
    assert dicom.is_dicom(bare[:132])
    swapped = dicoms.written(TWELVE, uid.ExplicitVRBigEndian)
    swapped = swapped[swapped.index(b"\x00\x08\x00\x16") :]
    assert dicom.is_dicom(swapped[:132])
    np.testing.assert_array_equal(decode(swapped), TWELVE)
    np.testing.assert_array_equal(decode(bare), TWELVE)
    assert dicom.is_dicom(dicoms.shipped("CT_small.dcm")[:132])  # begins with TIFF's signature
    for other in (
        b"",
        b"II*\0" + bytes(200),
        b"\x89PNG",
        b"hello, world" * 20,
        b"\0\x02\0\x01\0\x01",
        bytes(132),
    ):
        assert not dicom.is_dicom(other[:132])
