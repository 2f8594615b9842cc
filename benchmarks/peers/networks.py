"""PyTorch networks equal to ours: learners of torchvision and, EfficientNet-Lite, of another
package, and segmenters written from their papers' descriptions.

The segmenters' modules carry the names of our parameter trees, so that our numbers go in without a
table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from ml_collections import ConfigDict
from torch import Tensor, nn

from benchmarks.peers.lite_unet import LiteUNet
from benchmarks.settings import is_lite

DENSENETS = {
    "densenet161": dict(num_init_features=96, growth_rate=48, block_config=(6, 12, 36, 24))
}
RESNETS = {
    "resnet152": dict(layers=(3, 8, 36, 3)),
    "resnext101_32x8d": dict(layers=(3, 4, 23, 3), groups=32, width_per_group=8),
}
VGGS = {"vgg19_bn": (2, 2, 4, 4, 4)}


def classifier(config: ConfigDict) -> nn.Module:
    """The network of a learner's config, with its own random numbers (seeded) and without dropout
    and stochastic depth.
    """
    torch.manual_seed(config.seed)
    m, classes = config.model, len(config.data.classes)
    if is_lite(m.name):
        network = _lite(m.name, classes, m.depth, side=m.input_size or config.patches.size)
    else:
        network = _torchvision(m.name, classes, m.depth)
    for part in network.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
    return network


def _torchvision(name: str, classes: int, depth: float) -> nn.Module:
    models = _torchvision_models()
    if name in DENSENETS:
        sizes: dict[str, Any] = dict(DENSENETS[name])
        return models.DenseNet(
            num_classes=classes, **{**sizes, "block_config": _scaled(sizes["block_config"], depth)}
        )
    if name in RESNETS:
        sizes = dict(RESNETS[name])
        sizes["layers"] = list(_scaled(sizes["layers"], depth))
        return models.ResNet(models.resnet.Bottleneck, num_classes=classes, **sizes)
    if name in VGGS:
        plan: list[Any] = []
        for channels, count in zip(
            (64, 128, 256, 512, 512), _scaled(VGGS[name], depth), strict=True
        ):
            plan += [channels] * count + ["M"]
        return models.VGG(models.vgg.make_layers(plan, batch_norm=True), num_classes=classes)
    if name == "efficientnet_b4":
        network = models.efficientnet_b4(num_classes=classes, stochastic_depth_prob=0.0)
        for i, stage in enumerate(network.features[1:-1], start=1):
            network.features[i] = stage[: _scaled([len(stage)], depth)[0]]
        return network
    if name == "inception_v3" and depth == 1:
        return models.Inception3(
            num_classes=classes, aux_logits=True, transform_input=False, init_weights=True
        )
    raise ValueError(f"there is no network of torchvision for {name} at depth {depth}")


def _lite(name: str, classes: int, depth: float, *, side: int) -> nn.Module:
    """`side`: of the images, for which it pads as TensorFlow does."""
    from efficientnet_lite_pytorch import EfficientNet

    if depth != 1:
        raise ValueError(f"there is no {name} at depth {depth}")
    network = EfficientNet.from_name(
        name.replace("_", "-"), num_classes=classes, image_size=side, drop_connect_rate=0.0
    )
    for layer in network.modules():
        _pad_within(layer)
    return network


def _pad_within(layer: nn.Module) -> None:
    """Padding that is the same on both sides becomes the convolution's own, which is faster.

    The package pads every map in a pass of its own, as only strides of 2 need it.
    """
    margins = getattr(layer, "static_padding", None)
    if isinstance(margins, nn.ZeroPad2d):
        left, right, top, bottom = margins.padding
        if left == right and top == bottom:
            layer.padding, layer.static_padding = (top, left), nn.Identity()  # pyright: ignore


def _scaled(counts: Sequence[int], depth: float) -> tuple[int, ...]:
    """As jaxcxr's `model.depth`."""
    return tuple(max(1, round(count * depth)) for count in counts)


def _torchvision_models() -> Any:
    try:
        from torchvision import models
    except (
        RuntimeError,
        ImportError,
    ):
        # Its compiled part does not fit this torch; its Python part wants these.
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        from torchvision import models
    return models


def calibrate(network: nn.Module, x: Tensor) -> None:
    """Sets the running statistics to those of a batch [N, 3, H, W]: as they start, deep networks
    overflow.
    """
    network.eval()
    norms = [part for part in network.modules() if isinstance(part, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.train()
        norm.momentum = 1.0
    with torch.inference_mode():
        network(x)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.num_batches_tracked.zero_()  # pyright: ignore[reportOptionalMemberAccess]
    network.eval()


def segmenter(config: ConfigDict) -> nn.Module:
    """The network of a segmenter's config, without dropout; `fill` gives it numbers."""
    m, structures = config.model, len(config.masks.structures)
    outputs = structures if m.outputs == "sigmoid" else structures + 1
    if m.name == "fc_densenet103":
        return FCDenseNet(m.in_channels, outputs, width=m.width, depth=m.depth)
    if m.name == "lite_unet":
        return LiteUNet(
            m.in_channels,
            outputs,
            stem=_scaled((32,), m.width)[0],
            channels=_scaled((16, 24, 40, 80, 112), m.width),
            blocks=_scaled((1, 2, 2, 3, 3), m.depth),
            decoder=_scaled((64, 48, 32, 16), m.width),
        )
    channels = {"unet_cxnet": (32, 64, 128, 256, 512), "unet": (64, 128, 256, 512, 1024)}[m.name]
    return UNet(
        m.in_channels,
        outputs,
        channels=_scaled(channels, m.width),
        convolutions=_scaled((2,), m.depth)[0],
        transposed=m.name == "unet_cxnet",
        narrow=m.narrow,
    )


def fill(network: nn.Module, numbers: Mapping[str, np.ndarray]) -> None:
    """Our variables into a segmenter: 'params/down1/layer1/conv/kernel' [H, W, I, O] is
    down1.layer1.conv.weight.
    """
    leaves = {"kernel": "weight", "scale": "weight", "mean": "running_mean", "var": "running_var"}
    state = {}
    for name, value in numbers.items():
        *path, leaf = name.split("/")[1:]
        if leaf == "kernel":  # a transposed convolution's is [H, W, O, I] here, [I, O, H, W] there
            value = value.transpose(3, 2, 0, 1)
        state[".".join([*path, leaves.get(leaf, leaf)])] = torch.from_numpy(np.array(value))
    found = network.load_state_dict(state, strict=False)
    missing = [name for name in found.missing_keys if not name.endswith("num_batches_tracked")]
    if found.unexpected_keys or missing:
        raise ValueError(f"the networks differ: {found}")


class ConvUnit(nn.Module):
    """BN, ReLU, convolution (the dropout after it is left out)."""

    def __init__(self, inputs: int, outputs: int, size: int):
        super().__init__()
        self.norm = nn.BatchNorm2d(inputs)
        self.conv = nn.Conv2d(inputs, outputs, size, padding=size // 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.relu(self.norm(x)))


class DenseBlock(nn.Module):
    """Each unit sees all that came before; gives everything, or what is new."""

    def __init__(self, inputs: int, count: int, growth: int, *, new_only: bool):
        super().__init__()
        self.new_only = new_only
        for i in range(count):
            self.add_module(f"layer{i + 1}", ConvUnit(inputs + i * growth, growth, 3))

    def forward(self, x: Tensor) -> Tensor:
        features = [x]
        for unit in self.children():
            features.append(unit(torch.cat(features, 1)))
        return torch.cat(features[1:] if self.new_only else features, 1)


class TransitionUp(nn.Module):
    """Transposed 3x3 convolution of stride 2, cut to the skip connection's size and joined with
    it.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.ConvTranspose2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        x = self.conv(x)
        height, width = skip.shape[2:]
        top, left = (x.shape[2] - height) // 2, (x.shape[3] - width) // 2
        return torch.cat([x[:, :, top : top + height, left : left + width], skip], 1)


class FCDenseNet(nn.Module):
    """FC-DenseNet103 (Jegou et al., 2017, Table 2), giving logits."""

    def __init__(self, inputs: int, outputs: int, *, width: float, depth: float):
        super().__init__()
        growth, channels = _scaled((16, 48), width)
        down, [bottleneck] = _scaled((4, 5, 7, 10, 12), depth), _scaled((15,), depth)
        self.levels = len(down)
        self.stem = nn.Conv2d(inputs, channels, 3, padding=1)
        skips = []
        for i, count in enumerate(down, start=1):
            self.add_module(f"down{i}", DenseBlock(channels, count, growth, new_only=False))
            channels += count * growth
            skips.append(channels)
            self.add_module(f"transition_down{i}", ConvUnit(channels, channels, 1))
        self.bottleneck = DenseBlock(channels, bottleneck, growth, new_only=True)
        channels = bottleneck * growth
        for i in range(len(down), 0, -1):
            self.add_module(f"transition_up{i}", TransitionUp(channels))
            channels += skips[i - 1]
            self.add_module(f"up{i}", DenseBlock(channels, down[i - 1], growth, new_only=i > 1))
            # Only what is new goes up, but out of the last block everything.
            channels = down[i - 1] * growth + (channels if i == 1 else 0)
        self.head = nn.Conv2d(channels, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        skips = []
        for i in range(1, self.levels + 1):
            x = self.get_submodule(f"down{i}")(x)
            skips.append(x)
            x = F.max_pool2d(self.get_submodule(f"transition_down{i}")(x), 2)
        x = self.bottleneck(x)
        for i in range(self.levels, 0, -1):
            x = self.get_submodule(f"up{i}")(
                self.get_submodule(f"transition_up{i}")(x, skips[i - 1])
            )
        return self.head(x)


class Block(nn.Module):
    """3x3 convolutions, each with a ReLU."""

    def __init__(self, inputs: int, outputs: int, count: int):
        super().__init__()
        for i in range(count):
            self.add_module(
                f"conv{i + 1}", nn.Conv2d(outputs if i else inputs, outputs, 3, padding=1)
            )

    def forward(self, x: Tensor) -> Tensor:
        for convolution in self.children():
            x = F.relu(convolution(x))
        return x


class RepeatedUp(nn.Module):
    """Each pixel four times, then a 2x2 convolution, padded below and to the right, and a ReLU."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 2)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(
            self.conv(F.pad(F.interpolate(x, scale_factor=2, mode="nearest"), (0, 1, 0, 1)))
        )


class UNet(nn.Module):
    """A U-Net with padded convolutions and no norms, giving logits; sides must be multiples
    of 16.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        channels: Sequence[int],
        convolutions: int,
        transposed: bool,
        narrow: int,
    ):
        super().__init__()
        self.levels, self.narrow = len(channels) - 1, None
        for i, count in enumerate(channels, start=1):
            name = f"down{i}" if i <= self.levels else "bottleneck"
            self.add_module(name, Block(inputs, count, convolutions))
            inputs = count
        for i in range(self.levels, 0, -1):
            count = channels[i - 1]
            up = (
                nn.ConvTranspose2d(inputs, count, 2, stride=2)
                if transposed
                else RepeatedUp(inputs, count)
            )
            self.add_module(f"upsample{i}", up)
            self.add_module(f"up{i}", Block(2 * count, count, convolutions))
            inputs = count
        if narrow:
            self.narrow = nn.Conv2d(inputs, narrow, 3, padding=1)
            inputs = narrow
        self.head = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for i in range(1, self.levels + 1):
            x = self.get_submodule(f"down{i}")(x)
            skips.append(x)
            x = F.max_pool2d(x, 2)
        x = self.get_submodule("bottleneck")(x)
        for i in range(self.levels, 0, -1):
            x = torch.cat([self.get_submodule(f"upsample{i}")(x), skips[i - 1]], 1)
            x = self.get_submodule(f"up{i}")(x)
        if self.narrow is not None:
            x = F.relu(self.narrow(x))
        return self.head(x)
