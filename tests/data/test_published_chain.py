"""What a learner of `:paper` sees is what the published code shows it, by NumPy and Pillow alone.

FLANNEL: grey, bicubic to 336 x 336, the middle 224, (x - 0.5) / 0.5. Patched FLANNEL, as Oh, Park
and Ye: equalised, to the power of 0.5, black outside the lungs at 1024 x 1024, patches of 224, from
0 to 255.
"""

from __future__ import annotations

import jax
import numpy as np
import pytest
from PIL import Image

from jaxcxr.data.preprocessing import Preprocessing, prepare
from jaxcxr.ops import patches
from jaxcxr.tasks import input_sampler, network
from tests import tiny
from tfds_builders.phantom_cxr import drawing

WHOLE = ("densenet", "inception", "resnet", "resnext", "vgg")


@pytest.fixture(scope="module")
def phantom():
    """(X-ray [600, 600] uint8, lungs [600, 600] uint8)."""
    drawn = drawing.draw(seed=3, patient=1, image=0, size=600)
    return drawn.image, drawn.masks["lung"].astype(np.uint8)


def seen(config, phantom, *, count):
    """(what the network gets of the phantom [count, P, P], its prepared image and mask)."""
    pixels, lungs = phantom
    mask = lungs if config.patches.enabled else None
    prepared = prepare(pixels, mask, Preprocessing.of(config.data), name="phantom")
    batch = {"index": np.zeros(1, np.int32), "image": prepared.image[None]}
    if mask is not None:
        batch["mask"] = prepared.mask[None]
    drawn = input_sampler.build(config).draw(batch, jax.random.key(0), count=count, train=False)[0]
    mean, std = (v.item() for v in network.normalisation(config.model, segmenter=False))
    return (np.asarray(drawn) - mean) / std, prepared


@pytest.mark.parametrize("learner", WHOLE)
def test_flannel_sees_the_middle_of_a_bicubic_image(phantom, learner):
    config = tiny.load(learner, "paper")
    small = Image.fromarray(phantom[0]).resize((336, 336), Image.Resampling.BICUBIC)
    side = 299 if learner == "inception" else 224
    first = (336 - side) // 2
    expected = np.asarray(small)[first : first + side, first : first + side] / 255
    found, _ = seen(config, phantom, count=1)
    np.testing.assert_allclose(found[0], (expected - 0.5) / 0.5, atol=1e-6)


@pytest.mark.parametrize("learner", [f"patched_{name}" for name in WHOLE])
def test_patched_flannel_sees_equalised_lungs_from_0_to_255(phantom, learner):
    config = tiny.load(learner, "paper")
    pixels, lungs = phantom
    counts = np.cumsum(np.bincount(pixels.ravel(), minlength=256))
    least = counts[counts > 0].min()
    levels = 255 * np.clip((counts - least) / (counts[-1] - least), 0, 1)
    levels = (255 * (levels / 255) ** 0.5).astype(np.float32)
    large = Image.fromarray(levels[pixels]).resize((1024, 1024), Image.Resampling.BILINEAR)
    inside = Image.fromarray(lungs).resize((1024, 1024), Image.Resampling.NEAREST)
    masked = np.asarray(large) * np.asarray(inside)

    found, prepared = seen(config, phantom, count=3)
    keys = jax.vmap(lambda index: jax.random.fold_in(jax.random.key(0), index))(np.zeros(1, int))
    centres = patches.evaluation_centres(keys, prepared.mask[None], count=3)[0]
    for patch, (row, column) in zip(found, np.asarray(centres), strict=True):
        top, left = (int(np.clip(c - 112, 0, 1024 - 224)) for c in (row, column))
        # Ours keeps the equalised image in whole levels.
        np.testing.assert_allclose(
            patch, masked[top : top + 224, left : left + 224], atol=0.5 + 1e-3
        )
    assert found.max() > 100  # lungs, not black


@pytest.mark.parametrize("learner", [f"patched_{name}" for name in WHOLE])
def test_patched_flannel_passes_votes_on(learner):
    config = tiny.load(learner, "paper")
    assert config.patches.aggregate == "vote_fraction"
    assert config.patches.eval_count == 100
