import io
import zlib

import numpy as np
import pytest
from PIL import Image

from jaxcxr.data import decoding
from jaxcxr.errors import InputError
from tests.data.encoded import png_of, tiff_of, tiled, with_chunk
from tests.data.fakes import encode

RAMP = np.arange(0, 240, 5, dtype=np.uint8).reshape(6, 8)


def save(image: Image.Image, file_format: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def test_eight_bit_grey_is_kept_as_it_is():
    np.testing.assert_array_equal(decoding.decode_grey(encode(RAMP), "x"), RAMP)


@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
def test_sixteen_bit_grey_keeps_its_depth(file_format):
    pixels = RAMP.astype(np.uint16) * 257 + 1
    decoded = decoding.decode_grey(encode(pixels, file_format), "x")
    assert decoded.dtype == np.uint16
    np.testing.assert_array_equal(decoded, pixels)


def test_big_endian_tiff_is_read_in_native_order():
    buffer = io.BytesIO()
    Image.frombytes("I;16B", (8, 6), (RAMP.astype(np.uint16) * 16).astype(">u2").tobytes()).save(
        buffer, "TIFF"
    )
    decoded = decoding.decode_grey(buffer.getvalue(), "x")
    np.testing.assert_array_equal(decoded, RAMP.astype(np.uint16) * 16)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_tiffs_that_store_white_as_zero_become_positives(dtype):
    """PhotometricInterpretation 0; Pillow inverts 8 bits when it writes such a file, and 16 bits
    never.
    """
    pixels = RAMP.astype(dtype) * (257 if dtype == np.uint16 else 1)
    encoded = encode(pixels, "TIFF", tiffinfo={262: 0})
    decoded = decoding.decode_grey(encoded, "x")
    np.testing.assert_array_equal(decoded, pixels if dtype == np.uint8 else 65535 - pixels)


def test_colour_becomes_luminance():
    rgb = np.zeros((1, 3, 3), np.uint8)
    rgb[0, 0, 0] = rgb[0, 1, 1] = rgb[0, 2, 2] = 255
    # ITU-R 601-2: .299, .587, .114
    np.testing.assert_array_equal(decoding.decode_grey(encode(rgb), "x"), [[76, 150, 29]])


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P", "CMYK"])
def test_grey_stored_in_another_mode_stays_grey(mode):
    image = Image.fromarray(RAMP).convert("RGB" if mode == "CMYK" else "L").convert(mode)
    encoded = save(image, "TIFF" if mode == "CMYK" else "PNG")
    np.testing.assert_allclose(decoding.decode_grey(encoded, "x").astype(int), RAMP, atol=1)


def test_one_bit_images_become_0_and_255():
    encoded = save(Image.fromarray(RAMP > 100), "PNG")
    np.testing.assert_array_equal(decoding.decode_grey(encoded, "x"), (RAMP > 100) * 255)


def test_transparent_pixels_become_black():
    rgba = np.full((1, 2, 4), 200, np.uint8)
    rgba[0, :, 3] = 255, 0
    np.testing.assert_array_equal(decoding.decode_grey(encode(rgba), "x"), [[200, 0]])
    palette = save(Image.fromarray(RAMP).convert("P"), "PNG", transparency=RAMP[0, 1].item())
    assert decoding.decode_grey(palette, "x")[0, 1] == 0


def test_exif_orientation_is_ignored_because_masks_refer_to_stored_pixels():
    exif = Image.Exif()
    exif[0x0112] = 6
    assert decoding.decode_grey(encode(RAMP, "JPEG", exif=exif), "x").shape == RAMP.shape


def test_shape_is_read_without_decoding_pixels():
    encoded = encode(np.zeros((300, 200), np.uint8))
    assert decoding.image_shape(encoded[:60], "x") == (300, 200)


@pytest.mark.parametrize("content", [b"", b"not an image", encode(RAMP)[:-30]])
def test_unreadable_bytes_are_named(content):
    with pytest.raises(InputError, match="image x7 is unreadable"):
        decoding.decode_grey(content, "image x7")


def test_every_truncation_and_mutation_gives_an_input_error_or_pixels():
    encoded = encode(np.random.default_rng(0).integers(0, 256, (16, 16), np.uint8), "JPEG")
    rng = np.random.default_rng(1)
    for _ in range(200):
        mutated = bytearray(encoded[: rng.integers(1, len(encoded) + 1)])
        mutated[rng.integers(len(mutated))] = rng.integers(256)
        try:
            assert decoding.decode_grey(bytes(mutated), "x").ndim == 2
        except InputError as error:
            assert str(error).startswith("x ")


def test_a_size_beyond_the_cap_is_refused_before_decoding(monkeypatch):
    monkeypatch.setattr(decoding, "MAX_PIXELS", 47)
    with pytest.raises(InputError, match="x is 8x6 pixels, more than the 47 allowed"):
        decoding.decode_grey(encode(RAMP), "x")


def test_a_decompression_bomb_of_pillow_is_an_input_error_too():
    bomb = save(Image.new("1", (20_000, 20_000)), "PNG")
    assert len(bomb) < 100_000
    with pytest.raises(InputError, match="x is"):
        decoding.decode_grey(bomb, "x")


def test_floating_point_images_are_refused():
    with pytest.raises(InputError, match="floating-point"):
        decoding.decode_grey(encode(RAMP.astype(np.float32), "TIFF"), "x")


def test_a_picture_tells_what_is_odd_about_its_file():
    plain = decoding.decode_picture(encode(RAMP), "x")
    np.testing.assert_array_equal(plain.pixels, RAMP)
    assert (plain.coloured, plain.several, plain.turned) == (False, False, False)
    grey = np.repeat(RAMP[..., None], 3, axis=-1)
    assert not decoding.decode_picture(encode(grey, "JPEG"), "x").coloured
    assert decoding.decode_picture(encode(grey * np.array([1, 0, 0], np.uint8)), "x").coloured
    exif = Image.Exif()
    exif[0x0112] = 6
    assert decoding.decode_picture(encode(RAMP, "JPEG", exif=exif), "x").turned
    pages = save(
        Image.fromarray(RAMP), "TIFF", save_all=True, append_images=[Image.fromarray(255 - RAMP)]
    )
    assert decoding.decode_picture(pages, "x").several
    np.testing.assert_array_equal(decoding.decode_picture(pages, "x").pixels, RAMP)


X_RAY = np.random.default_rng(0).integers(0, 256, (24, 20), np.uint8)


def with_segment(jpeg: bytes, marker: int, content: bytes) -> bytes:
    """A JPEG with another segment at its start."""
    length = (len(content) + 2).to_bytes(2, "big")
    return jpeg[:2] + bytes((0xFF, marker)) + length + content + jpeg[2:]


def bad_crc(png: bytes) -> bytes:
    return png[:40] + bytes((png[40] ^ 1,)) + png[41:]


TIFF_TAGS = {256: 20, 257: 24, 258: 8, 259: 1, 262: 1, 277: 1}


def odd_metadata() -> dict[str, bytes]:
    png, jpeg = encode(X_RAY), encode(X_RAY, "JPEG")
    text = with_chunk(png, b"tEXt", b"Comment\0" + bytes(40))
    return {
        "PNG, broken EXIF": with_chunk(png, b"eXIf", b"garbage"),
        "PNG, text of 3 MB": with_chunk(png, b"zTXt", b"a\0\0" + zlib.compress(bytes(3 << 20))),
        "PNG, broken profile": with_chunk(png, b"iCCP", b"no zero byte"),
        "PNG, text with a wrong checksum": bad_crc(text),
        "PNG, text of a wrong length": text[:33] + b"\x7f\xff\xff\xff" + text[37:],
        "PNG, gamma of no bytes": with_chunk(png, b"gAMA", b""),
        "PNG without its end": png[:-12],
        "JPEG, broken EXIF": with_segment(jpeg, 0xE1, b"Exif\0\0II*\0\xff\xff\xff\xff"),
        "JPEG, broken profile": with_segment(jpeg, 0xE2, b"ICC_PROFILE\0\7"),
        "JPEG, broken Photoshop data": with_segment(jpeg, 0xED, b"Photoshop 3.0\x008BIM\xff"),
        "JPEG, broken index of images": with_segment(jpeg, 0xE2, b"MPF\0II*\0\xff\xff\0\0"),
        "TIFF, EXIF directory outside the file": tiff_of(
            [X_RAY.tobytes()], {**TIFF_TAGS, 34665: 10**9}
        ),
        "TIFF, EXIF directory of pixels": tiff_of([X_RAY.tobytes()], {**TIFF_TAGS, 34665: 9}),
        "TIFF, software far away": tiff_of([X_RAY.tobytes()], TIFF_TAGS | {305: [1] * 9})[:-4],
    }


@pytest.mark.parametrize("kind", odd_metadata())
def test_metadata_never_refuse_pixels(kind):
    expected = decoding.decode_grey(encode(X_RAY, "JPEG"), "x") if "JPEG" in kind else X_RAY
    picture = decoding.decode_picture(odd_metadata()[kind], "x")
    np.testing.assert_array_equal(picture.pixels, expected)
    assert (picture.coloured, picture.several, picture.turned) == (False, False, False)


def first_directory(tiff: bytes) -> bytes:
    """A TIFF of one strip, which `tiff_of` made, with its directory before its pixels, as many
    writers place it.
    """
    start = int.from_bytes(tiff[4:8], "little")
    strip, directory = tiff[8:start], bytearray(tiff[start:])
    at = directory.index((273).to_bytes(2, "little")) + 8
    directory[at : at + 4] = (8 + len(directory)).to_bytes(4, "little")
    return tiff[:4] + (8).to_bytes(4, "little") + bytes(directory) + strip


@pytest.mark.parametrize(
    "encoded",
    [
        encode(X_RAY),
        encode(X_RAY, "JPEG"),
        encode(X_RAY, "GIF"),
        encode(X_RAY, "BMP"),
        tiff_of([X_RAY.tobytes()], TIFF_TAGS),
        first_directory(tiff_of([X_RAY.tobytes()], TIFF_TAGS)),
        first_directory(tiff_of([zlib.compress(X_RAY.tobytes())], {**TIFF_TAGS, 259: 8})),
    ],
    ids=["PNG", "JPEG", "GIF", "BMP", "TIFF", "TIFF, pixels last", "TIFF, deflated"],
)
def test_a_file_that_was_cut_off_is_called_so(encoded):
    decoding.decode_grey(encoded, "x")
    with pytest.raises(InputError, match="x is unreadable: it is cut off: the file ends within"):
        decoding.decode_grey(encoded[:-120], "x")


def test_a_jpeg_of_12_bits_is_called_so():
    jpeg = bytearray(encode(X_RAY, "JPEG"))
    jpeg[jpeg.index(b"\xff\xc0") + 4] = 12
    with pytest.raises(InputError, match="x is a JPEG of 12 bits per sample, and only those of 8"):
        decoding.decode_grey(bytes(jpeg), "x")


@pytest.mark.parametrize(
    "head", [b"II*\0", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a", b"BM"]
)
def test_reasons_hold_no_addresses(head):
    with pytest.raises(InputError) as error:
        decoding.decode_grey(head + bytes(40), "x")
    assert "0x" not in str(error.value) and "BytesIO" not in str(error.value)


DEEP = np.random.default_rng(1).integers(0, 4096, (24, 20), np.uint16)
OPAQUE = np.full_like(DEEP, 65535)


def png16(*channels: np.ndarray, more: int = 0) -> bytes:
    """more: bytes of zeros behind the pixels."""
    rows = np.stack(channels, axis=-1).astype(">u2")
    data = b"".join(b"\0" + row.tobytes() for row in rows) + bytes(more)
    colours = {1: 0, 2: 4, 3: 2, 4: 6}[len(channels)]
    return png_of(20, 24, bits=16, colours=colours, data=zlib.compress(data))


def tiff16(*channels: np.ndarray, order="<", planar=False, predictor=1, extra=2) -> bytes:
    pixels = np.stack(channels, axis=-1)
    if predictor == 2:
        pixels = np.diff(pixels, axis=1, prepend=np.zeros_like(pixels[:, :1]))
    pixels = pixels.astype(order + "u2")
    planes = [pixels[..., n] for n in range(len(channels))] if planar else [pixels]
    strips = [plane[top : top + 10] for plane in planes for top in (0, 10, 20)]
    tags = {
        256: 20, 257: 24, 258: [16] * len(channels), 259: 8, 262: 1 if len(channels) < 3 else 2,
        277: len(channels), 278: 10, 284: 2 if planar else 1, 317: predictor,
    }  # fmt: skip
    if len(channels) in (2, 4):
        tags[338] = extra
    return tiff_of([zlib.compress(strip.tobytes()) for strip in strips], tags, order=order)


@pytest.mark.parametrize(
    "encoded",
    [
        png16(DEEP, OPAQUE),
        png16(DEEP, DEEP, DEEP),
        png16(DEEP, DEEP, DEEP, OPAQUE // 16),
        tiff16(DEEP, OPAQUE),
        tiff16(DEEP, OPAQUE, order=">"),
        tiff16(DEEP, DEEP, extra=0),
        tiff16(DEEP, DEEP, DEEP),
        tiff16(DEEP, DEEP, DEEP, order=">", predictor=2),
        tiff16(DEEP, DEEP, DEEP, predictor=2),
        tiff16(DEEP, DEEP, DEEP, planar=True),
        tiff16(DEEP, DEEP, DEEP, OPAQUE, planar=True, predictor=2),
        tiled(np.stack([DEEP] * 3, axis=-1), tile=16),
        tiled(np.stack([DEEP, OPAQUE], axis=-1), tile=16),
    ],
)
def test_grey_stored_as_colour_of_16_bits_keeps_its_levels(encoded):
    picture = decoding.decode_picture(encoded, "x")
    np.testing.assert_array_equal(picture.pixels, DEEP)
    assert picture.pixels.dtype == np.uint16 and not picture.coloured
    assert decoding.image_shape(encoded, "x") == DEEP.shape


def test_a_damaged_png_of_16_bit_colour_is_no_image():
    """OpenCV reads these, and takes memory for all that a chunk announces."""
    encoded = png16(DEEP, DEEP, DEEP)
    at = encoded.index(b"IDAT")
    announced = encoded[: at - 4] + b"\x7f\xff\xff\xff" + encoded[at : at + 200]
    half = encoded[: at + 300] + bytes((encoded[at + 300] ^ 255,)) + encoded[at + 301 :]
    for damaged in (encoded[:-300], announced, half, png_of(20, 24, bits=16, colours=2, data=b"")):
        with pytest.raises(InputError, match="x is unreadable"):
            decoding.decode_grey(damaged, "x")


def test_colour_and_transparency_of_16_bits_become_grey_as_those_of_8():
    zero = np.zeros_like(DEEP)
    for encoded in (png16(DEEP, zero, zero), tiff16(DEEP, zero, zero)):
        picture = decoding.decode_picture(encoded, "x")
        np.testing.assert_allclose(picture.pixels, 0.299 * DEEP, atol=0.6)
        assert picture.coloured
    half = np.where(np.arange(20) < 10, 0, OPAQUE).astype(np.uint16)
    for encoded in (png16(DEEP, half), tiff16(DEEP, half)):
        np.testing.assert_array_equal(decoding.decode_grey(encoded, "x"), np.where(half, DEEP, 0))


def test_colours_of_16_bits_that_are_not_rgb_are_refused():
    cmyk = tiff16(DEEP, DEEP, DEEP, DEEP)
    at = cmyk.index((262).to_bytes(2, "little") + b"\4\0\1\0\0\0") + 8
    with pytest.raises(
        InputError, match="16 bits that are not RGB: save it as grey of 8 or 16 bits"
    ):
        decoding.decode_grey(cmyk[:at] + b"\5" + cmyk[at + 1 :], "x")


def test_the_orientation_of_a_tiff_is_ignored_too():
    encoded = encode(X_RAY, "TIFF", tiffinfo={274: 6})
    picture = decoding.decode_picture(encoded, "x")
    np.testing.assert_array_equal(picture.pixels, X_RAY)
    assert picture.turned


def test_a_small_file_of_many_pixels_is_refused_and_a_blank_mask_is_not():
    with pytest.raises(InputError, match="x is 8000x8000 pixels in .* bytes, a decompression bomb"):
        decoding.decode_grey(png_of(8000, 8000, data=zlib.compress(bytes(100_000))), "x")
    assert not decoding.decode_grey(png_of(3000, 2000), "x").any()


def test_a_png_of_16_bits_is_inflated_as_far_as_its_pixels():
    """libpng would go on to the end of its data."""
    bomb = png16(DEEP, DEEP, DEEP, more=64 << 20)
    with pytest.raises(
        InputError, match="x is unreadable: it holds more pixels than its header says"
    ):
        decoding.decode_grey(bomb, "x")
