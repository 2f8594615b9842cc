"""Full-size networks with torchvision's own random numbers give torchvision's results."""

import pytest

pytest.importorskip("torch", reason="torch is not installed: requirements-parity.txt has it")
pytest.importorskip(
    "tests.parity.torch_side", reason="torchvision is not installed: see requirements-parity.txt"
)

from tests.parity.compare import compare, rounding
from tests.parity.layerwise import compare_layers

# Odd sizes: where padding, ceiling and floor differ between frameworks, they show there.
CASES = [
    ("densenet121", 97, 2),
    ("densenet161", 97, 2),
    ("resnet18", 97, 4),
    ("resnet50", 97, 4),
    ("resnet152", 97, 4),
    ("resnext101_32x8d", 97, 4),
    ("vgg16", 97, 2),
    ("vgg19_bn", 97, 4),
    ("inception_v3", 301, 2),
    ("efficientnet_b4", 97, 4),
    ("efficientnet_lite0", 97, 4),
    ("efficientnet_lite1", 90, 4),  # "same" padding differs between even and odd sizes
    ("efficientnet_lite2", 97, 4),
]
# Of a batch of two, one pixel each, a norm's gradient is 0 but for rounding: Inception's auxiliary
# head.
LAYER_CASES = [
    (arch, side, max(batch, 4) if arch == "inception_v3" else batch) for arch, side, batch in CASES
]


@pytest.mark.parametrize(("arch", "side", "batch"), CASES, ids=[case[0] for case in CASES])
def test_full_size(arch, side, batch):
    """1e-4 of the largest value in float32.

    A training step may be as far from it as torchvision's float32 is from its float64: batch
    statistics of a few pixels make rounding grow, and gradients jump (see `compare`).
    """
    e = compare(arch, side=side, batch=batch)
    assert max(e.logits, e.features) < 1e-4, e
    theirs = rounding(arch, side=side, batch=batch)
    assert e.train_logits < max(1e-4, 4 * theirs.train_logits), (e, theirs)
    assert e.statistics < max(1e-4, 4 * theirs.statistics), (e, theirs)
    assert e.cosine > 0.99, (e, theirs)
    double = compare(arch, side=side, batch=batch, double=True)
    assert double.worst < 1e-9, double
    assert double.maps == e.maps > 10


@pytest.mark.parametrize(("arch", "side", "batch"), LAYER_CASES, ids=[case[0] for case in CASES])
def test_every_layer_of_a_training_step(arch, side, batch):
    """1e-4 of the largest value in float32, where neither rounding grows nor gradients jump."""
    e = compare_layers(arch, side=side, batch=batch)
    assert e.worst < 1e-4, e
    assert e.layers > 10
