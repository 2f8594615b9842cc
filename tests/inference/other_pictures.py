"""Pictures that are no frontal chest X-rays, to be shown to a segmenter of lungs.

Drawn, or cut from scikit-image's photographs; seeded, and no medical image among them. Look at
them: `python -m tests.inference.other_pictures sheet.png`.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable

import numpy as np
import skimage.data
from PIL import Image, ImageDraw
from scipy import ndimage

SIZE = 320
_PHOTOGRAPHS = (
    "astronaut", "brick", "camera", "cat", "coffee", "coins", "grass", "gravel", "moon", "rocket",
)  # fmt: skip
_WORDS = ("chest", "of", "study", "image", "report", "table", "a", "method", "figure", "ray", "and")


def pictures(seed: int = 0) -> dict[str, list[np.ndarray]]:
    """Kind -> pictures, [320, 320] uint8 each; 168 in all."""
    return {
        kind: [
            _grey(draw(np.random.default_rng([seed, n, number]), number)) for number in range(count)
        ]
        for n, (kind, (count, draw)) in enumerate(_KINDS.items())
    }


def worse(image: np.ndarray, number: int) -> np.ndarray:
    """An X-ray [H, W] uint8 that is blurred, noisy, or covered in part."""
    rng, pixels = np.random.default_rng(number), image.astype(np.float64)
    kind = number % 3
    if kind == 0:
        pixels = ndimage.gaussian_filter(pixels, rng.uniform(0.01, 0.05) * len(image))
    elif kind == 1:
        pixels += rng.normal(0, rng.uniform(20, 120), image.shape)
    else:
        rows, columns = (int(side * rng.uniform(0.3, 0.6)) for side in image.shape)
        top, left = rng.integers(len(image) - rows), rng.integers(image.shape[1] - columns)
        pixels[top : top + rows, left : left + columns] = rng.choice([0, 128, 255])
    return _grey(pixels)


def _grey(pixels: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)


def _blank(rng: np.random.Generator, number: int) -> np.ndarray:
    del rng
    return np.full((SIZE, SIZE), (0, 1, 16, 40, 64, 90, 128, 160, 190, 220, 254, 255)[number])


def _noise(rng: np.random.Generator, number: int) -> np.ndarray:
    """Uniform, normal, rare or smooth noise, smooth noise of three scales, stripes."""
    kind, shape = number % 8, (SIZE, SIZE)
    if kind == 0:
        return rng.uniform(0, 255, shape)
    if kind == 1:
        return rng.normal(rng.uniform(60, 200), rng.uniform(10, 60), shape)
    if kind == 2:
        return 255 * (rng.random(shape) < rng.uniform(0.02, 0.5))
    if kind == 3:
        return 128 + 60 * rng.standard_normal((1, SIZE)).repeat(SIZE, axis=0)
    return _cloud(rng, sigma=(2, 8, 25, 60)[kind - 4]) * 55 + 128


def _page(rng: np.random.Generator, number: int) -> np.ndarray:
    """Lines of words, black on white or white on black, of one or two columns."""
    picture = Image.new("L", (SIZE, SIZE), 255)
    pen, size = ImageDraw.Draw(picture), int(rng.integers(8, 24))
    columns = 1 + number % 2
    for column in range(columns):
        left, width = 15 + column * (SIZE - 20) // columns, (SIZE - 40) // columns
        for top in range(15, SIZE - 15 - size, int(1.5 * size)):
            line, longest = "", width * rng.uniform(0.7, 1)
            word = _WORDS[rng.integers(len(_WORDS))]
            while pen.textlength(f"{line}{word}", font_size=size) < longest:
                line, word = f"{line}{word} ", _WORDS[rng.integers(len(_WORDS))]
            pen.text((left, top), line, fill=int(rng.integers(0, 60)), font_size=size)
    pixels = np.asarray(picture, float)
    return 255 - pixels if number % 4 == 3 else pixels


def _photograph(rng: np.random.Generator, number: int) -> np.ndarray:
    """A photograph, whole or a part of it, in grey."""
    pixels = np.asarray(getattr(skimage.data, _PHOTOGRAPHS[number % len(_PHOTOGRAPHS)])())
    picture = Image.fromarray(pixels).convert("L")
    if number >= len(_PHOTOGRAPHS):
        picture = picture.rotate(rng.uniform(-180, 180), Image.Resampling.BILINEAR)
        side = rng.uniform(0.4, 0.7) * min(picture.size)
        left, top = (rng.uniform(0.15, 0.85) * (length - side) for length in picture.size)
        picture = picture.crop((int(left), int(top), int(left + side), int(top + side)))
    return np.asarray(picture.resize((SIZE, SIZE)), float)


def _hand(rng: np.random.Generator, number: int) -> np.ndarray:
    """The X-ray of a hand: five rows of bones in soft tissue, on black."""
    flesh, bones = (Image.new("L", (SIZE, SIZE)) for _ in range(2))
    soft, hard = ImageDraw.Draw(flesh), ImageDraw.Draw(bones)
    x, y = SIZE * rng.uniform(0.45, 0.55), SIZE * rng.uniform(0.68, 0.75)
    scale = SIZE * rng.uniform(0.9, 1.1)
    soft.ellipse(_box(x, y, 0.19 * scale, 0.2 * scale), fill=110)
    soft.rectangle((x - 0.12 * scale, y, x + 0.12 * scale, SIZE), fill=110)
    for side in (-0.05, 0.05):  # radius and ulna
        _bone(hard, (x + side * scale, SIZE), (x + side * scale, y + 0.16 * scale), 0.07 * scale)
    for _ in range(8):
        at = x + rng.uniform(-0.1, 0.1) * scale, y + rng.uniform(0.06, 0.13) * scale
        hard.ellipse(_box(*at, 0.03 * scale, 0.03 * scale), fill=200)
    lengths = (0.34, 0.52, 0.58, 0.53, 0.42)
    for finger, length in enumerate(lengths):
        angle = np.radians((finger - 2) * rng.uniform(11, 19) + (finger == 0) * -20)
        way = np.array([np.sin(angle), -np.cos(angle)])
        start = np.array([x, y]) + way * 0.06 * scale
        joints = [start + way * length * scale * part for part in (0, 0.45, 0.7, 0.87, 1)]
        soft.line([*map(tuple, (joints[0], joints[-1]))], fill=95, width=int(0.075 * scale))
        for near, far in itertools.pairwise(joints):
            gap = way * 0.008 * scale
            _bone(hard, tuple(near + gap), tuple(far - gap), 0.032 * scale)
    pixels = ndimage.gaussian_filter(np.asarray(flesh, float), 2)
    pixels += 0.55 * ndimage.gaussian_filter(np.asarray(bones, float), 1)
    return _exposed(rng, pixels[:, ::-1] if number % 2 else pixels)


def _lateral(rng: np.random.Generator, number: int) -> np.ndarray:
    """A lateral view: both lungs behind one another between breastbone and spine."""
    x, y = _grid(rng)
    depth = rng.uniform(0.5, 0.65)
    chest = np.clip(1 - np.hypot(x / (depth + 0.15), (y - 0.1) / 1.25), 0, None)
    pixels = 190 * np.clip(chest / 0.25, 0, 1) ** 0.5
    dome = rng.uniform(0.35, 0.55)
    lung = _inside(1 - np.hypot((x + 0.02) / depth, (y + 0.05) / 0.85)) * _inside(
        dome - y - 0.35 * x + 0.1 * np.sin(3 * x)
    )
    pixels -= rng.uniform(80, 120) * lung
    heart = _inside(1 - np.hypot((x + 0.2) / 0.26, (y - 0.2) / 0.3))
    pixels += rng.uniform(40, 80) * heart * lung
    hilum = np.exp(-(((x - 0.02) / 0.1) ** 2) - ((y + 0.1) / 0.14) ** 2)
    pixels += rng.uniform(20, 60) * hilum
    trachea = _inside(0.04 - np.abs(x - 0.05 - 0.1 * y)) * _inside(-0.25 - y)
    pixels -= 30 * trachea
    spine = np.exp(-(((x - 0.42 * depth / 0.55 - 0.12 * y**2) / 0.09) ** 2))
    discs = 0.75 + 0.25 * np.tanh(3 * np.sin(2 * np.pi * y / 0.16))
    pixels += rng.uniform(40, 70) * spine * discs * (chest > 0)
    for n in range(8):  # ribs, of both sides
        height = y - 0.55 * x - (n - 4) * 0.19
        pixels += rng.uniform(5, 15) * np.exp(-((height / 0.025) ** 2)) * (chest > 0.1)
    breastbone = np.exp(-(((x + depth - 0.03 + 0.1 * y) / 0.04) ** 2))
    pixels += 30 * breastbone * (chest > 0)
    arm = _inside(0.22 - np.abs(x + 0.5 + 0.6 * (y + 0.9))) * _inside(-0.7 - y)
    pixels += 60 * arm
    return _exposed(rng, pixels[:, ::-1] if number % 2 else pixels)


def _abdomen(rng: np.random.Generator, number: int) -> np.ndarray:
    """An abdomen, supine: spine, pelvis, psoas and gas in the bowel; lung bases in every other."""
    x, y = _grid(rng)
    width = rng.uniform(0.8, 0.98)
    body = _inside(width + 0.08 * y - np.abs(x))
    pixels = 120 * body + 15 * _cloud(rng, sigma=20) * body
    liver = _inside(1 - np.hypot((x + 0.45) / 0.45, (y + 0.55) / 0.4))
    pixels += 25 * liver
    spine = _inside(0.11 - np.abs(x))
    discs = 0.7 + 0.3 * np.tanh(3 * np.sin(2 * np.pi * y / 0.28))
    pixels += 60 * spine * discs * _inside(0.6 - y)
    for side in (-1, 1):
        wing = np.hypot((x - side * 0.42) / 0.36, (y - 0.55) / 0.3)
        pixels += 45 * _inside(1 - wing) * (0.6 + 0.4 * np.exp(-(((wing - 0.95) / 0.1) ** 2)))
        hip = np.hypot((x - side * 0.62) / 0.14, (y - 0.95) / 0.14)
        pixels += 50 * _inside(1 - hip)
        psoas = _inside(0.5 * (y + 0.5) - np.abs(np.abs(x) - 0.15 - 0.15 * (y + 0.5)))
        pixels += 12 * psoas * (y > -0.5) * (y < 0.5)
        for n in range(3):
            rib = y + 0.95 - 0.2 * n - 0.5 * (np.abs(x) - 0.3)
            pixels += 18 * np.exp(-((rib / 0.035) ** 2)) * (side * x > 0.15) * body
    for _ in range(int(rng.integers(6, 16))):
        middle = rng.uniform((-0.65, -0.4), (0.65, 0.8))
        size = rng.uniform(0.05, 0.17, 2)
        gas = _inside(1 - np.hypot((x - middle[0]) / size[0], (y - middle[1]) / size[1]))
        pixels -= rng.uniform(20, 70) * gas
    if number % 2:
        base = -0.95 + 0.4 * np.abs(np.abs(x) - 0.35)
        pixels -= 70 * _inside(-y + base + 0.1) * _inside(np.abs(x) - 0.15) * body
    return _exposed(rng, pixels)


# A kind of picture -> how many, and what draws the n-th.
_KINDS: dict[str, tuple[int, Callable[[np.random.Generator, int], np.ndarray]]] = {
    "blank": (12, _blank),
    "noise": (24, _noise),
    "page": (20, _page),
    "photograph": (40, _photograph),
    "hand": (20, _hand),
    "lateral": (26, _lateral),
    "abdomen": (26, _abdomen),
}


def _cloud(rng: np.random.Generator, *, sigma: float) -> np.ndarray:
    """Smooth noise [S, S] of mean 0 and deviation 1."""
    noise = ndimage.gaussian_filter(rng.standard_normal((SIZE, SIZE)), sigma, mode="wrap")
    return (noise - noise.mean()) / noise.std()


def _grid(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Positions [S, S], about -1 to 1, of a patient who is moved, turned and scaled a little."""
    ticks = np.linspace(-1, 1, SIZE)
    angle, scale = rng.uniform(-0.1, 0.1), rng.uniform(0.9, 1.1)
    x, y = np.meshgrid(*(scale * ticks + rng.uniform(-0.06, 0.06) for _ in range(2)))
    return np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x


def _inside(distance: np.ndarray) -> np.ndarray:
    """0 outside, 1 inside, with a soft edge."""
    return 1 / (1 + np.exp(-np.clip(distance / 0.015, -50, 50)))


def _box(x: float, y: float, half_width: float, half_height: float) -> tuple[float, ...]:
    return x - half_width, y - half_height, x + half_width, y + half_height


def _bone(pen: ImageDraw.ImageDraw, near, far, width: float) -> None:
    """A shaft with a head at either end."""
    pen.line([near, far], fill=190, width=max(1, int(0.75 * width)))
    for x, y in (near, far):
        pen.ellipse(_box(x, y, width / 2, width / 2), fill=220)


def _exposed(rng: np.random.Generator, pixels: np.ndarray) -> np.ndarray:
    """With a contrast, a gamma and noise of its own."""
    blurred = ndimage.gaussian_filter(np.clip(pixels, 0, None), 1.5)
    bright = 255 * np.clip(blurred / blurred.max(), 0, 1) ** rng.uniform(0.7, 1.4)
    return rng.uniform(0.7, 1) * bright + rng.normal(0, rng.uniform(1, 6), bright.shape)


def sheet() -> np.ndarray:
    """All pictures side by side, a band for each kind, [H, W] uint8."""
    small = {kind: [picture[::2, ::2] for picture in drawn] for kind, drawn in pictures().items()}
    side, columns = SIZE // 2, 13
    rows = []
    for drawn in small.values():
        for start in range(0, len(drawn), columns):
            row = drawn[start : start + columns]
            row += [np.zeros((side, side), np.uint8)] * (columns - len(row))
            rows.append(np.hstack(row))
    return np.vstack(rows)


if __name__ == "__main__":
    Image.fromarray(sheet()).save(sys.argv[1])
