"""From the bits that a DICOM file stores to the values that a viewer shows.

See PS3.3 C.11.1, C.11.2 and C.7.6.3.1.2.

Everything is done to a table of all 256 or 65536 possible bit patterns instead of the pixels.
pydicom's own functions give the same where both apply (tests compare them), but a negative rescale
slope turns their windows around, and indices above 255 wrap in their VOI LUTs of 8 bits.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from jaxcxr.data.dicom_header import Header, described
from jaxcxr.data.dicom_luts import sequence_table
from jaxcxr.data.dicom_pixels import Layout, Stored

POLARITY = "the header contradicts itself about whether low values are dark"
UNUSED_BITS = "pixels have bits outside Bits Stored, which were left out"

_RESCALE = ("RescaleSlope", "RescaleIntercept")
_WINDOW = ("WindowCenter", "WindowWidth")


def displayed(stored: Stored, layout: Layout, header: Header) -> np.ndarray:
    """Stored values -> display values of a positive (lungs dark).

    Doubts about them are added to the header's notes.

    The modality LUT or rescale comes first, then the first VOI LUT or window, then the inversion of
    MONOCHROME1. Padding pixels become as dark as the darkest of the image. Without any table or
    window the values stay as they are (signed ones are shifted), so that the pixels equal those of
    a PNG of them; else they are spread over 16 bits: what the window shows, or the range of the
    pixels.

    Args:
        stored: patterns [H, W].
        layout: their layout.
        header: the elements that define their display.

    Returns:
        [H, W] uint8 where there are at most 256 levels and no table, else uint16.
    """
    patterns = stored.patterns
    used = np.zeros(1 << 8 * patterns.dtype.itemsize, bool)
    used[patterns] = True
    values = _values(used, stored.precision, layout, header)
    padding = _padding(values, layout, header)
    if padding[used].all():
        if padding.any():
            header.ignore("PixelPaddingValue", "covers the whole image")
        padding[:] = False
    inside = used & ~padding
    with np.errstate(all="ignore"):  # of numbers at the ends of what a float holds
        rescaled, changed = _modality(values, inside, layout, header)
        brightness = _voi(rescaled, inside, header)
    inverse = layout.photometric == "MONOCHROME1"
    if header.word("PresentationLUTShape") == ("IDENTITY" if inverse else "INVERSE"):
        header.note(POLARITY)
    if brightness is None and changed:
        low, high = rescaled[inside].min(), rescaled[inside].max()
        brightness = (rescaled - low) / (high - low) if high > low else np.zeros(len(rescaled))
    if brightness is not None:
        brightness = np.clip(1 - brightness if inverse else brightness, 0, 1)
        table = np.rint(65535 * brightness).astype(np.uint16)
    else:
        table = _as_stored(values, layout, inverse)
    table[padding] = table[inside].min()
    return table[patterns]


def _values(used: np.ndarray, precision: int, layout: Layout, header: Header) -> np.ndarray:
    """The numbers [L] that bit patterns stand for.

    These are Bits Stored bits up to High Bit, with their sign.

    A code stream of less precision holds just the bits that are stored, wherever High Bit is.
    """
    patterns = np.arange(len(used))
    bits = min(layout.stored, precision)
    shift = layout.high + 1 - layout.stored if layout.high < precision else 0
    highest = int(np.flatnonzero(used)[-1])
    if shift and highest < 1 << bits and (patterns[used] & (1 << shift) - 1).any():
        header.ignore("HighBit", "does not go with the pixels, which use lower bits,")
        shift = 0
    values = (patterns >> shift) & (1 << bits) - 1
    above = patterns >> shift + bits
    odd = above != 0
    if layout.signed:
        negative = values >> bits - 1 == 1
        values = values - (negative << bits)
        odd &= ~(negative & (above == above.max()))
    if (odd | (patterns & (1 << shift) - 1 != 0))[used].any():
        header.note(UNUSED_BITS)
    return values


def _as_stored(values: np.ndarray, layout: Layout, inverse: bool) -> np.ndarray:
    """The table of an image without a LUT.

    8 bits are spread over 0 to 255, more keep their values.
    """
    low = -(1 << layout.stored - 1) if layout.signed else 0
    high = low + (1 << layout.stored) - 1
    levels = high - values if inverse else values - low
    if high - low <= 255:
        return np.rint(levels * (255 / (high - low))).astype(np.uint8)
    return levels.astype(np.uint16)


def _padding(values: np.ndarray, layout: Layout, header: Header) -> np.ndarray:
    """The bit patterns [L] of pixels outside the image, a mask (PS3.3 C.7.5.1.1.2)."""
    none = np.zeros(len(values), bool)
    ends = [header.integer(name) for name in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
    if ends[0] is None:
        return none
    # Signed values may have been written as unsigned ones, or the other way round.
    sign, whole = 1 << layout.stored - 1, 1 << 16
    of_stored = [
        _signed(end % whole, whole >> 1) if layout.signed else end % whole
        for end in ends
        if end is not None
    ]
    if layout.signed and layout.stored < 16:  # the sign bit of Bits Stored, not of the element
        of_stored = [end - 2 * sign if sign <= end < 2 * sign else end for end in of_stored]
    return (values >= min(of_stored)) & (values <= max(of_stored))


def _signed(number: int, half: int) -> int:
    return number - 2 * half if number >= half else number


def _scopes(header: Header, macro: str) -> Iterator[Header]:
    """The data sets that may contain the elements of a functional group, in order of priority.

    They are the first frame's group, the group of all frames, and the data set itself.
    """
    for group in ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence"):
        frame = header.item(group)
        item = frame.item(macro) if frame else None
        if item:
            yield item
    yield header


def _modality(
    values: np.ndarray, inside: np.ndarray, layout: Layout, header: Header
) -> tuple[np.ndarray, bool]:
    """The modality LUT or rescale of values [L] as floats, and whether one changes them."""
    plain = values.astype(np.float64)
    for scope in _scopes(header, "PixelValueTransformationSequence"):
        lut = sequence_table(
            scope, "ModalityLUTSequence", plain, plain[inside], signed=layout.signed
        )
        if lut:
            return lut[0], True
        slope, intercept = (scope.number(name) for name in _RESCALE)
        if slope == 0:
            scope.ignore("RescaleSlope", "is 0")
            slope = None
        if slope is None and intercept is None:
            continue
        slope, intercept = 1.0 if slope is None else slope, intercept or 0.0
        rescaled = plain * slope + intercept
        spread = np.ptp(plain[inside])
        if not np.isfinite(rescaled).all() or (spread and not np.ptp(rescaled[inside])):
            scope.ignore("RescaleSlope", "leaves no contrast")
            continue
        return rescaled, (slope, intercept) != (1.0, 0.0)
    return plain, False


def _voi(values: np.ndarray, inside: np.ndarray, header: Header) -> np.ndarray | None:
    """Brightness in [0, 1] of values [L] by the first VOI LUT or window, None if there is none."""
    flat = not np.ptp(values[inside])

    def shows(brightness: np.ndarray | None) -> bool:
        return brightness is not None and (
            flat or bool(np.ptp(np.clip(brightness[inside], 0, 1)) > 1e-4)
        )

    for scope in _scopes(header, "FrameVOILUTSequence"):
        negative = bool(values[inside].min() < 0)
        lut = sequence_table(scope, "VOILUTSequence", values, values[inside], signed=negative)
        if lut:
            brightness = lut[0] / lut[1]
            if shows(brightness):
                return brightness
            scope.ignore("VOILUTSequence", "leaves no contrast")
        window = _window(values, scope)
        if shows(window):
            return window
        if window is not None:
            scope.ignore("WindowCenter", "leaves no contrast")
    return None


def _window(values: np.ndarray, scope: Header) -> np.ndarray | None:
    """Brightness of values [L] by a window, None where there is no valid one."""
    centre, width = (scope.number(name) for name in _WINDOW)
    form = scope.word("VOILUTFunction") or "LINEAR"
    if form not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        scope.ignore("VOILUTFunction", "is none that is known")
        form = "LINEAR"
    if centre is None or width is None:
        for one, other, value in zip(_WINDOW, _WINDOW[::-1], (centre, width), strict=True):
            if value is not None and not scope.raw(other):
                scope.ignore(one, f"stands without {described(other)}")
        return None
    if width < 1 if form == "LINEAR" else width <= 0:
        scope.ignore("WindowWidth", "is too small")
        return None
    if form == "SIGMOID":
        return 1 / (1 + np.exp(np.clip(-4 * (values - centre) / width, -700, 700)))
    if form == "LINEAR":
        centre, width = centre - 0.5, width - 1
    if width == 0:
        return (values > centre).astype(np.float64)
    return np.clip((values - centre) / width + 0.5, 0, 1)
