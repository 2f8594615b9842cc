"""The look-up tables of DICOM: modality, VOI and palette.

See PS3.3 C.11.1.1, C.11.2.1.1, C.7.6.3.1.5 and C.7.9.2.
"""

from __future__ import annotations

import numpy as np

from jaxcxr.data.dicom_header import Header
from jaxcxr.data.dicom_pixels import Layout, Stored
from jaxcxr.errors import InputError

_DISCRETE, _LINEAR, _INDIRECT = 0, 1, 2
_MAX_SEGMENTS = 20_000  # of one table; segments may name others, over and over


def sequence_table(
    scope: Header, sequence: str, values: np.ndarray, inside: np.ndarray, *, signed: bool
) -> tuple[np.ndarray, float] | None:
    """The table in a sequence's first item, applied.

    Args:
        scope: contains the sequence.
        sequence: ModalityLUTSequence or VOILUTSequence.
        values: [L], the indices.
        inside: those of them that the image has.
        signed: whether they are signed.

    Returns:
        Entries [L] as floats and the greatest one that is possible; None where there is no table
        or, noted, a bad one.
    """
    item = scope.item(sequence)
    if item is None:
        return None
    lut = _look_up(values, inside, item, "LUTDescriptor", "LUTData", signed=signed)
    if lut is None:
        scope.ignore(sequence, "is no valid table")
    return lut


def to_rgb(stored: Stored, layout: Layout, header: Header, name: str) -> np.ndarray:
    """[H, W, 3] uint8 of RGB values, or of indices [H, W] into the header's palette.

    Raises:
        InputError: a palette is missing or impossible.
    """
    patterns = stored.patterns
    if layout.samples == 1:
        indices = np.arange(1 << 8 * patterns.dtype.itemsize) & (1 << layout.stored) - 1
        colours = [_palette(colour, indices, layout, header) for colour in ("Red", "Green", "Blue")]
        whole = [colour for colour in colours if colour is not None]
        if len(whole) < 3:
            raise InputError(
                f"{name} is a damaged DICOM file: its Palette Color Lookup Tables are not valid"
            )
        return np.stack(whole, axis=-1)[patterns]
    top = max((1 << layout.stored) - 1, int(patterns.max()))
    return np.rint(np.arange(top + 1) * (255 / top)).astype(np.uint8)[patterns]


def _palette(colour: str, indices: np.ndarray, layout: Layout, header: Header) -> np.ndarray | None:
    """The brightness [L] uint8 of one colour."""
    prefix = f"{colour}PaletteColorLookupTable"
    lut = _look_up(
        indices, indices, header, f"{prefix}Descriptor", f"{prefix}Data", signed=layout.signed
    )
    return None if lut is None else np.rint(lut[0] * (255 / lut[1])).astype(np.uint8)


def _look_up(
    values: np.ndarray,
    inside: np.ndarray,
    item: Header,
    descriptor: str,
    data: str,
    *,
    signed: bool,
) -> tuple[np.ndarray, float] | None:
    """Entries of a LUT for values [L] as floats, and the greatest possible entry.

    None if the LUT is impossible.

    Its bytes are read as they must be, not as their type says: the number of entries and the
    entries are unsigned always, and its first value is signed or not as the values are (PS3.3
    C.11.1.1).

    Args:
        values: [L], the indices.
        inside: those of them that the image has.
        signed: whether they are signed.
        item: contains the table.
        descriptor: its element with the number of entries, the first value and their bits.
        data: its element with the entries.
    """
    order = "<" if item.little_endian(descriptor) else ">"
    form = np.frombuffer(item.raw(descriptor)[:6], np.uint8)
    if len(form) < 6:
        return None
    count, first, bits = (int(number) for number in form.view(f"{order}u2"))
    count = count or 1 << 16  # PS3.3 C.11.1.1.1
    raw = item.raw(data)[: 2 * count]
    if len(raw) == 2 * count:
        entries = np.frombuffer(raw, f"{order}u2")
    elif bits == 8 and count <= len(raw) <= count + 1:
        # Bytes, of which big-endian words hold the second one first.
        words = np.frombuffer(raw[: len(raw) // 2 * 2], f"{order}u2").astype("<u2")
        entries = words.view("u1")[:count]
    elif segments := _segments(item, data):
        entries = _expanded(np.frombuffer(segments[: len(segments) // 2 * 2], f"{order}u2"), count)
    else:
        return None
    if len(entries) < count or not 8 <= bits <= 16:
        return None
    firsts = (first, first - (1 << 16)) if first >= 1 << 15 else (first,)
    if signed:
        firsts = firsts[::-1]
    low, high = inside.min(), inside.max()
    first = next((f for f in firsts if f <= high and f + count > low), firsts[0])
    index = np.clip(np.rint(values) - first, 0, count - 1).astype(np.int64)
    return entries[index].astype(np.float64), max(float((1 << bits) - 1), float(entries.max()))


def _segments(item: Header, data: str) -> bytes:
    return item.raw(f"Segmented{data}") if "Palette" in data else b""


def _expanded(segments: np.ndarray, count: int) -> np.ndarray:
    """The entries [count] of a segmented table, or fewer where it is damaged."""
    entries = np.zeros(count, np.uint16)
    made, left = 0, _MAX_SEGMENTS

    def expand(at: int, most: int, *, nested: bool) -> None:
        nonlocal made, left
        while at + 1 < len(segments) and most and made < count and left:
            left -= 1
            kind, length = int(segments[at]), int(segments[at + 1])
            values = segments[at + 2 :]
            step = {_DISCRETE: length, _LINEAR: 1, _INDIRECT: 2}.get(kind, 0)
            if len(values) < step or not length or not step:
                return
            if kind == _INDIRECT:
                if nested:
                    return
                start = int(values[0]) | int(values[1]) << 16
                expand(start // 2, length, nested=True)
            elif made or kind == _DISCRETE:
                steps = np.arange(1, length + 1) / length
                last = float(entries[made - 1])
                new = (
                    values[:length]
                    if kind == _DISCRETE
                    else np.rint(last + (values[0] - last) * steps)
                )
                new = new[: count - made]
                entries[made : made + len(new)] = new
                made += len(new)
            at += 2 + step
            most -= 1

    expand(0, len(segments), nested=False)
    return entries[:made]
