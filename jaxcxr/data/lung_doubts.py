"""What is doubtful about the lungs found in one X-ray, by their shape alone.

The limits lie outside what 1,057 masks by hand have (Montgomery and Shenzhen, V7's of CCX and KCX,
looked at with 256 pixels): lungs take 8 to 63 % of the image, at most 11 % of its outermost pixels,
have their mean between 29 and 62 % of the width; all pieces but the two largest hold less than a
thousandth of them; the two lie beside each other; and the lowest fifth of the lungs reaches further
to the sides than the highest, without an exception.

How often the ready-made lungs of public X-rays, as they are and turned, meet a doubt is on their
card, jaxcxr/weights/shipped/lungs.md.

A mirrored X-ray cannot be told: a linear function of 14 measures of both conventions' masks (areas,
widths, heights and lowest points of either lung, and where the heart is that only V7's has) tells
14 % of the mirrored copies at 1 % false alarms if it is fitted to other patients of the same data
sets, and 4 to 9 % if it is fitted to other data sets. With the brightness of 8 x 8 regions of the
X-ray these are 53 % and 12 to 39 %, letters at the border included.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

NO_LUNGS = "no lungs found"
SMALL_LUNGS = "lungs under 5 % of the image"
LARGE_LUNGS = "lungs over 65 % of the image: not the lungs, or a close-up"
NOT_TWO_LUNGS = "the lungs found are not two separate fields: a lateral view, or a poor lung mask"
IN_PIECES = (
    "lungs were found in more than two pieces: gas elsewhere, or a lung that disease divides"
)
LEFT_OUT = "over 5 % of the lungs found are left out of the mask (predict.largest_pieces)"
AT_BORDER = "the lungs found lie along the image's border: cut off, or a poor lung mask"
OFF_CENTRE = "the lungs found are at one side of the image"
UPSIDE_DOWN = "the lungs found are wider apart above than below: the X-ray may be upside down"
ON_ITS_SIDE = "the lungs found lie one above the other: the X-ray may be on its side"


_SHARE = 0.05  # of the lungs found, that pieces beside them may have without a warning


def look_at_left_out(share: float) -> tuple[str, ...]:
    """Warnings about the fraction of the lungs found that a mask leaves out."""
    return (LEFT_OUT,) if share > _SHARE else ()


def look_at_lungs(lungs: np.ndarray) -> tuple[str, ...]:
    """Warnings about a lung mask [h, w] bool, before pieces are left out of it."""
    area = int(lungs.sum())
    if not area:
        return (NO_LUNGS,)
    labels, _ = ndimage.label(lungs)  # pyright: ignore[reportGeneralTypeIssues]
    areas = np.bincount(labels.ravel())[1:]
    by_size = np.argsort(areas)[::-1]
    pieces = areas[by_size]
    border = np.concatenate([lungs[0], lungs[-1], lungs[:, 0], lungs[:, -1]])
    middle = np.nonzero(lungs)[1].mean() / lungs.shape[1]
    two = by_size[:2] + 1
    not_two = len(pieces) < 2 or bool(pieces[1] < 0.15 * area)
    stacked = not not_two and _is_stacked(labels, two)
    checks = {
        SMALL_LUNGS: area < 0.05 * lungs.size,
        LARGE_LUNGS: area > 0.65 * lungs.size,
        NOT_TWO_LUNGS: not_two,
        IN_PIECES: pieces[2:].sum() > _SHARE * area,
        AT_BORDER: border.mean() > 0.15,
        OFF_CENTRE: not 0.2 < middle < 0.75,
        # Of an X-ray on its side "above" is a side; gas below is no lung.
        UPSIDE_DOWN: not stacked and _spread(np.isin(labels, two)) < -0.02,
        ON_ITS_SIDE: stacked,
    }
    return tuple(text for text, holds in checks.items() if holds)


def _spread(lungs: np.ndarray) -> float:
    """The distance from the middle column in the lowest fifth of the lungs, less the highest's.

    Means over pixels, in half widths of the lungs. Lungs meet at the top and end in the
    costophrenic angles, far from the spine.
    """
    rows, columns = np.nonzero(lungs)
    height = rows.max() + 1 - rows.min()
    fifth = max(1, round(height / 5))
    middle, half = (columns.min() + columns.max()) / 2, (np.ptp(columns) + 1) / 2
    distance = np.abs(columns - middle) / half
    lowest, highest = rows > rows.max() - fifth, rows < rows.min() + fifth
    return float(distance[lowest].mean() - distance[highest].mean())


def _is_stacked(labels: np.ndarray, two: np.ndarray) -> bool:
    """Whether two pieces lie further apart in rows than in columns."""
    first, second = (np.argwhere(labels == label).mean(axis=0) for label in two)
    rows, columns = np.abs(first - second)
    return bool(rows > columns)
