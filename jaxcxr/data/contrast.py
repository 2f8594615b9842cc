"""COVID-CXNet's contrast enhancement and resizing, on the host (paper 3.2).

Every enhancement takes and gives a grey image [H, W] uint8 and looks at that image alone. The
published order is grey -> `resize_opencv` to 320 x 320 -> (`match_histogram`) -> `stack` -> / 255.
`jaxcxr.ops.enhance` contains what must run in `jit`: the look-up tables of Oh, Park and Ye.

Where the published code differs from what its paper means, `form` names the one wanted: "sound" or
"published", which gives the published code's pixels wherever that code does not divide by 0.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import cv2
import numpy as np
from scipy.special import expit
from skimage.exposure import match_histograms
from skimage.filters import rank
from skimage.morphology import disk

from jaxcxr.errors import InputError

Form = Literal["sound", "published"]
FORMS: tuple[Form, ...] = ("sound", "published")

MAIN_STACK = ("original", "beasf", "clahe")  # of the published main.py: the base model
NOTEBOOK_STACK = ("beasf", "clahe", "original")  # of the notebooks: CXNet, flat and hierarchical


def original(image: np.ndarray) -> np.ndarray:
    """The image itself, copied: [H, W] uint8."""
    return _grey(image).copy()


def equalise(image: np.ndarray) -> np.ndarray:
    """Histogram equalisation (HE) by OpenCV: [H, W] uint8, darkest 0, brightest 255.

    An image of one level stays as it is. `jaxcxr.ops.enhance.equalize` is the same in [0, 1].
    """
    return cv2.equalizeHist(_grey(image))


def adaptive_equalization(image: np.ndarray, *, tiles: tuple[int, int] = (8, 8)) -> np.ndarray:
    """Adaptive histogram equalisation (AHE): OpenCV's CLAHE without its clip limit.

    So it differs from `clahe` by that limit and nothing else, which is what the paper's Fig. 2 sets
    side by side. `skimage.exposure.equalize_adapthist` with clip_limit=1 gives nearly the same (a
    correlation of 0.9999 on chest X-rays), `local_equalization` a similar image (0.97) at a higher
    cost (docs/PERFORMANCE.md, "Choices in the code").

    Args:
        image: [H, W] uint8.
        tiles: columns and rows of tiles.

    Returns:
        [H, W] uint8.
    """
    return cv2.createCLAHE(clipLimit=0.0, tileGridSize=tiles).apply(_grey(image))


def local_equalization(image: np.ndarray, *, radius: int | None = None) -> np.ndarray:
    """Every pixel's rank among those within `radius` of it: the input of the lung module.

    COVID-CXNet's notebooks call this AHE; they take 40 pixels at 320 x 320. An image of one
    level becomes white. Equals `skimage.filters.rank.equalize` with a disk.

    Args:
        image: [H, W] uint8.
        radius: of the disk, in pixels; None: an eighth of the image's longer side.

    Returns:
        [H, W] uint8.
    """
    image = _grey(image)
    return rank.equalize(image, footprint=disk(radius or max(1, round(max(image.shape) / 8))))


def clahe(
    image: np.ndarray, *, clip_limit: float = 2.0, tiles: tuple[int, int] = (8, 8)
) -> np.ndarray:
    """Contrast limited adaptive histogram equalisation by OpenCV, with COVID-CXNet's settings.

    Args:
        image: [H, W] uint8.
        clip_limit: largest count of a level in a tile, in multiples of the mean count. Not
            scikit-image's, which is a fraction of the tile's pixels.
        tiles: columns and rows of tiles.

    Returns:
        [H, W] uint8.
    """
    if not clip_limit > 0:
        raise InputError(f"the clip limit of CLAHE is {clip_limit}: it must be above 0")
    return cv2.createCLAHE(clipLimit=clip_limit, tileGridSize=tiles).apply(_grey(image))


def beasf(image: np.ndarray, *, gamma: float = 1.5, form: Form = "sound") -> np.ndarray:
    """Bi-histogram equalisation with adaptive sigmoid functions (Arriaga-Garcia et al. 2014).

    Args:
        image: [H, W] uint8.
        gamma: slope of the sigmoids, above 0; towards 0 nothing changes.
        form: see `beasf_lut`.

    Returns:
        [H, W] uint8.
    """
    return beasf_lut(image, gamma=gamma, form=form)[image]


def beasf_lut(image: np.ndarray, *, gamma: float = 1.5, form: Form = "sound") -> np.ndarray:
    """The look-up table of `beasf`: its output for each grey level.

    The levels are parted at the image's mean m. In each part a sigmoid rises around the part's
    median, five units long over the part's length, and is stretched so that [0, m] maps onto
    [0, m] and [m, 255] onto [m, 255]. In an image of one level m is that level, so it stays.

    Args:
        image: [H, W] uint8.
        gamma: slope of the sigmoids.
        form: "published" is the table of COVID-CXNet's code: its histogram has 256 bins over the
            image's own range, its upper median lies a level too low, its upper sigmoid a level too
            high, and it cuts off decimals on the way. A part where that code divides by 0 keeps its
            levels: one that has no pixels by its own count, or too few levels to rise. On chest
            X-rays the two forms are 1.7 levels apart on average.

    Returns:
        [256] uint8, monotone.

    Raises:
        InputError: not such an image, or a gamma that is not above 0 and finite.
    """
    image = _grey(image)
    if not (math.isfinite(gamma) and gamma > 0):
        raise InputError(f"the gamma of BEASF is {gamma}: it must be above 0 and finite")
    if _checked(form) == "published":
        return _published_lut(image, gamma)
    counts = np.bincount(image.ravel(), minlength=256)
    mean = int(counts @ np.arange(256) // image.size)
    lut = np.arange(256.0)
    for low, high in ((0, mean), (mean, 255)):
        # Pixels at the mean count in both parts: so neither is ever empty.
        reached = np.cumsum(counts[low : high + 1])
        median = int(np.searchsorted(2 * reached, reached[-1], side="right"))
        length = high - low
        rise = expit(gamma * 5 * (np.arange(length + 1) - median) / max(length, 1))
        if rise[-1] > rise[0]:
            lut[low : high + 1] = low + length * ((rise - rise[0]) / (rise[-1] - rise[0]))
    return np.rint(lut).astype(np.uint8)


ENHANCEMENTS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "original": original,
    "equalise": equalise,
    "adaptive": adaptive_equalization,
    "local": local_equalization,
    "clahe": clahe,
    "beasf": beasf,
}


def stack_channels(image: np.ndarray, names: Sequence[str], *, form: Form = "sound") -> np.ndarray:
    """Enhancements of one image as the channels of another.

    Args:
        image: [H, W] uint8.
        names: of ENHANCEMENTS, in the order of the channels, as MAIN_STACK or NOTEBOOK_STACK.
        form: of BEASF.

    Returns:
        [H, W, len(names)] uint8.
    """
    unknown = [name for name in names if name not in ENHANCEMENTS]
    if unknown or not names:
        raise InputError(
            f"enhancements are {tuple(names)}; choose one or more of {', '.join(ENHANCEMENTS)}"
        )
    enhance = {**ENHANCEMENTS, "beasf": functools.partial(beasf, form=form)}
    return np.stack([enhance[name](image) for name in names], axis=-1)


def match_histogram(
    image: np.ndarray, reference: np.ndarray, *, form: Form = "sound"
) -> np.ndarray:
    """Gives an image the histogram of another: each level becomes the reference's at its quantile.

    COVID-CXNet matches every image to the first of its data set, before enhancing. An image matched
    to itself does not change. Equals `skimage.exposure.match_histograms`, as whole levels.

    Args:
        image: [H, W] uint8.
        reference: [H', W'] uint8.
        form: "published" cuts decimals off instead of rounding: half a level darker on average.

    Returns:
        [H, W] uint8.
    """
    matched = match_histograms(_grey(image), _grey(reference))
    return (np.trunc if _checked(form) == "published" else np.rint)(matched).astype(np.uint8)


def resize_opencv(image: np.ndarray, *, size: tuple[int, int], form: Form = "sound") -> np.ndarray:
    """Resizes by OpenCV's INTER_CUBIC, as COVID-CXNet did: a = -0.75 and no antialiasing.

    Pillow's bicubic, and `jaxcxr.ops.geometry.resize`, have a = -0.5 and widen the kernel when they
    shrink, which keeps noise from aliasing. Of chest X-rays reduced from 1024 to 320 pixels the two
    make pictures that are 1.5 levels apart on average, 8 at the 99th percentile and up to 140
    beside letters.

    Args:
        image: [H, W] uint8.
        size: (height, width) wanted; the aspect ratio is not kept.
        form: "sound" rounds and saturates. "published" resizes floats and then cuts off decimals;
            where the kernel overshoots, beside letters and borders, black turns white and white
            black (0.1 % of the pixels of chest X-rays). OpenCV's versions differ in it by a
            rounding error, which moves one pixel in 5,000 by a level; in all else here they agree.

    Returns:
        [*size] uint8.
    """
    image = _grey(image)
    if min(size) < 1:
        raise InputError(f"an image cannot be resized to {size[0]} x {size[1]} pixels")
    if _checked(form) == "published":
        wide = cv2.resize(image.astype(np.float32), size[::-1], interpolation=cv2.INTER_CUBIC)
        # The published cast from float to uint8 keeps the low byte on x86; here on every machine.
        return (wide.astype(np.int32) & 255).astype(np.uint8)
    return cv2.resize(image, size[::-1], interpolation=cv2.INTER_CUBIC)


def _published_lut(image: np.ndarray, gamma: float) -> np.ndarray:
    """The look-up table by the published code's operations, in their order and precision.

    A rounding error may move a level.
    """
    mean = int(image.sum(dtype=np.int64) // image.size)
    frequency = np.histogram(image, bins=256)[0] / image.size
    lut = np.arange(256.0)

    def sigmoid(low: int, high: int, half: int) -> np.ndarray:
        tones = 5.0 * (np.arange(low, high + 1) - half) / (high - low)
        with np.errstate(over="ignore"):
            return 1 / (1 + np.exp(-gamma * tones))

    below = np.cumsum(frequency[: mean + 1])[-1]
    if mean > 0 and below > 0:
        half = int(np.argmax(np.cumsum(frequency[: mean + 1] / below) > 0.5))
        raw = np.trunc(mean * sigmoid(0, mean, half))
        rise = raw[-1] - raw[0]
        if rise > 0:
            lut[: mean + 1] = np.trunc((mean / rise) * (raw - raw[0]))

    above = np.cumsum(frequency[mean:])[-1]
    if mean < 255 and above > 0:
        half = mean + int(np.argmax(np.cumsum(frequency[mean:] / above)[1:] > 0.5))
        raw = np.trunc(mean + (255 - mean) * sigmoid(mean, 255, half)[:-1])
        rise = raw[-1] - raw[0]
        if rise > 0:
            lut[mean + 1 :] = (255 - mean) * (raw - raw[0]) / rise + mean
    return lut.astype(np.uint8)


def _grey(image: np.ndarray) -> np.ndarray:
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim != 2 or not image.size:
        raise InputError(
            f"contrast is enhanced in grey images [H, W] of uint8, not in {image.dtype} "
            f"{image.shape}"
        )
    return np.require(image, requirements=("C", "W"))  # scikit-image refuses what Pillow hands out


def _checked(form: str) -> str:
    if form not in FORMS:
        raise InputError(f"form is '{form}': choose {' or '.join(FORMS)}")
    return form
