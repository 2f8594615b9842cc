"""Anatomy of the phantom: implicit shapes on a grid of anatomical coordinates.

Coordinates: x grows to the right of the picture (the patient's left), y grows downwards; the
upright picture is the square [-1, 1]^2. A shape is a signed distance (approximately), positive
inside. `side` is -1 for the patient's right lung (left in the picture) and +1 for the left one.
"""

from __future__ import annotations

import dataclasses
import math
from types import SimpleNamespace

import numpy as np

# Ranges of what differs between patients, as fractions of half the picture's side.
PATIENT_RANGES = {
    "lung_width": (0.64, 0.74),  # midline to the lateral border of the lung
    "apex_y": (-0.76, -0.68),
    "apex_x": (0.24, 0.29),
    "widest_y": (0.26, 0.38),
    "apex_roundness": (2.0, 2.5),
    "mediastinum": (0.105, 0.135),  # half width
    "dome_right": (0.33, 0.41),  # height of the diaphragm
    "dome_left_drop": (0.02, 0.06),  # the left dome lies lower
    "dome_depth": (0.14, 0.21),  # dome to costophrenic angle
    "heart_x": (0.09, 0.14),
    "heart_size": (0.88, 1.08),
    "heart_tilt": (0.55, 0.85),
    "aortic_knob": (0.07, 0.10),
    "wall": (0.09, 0.15),  # chest wall beside the lung
    "shoulder_y": (-0.66, -0.56),
    "neck": (0.2, 0.26),
    "arm_angle": (0.1, 0.45),
    "rib_spacing": (0.135, 0.155),
    "rib_phase": (0.0, 1.0),
    "rib_rise": (0.08, 0.14),
    "rib_fall": (0.22, 0.32),
    "rib_density": (0.06, 0.10),
    "front_rib_slope": (0.30, 0.42),
    "clavicle_y": (-0.55, -0.48),
    "clavicle_slope": (0.16, 0.34),
    "spine_bend": (-0.02, 0.02),
    "stomach_air": (0.0, 0.2),
    "lung_air": (0.36, 0.48),  # darkness of the lungs: varies more than most findings add
    "vessel_density": (0.10, 0.17),
}


@dataclasses.dataclass(frozen=True)
class Shapes:
    """Signed distances, float32 [S, S], positive inside."""

    body: np.ndarray
    arms: np.ndarray
    right_lung: np.ndarray
    left_lung: np.ndarray
    heart: np.ndarray
    mediastinum: np.ndarray
    thorax: np.ndarray
    above_diaphragm: np.ndarray


def uniform(rng: np.random.Generator, ranges: dict[str, tuple[float, float]]) -> SimpleNamespace:
    """A uniform draw from each named range."""
    return SimpleNamespace(**{name: rng.uniform(low, high) for name, (low, high) in ranges.items()})


def smooth(value: np.ndarray) -> np.ndarray:
    """Cubic step: 0 below 0, 1 above 1."""
    value = np.clip(value, 0, 1)
    return value * value * (3 - 2 * value)


def lateral_border(a: SimpleNamespace, y: np.ndarray) -> np.ndarray:
    """Distance of the lung's outer border from the midline at height y."""
    rise = np.clip((a.widest_y - y) / (a.widest_y - a.apex_y), 0, 1)
    curve = np.sqrt(1 - rise**a.apex_roundness)
    return a.apex_x + (a.lung_width - a.apex_x) * curve


def _medial_border(a: SimpleNamespace, y: np.ndarray) -> np.ndarray:
    rise = np.clip((a.widest_y - y) / (a.widest_y - a.apex_y), 0, 1)
    # The great vessels leave the hilum widest; above it the border runs inwards again.
    hilum = a.mediastinum * (0.9 + 0.5 * np.exp(-(((y - 0.02) / 0.2) ** 2)))
    return a.apex_x - (a.apex_x - hilum) * np.sqrt(1 - rise**9)


def _diaphragm(a: SimpleNamespace, s: np.ndarray, side: int) -> np.ndarray:
    """Height of the diaphragm at the distance s from the midline."""
    dome = a.dome_right + (a.dome_left_drop if side > 0 else 0.0)
    centre = 0.40 * a.lung_width
    lateral = np.clip((s - centre) / (a.lung_width - centre), 0, 1.3)
    medial = np.clip((centre - s) / centre, 0, 1)
    return dome + a.dome_depth * (lateral**2.4 + 0.25 * medial**2)


def _ellipse(x, y, *, centre, radii, tilt=0.0):
    cos, sin = math.cos(tilt), math.sin(tilt)
    dx, dy = x - centre[0], y - centre[1]
    along, across = (cos * dx + sin * dy) / radii[0], (cos * dy - sin * dx) / radii[1]
    return (1 - np.sqrt(along**2 + across**2)) * min(radii)


def _round_minimum(a: np.ndarray, b: np.ndarray, radius: float) -> np.ndarray:
    """Intersection of two shapes whose common corner is rounded."""
    share = np.clip(0.5 + 0.5 * (b - a) / radius, 0, 1)
    return b + share * (a - b) - radius * share * (1 - share)


def _body(a: SimpleNamespace, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Trunk with neck and shoulders; arms apart, since they are a second layer."""
    s = np.abs(x)
    half_width = a.lung_width + a.wall
    torso = half_width + 0.03 * np.clip(y, 0, None) - s
    # The shoulder line falls from the neck outwards; beside it the neck goes up.
    shoulder = y - (a.shoulder_y - 0.28 + 0.34 * smooth((s - a.neck) / 0.7))
    trunk = _round_minimum(torso + 0.22 * smooth((-0.15 - y) / 0.4), shoulder, 0.2)
    neck = np.minimum(a.neck + 0.2 * np.clip(y + 0.95, 0, 1) ** 2 - s, 0.5 - y)
    body = np.maximum(trunk, neck)
    # An arm is the neighbourhood of a ray from the shoulder down and outwards.
    sin, cos = math.sin(a.arm_angle), math.cos(a.arm_angle)
    ds, dy = s - (half_width + 0.02), y - (a.shoulder_y + 0.24)
    along = np.clip(ds * sin + dy * cos, 0, None)
    arms = 0.18 - np.hypot(ds - along * sin, dy - along * cos)
    return body, arms


def shapes(a: SimpleNamespace, x: np.ndarray, y: np.ndarray, *, heart_scale: float) -> Shapes:
    """All shapes of one patient on the anatomical grid x, y [S, S]."""
    size = a.heart_size * heart_scale
    oval = {"radii": (0.38 * size, 0.27 * size), "tilt": a.heart_tilt, "centre": (a.heart_x, 0.24)}
    heart = _ellipse(x, y, **oval)
    # No lung under the heart's lower border: from its middle on, its sides go straight down.
    heart_shadow = np.maximum(heart, _ellipse(x, np.minimum(y, 0.24), **oval))
    knob = _ellipse(x, y, centre=(0.08, -0.32), radii=(a.aortic_knob + 0.03, a.aortic_knob + 0.05))
    lungs, domes = {}, {}
    lateral, medial = lateral_border(a, y), _medial_border(a, y)
    for side in (-1, 1):
        s = side * x
        domes[side] = _diaphragm(a, s, side) - y
        lungs[side] = np.minimum.reduce(
            [lateral - s, s - medial, domes[side], -heart_shadow, -knob]
        )
    middle = smooth(x / 0.2 + 0.5)  # one dome goes over into the other under the heart
    above = (1 - middle) * domes[-1] + middle * domes[1]
    body, arms = _body(a, x, y)
    return Shapes(
        body=body,
        arms=arms,
        right_lung=lungs[-1],
        left_lung=lungs[1],
        heart=np.minimum(heart, above + 0.06),
        mediastinum=np.maximum(np.minimum(medial - np.abs(x), y + 0.95), knob),
        thorax=lateral + 0.03 - np.abs(x),
        above_diaphragm=above,
    )


def bones(a: SimpleNamespace, x: np.ndarray, y: np.ndarray, where: Shapes) -> np.ndarray:
    """Attenuation of ribs, clavicles, spine and humeri, float [S, S]."""
    s = np.abs(x)
    t = s / a.lung_width
    in_chest = smooth(where.thorax / 0.02) * smooth((y - a.apex_y + 0.06) / 0.05)
    fade = in_chest * (0.45 + 0.55 * smooth(where.above_diaphragm / 0.1 + 0.5))
    back = -a.rib_rise * np.sin(np.pi * np.clip(t, 0, 1)) + a.rib_fall * t**4
    front = a.front_rib_slope * np.clip(1.05 - t, 0, 1) ** 0.8
    total = a.rib_density * fade * _rib_bands(a, y - back, 0.029, slope=1 + t**4)
    at_front = smooth((t - 0.35) / 0.25) * smooth((y - a.apex_y - 0.1) / 0.1)
    total += 0.55 * a.rib_density * fade * at_front * _rib_bands(a, y - front, 0.034, slope=1.15)

    line = a.clavicle_y - a.clavicle_slope * s + 0.03 * np.sin(7 * s)
    reach = smooth((s - 0.05) / 0.03) * smooth((0.78 - s) / 0.05)
    total += 0.13 * reach * _tube(y - line, 0.036)
    # The scapula's edge and the humerus, beside and above the lungs.
    blade = s - (a.lung_width - 0.02 - 0.25 * np.clip(y + 0.05, -1, 0) ** 2)
    total += 0.05 * smooth(blade / 0.03) * smooth((0.2 - blade) / 0.15) * smooth(-y / 0.3)
    total += 0.10 * smooth((where.arms - 0.11) / 0.03)

    spine = smooth((0.085 - np.abs(x - a.spine_bend * np.sin(3 * y))) / 0.025)
    vertebrae = 0.7 + 0.3 * np.cos(2 * np.pi * y / (0.95 * a.rib_spacing))
    return total + 0.14 * spine * vertebrae


def _rib_bands(a, y, half_width, *, slope):
    phase = (y / a.rib_spacing + a.rib_phase) % 1 - 0.5
    return _tube(phase * a.rib_spacing / slope, half_width)


def _tube(distance, half_width):
    """Profile of a bone: brighter at its cortex than inside."""
    d = np.abs(distance) / half_width
    return smooth((1 - d) / 0.3) * (0.6 + 0.4 * d**2)
