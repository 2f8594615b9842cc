"""Mask files and the masks of a finished segment run."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
from PIL import Image

from jaxcxr.types import InputError
from tests.faults.limits import mutants
from tests.faults.promises import Context, promise
from tfds_builders import mask_files


@promise("mutants/masks", "a damaged mask file is one error", full=10_000, quick=200)
def mask_reader(context: Context) -> Iterator[str]:
    path = context.folder / "mask.png"

    def read(content: bytes) -> None:
        path.write_bytes(content)
        try:
            mask_files.read_mask(path)
        except ValueError as error:
            if type(error) is not ValueError or str(path) not in str(error):
                raise
            raise InputError(str(error)) from error  # as `open_dataset` does

    yield from mutants(context, _mask_files(), read)


def _mask_files() -> list[bytes]:
    """Masks of 60 x 80 in the forms and formats that masks have."""
    rows, columns = np.mgrid[:60, :80]
    right = ((rows - 30) / 22) ** 2 + ((columns - 22) / 12) ** 2 < 1
    left = ((rows - 30) / 22) ** 2 + ((columns - 58) / 14) ** 2 < 1
    labels = (right + 2 * left).astype(np.uint8)
    inside = np.where(labels > 0, 255, 0).astype(np.uint8)
    colours = np.array([(0, 0, 0), (255, 0, 0), (0, 0, 255)], np.uint8)[labels]
    palette = Image.fromarray(labels).convert("P")
    palette.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
    grey = Image.fromarray(inside)
    alpha = Image.merge("RGBA", [grey.point(lambda _: 255)] * 3 + [grey])
    wide = Image.fromarray(inside.astype(np.uint16) * 257)
    pictures: list[tuple[Image.Image, str, dict[str, object]]] = [
        (grey, "PNG", {}),
        (Image.fromarray(labels), "PNG", {}),
        (Image.fromarray(labels > 0), "PNG", {}),
        (Image.fromarray(colours), "PNG", {}),
        (palette, "PNG", {}),
        (palette, "PNG", {"transparency": 0}),
        (alpha, "PNG", {}),
        (wide, "PNG", {}),
        (grey, "JPEG", {}),
        (Image.fromarray(colours), "JPEG", {}),
        (palette, "GIF", {}),
        (grey, "BMP", {}),
        (grey, "TIFF", {}),
        (wide, "TIFF", {"compression": "tiff_lzw"}),
        (Image.fromarray(inside / np.float32(255)), "TIFF", {"compression": "tiff_adobe_deflate"}),
    ]
    encoded = []
    for image, file_format, options in pictures:
        buffer = io.BytesIO()
        image.save(buffer, file_format, **options)
        encoded.append(buffer.getvalue())
    return encoded
