"""Segmenters in PyTorch, with our numbers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from ml_collections import ConfigDict
from torch import Tensor, nn

from benchmarks import experiments
from benchmarks.files import INPUTS, NUMBERS, read_arrays
from benchmarks.peers import device, networks, training
from benchmarks.protocol import Prepared


def predict(
    folder: Path, *, config: str, fields: Mapping[str, Any], form: str, where: str
) -> Prepared:
    """Masks and losses of a batch, from the host and back."""
    c = experiments.load(config, fields)
    network = training.on_device(_network(c, folder).eval(), form, where)
    images, masks = _inputs(folder)
    found: dict[str, np.ndarray] = {}

    @torch.inference_mode()
    def run() -> None:
        x = training.laid_out(_to_input(images.to(where), c), form, where)
        with training.precision(form, where):
            output = network(x).float()
        logits = _over_classes(output, c)
        found["mask"] = logits.argmax(1).byte().cpu().numpy()
        found["loss"] = _image_losses(output, masks.to(where), c).cpu().numpy()

    def outputs() -> dict[str, np.ndarray]:
        ids = range(1 + len(c.masks.structures))
        areas = np.stack([(found["mask"] == i).sum(axis=(1, 2)) for i in ids], axis=1)
        return {"loss": found["loss"], "areas": areas}

    return Prepared(run, outputs, lambda: device.measures(where))


def train(
    folder: Path, *, config: str, fields: Mapping[str, Any], form: str, where: str
) -> Prepared:
    """A training step."""
    c = experiments.load(config, fields)
    images, masks = _inputs(folder)
    masks = masks.to(where)

    def mean_loss(output: Tensor) -> Tensor:
        return _image_losses(output.float(), masks, c).mean()

    return training.step(
        c, _network(c, folder), mean_loss, _to_input(images, c), form=form, where=where
    )


def _network(config: ConfigDict, folder: Path) -> nn.Module:
    network = networks.segmenter(config)
    networks.fill(network, read_arrays(folder / NUMBERS))
    return network


def _inputs(folder: Path) -> tuple[Tensor, Tensor]:
    given = read_arrays(folder / INPUTS)
    return torch.from_numpy(given["image"]), torch.from_numpy(given["mask"]).long()


def _to_input(images: Tensor, config: ConfigDict) -> Tensor:
    """uint8 [B, S, S] -> [B, C, S, S] in [-1, 1]."""
    return (images.float() / 127.5 - 1)[:, None].repeat(1, config.model.in_channels, 1, 1)


def _over_classes(output: Tensor, config: ConfigDict) -> Tensor:
    """With a logit of 0 for background where the network has sigmoids."""
    return F.pad(output, (0, 0, 0, 0, 1, 0)) if config.model.outputs == "sigmoid" else output


def _image_losses(output: Tensor, masks: Tensor, config: ConfigDict) -> Tensor:
    """[B]: over each image's pixels, background at its own weight."""
    background = config.loss.background_weight
    pixel = torch.where(masks == 0, background, 1.0)
    if config.loss.name == "binary_cross_entropy":
        targets = F.one_hot(masks, output.shape[1] + 1)[..., 1:].permute(0, 3, 1, 2).float()
        losses = F.binary_cross_entropy_with_logits(output, targets, reduction="none").mean(1)
    else:
        losses = F.cross_entropy(_over_classes(output, config), masks, reduction="none")
    return (losses * pixel).sum((1, 2)) / pixel.sum((1, 2))
