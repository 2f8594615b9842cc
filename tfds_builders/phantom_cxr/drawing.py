"""Draws frontal chest X-rays whose class is visible inside the lungs only.

`draw` depends on (seed, patient, image) alone: every part of a picture has its own random stream
(`_rng`), so neither the number of patients nor the class nor the size shifts another part's draws.
Look at it: `python -m tfds_builders.phantom_cxr.drawing sheet.png`.
"""

from __future__ import annotations

import dataclasses
import math
import sys
from types import SimpleNamespace

import numpy as np
from PIL import Image, ImageDraw, ImageFilter
from scipy import ndimage

from tfds_builders.phantom_cxr import anatomy
from tfds_builders.phantom_cxr.anatomy import smooth, uniform

CLASSES = ("normal", "consolidation", "interstitial", "ground_glass")
LETTERS = ("R", "L", "E", "S")  # right, left, erect, supine
CORNERS = ("top-left", "top-right", "bottom-left", "bottom-right")
# What `confounder` ties to a class: its own letter in its own corner.
CLASS_MARKERS = dict(zip(CLASSES, zip(LETTERS, CORNERS, strict=True), strict=True))
MIN_SIZE = 32

# Ranges of what differs between two images of one patient.
POSE_RANGES = {
    "angle": (-0.07, 0.07),  # radians
    "scale": (0.92, 1.06),
    "shift_x": (-0.06, 0.06),
    "shift_y": (-0.05, 0.05),
    "breathing": (-0.06, 0.03),  # moves the diaphragm
}
EXPOSURE_RANGES = {
    "offset": (-0.05, 0.05),
    "contrast": (0.85, 1.15),
    "gamma": (0.8, 1.25),
    "noise": (0.008, 0.022),
    "tilt_x": (-0.06, 0.06),  # uneven exposure over the picture
    "tilt_y": (-0.06, 0.06),
}
_STREAMS = (
    "label",
    "count",
    "anatomy",
    "vessels",
    "disease",
    "pose",
    "exposure",
    "noise",
    "marker",
    "letter",
)
_CANVAS = 512  # lines are drawn at this size and resampled: equally thick at any size
_LINE_WIDTHS = (5, 3, 2, 1)  # vessels, by generation, in pixels of the canvas
_STROKES = {
    "R": [[(0, 1), (0, 0), (0.6, 0), (0.75, 0.15), (0.75, 0.4), (0.6, 0.52), (0, 0.52)],
          [(0.35, 0.52), (0.8, 1)]],
    "L": [[(0.1, 0), (0.1, 1), (0.75, 1)]],
    "E": [[(0.75, 0), (0.1, 0), (0.1, 1), (0.75, 1)], [(0.1, 0.5), (0.65, 0.5)]],
    "S": [[(0.75, 0.12), (0.6, 0), (0.2, 0), (0.05, 0.15), (0.05, 0.35), (0.2, 0.48), (0.6, 0.52),
           (0.75, 0.65), (0.75, 0.88), (0.6, 1), (0.2, 1), (0.05, 0.88)]],
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Phantom:
    """A drawn X-ray: image uint8 [S, S]; masks bool [S, S] by structure."""

    image: np.ndarray
    masks: dict[str, np.ndarray]
    label: str
    view: str
    marker: tuple[str, str]  # letter, corner


def patient_label(seed: int, patient: int) -> str:
    """The class of a patient; any four consecutive patients have each class once."""
    block, place = divmod(patient, len(CLASSES))
    return CLASSES[_rng("label", seed, block).permutation(len(CLASSES))[place]]


def image_count(seed: int, patient: int) -> int:
    """The number of images of a patient: 1 to 3."""
    return int(_rng("count", seed, patient).integers(1, 4))


def marker_of(
    *, seed: int, patient: int, image: int, confounder: float, label: str | None = None
) -> tuple[str, str]:
    """Letter and corner of the marker: with probability `confounder` the ones of the class."""
    rng = _rng("marker", seed, patient, image)
    tied = rng.random() < confounder
    marker = (LETTERS[rng.integers(len(LETTERS))], CORNERS[rng.integers(len(CORNERS))])
    return CLASS_MARKERS[label or patient_label(seed, patient)] if tied else marker


def draw(
    *,
    seed: int,
    patient: int,
    image: int,
    size: int,
    confounder: float = 0.0,
    label: str | None = None,
) -> Phantom:
    """Draws one image of one patient.

    Args:
        seed, patient, image: non-negative; name the picture.
        size: side of the square picture in pixels.
        confounder: probability that the marker in the corner is the one of the class.
        label: draws this class instead of the patient's own; the pixels outside the lungs stay
            (without a confounder) exactly the same.

    Raises:
        ValueError: size below MIN_SIZE, confounder outside [0, 1], unknown label.
    """
    if size < MIN_SIZE:
        raise ValueError(f"phantom_cxr: size={size} is too small; use {MIN_SIZE} or more.")
    if not 0 <= confounder <= 1:
        raise ValueError(f"phantom_cxr: confounder={confounder} must lie in [0, 1].")
    label = patient_label(seed, patient) if label is None else label
    if label not in CLASSES:
        raise ValueError(f"phantom_cxr: unknown label {label!r}; known: {', '.join(CLASSES)}.")

    body = uniform(_rng("anatomy", seed, patient), anatomy.PATIENT_RANGES)
    rng = _rng("pose", seed, patient, image)
    pose = uniform(rng, POSE_RANGES)
    view = ("PA", "AP")[rng.integers(2)]
    body.dome_right += pose.breathing

    x, y = _anatomical_grid(pose, size)
    where = anatomy.shapes(body, x, y, heart_scale=1.1 if view == "AP" else 1.0)
    lungs = np.maximum(where.right_lung, where.left_lung)
    inside = smooth(lungs / 0.03)  # exactly 0 outside the masks

    disease = _disease(label, seed, patient, image, where, body, pose, x, y)
    attenuation = _soft_tissue(body, where, x, y) + anatomy.bones(body, x, y, where)
    attenuation -= body.lung_air * inside * (1 - disease.fill)
    tree = _vessel_tree(_rng("vessels", seed, patient), generations=len(_LINE_WIDTHS))
    vessels = _draw_tree(tree, pose, size)
    attenuation += body.vessel_density * inside * vessels * (1 - 0.8 * disease.fill)
    attenuation += inside * disease.lines
    picture = _expose(attenuation, where, seed, patient, image, size)

    marker = marker_of(seed=seed, patient=patient, image=image, label=label, confounder=confounder)
    picture = np.maximum(picture, _letter(marker, _rng("letter", seed, patient, image), size))

    masks = {
        "lung": lungs > 0,
        "right_lung": where.right_lung > 0,
        "left_lung": where.left_lung > 0,
        "heart": where.heart > 0,
    }
    pixels = np.round(255 * np.clip(picture, 0, 1)).astype(np.uint8)
    return Phantom(image=pixels, masks=masks, label=label, view=view, marker=marker)


def _rng(stream: str, seed: int, *indices: int) -> np.random.Generator:
    return np.random.default_rng([_STREAMS.index(stream) + 1, seed, *indices])


def _anatomical_grid(pose: SimpleNamespace, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the pixels' centres in the patient, x and y float32 [S, S]."""
    ticks = (2 * np.arange(size, dtype=np.float32) + 1) / size - 1
    u = (ticks[None, :] - pose.shift_x) / pose.scale
    v = (ticks[:, None] - pose.shift_y) / pose.scale
    cos, sin = math.cos(pose.angle), math.sin(pose.angle)
    return cos * u + sin * v, cos * v - sin * u


def _soft_tissue(a: SimpleNamespace, where: anatomy.Shapes, x, y) -> np.ndarray:
    total = 0.60 * np.sqrt(smooth(where.body / 0.3)) + 0.16 * np.sqrt(smooth(where.arms / 0.16))
    total += 0.15 * smooth(where.mediastinum / 0.08 + 0.5)
    total += 0.14 * smooth(where.heart / 0.12 + 0.2)
    total += 0.16 * smooth(-where.above_diaphragm / 0.08) * smooth(where.thorax / 0.1 + 0.5)
    hilum = np.exp(-(((np.abs(x) - 0.19) / 0.07) ** 2) - ((y + 0.02) / 0.13) ** 2)
    total += 0.12 * hilum
    trachea = smooth((0.045 - np.abs(x + 0.01)) / 0.02) * smooth((-0.28 - y) / 0.05)
    total -= 0.13 * trachea
    bubble = 1 - np.hypot((x - 0.34) / 0.2, (y - a.dome_right - 0.22) / 0.09)
    return total - a.stomach_air * smooth(bubble / 0.25) * smooth(-where.above_diaphragm / 0.04)


def _expose(attenuation, where, seed, patient, image, size) -> np.ndarray:
    """Attenuation to grey values about [0, 1]; the background stays black."""
    e = uniform(_rng("exposure", seed, patient, image), EXPOSURE_RANGES)
    ticks = np.linspace(-1, 1, size, dtype=np.float32)
    value = attenuation + e.offset + e.tilt_x * ticks[None, :] + e.tilt_y * ticks[:, None]
    value = np.clip(0.5 + e.contrast * (value - 0.5), 0, None)
    value = (1.06 * (1 - np.exp(-1.8 * value))) ** e.gamma
    noise = _rng("noise", seed, patient, image).standard_normal((256, 256), dtype=np.float32)
    in_beam = smooth(np.maximum(where.body, where.arms) / 0.02)
    return (value + e.noise * _resize(Image.fromarray(noise), size)) * in_beam


# What is inside the lungs


def _disease(label, seed, patient, image, where, a, pose, x, y) -> SimpleNamespace:
    """The changes of the lungs in a class, [S, S] and 0 outside the lungs.

    fill: fraction of the air that is replaced, in [0, 1]; lines: additional attenuation.
    """
    rng = _rng("disease", seed, patient)
    # The course of the disease between two images of one patient.
    course = _rng("disease", seed, patient, image + 1).uniform(0.9, 1.1)
    fill, lines = np.zeros_like(x), np.zeros_like(x)
    if label == "consolidation":
        side = (-1, 1)[rng.integers(2)]
        lung = (where.right_lung if side < 0 else where.left_lung) > 0
        fill[lung] = _lobe(rng, course, side * x[lung], y[lung])
        if rng.random() < 0.5:  # air bronchograms
            bronchi = _vessel_tree(rng, generations=2)
            fill *= 1 - 0.45 * _draw_tree(bronchi, pose, x.shape[0])
    lungs = np.maximum(where.right_lung, where.left_lung) > 0
    if label == "interstitial":
        lines[lungs] = course * _net_and_nodules(rng, x[lungs], y[lungs])
    if label == "ground_glass":
        outwards = (np.abs(x) / anatomy.lateral_border(a, y))[lungs]
        fill[lungs] = np.clip(course * _haze(rng, outwards, x[lungs], y[lungs]), 0, 0.75)
    return SimpleNamespace(fill=fill, lines=lines)


def _lobe(rng, course: float, s, y) -> np.ndarray:
    """Consolidation of 45 to 60 % of one lung: dense, bounded by a fissure; s, y: its pixels."""
    upper = rng.random() < 0.5
    slope, bend = rng.uniform(-0.25, 0.35), rng.uniform(-0.25, 0.25)
    height = y - slope * (s - 0.4) - bend * (s - 0.4) ** 2
    height = -height if upper else height
    extent = min(max(course * rng.uniform(0.51, 0.59), 0.45), 0.6)
    fissure = float(np.quantile(height, 1 - extent))
    cloud = 1 + 0.08 * _field(rng, s, y, cells=6)
    density = course * rng.uniform(0.78, 0.95)
    return np.clip(density * cloud * smooth((height - fissure) / 0.025), 0, 1)


def _net_and_nodules(rng, x, y) -> np.ndarray:
    """Fine reticular to nodular pattern, everywhere."""
    net = np.exp(-((_field(rng, x, y, cells=rng.uniform(19, 24)) / 0.35) ** 2))
    nodules = smooth((_field(rng, x, y, cells=24) - 0.9) / 0.8)
    # The meshes darken as the lines brighten: the mean stays near a normal lung's.
    return rng.uniform(0.16, 0.22) * (net + rng.uniform(0.2, 0.6) * nodules - 0.25)


def _haze(rng, outwards, x, y) -> np.ndarray:
    """Patches of ground glass in the outer parts of both lungs, denser towards the bases."""
    periphery = smooth((outwards - 0.38) / 0.28) * (0.6 + 0.4 * smooth((y + 0.75) / 0.5))
    patches = _field(rng, x, y, cells=5)
    for lung in (x < 0, x > 0):  # the same fraction of both
        patches[lung] -= float(np.quantile(patches[lung], 1 - rng.uniform(0.7, 0.85)))
    return rng.uniform(0.48, 0.66) * periphery * smooth(patches / 0.7 + 0.3)


def _field(rng: np.random.Generator, x, y, *, cells: float) -> np.ndarray:
    """Smooth Gaussian noise at positions x, y: unit variance, `cells` grid steps per unit."""
    count = math.ceil(3 * cells) + 4
    grid = rng.standard_normal((count, count), dtype=np.float32)
    grid = ndimage.gaussian_filter(grid, 0.7, mode="wrap")
    grid /= grid.std()
    places = np.stack([(y + 1.5) * cells, (x + 1.5) * cells])
    return ndimage.map_coordinates(grid, places, order=3, mode="grid-wrap", output=np.float32)


def _vessel_tree(rng: np.random.Generator, *, generations: int) -> list[np.ndarray]:
    """Branches from both hila outwards: for each generation lines [N, 2 ends, 2] as (x, y)."""
    side = np.repeat([-1.0, 1.0], 6)
    angle = np.tile(np.linspace(-1.35, 1.35, 6), 2) + rng.normal(0, 0.1, 12)
    start = np.stack([0.16 * side, 0.08 * angle - 0.03], axis=-1)
    length = rng.uniform(0.15, 0.24, 12)
    tree = []
    for _ in range(generations):
        lines = []
        for _ in range(2):  # each branch bends once
            angle = angle + rng.normal(0, 0.12, angle.shape)
            step = length[:, None] / 2 * np.stack([side * np.cos(angle), np.sin(angle)], axis=-1)
            lines.append(np.stack([start, start + step], axis=1))
            start = start + step
        tree.append(np.concatenate(lines))
        # Every branch forks in two shorter ones.
        side, start, length = side.repeat(2), start.repeat(2, axis=0), 0.78 * length.repeat(2)
        fork = np.tile([-0.45, 0.4], len(angle))
        angle = angle.repeat(2) + fork + rng.normal(0, 0.15, fork.shape)
    return tree


def _draw_tree(tree: list[np.ndarray], pose: SimpleNamespace, size: int) -> np.ndarray:
    """The lines of `_vessel_tree`, antialiased, [S, S] in [0, 1]."""
    canvas = Image.new("L", (_CANVAS, _CANVAS))
    pen = ImageDraw.Draw(canvas)
    cos, sin = math.cos(pose.angle), math.sin(pose.angle)
    turn = pose.scale * np.array([[cos, sin], [-sin, cos]])  # for row vectors
    shift = np.array([pose.shift_x, pose.shift_y])
    for generation in reversed(range(len(tree))):
        lines = (tree[generation] @ turn + shift + 1) * _CANVAS / 2
        for line in lines.reshape(-1, 4).tolist():
            pen.line(line, fill=255 - 45 * generation, width=_LINE_WIDTHS[generation])
    return _resize(canvas.filter(ImageFilter.BoxBlur(1)), size) / 255


# The picture around


def _letter(marker: tuple[str, str], rng: np.random.Generator, size: int) -> np.ndarray:
    letter, corner = marker
    height = rng.uniform(0.06, 0.08) * _CANVAS
    margin = rng.uniform(0.02, 0.045, 2) * _CANVAS
    left = margin[0] if corner.endswith("left") else _CANVAS - margin[0] - 0.8 * height
    top = margin[1] if corner.startswith("top") else _CANVAS - margin[1] - height
    canvas = Image.new("L", (_CANVAS, _CANVAS))
    for stroke in _STROKES[letter]:
        points = [(left + height * px, top + height * py) for px, py in stroke]
        ImageDraw.Draw(canvas).line(points, fill=255, width=7, joint="curve")
    return rng.uniform(0.9, 1.0) / 255 * _resize(canvas, size)


def _resize(picture: Image.Image, size: int) -> np.ndarray:
    resized = picture.resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(resized, np.float32)


def contact_sheet(*, size: int = 256, columns: int = 3, seed: int = 0) -> Image.Image:
    """A row per class: `columns` pictures, then the last one again with its masks outlined."""
    colours = {"right_lung": (90, 200, 255), "left_lung": (255, 190, 60), "heart": (255, 80, 80)}
    sheet = Image.new("RGB", ((columns + 1) * size, len(CLASSES) * size))
    for row, label in enumerate(CLASSES):
        for column in range(columns):
            patient = row * columns + column
            phantom = draw(seed=seed, patient=patient, image=0, size=size, label=label)
            tile = np.repeat(phantom.image[..., None], 3, axis=2)
            sheet.paste(Image.fromarray(tile), (column * size, row * size))
        for name, colour in colours.items():
            mask = phantom.masks[name]
            tile[mask & ~ndimage.binary_erosion(mask)] = colour
        sheet.paste(Image.fromarray(tile), (columns * size, row * size))
    return sheet


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m tfds_builders.phantom_cxr.drawing OUT.png")
    contact_sheet().save(sys.argv[1])
