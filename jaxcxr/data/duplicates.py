"""Near-duplicate X-rays: the same image again, under another id, patient, file form or source.

Found whatever was done to the copy of: size, aspect ratio, JPEG compression, grey levels (gamma,
equalisation, inversion), a border of about 5 % cut off, a turn of about 2 degrees, mirroring. Two
X-rays of one patient on different days are no duplicates.

1. Thumbnails have the ranks of the grey levels, so that no monotone change of these matters.
2. Candidates: correlation of band-passed thumbnails, of all pairs, each image in a few warped
   forms; the best few of each image go on. All pairs are one matrix product, which misses none, as
   an approximate index would.
3. Check: the two are aligned by an affine transform (OpenCV's ECC, Evangelidis and Psarakis, 2008,
   doi 10.1109/TPAMI.2008.113) and compared in finer detail where they overlap.

Limits were set on 1,807 X-rays of CCX, Kermany's children, Montgomery, Shenzhen and Qatar: 48 pairs
of them, all copies, have 0.95 and more, all other pairs 0.83 and less, of different patients 0.82
(docs/RELIABILITY.md).
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import os
from collections.abc import Iterator, Sequence

import cv2
import numpy as np
import tqdm
from scipy.sparse import coo_array, csgraph

SIDE = 128  # pixels of a thumbnail
SAME_FROM = 0.86  # similarity of two images that are one
_COARSE = 32  # pixels, where candidates are looked for
_CANDIDATE_FROM, _MOST = 0.65, 5  # correlation, and how many of each image
_QUICK, _QUICK_FROM = 72, 0.75  # pixels, and the correlation there below which none is aligned
_ALIGN = 48  # pixels, of the first alignment
_ROWS = 64  # images of one matrix product
_OVERLAP = 0.5  # least fraction of a thumbnail that two images share


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two images that are one.

    Attributes:
        first, second: rows, first < second.
        similarity: correlation in fine detail after alignment, in [SAME_FROM, 1].
        inverted: whether one is the negative of the other.
        mirrored: whether one is the other's mirror image.
    """

    first: int
    second: int
    similarity: float
    inverted: bool
    mirrored: bool


def thumbnail(image: np.ndarray) -> np.ndarray:
    """[SIDE, SIDE] uint8: the ranks of the grey levels of [H, W], from 0 (darkest) to 255."""
    small = cv2.resize(image.astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    _, level, counts = np.unique(small, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts + 1) / 2  # equal levels have their mean rank
    return np.round(255 * ranks[level] / (small.size - 1)).astype(np.uint8).reshape(SIDE, SIDE)


def find(thumbnails: np.ndarray, *, show: bool = False) -> list[Pair]:
    """All pairs of images that are one, in the order of their rows.

    Args:
        thumbnails: [N, SIDE, SIDE] uint8, see `thumbnail`.
        show: prints the progress where that takes a while.
    """
    if len(thumbnails) < 2:
        return []
    candidates = _candidates(thumbnails, show=show)
    details = np.stack([_detail(t, _QUICK) for t in thumbnails])
    with concurrent.futures.ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        checked = pool.map(lambda c: _check(thumbnails, details, c), candidates)
        progress = tqdm.tqdm(
            checked, "comparing pairs", len(candidates), unit="pair", disable=None if show else True
        )
        return sorted((p for p in progress if p is not None), key=lambda p: (p.first, p.second))


def clusters(pairs: Sequence[Pair], count: int) -> np.ndarray:
    """[count] the first row of each image's cluster: itself where it has no duplicate."""
    rows = np.array([[p.first, p.second] for p in pairs], np.int64).reshape(-1, 2)
    edges = coo_array((np.ones(len(rows), bool), (rows[:, 0], rows[:, 1])), shape=(count, count))
    _, cluster = csgraph.connected_components(edges, directed=False)
    _, first = np.unique(cluster, return_index=True)
    return first[cluster]


@dataclasses.dataclass(frozen=True)
class _Candidate:
    """Row `moved`, warped by form number `form`, resembles row `still`."""

    moved: int
    still: int
    form: int
    correlation: float


def _ordered(c: _Candidate) -> tuple[int, int]:
    return min(c.moved, c.still), max(c.moved, c.still)


def _forms() -> list[np.ndarray]:
    """[2, 3] affine maps from positions of the warped thumbnail to those of the original.

    In units of the side, about the centre: turns, a border of 5 % cut off here or there, mirrored.
    A thumbnail that shows more than its copy is the one that is warped.
    """

    def form(zoom: float = 1.0, shift: tuple[float, float] = (0, 0), turn: float = 0) -> np.ndarray:
        a = np.deg2rad(turn)
        turned = zoom * np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
        return np.hstack([turned, np.reshape(shift, (2, 1))])

    cut = (-0.025, 0.0, 0.025)
    return [
        form(),
        form(turn=2),
        form(turn=-2),
        form(0.9),
        *(form(0.95, (x, y)) for x in cut for y in cut),
        form() * np.array([[-1.0], [1.0]]),
    ]


_FORMS = _forms()
_MIRRORED = len(_FORMS) - 1


def _pixels(form: np.ndarray, side: int) -> np.ndarray:
    """The map of a form in pixels of a square of that side, as OpenCV wants it."""
    centre = np.full(2, (side - 1) / 2)
    shift = centre + side * form[:, 2] - form[:, :2] @ centre
    return np.hstack([form[:, :2], shift[:, None]]).astype(np.float32)


def _band(thumbnail: np.ndarray, side: int, fine: float, coarse: float) -> np.ndarray:
    """[side, side] float32: structures between two sizes, in pixels of that side."""
    ranks = thumbnail.astype(np.float32) / 127.5 - 1
    scale = SIDE / side
    smooth = cv2.GaussianBlur(ranks, (0, 0), fine * scale)
    return cv2.resize(
        smooth - _blur(ranks, coarse * scale), (side, side), interpolation=cv2.INTER_AREA
    )


def _blur(image: np.ndarray, size: float) -> np.ndarray:
    """Gaussian blur; one of many pixels on a smaller image, which takes less time."""
    if size < 8:
        return cv2.GaussianBlur(image, (0, 0), size)
    side = image.shape[0]
    small = cv2.resize(image, (side // 4, side // 4), interpolation=cv2.INTER_AREA)
    blurred = cv2.GaussianBlur(small, (0, 0), size / 4)
    return cv2.resize(blurred, (side, side), interpolation=cv2.INTER_LINEAR)


def _even(band: np.ndarray, size: float) -> np.ndarray:
    """A band of the same contrast everywhere."""
    return band / np.sqrt(_blur(band * band, size) + 1e-3)


def _unit(band: np.ndarray) -> np.ndarray:
    flat = _even(band, 2.25).ravel()
    flat = flat - flat.mean()
    return flat / max(float(np.linalg.norm(flat)), 1e-6)


def _warped(image: np.ndarray, affine: np.ndarray) -> np.ndarray:
    return cv2.warpAffine(
        image,
        affine,
        image.shape[::-1],
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )


def _candidates(thumbnails: np.ndarray, *, show: bool) -> list[_Candidate]:
    """The best few of each image, each pair once."""
    maps = [_pixels(form, _COARSE) for form in _FORMS]
    bands = [_band(t, _COARSE, 0.3, 1.5) for t in thumbnails]
    still = np.stack([_unit(band) for band in bands]).astype(np.float32)
    best: dict[tuple[int, int], _Candidate] = {}
    starts = range(0, len(bands), _ROWS)
    for start in tqdm.tqdm(
        starts, "looking for copies", unit="block", disable=None if show else True
    ):
        rows = bands[start : start + _ROWS]
        moved = np.stack([[_unit(_warped(band, m)) for band in rows] for m in maps])
        products = moved.astype(np.float32).reshape(-1, still.shape[1]) @ still.T
        products = products.reshape(len(maps), len(rows), len(still))
        form = np.abs(products).argmax(axis=0)
        value = np.take_along_axis(products, form[None], axis=0)[0]
        value[np.arange(len(rows)), start + np.arange(len(rows))] = 0  # an image and itself
        for candidate in _best_of(value, form, start):
            pair = _ordered(candidate)
            known = best.get(pair)
            if known is None or abs(known.correlation) < abs(candidate.correlation):
                best[pair] = candidate
    return [best[pair] for pair in sorted(best)]


def _best_of(value: np.ndarray, form: np.ndarray, start: int) -> Iterator[_Candidate]:
    """The candidates of a block of rows: value, form [R, N], its first row."""
    most = min(_MOST, value.shape[1])
    columns = np.argpartition(-np.abs(value), most - 1, axis=1)[:, :most]
    for row, its in enumerate(columns):
        for column in its.tolist():
            if abs(value[row, column]) >= _CANDIDATE_FROM:
                yield _Candidate(
                    start + row, column, int(form[row, column]), float(value[row, column])
                )


def _check(thumbnails: np.ndarray, details: np.ndarray, c: _Candidate) -> Pair | None:
    """The pair of a candidate, if it is one; details [N, _QUICK, _QUICK], see `_detail`."""
    sign = 1.0 if c.correlation > 0 else -1.0
    form = _FORMS[c.form]
    if _similarity(details[c.moved], sign * details[c.still], _pixels(form, _QUICK)) < _QUICK_FROM:
        return None
    moved, still = thumbnails[c.moved], thumbnails[c.still]
    affine = _align(moved, still, sign, _pixels(form, _ALIGN), _ALIGN)
    if affine is not None:
        affine = _align(moved, still, sign, _enlarged(affine), SIDE)
    if affine is None:
        return None
    similarity = _similarity(_detail(moved, SIDE), sign * _detail(still, SIDE), affine)
    if similarity < SAME_FROM:
        return None
    return Pair(*_ordered(c), similarity, sign < 0, c.form == _MIRRORED)


def _enlarged(affine: np.ndarray) -> np.ndarray:
    """A map in pixels of the small square as one in pixels of a thumbnail."""
    scale, larger = SIDE / _ALIGN, affine.copy()
    half = (scale - 1) / 2  # pixel centres: x_large = scale * x_small + half
    larger[:, 2] = scale * affine[:, 2] + half - half * affine[:, :2].sum(axis=1)
    return larger


def _align(
    moved: np.ndarray, still: np.ndarray, sign: float, affine: np.ndarray, side: int
) -> np.ndarray | None:
    """The affine map that aligns two thumbnails at a size; None where it finds none."""
    coarse = side / 13
    template = sign * _band(still, side, 1.2, coarse)
    image = _band(moved, side, 1.2, coarse)
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 40, 1e-4)
    whole = np.ones_like(image, np.uint8)
    try:
        _, affine = cv2.findTransformECC(
            template, image, affine.copy(), cv2.MOTION_AFFINE, criteria, whole, 1
        )
    except cv2.error:  # it does not converge, as where nothing is alike
        return None
    return affine


def _detail(thumbnail: np.ndarray, side: int) -> np.ndarray:
    """[side, side] float32: fine structures, of the same contrast everywhere."""
    return _even(_band(thumbnail, side, 0.7, 4.0), 8.0)


def _similarity(moved: np.ndarray, still: np.ndarray, affine: np.ndarray) -> float:
    """Correlation of details [S, S] where both overlap; -1 where they hardly do."""
    inside = cv2.warpAffine(
        np.ones(still.shape, np.uint8),
        affine,
        still.shape,
        flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP,
    ).astype(bool)
    inside[:3] = inside[-3:] = inside[:, :3] = inside[:, -3:] = False
    if inside.mean() < _OVERLAP:
        return -1.0
    a, b = _warped(moved, affine)[inside], still[inside]
    a, b = a - a.mean(), b - b.mean()
    return float(a @ b / max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-6))
