"""PyTorch's files, read here without it, hold the bits that `torch.load` finds in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed: requirements-parity.txt has it")
pytest.importorskip(
    "tests.parity.torch_side", reason="torchvision is not installed: see requirements-parity.txt"
)

import torch

from jaxcxr.errors import InputError
from jaxcxr.weights.catalog import CATALOG
from jaxcxr.weights.fetch import place
from jaxcxr.weights.read import read
from tests.parity import torch_side

ARCHS = [arch for arch in torch_side.BUILDERS if arch not in torch_side.LITE]
FORMS = pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "before 1.6"])


def network(arch: str) -> Any:
    """At full size, with any numbers: VGG's own would take seconds to draw."""
    options = {"init_weights": False} if arch.startswith(("vgg", "inception")) else {}
    with torch.device("meta"):
        module = torch_side.BUILDERS[arch](weights=None, num_classes=1000, **options)
    module.to_empty(device="cpu")
    rng = np.random.default_rng(0)
    for tensor in module.state_dict().values():
        values = rng.random(tuple(tensor.shape), np.float32) - 0.5
        tensor.copy_(torch.from_numpy(np.asarray(values * 1000)))
    return module


def save(content: Any, path: Path, is_zip: bool) -> None:
    torch.save(content, path, _use_new_zipfile_serialization=is_zip)


def same_bits(path: Path, key: str = "") -> int:
    """How many tensors were compared."""
    expected = torch.load(path, weights_only=True, map_location="cpu")
    expected = expected[key] if key else expected
    found = read(path)
    assert list(found) == list(expected)
    for name, tensor in expected.items():
        theirs, ours = tensor.detach().numpy(), found.pop(name)
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape), name
        bits = f"u{ours.itemsize}"
        same = np.array_equal(ours.reshape(-1).view(bits), theirs.reshape(-1).view(bits))
        assert same, name
    return len(expected)


@pytest.mark.parametrize("arch", ARCHS)
def test_a_network_in_both_forms(tmp_path, arch):
    path, state = tmp_path / "weights.pth", network(arch).state_dict()
    for is_zip in (True, False):
        save(state, path, is_zip)
        assert same_bits(path) == len(state)
        path.unlink()  # up to half a gigabyte


@pytest.mark.parametrize("arch", torch_side.LITE)
def test_a_packages_own_file(arch):
    path = place(CATALOG[f"{arch}.imagenet"])
    assert path.is_file(), "requirements-parity.txt has the package"
    assert same_bits(path) > 200


@FORMS
@pytest.mark.parametrize(
    ("key", "optimiser"),
    [("model", "Adam"), ("state_dict", "SGD"), ("model_state_dict", "AdamW")],
)
def test_a_checkpoint(tmp_path, key, optimiser, is_zip):
    options = {"momentum": 0.9, "nesterov": True} if optimiser == "SGD" else {"amsgrad": True}
    checkpoint(tmp_path / "last.pth", "resnet18", key, optimiser, is_zip, **options)


def test_the_largest_checkpoint(tmp_path):
    """Of the most tensors: what it takes must stay below what the reader does for any file."""
    checkpoint(tmp_path / "last.pth", "densenet161", "model", "Adam", True)


def checkpoint(
    path: Path, arch: str, key: str, optimiser: str, is_zip: bool, **options: Any
) -> None:
    """With an optimiser's state after a step, a schedule's, and what else a loop keeps."""
    module = network(arch)
    steps = getattr(torch.optim, optimiser)(module.parameters(), lr=1e-3, **options)
    schedule = torch.optim.lr_scheduler.StepLR(steps, 5)
    for parameter in module.parameters():
        parameter.grad = torch.ones_like(parameter)
    steps.step()
    content = {
        "epoch": 3, "arch": arch, "best": 0.875, "finished": False, "classes": ["a", "b"],
        key: module.state_dict(), "optimizer": steps.state_dict(), "scheduler": None,
        "lr_scheduler": {"last_lr": schedule.get_last_lr()}, "size": torch.Size([3, 224, 224]),
        "dtype": torch.float32, "device": torch.device("cpu"), "rng": torch.get_rng_state(),
    }  # fmt: skip
    save(content, path, is_zip)
    assert same_bits(path, key) == len(module.state_dict())
    path.unlink()


@FORMS
def test_a_tensor_of_the_other_sign_is_refused(tmp_path, is_zip):
    """Its numbers stand in the file without the sign that a flag gives them."""
    path = tmp_path / "weights.pth"
    save({"w": torch._neg_view(torch.ones(2))}, path, is_zip)
    with pytest.raises(InputError, match=r"weights\.pth .*a negated or conjugated view"):
        read(path)
