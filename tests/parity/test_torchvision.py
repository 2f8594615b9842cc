"""Full-size networks with torchvision's own random numbers give torchvision's results."""

import pytest

pytest.importorskip("torch", reason="torch is not installed: requirements-parity.txt has it")
pytest.importorskip("tests.parity.torch_side", reason="torchvision is not installed: see requirements-parity.txt")

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
    """Training mode of float32 is in the table only (`python -m tests.parity`), and why in `compare`."""
    e = compare(arch, side=side, batch=batch)
    assert max(e.logits, e.features) < 1e-4, e
    double = compare(arch, side=side, batch=batch, double=True)
    assert double.worst < 1e-9, double
    assert double.maps == e.maps > 10
