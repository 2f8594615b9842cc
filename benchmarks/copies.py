"""How surely copies of X-rays are found: `python -m benchmarks.copies DATA_DIR`.

DATA_DIR has ccx/, kcx/, lungs/ and qatar/ as docs/DATASETS.md lays them out. Prints the pairs that
are found among all X-rays, the most alike others, and the recall of copies that are made of 250 of
them; beside perceptual hashes where `pip install ImageHash` was run.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from jaxcxr.data import duplicates

_PATTERNS = (
    "kcx/chest_xray/*/*/*",
    "ccx/images/*",
    "lungs/cxr/*",
    "qatar/COVID-19_Radiography_Dataset/*/images/*",
)
_COPIED = 250
_HASHES = ("dhash", "phash")


def _cut(image: np.ndarray, draws: np.random.Generator) -> np.ndarray:
    height, width = image.shape
    top, left = (int(draws.uniform(0, 0.05) * side) for side in (height, width))
    return image[top : top + int(0.95 * height), left : left + int(0.95 * width)]


def _gamma(image: np.ndarray, value: float) -> np.ndarray:
    return (255 * (image / 255) ** value + 0.5).astype(np.uint8)


def _turned(image: np.ndarray, degrees: float) -> np.ndarray:
    height, width = image.shape
    affine = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1)
    return cv2.warpAffine(image, affine, (width, height))


def _jpeg(image: np.ndarray) -> np.ndarray:
    encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 30])[1]
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE))


def _smaller(image: np.ndarray) -> np.ndarray:
    height, width = image.shape
    size = int(0.4 * width), int(0.4 * height)
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def copies(draws: np.random.Generator) -> Mapping[str, Callable[[np.ndarray], np.ndarray]]:
    """What is done to an X-ray [H, W] uint8, by name."""
    return {
        "0.4 of the size": _smaller,
        "256 x 256 pixels": lambda x: cv2.resize(x, (256, 256), interpolation=cv2.INTER_AREA),
        "JPEG, quality 30": _jpeg,
        "5 % of height and width cut off": lambda x: _cut(x, draws),
        "gamma 0.5": lambda x: _gamma(x, 0.5),
        "gamma 2": lambda x: _gamma(x, 2.0),
        "turned by 2 degrees": lambda x: _turned(x, 2),
        "turned by -2 degrees": lambda x: _turned(x, -2),
        "negative": lambda x: 255 - x,
        "mirrored": lambda x: np.ascontiguousarray(x[:, ::-1]),
        "equalised": cv2.equalizeHist,
        "CLAHE": cv2.createCLAHE(2.0, (8, 8)).apply,
        "cut, gamma 0.6, turned, smaller and JPEG": lambda x: _jpeg(
            _smaller(_turned(_gamma(_cut(x, draws), 0.6), 2))
        ),
    }


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data_dir", type=Path)
    parser.add_argument(
        "--many", type=int, default=0, metavar="N", help="only the time of N mixtures of two each"
    )
    arguments = parser.parse_args()
    folder = arguments.data_dir
    files = [path for pattern in _PATTERNS for path in sorted(folder.glob(pattern))]
    began = time.monotonic()
    thumbnails = np.stack([duplicates.thumbnail(_read(path)) for path in files])
    read = time.monotonic()
    if arguments.many:
        _time_of_many(thumbnails, arguments.many, seconds=(read - began) / len(files))
        return
    pairs = duplicates.find(thumbnails)
    seconds = time.monotonic() - read
    count = len(files)
    print(
        f"{count:,} X-rays, {count * (count - 1) // 2:,} pairs: read in {read - began:.0f} s, "
        f"compared in {seconds:.0f} s"
    )
    print(f"{len(pairs)} pairs of similarity {duplicates.SAME_FROM} and more:")
    for pair in sorted(pairs, key=lambda p: p.similarity):
        print(f"  {pair.similarity:.3f}  {files[pair.first].name}  {files[pair.second].name}")
    print("the most alike others:")
    for pair in _others(thumbnails)[:8]:
        print(f"  {pair.similarity:.3f}  {files[pair.first].name}  {files[pair.second].name}")
    _recall(files, thumbnails)


def _time_of_many(thumbnails: np.ndarray, count: int, *, seconds: float) -> None:
    """Prints the time of many X-rays, `seconds` of reading each."""
    draws = np.random.default_rng(0)
    first, second = draws.integers(len(thumbnails), size=(2, count))
    mixed = [
        duplicates.thumbnail((thumbnails[a].astype(np.float32) + thumbnails[b]) / 2)
        for a, b in zip(first.tolist(), second.tolist(), strict=True)
    ]
    began = time.monotonic()
    pairs = duplicates.find(np.stack(mixed), show=True)
    compared = time.monotonic() - began
    print(
        f"{count:,} X-rays: reading {seconds * count:.0f} s, comparing {compared:.0f} s; "
        f"{len(pairs):,} pairs"
    )


def _read(path: Path) -> np.ndarray:
    image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if image is None:
        raise SystemExit(f"{path} is no picture")
    return np.asarray(image)


def _others(thumbnails: np.ndarray) -> list[duplicates.Pair]:
    """Pairs below the limit, the most alike first."""
    limit, duplicates.SAME_FROM = duplicates.SAME_FROM, 0.0
    try:
        found = duplicates.find(thumbnails)
    finally:
        duplicates.SAME_FROM = limit
    return sorted((p for p in found if p.similarity < limit), key=lambda p: -p.similarity)


def _recall(files: list[Path], thumbnails: np.ndarray) -> None:
    draws = np.random.default_rng(0)
    rows = draws.choice(len(files), _COPIED, replace=False)
    originals = [_read(files[row]) for row in rows]
    hashes = _HASHES if importlib.util.find_spec("imagehash") else ()
    titles = [f"{name}, {size * size} bits" for name in hashes for size in (8, 16)]
    print(f"\nrecall of copies of {_COPIED} X-rays")
    if hashes:
        version = importlib.metadata.version("ImageHash")
        print(f"beside ImageHash {version}, each with the limit of one false pair in 10,000")
    print(" | ".join(["copy", "ours", "false pairs", *titles]))
    of_all = _Hashes(thumbnails) if hashes else None
    own = {(p.first, p.second) for p in duplicates.find(thumbnails[rows])}
    for name, make in copies(draws).items():
        made = np.stack([duplicates.thumbnail(make(image)) for image in originals])
        found = duplicates.find(np.concatenate([thumbnails[rows], made]))
        wanted = sum(p.second - p.first == _COPIED for p in found)
        # A copy of one of two originals that are one X-ray is the other's copy, too.
        false = [
            p
            for p in found
            if (a := p.first % _COPIED) != (b := p.second % _COPIED)
            if (min(a, b), max(a, b)) not in own
        ]
        cells = [f"{wanted / _COPIED:.3f}", str(len(false))]
        cells += [
            f"({files[rows[p.first % _COPIED]].name} and {files[rows[p.second % _COPIED]].name})"
            for p in false
        ]
        if of_all is not None:
            cells += [f"{value:.3f}" for value in of_all.recall(rows, made)]
        print(" | ".join([name, *cells]))


class _Hashes:
    """Perceptual hashes of thumbnails, with a limit on the distance from all pairs."""

    def __init__(self, thumbnails: np.ndarray):
        self._kinds = [(name, size) for name in _HASHES for size in (8, 16)]
        self._codes = [self._code(thumbnails, *kind) for kind in self._kinds]
        upper = np.triu_indices(len(thumbnails), 1)
        distances = [(c.shape[1] - c @ c.T)[upper] / 2 for c in self._codes]
        self._limits = [np.quantile(d, 1e-4) for d in distances]

    def recall(self, rows: np.ndarray, made: np.ndarray) -> list[float]:
        """The fraction of copies within the limit, of each kind."""
        fractions = []
        for kind, codes, limit in zip(self._kinds, self._codes, self._limits, strict=True):
            of_copy = self._code(made, *kind)
            distance = (codes.shape[1] - (codes[rows] * of_copy).sum(axis=1)) / 2
            fractions.append(float((distance <= limit).mean()))
        return fractions

    @staticmethod
    def _code(thumbnails: np.ndarray, name: str, size: int) -> np.ndarray:
        import imagehash  # pyright: ignore[reportMissingImports]

        make = getattr(imagehash, name)
        bits = [make(Image.fromarray(t), size).hash.ravel() for t in thumbnails]
        return 2.0 * np.array(bits) - 1


if __name__ == "__main__":
    main()
