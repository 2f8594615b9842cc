"""The network of the ready-made lungs: a U-Net on the first stages of EfficientNet-Lite0.

Written out, unlike the learners' EfficientNet-Lite: the package's convolutions pad in an operation
of their own at any stride, which would cost PyTorch time that it need not take.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_STAGES = ((1, 3, 1), (6, 3, 2), (6, 5, 2), (6, 3, 2), (6, 5, 1))  # expansion, window, stride
_SKIPS = (3, 2, 1)  # the stages whose maps the decoders are given besides the last


class Unit(nn.Sequential):
    """Convolution "0", BatchNorm "1", ReLU6 unless `linear`; padded as TensorFlow does even
    sides.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        window: int,
        *,
        stride: int = 1,
        groups: int = 1,
        linear: bool = False,
    ):
        super().__init__()
        padding = window // 2
        if stride == 2:  # a zero less above and on the left
            self.pad = nn.ZeroPad2d((padding - 1, padding) * 2)
            padding = 0
        conv = nn.Conv2d(inputs, outputs, window, stride, padding, groups=groups, bias=False)
        self.add_module("0", conv)
        self.add_module("1", nn.BatchNorm2d(outputs, eps=1e-3))
        if not linear:
            self.add_module("2", nn.ReLU6(inplace=True))


class MBConv(nn.Module):
    """The inverted bottleneck, without squeeze and excitation."""

    def __init__(self, inputs: int, outputs: int, *, expansion: int, window: int, stride: int):
        super().__init__()
        inner = inputs * expansion
        parts = [] if expansion == 1 else [Unit(inputs, inner, 1)]
        parts.append(Unit(inner, inner, window, stride=stride, groups=inner))
        self.block = nn.Sequential(*parts, Unit(inner, outputs, 1, linear=True))
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = self.block(x)
        return x + y if self.shortcut else y


class Decoder(nn.Module):
    """From the encoder's maps to one output's at half the side of the image."""

    def __init__(self, encoder: Sequence[int], decoder: Sequence[int]):
        super().__init__()
        inputs, *others = decoder
        self.deepest = Unit(encoder[-1], inputs, 1)
        self.average = nn.Conv2d(inputs, inputs, 1)
        for stage, outputs in zip(_SKIPS, others, strict=True):
            self.add_module(f"up_stage{stage}", Unit(inputs + encoder[stage - 1], outputs, 3))
            inputs = outputs

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """`maps`: of the stem and of each stage."""
        x = self.deepest(maps[-1])
        x = x + self.average(x.mean((2, 3), keepdim=True))
        for stage in _SKIPS:
            x = torch.cat([F.interpolate(x, scale_factor=2, mode="nearest"), maps[stage]], 1)
            x = self.get_submodule(f"up_stage{stage}")(x)
        return x


class LiteUNet(nn.Module):
    """A decoder for each output, giving logits; sides must be multiples of 16."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        stem: int,
        channels: Sequence[int],
        blocks: Sequence[int],
        decoder: Sequence[int],
    ):
        super().__init__()
        parts: list[nn.Module] = [Unit(inputs, stem, 3, stride=2)]
        before = stem
        for (expansion, window, stride), count, after in zip(
            _STAGES, blocks, channels, strict=True
        ):
            stage = []
            for i in range(count):
                sizes = dict(expansion=expansion, window=window, stride=1 if i else stride)
                stage.append(MBConv(after if i else before, after, **sizes))
            parts.append(nn.Sequential(*stage))
            before = after
        self.features = nn.ModuleList(parts)
        self.outputs = outputs
        for number in range(1, outputs + 1):
            self.add_module(f"decoder{number}", Decoder(channels, decoder))
        self.head = nn.Conv2d(outputs * decoder[-1], outputs, 1, groups=outputs)

    def forward(self, x: Tensor) -> Tensor:
        maps = []
        for part in self.features:
            x = part(x)
            maps.append(x)
        decoders = [self.get_submodule(f"decoder{i + 1}") for i in range(self.outputs)]
        logits = self.head(torch.cat([decoder(maps) for decoder in decoders], 1))
        return F.interpolate(logits, scale_factor=2, mode="bilinear", align_corners=False)
