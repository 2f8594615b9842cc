"""One X-ray as the networks see it: equalised, cut to its lungs, resized, enhanced."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np
from PIL import Image

from jaxcxr.data import contrast, lung_crop
from jaxcxr.data.masks import IGNORE, check_same_aspect, lung_ids
from jaxcxr.ops.enhance import equalisation_lut
from jaxcxr.types import InputError

RESIZES = ("bilinear", "opencv_cubic")
MATCHES = ("none", "first")
LUNGS = ("whole", "box", "pixels")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """The fields of a config's data section that say what happens to the pixels; see configs/common_data.py.

    Raises:
      InputError: a field has no such value.
    """

    image_size: int
    equalise: bool
    gamma: float
    enhance: tuple[str, ...] = ()
    resize: str = "bilinear"
    match: str = "none"
    lungs: str = "whole"
    lung_margin: int = 0
    cut: tuple[int, int, int, int] = (0, 0, 0, 0)

    @classmethod
    def of(cls, section: Any) -> Preprocessing:
        """From a data section of a config."""
        values = {name: section[name] for name in cls.fields()}
        tuples = {"enhance": tuple(section.enhance), "cut": tuple(section.cut)}
        return cls(**{**values, **tuples, "gamma": float(section.gamma)})

    @classmethod
    def fields(cls) -> tuple[str, ...]:
        """Their names."""
        return tuple(field.name for field in dataclasses.fields(cls))

    def __post_init__(self) -> None:
        if self.image_size < 1 or self.gamma <= 0 or self.lung_margin < 0:
            raise InputError(
                f"data.image_size {self.image_size} and data.gamma {self.gamma} must be positive, "
                f"data.lung_margin {self.lung_margin} not negative"
            )
        if len(self.cut) != 4 or min(self.cut) < 0 or min(self.shape[:2]) < 1:
            raise InputError(
                f"data.cut={self.cut} is not (top, left, bottom, right), pixels that leave something of an image of "
                f"{self.image_size} x {self.image_size}"
            )
        known = {"resize": RESIZES, "match": MATCHES, "lungs": LUNGS}
        for name, values in known.items():
            if getattr(self, name) not in values:
                raise InputError(f"data.{name}={getattr(self, name)!r} is unknown; known: {', '.join(values)}")
        if unknown := [name for name in self.enhance if name not in contrast.ENHANCEMENTS]:
            raise InputError(
                f"data.enhance names {', '.join(unknown)}; known: {', '.join(contrast.ENHANCEMENTS)}"
            )

    @property
    def shape(self) -> tuple[int, ...]:
        """Of a prepared image: (S, S) less what is cut off, or (S, S, C) with several enhancements."""
        channels = (len(self.enhance),) if len(self.enhance) > 1 else ()
        top, left, bottom, right = self.cut
        return (self.image_size - top - bottom, self.image_size - left - right, *channels)

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prepared:
    """image: `Preprocessing.shape` uint8. mask: its rows and columns, uint8 structure ids, or None. empty: no lung."""

    image: np.ndarray
    mask: np.ndarray | None
    empty: bool


def prepare(
    pixels: np.ndarray,
    mask: np.ndarray | None,
    settings: Preprocessing,
    *,
    name: str,
    structures: tuple[str, ...] = ("lung",),
    fill_empty: bool = False,
    negative_tail: int = 0,
    reference: np.ndarray | None = None,
) -> Prepared:
    """Everything that happens to an X-ray before the network.

    Args:
      pixels: [H, W] uint8 or uint16, a positive (lungs dark).
      mask: [h, w] uint8 structure ids 0, 1 ..., 255 ignored, of the image's shape or that scaled; None: no masks.
      settings: of the config.
      name: of the image, for errors.
      structures: names of the ids 1, 2, ...; those with "lung" in their name, else all, count as lungs.
      fill_empty: a mask without lungs becomes the whole image.
      negative_tail: see `equalised`.
      reference: `resized` result that the histogram is matched to, where settings.match asks for it.

    Raises:
      InputError: the mask has another shape than its image, or settings.lungs asks for one that is not there.
    """
    wanted = lung_ids(structures) or list(range(1, len(structures) + 1))
    if mask is not None:
        check_same_aspect(name, pixels.shape, mask.shape)
    elif settings.lungs != "whole":
        raise InputError(f"data.lungs={settings.lungs!r} needs lung masks: set masks.source to dataset or workdir")
    outside = None
    if mask is not None and settings.lungs != "whole":
        # At the image's own size, where the published dilation and margin are measured.
        full = Image.fromarray(mask).resize(pixels.shape[::-1], Image.Resampling.NEAREST)
        mask = np.asarray(full)
        found = np.isin(mask, wanted)
        if found.any():
            # The published growth and margin are pixels of an image of 320 x 320.
            scale = max(pixels.shape) / 320
            grown = lung_crop.dilate(found, radius=round(scale * lung_crop.DILATION))
            if settings.lungs == "pixels":
                outside = ~grown
            else:
                top, left, bottom, right = lung_crop.lung_box(grown, margin=round(scale * settings.lung_margin))
                pixels, mask = pixels[top:bottom, left:right], mask[top:bottom, left:right]
    grey = resized(equalised(pixels, settings, negative_tail=negative_tail), settings)
    size = (settings.image_size, settings.image_size)
    if settings.match != "none" and reference is not None:
        grey = contrast.match_histogram(grey, reference)
    if outside is not None:
        black = np.asarray(Image.fromarray(outside).resize(size, Image.Resampling.NEAREST))
        grey = np.where(black, np.uint8(0), grey)
    image = contrast.stack(grey, settings.enhance) if settings.enhance else grey
    kept = settings.shape[:2]
    rows, columns = (slice(first, first + side) for first, side in zip(settings.cut, kept, strict=False))
    image = image[rows, columns].reshape(settings.shape)
    if mask is None:
        return Prepared(image=image, mask=None, empty=False)
    small = np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))[rows, columns]
    empty = not np.isin(small, wanted).any()
    if empty and fill_empty:
        small = np.where(small == IGNORE, small, wanted[0]).astype(np.uint8)
    return Prepared(image=image, mask=small, empty=empty)


def equalised(pixels: np.ndarray, settings: Preprocessing, *, negative_tail: int = 0) -> np.ndarray:
    """[H, W] uint8 or uint16 -> [H, W] float32 in [0, 255], by one look-up table at native depth (facts 1.5).

    `pixels` is a positive (lungs dark); with negative_tail > 0 the table is made on its negative.
    Without equalisation 8 bits keep their values; 16 bits are stretched from their own minimum
    to maximum, since a detector's depth (10, 12, 14 bits) is not stored.
    """
    levels = 1 << (8 * pixels.dtype.itemsize)
    if settings.equalise:
        histogram = np.bincount(pixels.ravel(), minlength=levels)
        with jax.default_device(jax.local_devices(backend="cpu")[0]):
            if negative_tail:
                negative = equalisation_lut(histogram[::-1], tail=negative_tail, invert=True)
                lut = np.asarray(negative)[::-1]
            else:
                lut = np.asarray(equalisation_lut(histogram))
    elif pixels.dtype == np.uint8:
        lut = np.arange(levels, dtype=np.float32) / (levels - 1)
    else:
        low, high = int(pixels.min()), int(pixels.max())
        lut = np.clip((np.arange(levels, dtype=np.float32) - low) / max(high - low, 1), 0, 1)
    return (255 * lut**settings.gamma).astype(np.float32)[pixels]


def resized(values: np.ndarray, settings: Preprocessing) -> np.ndarray:
    """[H, W] float32 in [0, 255] -> [S, S] uint8; the aspect is not kept, as published."""
    size = (settings.image_size, settings.image_size)
    if settings.resize == "opencv_cubic":
        return contrast.resize_opencv(np.rint(values).astype(np.uint8), size=size)
    small = Image.fromarray(values).resize(size, Image.Resampling.BILINEAR)
    return np.clip(np.rint(np.asarray(small)), 0, 255).astype(np.uint8)
