"""Draws the README's picture: `python -m docs.phantom` writes docs/phantom.png."""

from pathlib import Path

import jax
import numpy as np

from jaxcxr.ops import geometry, patches
from jaxcxr.report import plots
from tfds_builders.phantom_cxr import drawing

SIZE, PATCH, COUNT = 512, 112, 10


def picture() -> bytes:
    phantom = drawing.draw(seed=0, patient=5, image=0, size=SIZE, label="ground_glass")
    lungs = phantom.masks["lung"].astype(np.uint8)
    centres = patches.sample_centres(jax.random.key(3), lungs, count=COUNT)
    origins = np.asarray(geometry.box_origin(centres, size=PATCH, shape=lungs.shape))
    boxes = [(int(top), int(left), PATCH) for top, left in origins]
    title = "A phantom (drawn, no patient): ground glass"
    return plots.to_png(plots.mask_overlay(phantom.image, lungs, boxes=boxes, title=title))


if __name__ == "__main__":
    Path(__file__).with_suffix(".png").write_bytes(picture())
