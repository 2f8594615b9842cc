"""What is inside a mask does not depend on how the file says it; what it does not say is
refused.
"""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from tfds_builders import mask_files
from tfds_builders.mask_files import ALPHA, COLOURS, LABELS

HEIGHT, WIDTH = 90, 100
_ROWS, _COLUMNS = np.mgrid[:HEIGHT, :WIDTH]
RIGHT = ((_ROWS - 45) / 30) ** 2 + ((_COLUMNS - 28) / 14) ** 2 < 1
LEFT = ((_ROWS - 45) / 30) ** 2 + ((_COLUMNS - 72) / 16) ** 2 < 1
LUNGS = LEFT | RIGHT
NUMBERS = (RIGHT + 2 * LEFT).astype(np.uint8)
BLUR = 3


def levels(outside, inside, dtype=np.uint8):
    return np.where(LUNGS, inside, outside).astype(dtype)


def coloured(*colours):
    """Background, right lung, left lung."""
    return np.array(colours, np.uint8)[NUMBERS]


def palette(numbers, colours, **info):
    image = Image.fromarray(numbers.astype(np.uint8)).convert("P")
    image.putdata(numbers.ravel().tolist())
    image.putpalette(np.array(colours, np.uint8).ravel().tolist())
    return image, info


def soft(inside=255):
    """As a resize leaves a mask: its border has every grey, and crosses the middle where it was."""
    wide = Image.fromarray(levels(0, inside)).resize(
        (WIDTH * 3, HEIGHT * 3), Image.Resampling.NEAREST
    )
    return np.asarray(wide.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))


def with_alpha(alpha, colour):
    return np.dstack([np.broadcast_to(np.array(colour, np.uint8), (HEIGHT, WIDTH, 3)), alpha])


def over(drawn, alpha):
    return np.dstack([drawn, alpha])


BLACK, WHITE, RED, BLUE, DARK = (0, 0, 0), (255, 255, 255), (255, 0, 0), (0, 0, 255), (128, 0, 0)
OPAQUE = levels(0, 255)
FORMS = {
    "0 and 255": (levels(0, 255), "PNG", ""),
    "0 and 1": (levels(0, 1), "PNG", ""),
    "bits": (LUNGS, "PNG", ""),
    "bits of a TIFF": (LUNGS, "TIFF", ""),
    **{f"0 and {grey}": (levels(0, grey), "PNG", "") for grey in (2, 38, 100, 127, 128, 254)},
    "labels": (NUMBERS, "PNG", LABELS),
    "labels far apart": (85 * NUMBERS, "PNG", LABELS),
    "two greys": (np.array([0, 128, 255], np.uint8)[NUMBERS], "PNG", LABELS),
    "labels as GIF": (NUMBERS, "GIF", LABELS),
    "16 bits": (levels(0, 65535, np.uint16), "PNG", ""),
    "16-bit labels": (NUMBERS.astype(np.uint16), "PNG", LABELS),
    "16-bit TIFF": (levels(0, 256, np.uint16), "TIFF", ""),
    "32-bit TIFF": (levels(0, 1, np.int32), "TIFF", ""),
    "floating point": (levels(0, 1, np.float32), "TIFF", ""),
    "probabilities": (levels(0.02, 0.97, np.float32), "TIFF", ""),
    "BMP": (levels(0, 255), "BMP", ""),
    "grey in colour": (coloured(BLACK, WHITE, WHITE), "PNG", ""),
    "labels in colour": (np.dstack([NUMBERS] * 3), "PNG", LABELS),
    "red": (coloured(BLACK, RED, RED), "PNG", COLOURS),
    "red and blue": (coloured(BLACK, RED, BLUE), "PNG", COLOURS),
    "red and dark red": (coloured(BLACK, RED, DARK), "PNG", COLOURS),
    "blue on white": (coloured(WHITE, BLUE, BLUE), "PNG", COLOURS),
    "black on green": (coloured((0, 200, 0), BLACK, BLACK), "PNG", COLOURS),
    "palette of PASCAL VOC": (palette(LUNGS, [BLACK, DARK]), "PNG", COLOURS),
    "palette of labels": (palette(NUMBERS, [BLACK, DARK, (0, 128, 0)]), "PNG", COLOURS),
    "palette in another order": (palette(1 - LUNGS, [BLUE, BLACK]), "PNG", COLOURS),
    "palette of black": (palette(NUMBERS, [BLACK, BLACK, BLACK]), "PNG", LABELS),
    "palette of greys": (palette(LUNGS, [BLACK, (100, 100, 100)]), "GIF", ""),
    "transparent palette": (palette(LUNGS, [WHITE, WHITE], transparency=0), "PNG", ""),
    "alpha of white": (with_alpha(OPAQUE, WHITE), "PNG", ALPHA),
    "alpha of black": (with_alpha(OPAQUE, BLACK), "PNG", ALPHA),
    "half transparent": (with_alpha(levels(0, 128), RED), "PNG", ALPHA),
    "alpha and colour agree": (over(coloured(BLACK, RED, RED), OPAQUE), "PNG", ALPHA),
    "alpha, coloured lungs": (over(coloured(BLACK, RED, BLUE), OPAQUE), "PNG", ALPHA),
    "alpha that says nothing": (over(coloured(BLACK, RED, RED), levels(255, 255)), "PNG", COLOURS),
    "transparent margin": (
        over(coloured(BLACK, WHITE, WHITE), np.where(_ROWS > 5, 255, 0).astype(np.uint8)),
        "PNG",
        "",
    ),
    "grey and alpha": (np.dstack([levels(255, 255), OPAQUE]), "PNG", ALPHA),
    "nothing inside": (np.zeros((HEIGHT, WIDTH), np.uint8), "PNG", ""),
    "all inside": (np.full((HEIGHT, WIDTH), 255, np.uint8), "PNG", ""),
}


def encode(picture, file_format="PNG", **options):
    image, info = picture if isinstance(picture, tuple) else (Image.fromarray(picture), {})
    buffer = io.BytesIO()
    image.save(buffer, file_format, **info, **options)
    return buffer.getvalue()


def read(tmp_path, encoded):
    path = tmp_path / "mask.png"
    path.write_bytes(encoded)
    return mask_files.read_mask(path)


@pytest.mark.parametrize("name", FORMS)
def test_a_mask_is_read_by_what_it_is(tmp_path, name):
    picture, file_format, form = FORMS[name]
    mask = read(tmp_path, encode(picture, file_format))
    expected = {"nothing inside": 0 * LUNGS, "all inside": LUNGS | True}.get(name, LUNGS)
    np.testing.assert_array_equal(mask.inside, expected.astype(bool))
    assert mask.form == form


@pytest.mark.parametrize("inside", [255, 200, 100])
@pytest.mark.parametrize(
    "options", [("PNG", {}), ("JPEG", {"quality": 90}), ("JPEG", {"quality": 50})]
)
def test_smooth_and_lossy_edges_are_cut_in_the_middle(tmp_path, inside, options):
    file_format, settings = options
    picture = soft(inside)
    mask = read(tmp_path, encode(picture, file_format, **settings))
    assert (mask.inside != LUNGS).mean() < 0.01
    red = np.dstack([picture, 0 * picture, 0 * picture])
    mask = read(tmp_path, encode(red, file_format, **settings))
    assert (mask.inside != LUNGS).mean() < 0.015


def xray():
    noise = np.random.default_rng(0).normal(0, 20, (HEIGHT, WIDTH))
    return np.clip(200 - 120 * LUNGS - 0.5 * _ROWS + noise, 0, 255).astype(np.uint8)


UNCLEAR = {
    "labels without a 0": (NUMBERS + 1, "has the values 1, 2, 3 without a 0"),
    "V7's, read as another set's": (
        np.array([0, 127, 255], np.uint8)[NUMBERS],
        "0, 127 and 255, and 127 may be a lung or, as V7's, be ignored",
    ),
    "labels and what was not labelled": (
        np.array([0, 1, 255], np.uint8)[NUMBERS],
        "0, 1, 255, of which 255 may be a structure or mean 'not labelled'",
    ),
    "an X-ray": (xray(), "as in a picture"),
    "a coloured X-ray": (np.dstack([xray(), xray() // 2, xray()]), "as in a picture"),
    "everything transparent": (with_alpha(0 * OPAQUE, WHITE), "transparent everywhere"),
    "alpha against colour": (
        over(coloured(BLACK, WHITE, WHITE), np.where(_COLUMNS > 50, 255, 0).astype(np.uint8)),
        "hides what its colours draw",
    ),
    "red on white, a transparent margin": (
        over(coloured(WHITE, RED, RED), np.where(_ROWS > 5, 255, 0).astype(np.uint8)),
        "draw different masks",
    ),
    "negative values": (levels(-1, 1, np.float32), "values go from -1"),
}


@pytest.mark.parametrize("name", UNCLEAR)
def test_what_can_be_read_in_two_ways_is_refused(tmp_path, name):
    picture, message = UNCLEAR[name]
    encoded = encode(picture, "TIFF" if picture.dtype == np.float32 else "PNG")
    with pytest.raises(ValueError, match=rf"mask\.png: .*{message}.*Save this mask as 0 outside"):
        read(tmp_path, encoded)


def test_labels_are_not_read_from_a_lossy_file(tmp_path):
    with pytest.raises(ValueError, match="in a JPEG, whose losses are as large"):
        read(tmp_path, encode(20 * NUMBERS, "JPEG"))


def test_several_pages_are_refused_without_counting_them(tmp_path):
    pages = [Image.fromarray(NUMBERS)] * 3
    for file_format in ("TIFF", "GIF"):
        buffer = io.BytesIO()
        pages[0].save(buffer, file_format, save_all=True, append_images=[Image.fromarray(OPAQUE)])
        with pytest.raises(ValueError, match=r"mask\.png: contains several images"):
            read(tmp_path, buffer.getvalue())


def test_broken_metadata_refuses_no_mask_and_a_broken_pixel_does(tmp_path):
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "lungs by hand " * 20)
    encoded = bytearray(encode(levels(0, 255), pnginfo=text))
    encoded[encoded.index(b"hand")] ^= 1
    np.testing.assert_array_equal(read(tmp_path, bytes(encoded)).inside, LUNGS)
    encoded[encoded.index(b"IDAT") + 30] ^= 1
    with pytest.raises(ValueError, match=r"mask\.png: damaged mask \(wrong checksum\)"):
        read(tmp_path, bytes(encoded))


def test_a_huge_mask_is_refused_before_it_is_decoded(tmp_path):
    head = (60_000).to_bytes(4, "big") * 2 + bytes([8, 0, 0, 0, 0])
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(b"")), (b"IEND", b""))
    parts = [
        len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")
        for kind, body in chunks
    ]
    with pytest.raises(ValueError, match=r"mask\.png"):
        read(tmp_path, b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def test_forms_are_counted(tmp_path):
    reader = mask_files.MaskReader()
    for name in ("labels", "0 and 255", "red", "labels"):
        picture, file_format, _ = FORMS[name]
        path = tmp_path / "mask"
        path.write_bytes(encode(picture, file_format))
        reader.read(path)
    assert reader.forms == {LABELS: 2, COLOURS: 1}


def wide_png(path: Path, channels: np.ndarray) -> Path:
    """Writes [H, W, 2, 3 or 4] uint16 as PNG of 16 bits per sample, which Pillow cannot."""
    height, width, count = channels.shape
    kind = {2: 4, 3: 2, 4: 6}[count]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in channels)
    chunks = {
        b"IHDR": struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0),
        b"IDAT": zlib.compress(rows),
        b"IEND": b"",
    }
    parts = [
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks.items()
    ]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    return path


@pytest.mark.parametrize("value", [1, 100, 255, 300, 4095, 65535])
@pytest.mark.parametrize("form", ["rgb", "grey and alpha", "red", "alpha", "rgb of two values"])
def test_colours_of_16_bits_keep_their_lower_bits(tmp_path, value, form):
    inside = np.zeros((32, 32), bool)
    inside[8:24, 4:14] = inside[8:24, 18:28] = True
    drawn, full = (inside * value).astype(np.uint16), np.full(inside.shape, 65535, np.uint16)
    right = drawn.copy()
    right[:, 16:] = np.where(inside[:, 16:], max(1, value // 3), 0)
    channels = {
        "rgb": [drawn] * 3,
        "grey and alpha": [drawn, full],
        "red": [drawn, 0 * drawn, 0 * drawn],
        "alpha": [full, full, full, drawn],
        "rgb of two values": [right] * 3,
    }[form]
    mask = mask_files.read_mask(wide_png(tmp_path / "m.png", np.dstack(channels)))
    np.testing.assert_array_equal(mask.inside, inside)


def test_colours_that_8_bits_do_not_tell_apart_are_refused(tmp_path):
    pixels = np.zeros((8, 8, 3), np.uint16)
    pixels[..., 0] = np.arange(64).reshape(8, 8)
    pixels[7, 7, 0] = 4095
    with pytest.raises(ValueError, match=r"m\.png: it has 64 values, .* in colours, which 8 bits"):
        mask_files.read_mask(wide_png(tmp_path / "m.png", pixels))


@pytest.mark.parametrize("channel", [0, 1, 2])
def test_a_label_in_one_channel_of_8_bits_is_inside(tmp_path, channel):
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    pixels[..., channel] = LUNGS
    Image.fromarray(pixels).save(tmp_path / "m.png")
    np.testing.assert_array_equal(mask_files.read_mask(tmp_path / "m.png").inside, LUNGS)
