"""From the values that a DICOM file stores to those that a viewer shows (PS3.3 C.11.1, C.11.2, C.7.6.3.1.2).

Everything is done to a table of all 256 or 65536 possible values instead of the pixels. pydicom's own functions give
the same where both apply (tests compare them), but a negative rescale slope turns their windows around, and indices
above 255 wrap in their VOI LUTs of 8 bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np

BAD_WINDOW = "the header's display window is not valid and was not used"
POLARITY = "the header contradicts itself about whether low values are dark"


def displayed(stored: np.ndarray, header: Any) -> tuple[np.ndarray, tuple[str, ...]]:
    """Stored values -> display values of a positive (lungs dark), and doubts about them.

    The modality LUT or rescale comes first, then the first VOI LUT or window, then the inversion of MONOCHROME1.
    Padding pixels become black. Without any table or window the values stay as they are (signed ones are shifted), so
    that the pixels equal those of a PNG of them; else they are spread over 16 bits: what the window shows, or the
    range of the pixels.

    Args:
      stored: [H, W] integers of 8 or 16 bits.
      header: pydicom data set.

    Returns:
      [H, W] uint8 where there are at most 256 levels and no table, else uint16; and sentences.
    """
    unsigned = np.dtype(f"u{stored.dtype.itemsize}")
    codes = np.arange(
        1 << 8 * unsigned.itemsize, dtype=unsigned
    )  # bit patterns, in which the tables are ordered
    used = np.zeros(len(codes), bool)
    used[stored.view(unsigned)] = True
    padding = _padding(codes.view(stored.dtype).astype(np.int64), header)
    if not (used & ~padding).any():
        padding[:] = False
    values = codes.view(stored.dtype).astype(np.float64)
    rescaled, changed = _modality(values, header)
    share, doubts = _voi(rescaled, header)
    inverse = header.PhotometricInterpretation == "MONOCHROME1"
    if str(header.get("PresentationLUTShape") or "").strip() == (
        "IDENTITY" if inverse else "INVERSE"
    ):
        doubts += (POLARITY,)
    seen = used & ~padding
    if share is None and changed:
        low, high = rescaled[seen].min(), rescaled[seen].max()
        share = (rescaled - low) / max(high - low, 1e-9)
    if share is not None:
        share = np.clip(1 - share if inverse else share, 0, 1)
        table = np.rint(65535 * share).astype(np.uint16)
    else:
        table = _as_stored(values, header, seen, inverse)
    table[padding] = 0
    return table[stored.view(unsigned)], doubts


def _as_stored(values: np.ndarray, header: Any, seen: np.ndarray, inverse: bool) -> np.ndarray:
    """The table of an image that has no LUT: 8 bits are spread over 0 to 255, more keep their values."""
    bits = int(header.get("BitsStored") or header.BitsAllocated)
    # Some files use more bits than they say.
    low = min(-(1 << bits - 1) if (values < 0).any() else 0, values[seen].min())
    high = max(low + (1 << bits) - 1, values[seen].max())
    levels = np.clip(values, low, high)
    levels = high - levels if inverse else levels - low
    if high - low <= 255:
        return np.rint(levels * (255 / (high - low))).astype(np.uint8)
    return levels.astype(np.uint16)


def _padding(values: np.ndarray, header: Any) -> np.ndarray:
    """Which stored values [L] stand for pixels outside the image (PS3.3 C.7.5.1.1.2)."""
    first = header.get("PixelPaddingValue")
    if first is None or isinstance(first, bytes):
        return np.zeros(len(values), bool)
    last = header.get("PixelPaddingRangeLimit")
    # Signed values may have been written as unsigned ones, or the other way round: compare bit patterns.
    low, high = (
        int(np.int64(int(v)) & (len(values) - 1)) for v in (first, first if last is None else last)
    )
    patterns = values & (len(values) - 1)
    if low == high or isinstance(last, bytes):
        return patterns == low
    if values.min() < 0:
        low, high = (v - len(values) if v >= len(values) // 2 else v for v in (low, high))
        return (values >= min(low, high)) & (values <= max(low, high))
    return (patterns >= min(low, high)) & (patterns <= max(low, high))


def _modality(values: np.ndarray, header: Any) -> tuple[np.ndarray, bool]:
    """The modality LUT or rescale of values [L], and whether there is one that changes them."""
    if header.get("ModalityLUTSequence"):
        return _look_up(values, header.ModalityLUTSequence[0], header)[0], True
    slope, intercept = (header.get(name) for name in ("RescaleSlope", "RescaleIntercept"))
    slope = 1.0 if slope is None else float(slope)
    intercept = 0.0 if intercept is None else float(intercept)
    if not (np.isfinite(slope) and np.isfinite(intercept)) or slope == 0:
        raise ValueError("a rescale that leaves no image")
    return values * slope + intercept, (slope, intercept) != (1.0, 0.0)


def _voi(values: np.ndarray, header: Any) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Brightness in [0, 1] of values [L] by the first VOI LUT or window, None if there is none; and doubts."""
    if header.get("VOILUTSequence"):
        entries, top = _look_up(values, header.VOILUTSequence[0], header)
        return entries / top, ()
    centre, width = (_first(header.get(name)) for name in ("WindowCenter", "WindowWidth"))
    if centre is None or width is None:
        return None, ()
    form = str(header.get("VOILUTFunction") or "LINEAR").strip().upper()
    valid = (
        np.isfinite(centre) and np.isfinite(width) and width >= (1 if form == "LINEAR" else 1e-9)
    )
    if not valid or form not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        return None, (BAD_WINDOW,)
    if form == "SIGMOID":
        return 1 / (1 + np.exp(np.clip(-4 * (values - centre) / width, -700, 700))), ()
    if form == "LINEAR":
        centre, width = centre - 0.5, width - 1
    if width == 0:
        return (values > centre).astype(np.float64), ()
    return np.clip((values - centre) / width + 0.5, 0, 1), ()


def _first(value: Any) -> float | None:
    """Of several windows the first is the default one."""
    if value is None or value == "":
        return None
    if isinstance(value, (str, bytes, int, float)) or not hasattr(value, "__getitem__"):
        return float(value)
    return float(value[0]) if len(value) else None


def _look_up(values: np.ndarray, item: Any, header: Any) -> tuple[np.ndarray, float]:
    """Entries of a LUT for values [L], as floats, and the greatest entry that is possible."""
    count, first, bits = (int(number) for number in item.LUTDescriptor)
    count = count or 1 << 16  # PS3.3 C.11.1.1.1
    data = item.LUTData
    if isinstance(data, bytes):
        little = header.original_encoding[1] is not False
        wide = len(data) >= 2 * count
        entries = np.frombuffer(data, ("<u2" if little else ">u2") if wide else "u1")
    else:
        entries = np.atleast_1d(np.asarray(data, np.int64))
    entries = entries[:count].astype(np.float64)
    if len(entries) < count or not 8 <= bits <= 16:
        raise ValueError("a LUT of another length than its descriptor says")
    index = np.clip(np.rint(values) - first, 0, count - 1).astype(np.int64)
    return entries[index], max(float((1 << bits) - 1), float(entries.max()))
