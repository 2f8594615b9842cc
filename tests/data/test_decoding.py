import io

import numpy as np
import pytest
from PIL import Image

from jaxcxr.data import decoding
from jaxcxr.types import InputError
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
    """PhotometricInterpretation 0; Pillow inverts 8 bits when it writes such a file, and 16 bits never."""
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
