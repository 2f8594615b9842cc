"""Segmenters in PyTorch, with our numbers."""

from __future__ import annotations

import math
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
        given = masks.to(where)
        found["loss"] = _image_losses(output, given, c).cpu().numpy()
        logits = _over_classes(_cut(output, given, c), c)
        found["mask"] = logits.argmax(1).byte().cpu().numpy()

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
        output = output.float()
        return (_image_losses(output, masks, c) + _implied_losses(output, masks, c)).mean()

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
    """uint8 [B, S, S] -> [B, C, S, S], normalised."""
    m = config.model
    [mean], [std] = m.mean or (0.5,), m.std or (0.5,)
    return ((images.float() / 255 - mean) / std)[:, None].repeat(1, m.in_channels, 1, 1)


def _over_classes(output: Tensor, config: ConfigDict) -> Tensor:
    """With a logit of 0 for background where the network has sigmoids."""
    return F.pad(output, (0, 0, 0, 0, 1, 0)) if config.model.outputs == "sigmoid" else output


def _targets(masks: Tensor, structures: int) -> Tensor:
    """[B, S, H, W] float: where the structures are."""
    return F.one_hot(masks, structures + 1)[..., 1:].permute(0, 3, 1, 2).float()


def _within(config: ConfigDict) -> list[list[int]]:
    """Pairs of structures, the first of which lies within the second."""
    names = list(config.masks.structures)
    return [[names.index(name) for name in pair.split("=")] for pair in config.masks.within]


def _pixel_weights(masks: Tensor, config: ConfigDict) -> Tensor:
    """[B, H, W]: background at its own weight, of a sum of 1."""
    pixel = torch.where(masks == 0, config.loss.background_weight, 1.0)
    return pixel / pixel.sum((1, 2), keepdim=True)


def _image_losses(output: Tensor, masks: Tensor, config: ConfigDict) -> Tensor:
    """[B]: over each image's pixels, and with sigmoids over the structures, or those it shows."""
    weights = _pixel_weights(masks, config)
    if config.loss.name != "binary_cross_entropy":
        losses = F.cross_entropy(_over_classes(output, config), masks, reduction="none")
        return (losses * weights).sum((1, 2))
    targets = _targets(masks, output.shape[1])
    losses = F.binary_cross_entropy_with_logits(output, targets, reduction="none")
    each = (losses * weights[:, None]).sum((2, 3))
    if config.loss.dice:
        p = output.sigmoid()
        both, either = (p * targets).sum((2, 3)), p.sum((2, 3)) + targets.sum((2, 3))
        each = each + config.loss.dice * (1 - (2 * both + 1) / (either + 1))
    counts = targets.amax((2, 3)) if config.masks.by_source else torch.ones_like(each)
    return (each * counts).sum(1) / counts.sum(1)


def _implied_losses(output: Tensor, masks: Tensor, config: ConfigDict) -> Tensor | float:
    """[B]: a structure is wherever one within it is, and not far from the hull of that.

    Masks show one structure each.
    """
    total: Tensor | float = 0.0
    for inner, outer in _within(config):
        there = masks == inner + 1
        shown = there.any(2).any(1)[:, None, None]
        known = there
        if margin := config.masks.hull_margin:
            known = there | (_beyond_hull(there, margin * masks.shape[-1]) & (masks == 0) & shown)
        losses = F.binary_cross_entropy_with_logits(
            output[:, outer], there.float(), reduction="none"
        )
        total += (losses * _pixel_weights(masks, config) * known).sum((1, 2))
    return total


def _beyond_hull(masks: Tensor, margin: float) -> Tensor:
    """[B, H, W] bool: a line in one of 32 directions keeps the whole mask farther away."""
    rows, columns = (
        torch.arange(side, dtype=torch.float32, device=masks.device) for side in masks.shape[1:]
    )
    beyond = torch.zeros_like(masks)
    for number in range(32):
        angle = 2 * math.pi * number / 32
        along = columns * math.cos(angle) + rows[:, None] * math.sin(angle)
        reach = along.masked_fill(~masks, -math.inf).amax((1, 2), keepdim=True)
        beyond |= along > reach + margin + 1e-3
    return beyond


def _cut(output: Tensor, masks: Tensor, config: ConfigDict) -> Tensor:
    """Logits of what the masks show alone, which is nowhere outside what it lies within."""
    if not config.masks.by_source:
        return output
    logits = list(output.unbind(1))
    for inner, outer in _within(config):
        logits[inner] = torch.minimum(logits[inner], logits[outer])
    shown = _targets(masks, output.shape[1]).amax((2, 3), keepdim=True)
    return torch.stack(logits, 1).masked_fill(shown == 0, -30.0)
