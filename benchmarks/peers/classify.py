"""Learners in PyTorch: predictions and training steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from ml_collections import ConfigDict
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from benchmarks import experiments
from benchmarks.files import INPUTS, WEIGHTS, read_arrays
from benchmarks.peers import device, networks, training
from benchmarks.protocol import Prepared

Fields = Mapping[str, Any]


def draw_weights(folder: Path, *, config: str, fields: Fields) -> None:
    """Writes the numbers of PyTorch's random network, its norms' statistics taken from some of
    the inputs.
    """
    c = experiments.load(config, fields)
    network = networks.classifier(c)
    given = read_arrays(folder / INPUTS)
    # Of a training step what it sees, of a prediction what is cut of its images.
    first = slice(16)
    seen = given["pixels"][first] if "pixels" in given else _crops(given, c)[1](first)
    networks.calibrate(network, _to_input(torch.from_numpy(seen), c))
    save_file(
        {name: value.contiguous() for name, value in network.state_dict().items()}, folder / WEIGHTS
    )


def predict(
    folder: Path, *, config: str, fields: Fields, form: str, where: str, one_by_one: bool
) -> Prepared:
    """Votes and mean probabilities: of the patches of the first image, or of whole images.

    Args:
        folder: with the inputs and the weights.
        config, fields: of the experiment.
        form: one of `training.FORMS`.
        where: "cpu" or "cuda".
        one_by_one: as published: each patch is cut, scaled and classified by itself; else in the
            config's chunks.
    """
    c = experiments.load(config, fields)
    network = training.on_device(_network(c, folder).eval(), form, where)
    (images, each), crops = _crops(read_arrays(folder / INPUTS), c)
    chunk = 1 if one_by_one else c.patches.chunk
    found: dict[str, np.ndarray] = {}

    # A compiled program's constants are no tensors of inference mode.
    @(torch.no_grad() if form.endswith("compiled") else torch.inference_mode())
    def run() -> None:
        logits = []
        for first in range(0, images * each, chunk):
            pixels = torch.from_numpy(crops(slice(first, first + chunk)))
            x = training.laid_out(_to_input(pixels.to(where), c), form, where)
            with training.precision(form, where):
                logits.append(network(x).float())
        every = torch.cat(logits).unflatten(0, (images, each))
        votes = F.one_hot(every.argmax(2), every.shape[2]).float()
        found["mean_softmax"] = every.softmax(2).mean(1).cpu().numpy()
        found["vote_fraction"] = votes.mean(1).cpu().numpy()

    return Prepared(run, lambda: found, lambda: device.measures(where))


def train(folder: Path, *, config: str, fields: Fields, form: str, where: str) -> Prepared:
    """A training step on the pixels of our first step, which come ready cut; ours cuts them in
    every step.
    """
    c = experiments.load(config, fields)
    given = read_arrays(folder / INPUTS)
    pixels, labels = torch.from_numpy(given["pixels"]), torch.from_numpy(given["label"]).long()
    labels = labels.repeat_interleave(len(pixels) // len(labels)).to(where)

    def mean_loss(output: Any) -> Tensor:
        if isinstance(output, Tensor):
            return F.cross_entropy(output.float(), labels)
        # Inception's
        main, auxiliary = (F.cross_entropy(logits.float(), labels) for logits in output)
        return main + c.loss.aux_weight * auxiliary

    return training.step(
        c, _network(c, folder), mean_loss, _to_input(pixels, c), form=form, where=where
    )


def _network(config: ConfigDict, folder: Path) -> nn.Module:
    network = networks.classifier(config)
    network.load_state_dict(load_file(folder / WEIGHTS))
    return network


def _crops(
    given: Mapping[str, np.ndarray], config: ConfigDict
) -> tuple[tuple[int, int], Callable[[slice], np.ndarray]]:
    """((images, crops of each), what cuts some of all crops: [N, P, P] float32 in [0, 1])."""
    if not config.patches.enabled:
        images = given["image"]
        return (len(images), 1), lambda some: _middles(images[some], config.patches.size)
    image, mask, centres = given["image"][0], given["mask"][0], given["centres"][0]
    return (1, len(centres)), lambda some: _patches(image, mask, centres[some], config)


def _middles(images: np.ndarray, size: int) -> np.ndarray:
    top, left = ((side - size) // 2 for side in images.shape[1:])
    return images[:, top : top + size, left : left + size].astype(np.float32) / 255


def _patches(
    image: np.ndarray, mask: np.ndarray, centres: np.ndarray, config: ConfigDict
) -> np.ndarray:
    """Patches [N, P, P] float32 in [0, 1] around centres [N, 2], moved inside the image; 0 outside
    the lungs.
    """
    size = config.patches.size
    patches = []
    for centre in centres:
        top, left = (
            int(min(max(c - size // 2, 0), side - size))
            for c, side in zip(centre, image.shape, strict=True)
        )
        place = np.s_[top : top + size, left : left + size]
        patches.append(image[place] * mask[place] if config.patches.apply_mask else image[place])
    return np.stack(patches).astype(np.float32) / 255


def _to_input(pixels: Tensor, config: ConfigDict) -> Tensor:
    """[N, P, P] -> [N, 3, S, S], normalised."""
    m = config.model
    x = pixels[:, None]
    if m.input_size and x.shape[-1] != m.input_size:
        x = F.interpolate(x, (m.input_size, m.input_size), mode="bilinear", align_corners=False)
    [mean], [std] = m.mean, m.std
    return ((x - mean) / std).expand(-1, m.in_channels, -1, -1).contiguous()
