"""Preprocessing of X-rays for the networks: equalise, crop to the lungs, resize, enhance."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np
from PIL import Image

from jaxcxr.data import contrast, lung_crop, memory_budget
from jaxcxr.data.mask_sources import IGNORE, check_same_aspect, lung_ids
from jaxcxr.errors import InputError
from jaxcxr.ops.enhance import equalisation_lut

RESIZES = ("bilinear", "bicubic", "opencv_cubic")
MATCHES = ("none", "first")
LUNGS = ("whole", "box", "pixels", "removed", "shape")
_BLACKENED = ("pixels", "removed", "shape")  # of LUNGS: those that set a part of the image to 0
# Of 256, in the network's view: 272 public X-rays have 144 or more in their files.
FEWEST_LEVELS = 64
_LARGE = 24_000_000  # pixels: more than in any plate of the public sets
_BAND = 1 << 20  # pixels that are worked on at a time


@dataclasses.dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """The fields of a config's data section about pixels.

    See `jaxcxr.schema.data`.

    Raises:
        InputError: a field has no such value.
    """

    image_size: int
    equalise: bool
    gamma: float
    enhance: tuple[str, ...] = ()
    resize: str = "bilinear"
    form: contrast.Form = "sound"
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
                f"data.cut={self.cut} is not (top, left, bottom, right), pixels that leave "
                f"something of an image of {self.image_size} x {self.image_size}"
            )
        allowed = {"resize": RESIZES, "form": contrast.FORMS, "match": MATCHES, "lungs": LUNGS}
        for name, values in allowed.items():
            if getattr(self, name) not in values:
                raise InputError(
                    f"data.{name}={getattr(self, name)!r} is unknown; known: {', '.join(values)}"
                )
        if unknown := [name for name in self.enhance if name not in contrast.ENHANCEMENTS]:
            raise InputError(
                f"data.enhance names {', '.join(unknown)}; known: "
                f"{', '.join(contrast.ENHANCEMENTS)}"
            )

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a prepared image: (S, S) less what is cut off.

        (S, S, C) with several enhancements.
        """
        channels = (len(self.enhance),) if len(self.enhance) > 1 else ()
        top, left, bottom, right = self.cut
        return (self.image_size - top - bottom, self.image_size - left - right, *channels)

    def to_json(self) -> dict[str, Any]:
        """The fields by name, as JSON values."""
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prepared:
    """A preprocessed X-ray.

    image: `Preprocessing.shape` uint8. mask: its rows and columns, uint8 structure ids, or None.
    empty: no lung. few_levels: fewer than FEWEST_LEVELS grey levels before any enhancement.
    """

    image: np.ndarray
    mask: np.ndarray | None
    empty: bool
    few_levels: bool = False


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
    """The preprocessing of an X-ray.

    Args:
        pixels: [H, W] uint8 or uint16, a positive (lungs dark).
        mask: [h, w] uint8 structure ids 0, 1 ..., 255 ignored, of the image's shape or that scaled;
            None: no masks.
        settings: of the config.
        name: of the image, for errors.
        structures: names of the ids 1, 2, ...; those with "lung" in their name, else all, count as
            lungs.
        fill_empty: a mask without lungs becomes the whole image.
        negative_tail: see `grey_levels`.
        reference: `resized` result that the histogram is matched to, where settings.match asks for
            it.

    Raises:
        InputError: the mask has another shape than its image, or settings.lungs asks for one that
            is not there.
    """
    ids = lung_ids(structures) or list(range(1, len(structures) + 1))
    if mask is not None:
        check_same_aspect(name, pixels.shape, mask.shape)
    elif settings.lungs != "whole":
        raise InputError(
            f"data.lungs={settings.lungs!r} needs lung masks: add --config.masks.source=dataset "
            "or ready"
        )
    if settings.match != "none" and settings.lungs in _BLACKENED:
        raise InputError(
            f"data.match={settings.match!r} would match the black of data.lungs="
            f"{settings.lungs!r}, too: set one of them back (--config.data.match=none or "
            "--config.data.lungs=whole)"
        )
    hidden = shown = None
    if mask is not None and settings.lungs != "whole":
        # At the image's own size, where the published dilation and margin are measured.
        full = Image.fromarray(mask).resize(pixels.shape[::-1], Image.Resampling.NEAREST)
        mask = np.asarray(full)
        lungs = np.isin(mask, ids)
        # Where no lungs were found, the controls see nothing: what is to be hidden may be anywhere.
        if settings.lungs == "shape":
            shown = lungs
        elif settings.lungs == "removed" and not lungs.any():
            hidden = np.ones(pixels.shape, bool)
        elif lungs.any():
            # The published growth and margin are pixels of an image of 320 x 320.
            scale = max(pixels.shape) / 320
            grown = lung_crop.dilate(lungs, radius=round(scale * lung_crop.DILATION))
            if settings.lungs == "pixels":
                hidden = ~grown
            elif settings.lungs == "removed":
                hidden = grown
            elif settings.lungs == "box":
                top, left, bottom, right = lung_crop.lung_box(
                    grown, margin=round(scale * settings.lung_margin)
                )
                pixels, mask = pixels[top:bottom, left:right], mask[top:bottom, left:right]
    with memory_budget.IMAGES.hold(pixels.size * memory_budget.BYTES_PER_PIXEL):
        # Equalised by all pixels, what is left would tell how bright the removed lungs were.
        left = pixels[~hidden] if settings.lungs == "removed" and hidden is not None else pixels
        levels = grey_levels(left if left.size else pixels, settings, negative_tail=negative_tail)
        grey = resized(pixels, levels, settings)
    distinct = int(np.count_nonzero(np.bincount(grey.ravel(), minlength=256)))
    few = distinct < min(FEWEST_LEVELS, grey.size // 16)
    size = (settings.image_size, settings.image_size)
    if settings.match != "none" and reference is not None:
        grey = contrast.match_histogram(grey, reference, form=settings.form)
    if hidden is not None:
        black = np.asarray(Image.fromarray(hidden).resize(size, Image.Resampling.NEAREST))
        grey = np.where(black, np.uint8(0), grey)
    if shown is not None:
        white = np.asarray(Image.fromarray(shown).resize(size, Image.Resampling.NEAREST))
        grey = np.where(white, np.uint8(255), np.uint8(0))
    image = grey
    if settings.enhance:
        image = contrast.stack_channels(grey, settings.enhance, form=settings.form)
    sides = settings.shape[:2]
    rows, columns = (
        slice(first, first + side) for first, side in zip(settings.cut, sides, strict=False)
    )
    image = image[rows, columns].reshape(settings.shape)
    if mask is None:
        return Prepared(image=image, mask=None, empty=False, few_levels=few)
    small = np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))[rows, columns]
    empty = not np.isin(small, ids).any()
    if empty and fill_empty:
        small = np.where(small == IGNORE, small, ids[0]).astype(np.uint8)
    return Prepared(image=image, mask=small, empty=empty, few_levels=few)


def grey_levels(
    pixels: np.ndarray, settings: Preprocessing, *, negative_tail: int = 0
) -> np.ndarray:
    """The look-up table of an image's grey levels at native depth.

    Without equalisation 8 bits keep their values; 16 bits are stretched over the `grey_range` of
    their own, since a detector's depth (10, 12, 14 bits) is not stored.

    Args:
        pixels: [H, W] or [N] uint8 or uint16, a positive (lungs dark).
        settings: only equalise, gamma and form are used.
        negative_tail: above 0 the table is made on the negative, see `equalisation_lut`.

    Returns:
        [256] or [65536] float32 in [0, 255], monotone but for the published form's black tail.
    """
    levels = 1 << (8 * pixels.dtype.itemsize)
    if settings.equalise:
        histogram = _histogram(pixels, levels)
        with jax.default_device(jax.local_devices(backend="cpu")[0]):
            if negative_tail:
                negative = equalisation_lut(
                    histogram[::-1], tail=negative_tail, invert=True, form=settings.form
                )
                lut = np.asarray(negative)[::-1]
            else:
                lut = np.asarray(equalisation_lut(histogram))
    elif pixels.dtype == np.uint8:
        lut = np.arange(levels, dtype=np.float32) / (levels - 1)
    else:
        low, high = grey_range(_histogram(pixels, levels))
        lut = np.clip((np.arange(levels, dtype=np.float32) - low) / max(high - low, 1), 0, 1)
    return (255 * lut**settings.gamma).astype(np.float32)


def grey_range(histogram: np.ndarray) -> tuple[int, int]:
    """The grey levels between which an image of 16 bits is stretched.

    Darker is black, brighter white.

    From the darkest to the brightest level, unless hot pixels, padding or burned-in text would take
    the range from the X-ray. What lies behind a gap wider than an eighth of all else is left out:
    fewer than one pixel in a hundred, or a side less than a quarter as wide as the other (between
    its 1st and 99th percentiles) if one continuous run of levels remains in the end. And the range
    reaches at most half of the distance between the 1st and 99th percentiles beyond these: so far
    the tails of 95 % of public X-rays do not.

    Args:
        histogram: [L] pixels per grey level, of at least one pixel.

    Returns:
        (darkest, brightest) level.
    """
    levels = np.flatnonzero(histogram)
    counts = histogram[levels]
    whole, cut_off = (levels, counts), False
    while len(levels) > 1:
        gaps = np.diff(levels)
        if 8 * gaps.max() <= gaps.sum() - gaps.max():
            break
        cut = int(gaps.argmax()) + 1
        sides = [(levels[:cut], counts[:cut]), (levels[cut:], counts[cut:])]
        pixels = [side[1].sum() for side in sides]
        widths = [np.ptp(_middle(*side)) for side in sides]
        if 100 * min(pixels) < sum(pixels):
            levels, counts = sides[int(np.argmax(pixels))]
            whole = whole if cut_off else (levels, counts)
        elif 4 * min(widths) < max(widths):
            levels, counts = sides[int(np.argmax(widths))]
            cut_off = True
        else:  # two halves of one image
            levels, counts = whole
            break
    low, high = _middle(levels, counts)
    reach = (high - low) // 2 if high > low else len(histogram)
    return max(int(levels[0]), low - reach), min(int(levels[-1]), high + reach)


def _middle(levels: np.ndarray, counts: np.ndarray) -> tuple[int, int]:
    """The 1st and 99th percentiles of pixels [n] per level [n]."""
    below = counts.cumsum()
    low, high = np.searchsorted(below, (0.01 * below[-1], 0.99 * below[-1]))
    return int(levels[low]), int(levels[high])


def resized(pixels: np.ndarray, levels: np.ndarray, settings: Preprocessing) -> np.ndarray:
    """The image resized: the aspect is not kept, as published.

    Args:
        pixels: [H, W] uint8 or uint16.
        levels: look-up table of their values, float32 in [0, 255].
        settings: only image_size S, resize and form are used.

    Returns:
        [S, S] uint8.
    """
    side = settings.image_size
    if settings.resize != "bilinear":  # published on images of 8 bits
        grey = np.rint(levels).astype(np.uint8)[pixels]
        if settings.resize == "opencv_cubic":
            return contrast.resize_opencv(grey, size=(side, side), form=settings.form)
        return np.asarray(Image.fromarray(grey).resize((side, side), Image.Resampling.BICUBIC))
    if pixels.size <= _LARGE:
        small = _bilinear(levels[pixels], (side, side))
    else:  # float values of some rows at a time, which Pillow's order allows: rows, then columns
        rows = max(1, _BAND // pixels.shape[1])
        bands = (pixels[top : top + rows] for top in range(0, pixels.shape[0], rows))
        narrow = [_bilinear(levels[band], (side, len(band))) for band in bands]
        small = _bilinear(np.concatenate(narrow), (side, side))
    return np.clip(np.rint(small), 0, 255).astype(np.uint8)


def picture(pixels: np.ndarray, *, longest: int) -> np.ndarray:
    """An X-ray to look at: its own proportions, neither equalised nor sharpened.

    Args:
        pixels: [H, W] uint8 or uint16, lungs dark.
        longest: greatest side, pixels; smaller images stay as they are.

    Returns:
        [h, w] uint8.
    """
    plain = Preprocessing(image_size=longest, equalise=False, gamma=1.0)
    image = Image.fromarray(np.rint(grey_levels(pixels, plain)).astype(np.uint8)[pixels])
    image.thumbnail((longest, longest), Image.Resampling.BOX)
    return np.asarray(image)


def _bilinear(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Float values [h, w] at another (width, height)."""
    return np.asarray(Image.fromarray(values).resize(size, Image.Resampling.BILINEAR))


def _histogram(pixels: np.ndarray, levels: int) -> np.ndarray:
    """Pixels per grey level: [levels] int64.

    In parts, since NumPy counts in a copy of 8 bytes per pixel.
    """
    flat = pixels.ravel()
    parts = (flat[start : start + _BAND] for start in range(0, flat.size, _BAND))
    counts = np.zeros(levels, np.int64)
    for part in parts:
        counts += np.bincount(part, minlength=levels)
    return counts
