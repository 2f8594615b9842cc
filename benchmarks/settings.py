"""What the command line sets, and what follows from it for the configs that the cases measure."""

from __future__ import annotations

import dataclasses
from typing import Any

from benchmarks.protocol import Job

# Learner -> its config file; `patched_<file>` is the one on lung patches.
LEARNERS = {
    "densenet161": "densenet",
    "inception_v3": "inception",
    "resnet152": "resnet",
    "resnext101_32x8d": "resnext",
    "vgg19_bn": "vgg",
}
TORCH, TORCHVISION = ("torch",), ("torch", "torchvision")  # of Job.needs, as the next
CPU, GPU = ("simulated devices",), ("a GPU",)

Fields = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Options:
    """What the command line sets.

    Attributes:
        patches: K of an image.
        batch: images of a learner's training step.
        quick: small networks and images.
        gpu: both frameworks run on a GPU.
    """

    patches: int = 100
    batch: int = 8
    quick: bool = False
    gpu: bool = False

    @property
    def where(self) -> str:
        """PyTorch's name of the device."""
        return "cuda" if self.gpu else "cpu"


def learner_fields(learner: str, o: Options, *, trains: bool) -> Fields:
    """Changes to a learner's config: none that changes the work, unless quick."""
    fields: Fields = {"evaluate.batch_size": 1}
    if trains:
        fields["optim.l1"] = 0.0  # torch's Adam has no such term
    if o.quick and learner != "inception_v3":
        fields["model.depth"] = 0.01
    return fields


def step_arguments(learner: str, view: str, o: Options) -> tuple[Fields, tuple[Job, ...]]:
    """(config and fields of a training step, the jobs that draw its inputs)."""
    fields = learner_fields(learner, o, trains=True)
    if o.quick:
        # torchvision's Inception trains at no less than 299 px, because of its auxiliary head.
        side = 299 if learner == "inception_v3" and view == "whole" else 64
        fields |= {"data.image_size": side + 16, "patches.size": side}
    file = LEARNERS[learner] if view == "whole" else f"patched_{LEARNERS[learner]}"
    given: Fields = {"config": file, "fields": fields}
    prepare = (
        Job("benchmarks.ours.classify:draw_batch", {**given, "images": o.batch}),
        Job("benchmarks.peers.classify:draw_weights", given, TORCHVISION),
    )
    return given, prepare
