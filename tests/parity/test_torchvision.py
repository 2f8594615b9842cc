"""Full-size networks with torchvision's own random numbers give torchvision's results."""

import pytest

pytest.importorskip("torch", reason="torch is not installed: requirements-parity.txt has it")
pytest.importorskip("torchvision", reason="torchvision is not installed: requirements-parity.txt has it")

from tests.parity.compare import compare

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
]


@pytest.mark.parametrize(("arch", "side", "batch"), CASES, ids=[case[0] for case in CASES])
def test_full_size(arch, side, batch):
    errors = compare(arch, side=side, batch=batch)
    assert errors.worst < 1e-4, errors
