"""torchvision's networks, and EfficientNet-Lite's PyTorch port, with random numbers in every array,
and what comes out of each of their modules.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

try:
    from torchvision import models
except (RuntimeError, ImportError):
    # Its compiled part does not fit this torch: the Python part wants these declared.
    _LIBRARY = torch.library.Library("torchvision", "DEF")
    for _name in ("nms", "qnms"):
        _LIBRARY.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    from torchvision import models
from efficientnet_lite_pytorch import EfficientNet as EfficientNetLite
from torchvision.ops import StochasticDepth

from jaxcxr.weights.rules import FAMILIES, Family, rename


def _lite(arch: str, *, weights: None, num_classes: int) -> torch.nn.Module:
    # Without a size of the images it pads them as they come, as TensorFlow does.
    return EfficientNetLite.from_name(
        arch.replace("_", "-"), num_classes=num_classes, image_size=None, drop_connect_rate=0.0
    )


LITE = tuple(f"efficientnet_lite{number}" for number in range(3))
BUILDERS: dict[str, Callable[..., torch.nn.Module]] = {
    "densenet121": models.densenet121,
    "densenet161": models.densenet161,
    "resnet18": models.resnet18,
    "resnet50": models.resnet50,
    "resnet152": models.resnet152,
    "resnext101_32x8d": models.resnext101_32x8d,
    "vgg16": models.vgg16,
    "vgg19_bn": models.vgg19_bn,
    "inception_v3": models.inception_v3,
    "efficientnet_b4": models.efficientnet_b4,
    **{arch: functools.partial(_lite, arch) for arch in LITE},
}


_LAYERS = torch.nn.Conv2d | torch.nn.BatchNorm2d | torch.nn.Linear


def network(arch: str, *, classes: int, seed: int = 0, double: bool = False) -> torch.nn.Module:
    """A torchvision network (`double`: in float64, of the same numbers).

    Norms and biases are drawn, too, so that no array may be mistaken for another.
    """
    torch.manual_seed(seed)
    options: dict[str, Any] = (
        {"init_weights": True, "aux_logits": True} if arch == "inception_v3" else {}
    )
    module = BUILDERS[arch](weights=None, num_classes=classes, **options)
    for part in module.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(part.weight, 0.5, 1.5)
            torch.nn.init.normal_(part.bias, 0, 0.1)
            torch.nn.init.normal_(part.running_mean, 0, 0.1)
            torch.nn.init.uniform_(part.running_var, 0.5, 1.5)
        elif isinstance(part, torch.nn.Dropout | StochasticDepth):
            part.p = 0.0
        elif isinstance(part, torch.nn.Conv2d | torch.nn.Linear) and part.bias is not None:
            torch.nn.init.normal_(part.bias, 0, 0.1)
        elif isinstance(part, torch.nn.ReLU | torch.nn.ReLU6 | torch.nn.SiLU):
            part.inplace = False  # the maps that were kept would change
    return module.double() if double else module


def family(arch: str) -> Family:
    """How the network's arrays are called there."""
    return FAMILIES[arch if arch in LITE else "torchvision"]


def our_name(arch: str, module: str) -> str:
    """'features.2.0.block.1.0' of a convolution, norm or dense layer as it is called there."""
    (name,) = rename({f"{module}.weight": np.zeros(1)}, family(arch)).arrays
    return name.rpartition("/")[0].replace("/", ".")


def state(module: torch.nn.Module) -> dict[str, np.ndarray]:
    return {name: value.numpy().copy() for name, value in module.state_dict().items()}


def run(
    module: torch.nn.Module, x: np.ndarray, *, train: bool, weight: np.ndarray
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """(outputs of all convolutions, norms and dense layers by name, with `logits` and, in training,
    `aux_logits`; gradients of sum(logits * weight) by name, {} in evaluation).
    """
    module.train(train)
    kept: dict[str, np.ndarray] = {}

    def keep(name: str) -> Callable[..., None]:
        return lambda part, inputs, output: kept.__setitem__(name, output.detach().numpy().copy())

    hooks = [
        part.register_forward_hook(keep(name))
        for name, part in module.named_modules()
        if isinstance(part, _LAYERS)
    ]
    output = module(torch.from_numpy(x.transpose(0, 3, 1, 2).copy()))
    for hook in hooks:
        hook.remove()
    if not isinstance(output, torch.Tensor):  # Inception in training
        kept["aux_logits"] = output.aux_logits.detach().numpy().copy()
        logits, total = output.logits, (output.aux_logits * torch.from_numpy(weight)).sum()
    else:
        logits, total = output, 0.0
    kept["logits"] = logits.detach().numpy().copy()
    if not train:
        return kept, {}
    module.zero_grad()
    (total + (logits * torch.from_numpy(weight)).sum()).backward()
    return kept, {name: p.grad.numpy() for name, p in module.named_parameters()}


@dataclasses.dataclass
class Layer:
    """What went through a layer in a training step: all as PyTorch has them, [B, C, H, W] or [B,
    C].

    `of_output` and `of_input` are gradients; `of_input` is this layer's share only, None of the
    image.
    """

    input: np.ndarray
    output: np.ndarray
    of_output: np.ndarray
    of_input: np.ndarray | None = None


def layers(
    module: torch.nn.Module, x: np.ndarray, *, weight: np.ndarray
) -> tuple[dict[str, Layer], dict[str, np.ndarray]]:
    """(every convolution, norm and dense layer of a training step by name, gradients of all
    parameters by name), of the sum of `run`.
    """
    module.train()
    found: dict[str, Layer] = {}

    def before(name: str) -> Callable[..., Any]:
        def hook(part: Any, inputs: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
            x = inputs[0].view_as(inputs[0])  # a tensor of its own: others may use the same input
            found[name] = Layer(x.detach().numpy().copy(), np.empty(0), np.empty(0))
            if x.requires_grad:
                x.register_hook(lambda g: setattr(found[name], "of_input", g.numpy().copy()))
            return (x,)

        return hook

    def after(name: str) -> Callable[..., None]:
        def hook(part: Any, inputs: Any, output: torch.Tensor) -> None:
            found[name].output = output.detach().numpy().copy()
            output.register_hook(lambda g: setattr(found[name], "of_output", g.numpy().copy()))

        return hook

    for name, part in module.named_modules():
        if isinstance(part, _LAYERS):
            part.register_forward_pre_hook(before(name))
            part.register_forward_hook(after(name))
    output = module(torch.from_numpy(x.transpose(0, 3, 1, 2).copy()))
    heads = [output] if isinstance(output, torch.Tensor) else [output.logits, output.aux_logits]
    sum((head * torch.from_numpy(weight)).sum() for head in heads).backward()  # pyright: ignore
    return found, {name: p.grad.numpy() for name, p in module.named_parameters()}
