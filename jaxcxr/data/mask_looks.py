"""Plausibility statistics of a set of lung masks.

Sets that cannot be lungs are reported before training.

Where masks are inverted, or cover whole images, a segmenter reaches a Jaccard index of 1 without
learning anything. Limits leave wide margins around 1,207 real masks (Montgomery and Shenzhen, V7's
of CCX and KCX, Qatar's): lungs are 8 to 62 % of an image, 24 to 35 % in a set's mean, and at most
31 % of its outermost pixels; none has more than two pieces of a thousandth of the image.
"""

from __future__ import annotations

import collections
import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import ndimage

from jaxcxr.data.mask_sources import lung_ids
from jaxcxr.errors import InputError

_FULL = 0.9  # fraction of the image
_MEANS = (0.05, 0.5)  # of a set's fractions
_PIECES = 8
_PIECE = 1e-3  # fraction of the image
_SOME, _MANY = 0.1, 0.5  # fractions of the set
# The fraction of a set beyond which a property is a doubt; 0 where it is not here.
_FEW = {"touch_all_borders": _SOME, "many_pieces": _SOME, "same_as_another": _MANY}
_SAME_AT_LEAST = 4  # masks, of which equal ones are a doubt
_SIDE = 256  # pixels, that are looked at


@dataclasses.dataclass(frozen=True)
class MaskLook:
    """Statistics of one mask.

    Attributes:
        fraction: of the image that is lung, in [0, 1].
        border: fraction of its outermost pixels that are lung.
        borders: number of the four image borders that it touches.
        pieces: connected pieces of at least a thousandth of the image.
        holes: fraction of the image that lung encloses.
        columns: id of each structure in it -> its mean column.
        sha256: of all its pixels.
    """

    fraction: float
    border: float
    borders: int
    pieces: int
    holes: float
    columns: Mapping[int, float] = dataclasses.field(default_factory=dict, compare=False)
    sha256: str = dataclasses.field(default="", compare=False)

    @property
    def is_full(self) -> bool:
        """Whether the mask covers so much of its image that it can be no lungs."""
        return self.fraction >= _FULL

    @property
    def is_inverted(self) -> bool:
        """Lung all around, and more of it than background."""
        return min(self.fraction, self.border) > 0.5 and not self.is_full

    @property
    def is_outline(self) -> bool:
        """More is enclosed than marked, as where borders were drawn and not filled."""
        return self.holes > self.fraction > 0 and not self.is_inverted


def look(mask: np.ndarray, structures: Sequence[str]) -> MaskLook:
    """Looks at the lungs, or where there are none at everything, in [h, w] uint8 structure ids."""
    step = max(1, round(max(mask.shape) / _SIDE))
    ids = lung_ids(structures) or range(1, len(structures) + 1)
    whole = np.isin(mask, list(ids))
    inside = whole[::step, ::step]
    borders = (inside[0], inside[-1], inside[:, 0], inside[:, -1])
    labels, _ = ndimage.label(inside)  # pyright: ignore[reportGeneralTypeIssues]
    areas = np.bincount(labels.ravel())[1:]
    rows, columns = (side // step * step for side in mask.shape)
    blocks = whole[:rows, :columns].reshape(rows // step, step, columns // step, step)
    closed = blocks.any(axis=(1, 3))  # of thin lines, every step-th pixel alone would leave gaps
    outside, _ = ndimage.label(~closed)  # pyright: ignore[reportGeneralTypeIssues]
    reached = np.unique(np.concatenate([outside[0], outside[-1], outside[:, 0], outside[:, -1]]))
    return MaskLook(
        fraction=float(inside.mean()),
        border=float(np.concatenate(borders).mean()),
        borders=sum(bool(border.any()) for border in borders),
        pieces=int((areas >= max(1, _PIECE * inside.size)).sum()),
        holes=float((~closed & ~np.isin(outside, reached)).mean()),
        columns={
            number: _mean_column(mask == number)
            for number in np.unique(mask).tolist()
            if 0 < number <= len(structures)
        },
        sha256=hashlib.sha256(np.ascontiguousarray(mask).data).hexdigest(),
    )


def _mean_column(inside: np.ndarray) -> float:
    return float(np.average(np.arange(inside.shape[1]), weights=inside.sum(axis=0)))


def summary(
    looks: Mapping[str, MaskLook],
    structures: Sequence[str],
    *,
    expected: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Summary statistics of the masks of a set, as JSON values.

    "doubts" are sentences about properties that no set of lungs has. "implausible" is true if one
    of them can only mean that the masks are wrong.

    Args:
        looks: by image id.
        structures: names of the masked structures; the mean is judged for lungs only.
        expected: those of which some mask should have pixels; None: all.
    """
    times = collections.Counter(mask.sha256 for mask in looks.values() if mask.fraction)
    odd = {
        "empty": [name for name, mask in looks.items() if not mask.fraction],
        "full": [name for name, mask in looks.items() if mask.is_full],
        "inverted": [name for name, mask in looks.items() if mask.is_inverted],
        "outlines": [name for name, mask in looks.items() if mask.is_outline],
        "touch_all_borders": [name for name, mask in looks.items() if mask.borders == 4],
        "many_pieces": [name for name, mask in looks.items() if mask.pieces > _PIECES],
        "sides_swapped": [name for name, mask in looks.items() if _swapped(mask, structures)],
        "same_as_another": [name for name, mask in looks.items() if times[mask.sha256] > 1],
    }
    # Where all masks are empty, that is said.
    absent = [
        name
        for number, name in enumerate(structures, start=1)
        if name in (structures if expected is None else expected)
        if any(mask.columns for mask in looks.values())
        and not any(number in mask.columns for mask in looks.values())
    ]
    count = len(looks)
    mean = float(np.mean([mask.fraction for mask in looks.values()])) if count else 0.0
    doubts = [
        f"{len(names)} of {count} {_WORDS[kind]} ({_first(names)})"
        for kind, names in odd.items()
        if len(names) > _FEW.get(kind, 0) * count
        and (kind != "same_as_another" or count >= _SAME_AT_LEAST)
    ]
    doubts += [
        f"no mask has a pixel of {name} (another structure's file covers it, or it was not drawn)"
        for name in absent
    ]
    if count and lung_ids(structures) and not _MEANS[0] <= mean <= _MEANS[1]:
        doubts.append(f"lungs are {mean:.0%} of an image on average; in real sets, 24 to 35 %")
    wrong = {"empty": _MANY, "full": _SOME, "inverted": _SOME, "outlines": _SOME}
    return {
        "images": count,
        "mean_fraction": round(mean, 4),
        **{kind: len(names) for kind, names in odd.items()},
        "absent": absent,
        "doubts": doubts,
        "implausible": any(len(odd[kind]) > fraction * count for kind, fraction in wrong.items())
        or bool(lung_ids(absent)),
    }


def _swapped(mask: MaskLook, structures: Sequence[str]) -> bool:
    """Whether a left structure is left of its right one: X-rays show the patient from the front."""
    columns = {
        name: mask.columns[number]
        for number, name in enumerate(structures, start=1)
        if number in mask.columns
    }
    return any(
        columns[left] < columns[right]
        for left in columns
        if "left" in left and (right := left.replace("left", "right")) in columns
    )


def refuse_implausible(found: Mapping[str, Any]) -> None:
    """Raises InputError where the masks of a set cannot be of lungs."""
    if found.get("implausible"):
        raise InputError(
            f"the masks are not of lungs: {'; '.join(found['doubts'])}. Lungs must be 255, all "
            "else 0: invert, fill or draw them again. If they are right, add "
            "--config.masks.on_implausible=warn"
        )


_WORDS = {
    "empty": "masks are empty",
    "full": f"masks cover {_FULL:.0%} of the image or more",
    "inverted": "masks look inverted, with the background marked as lung",
    "outlines": "masks are outlines that are not filled",
    "touch_all_borders": "masks touch all four borders of the image",
    "sides_swapped": (
        "masks have left and right swapped (the patient's right lung is on the image's left)"
    ),
    "same_as_another": "masks are the very same as that of another image",
    "many_pieces": f"masks have more than {_PIECES} pieces",
}


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
