"""`python -m tests.reference.make` writes tests/reference/*.npz: what torchvision's networks, an
eighth as wide, give.

Needs requirements-parity.txt. The networks' arrays come from `numbers.draw`, so the files hold
results only.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from tests.parity.torch_side import StochasticDepth, models, run
from tests.reference.numbers import draw, head_weight, image

CLASSES, BATCH, NARROW = 5, 2, 8
FOLDER = Path(__file__).parent
# Image sides are odd where a network takes them: padding, floor and ceiling show there.
SIDES = {
    "densenet": 67,
    "resnet": 67,
    "resnext": 67,
    "vgg": 67,
    "vgg_bn": 67,
    "inception": 299,
    "efficientnet": 67,
}
# Arrays whose gradients are kept, beside logits, the last feature map and all running statistics.
GRADIENTS = {
    "densenet": (
        "features.conv0.weight",
        "features.denseblock2.denselayer1.conv2.weight",
        "classifier.weight",
    ),
    "resnet": ("conv1.weight", "layer2.0.downsample.0.weight", "fc.weight"),
    "resnext": ("conv1.weight", "layer2.0.conv2.weight", "fc.weight"),
    "vgg": ("features.0.weight", "classifier.6.weight"),
    "vgg_bn": ("features.0.weight", "features.5.weight", "classifier.6.weight"),
    "inception": (
        "Conv2d_1a_3x3.conv.weight",
        "Mixed_6b.branch7x7_2.conv.weight",
        "AuxLogits.fc.weight",
        "fc.weight",
    ),
    "efficientnet": (
        "features.0.0.weight",
        "features.3.0.block.1.0.weight",
        "features.6.1.block.2.fc1.weight",
        "classifier.1.weight",
    ),
}
LAST_MAP = {
    "densenet": "features.norm5", "resnet": "layer4.0.bn2", "resnext": "layer4.0.bn3",
    "vgg": "features.12", "vgg_bn": "features.17", "inception": "Mixed_7b.branch_pool.bn",
    "efficientnet": "features.8.1",
}  # fmt: skip


def network(family: str) -> nn.Module:
    """torchvision's network with one block a stage and an eighth of the channels."""
    if family == "densenet":
        return models.DenseNet(48 // NARROW, (1, 1, 1, 1), 96 // NARROW, num_classes=CLASSES)
    if family == "resnet":
        return NarrowResNet(models.resnet.BasicBlock)
    if family == "resnext":  # a group keeps its channels
        return NarrowResNet(
            models.resnet.Bottleneck, groups=32 // NARROW, width_per_group=8 * NARROW
        )
    if family == "inception":
        return _inception()
    if family == "efficientnet":
        return _efficientnet()
    channels = [size for c in (64, 128, 256, 512, 512) for size in (c // NARROW, "M")]
    module = models.VGG(
        models.vgg.make_layers(channels, batch_norm=family == "vgg_bn"), num_classes=CLASSES
    )
    hidden = 4096 // NARROW
    module.classifier[0] = nn.Linear(512 // NARROW * 49, hidden)
    module.classifier[3] = nn.Linear(hidden, hidden)
    module.classifier[6] = nn.Linear(hidden, CLASSES)
    return module


class NarrowResNet(models.ResNet):
    """torchvision's ResNet with an eighth of its channels."""

    def __init__(self, block: Any, **options: Any):
        super().__init__(block, [1, 1, 1, 1], num_classes=CLASSES, **options)
        self.conv1 = nn.Conv2d(3, 64 // NARROW, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64 // NARROW)
        self.fc = nn.Linear(512 // NARROW * block.expansion, CLASSES)

    def _make_layer(
        self, block: Any, planes: int, blocks: int, stride: int = 1, dilate: bool = False
    ) -> Any:
        if planes == 64:
            self.inplanes = 64 // NARROW
        return super()._make_layer(block, planes // NARROW, blocks, stride, dilate)


def _inception() -> nn.Module:
    i = models.inception

    def unit(cin: int, cout: int, **options: Any) -> nn.Module:
        return i.BasicConv2d(cin if cin == 3 else cin // NARROW, cout // NARROW, **options)

    blocks = [
        unit,
        *(_with(block, unit) for block in (i.InceptionA, i.InceptionB, i.InceptionC)),
        *(_with(block, unit) for block in (i.InceptionD, i.InceptionE, i.InceptionAux)),
    ]
    module = i.Inception3(num_classes=CLASSES, inception_blocks=blocks, init_weights=False)
    for name in ("Mixed_5c", "Mixed_5d", "Mixed_6c", "Mixed_6d", "Mixed_6e", "Mixed_7c"):
        setattr(module, name, nn.Identity())
    module.Mixed_6a = i.InceptionB(256, conv_block=unit)
    module.Mixed_6b = i.InceptionC(736, channels_7x7=128, conv_block=unit)
    module.AuxLogits.fc = nn.Linear(768 // NARROW, CLASSES)
    module.fc = nn.Linear(2048 // NARROW, CLASSES)
    return module


class ExactMBConv(models.efficientnet.MBConvConfig):
    """Channels are what they are, not the nearest multiple of 8."""

    @staticmethod
    def adjust_channels(channels: int, width_mult: float, min_value: int | None = None) -> int:
        return int(channels * width_mult)


def _efficientnet() -> nn.Module:
    """B4 with a fifth of its blocks: one a stage, and two in the sixth, so that there is a
    shortcut.
    """
    channels, blocks = (48, 24, 32, 56, 112, 160, 272, 448), (1, 1, 1, 1, 1, 2, 1)
    narrow = [round(c / NARROW) for c in channels]
    # Expansion, window, stride.
    shapes = ((1, 3, 1), (6, 3, 2), (6, 5, 2), (6, 3, 2), (6, 5, 1), (6, 5, 2), (6, 3, 1))
    stages = [ExactMBConv(*shapes[i], narrow[i], narrow[i + 1], blocks[i]) for i in range(7)]
    return models.EfficientNet(stages, 0.0, num_classes=CLASSES, last_channel=1792 // NARROW)


def _with(block: Any, unit: Any) -> Any:
    return lambda *arguments, **options: block(*arguments, **options, conv_block=unit)


def make(family: str) -> None:
    """Writes one file."""
    module = network(family)
    drawn = {name: draw(name, tuple(value.shape)) for name, value in module.state_dict().items()}
    module.load_state_dict(
        {name: torch.from_numpy(np.asarray(value)) for name, value in drawn.items()}
    )
    for part in module.modules():
        if isinstance(part, nn.Dropout | StochasticDepth):
            part.p = 0.0
        elif isinstance(part, nn.ReLU | nn.SiLU):
            part.inplace = False
    module.double()  # so that only our own rounding is seen
    x, weight = (
        a.astype(np.float64) for a in (image(BATCH, SIDES[family]), head_weight(BATCH, CLASSES))
    )
    evaluated, _ = run(module, x, train=False, weight=weight)
    trained, gradients = run(module, x, train=True, weight=weight)
    arrays = {
        "logits": evaluated["logits"],
        "map": evaluated[LAST_MAP[family]],
        "train_logits": trained["logits"],
        **{f"gradient/{name}": gradients[name] for name in GRADIENTS[family]},
    }
    if "aux_logits" in trained:
        arrays["aux_logits"] = trained["aux_logits"]
    for name, value in module.state_dict().items():
        if "running" in name:
            arrays[f"after/{name}"] = value.numpy()
    about = {
        "made with": f"torch {torch.__version__}",
        "map": LAST_MAP[family],
        "shapes": {name: list(value.shape) for name, value in module.state_dict().items()},
    }
    arrays = {name: value.astype(np.float32) for name, value in arrays.items()}
    np.savez_compressed(FOLDER / f"{family}.npz", about=np.array(json.dumps(about)), **arrays)


if __name__ == "__main__":
    for each in SIDES:
        make(each)
        print(each, (FOLDER / f"{each}.npz").stat().st_size, "bytes")
