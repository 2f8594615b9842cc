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
# The same of networks of depthwise convolutions, which see whole images of these sides.
DEPTHWISE = {
    "efficientnet_b4": "efficientnet",
    "efficientnet_lite0": "efficientnet_lite0",
    "efficientnet_lite1": "efficientnet_lite1",
    "efficientnet_lite2": "efficientnet_lite2",
}
SIDES = (96, 224, 320)
TORCH, TORCHVISION = ("torch",), ("torch", "torchvision")  # of Job.needs, as the next three
LITE = ("torch", "efficientnet_lite_pytorch")
CPU, GPU = ("simulated devices",), ("a GPU",)
COMPILER = ("a C++ compiler",)  # of torch.compile on CPUs

Fields = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Options:
    """What the command line sets.

    Attributes:
        patches: K of an image.
        batch: images of a learner's training step; see `images`.
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


def is_lite(learner: str) -> bool:
    """Whether it is an EfficientNet-Lite, which torchvision does not have."""
    return learner.startswith("efficientnet_lite")


def needs(learner: str) -> tuple[str, ...]:
    """What its network in PyTorch comes from."""
    return LITE if is_lite(learner) else TORCHVISION


def images(learner: str, o: Options) -> int:
    """Of a batch: small networks take more at once."""
    return 2 * o.batch if is_lite(learner) else o.batch


def learner_fields(learner: str, o: Options, *, trains: bool) -> Fields:
    """Changes to a learner's config: none that changes the work, unless quick."""
    fields: Fields = {"evaluate.batch_size": 1}
    if trains:
        fields["optim.l1"] = 0.0  # torch's Adam has no such term
    # torchvision has no other Inception, and the names of Lite's weights say how deep it is.
    if o.quick and learner != "inception_v3" and not is_lite(learner):
        fields["model.depth"] = 0.01
    return fields


def side_arguments(learner: str, side: int, o: Options, *, trains: bool) -> Fields:
    """Config and fields of a network that sees crops of this side, of images as much larger as the
    papers'.
    """
    side = 64 if o.quick else side
    fields = learner_fields(learner, o, trains=trains)
    fields |= {"data.image_size": side * 3 // 2, "patches.size": side}
    return {"config": DEPTHWISE[learner], "fields": fields}


def step_arguments(learner: str, view: str, o: Options) -> tuple[Fields, tuple[Job, ...]]:
    """(config and fields of a training step, the jobs that draw its inputs).

    `view`: 'patched', 'whole' or, of a network of DEPTHWISE, the side of what it sees.
    """
    if learner in DEPTHWISE:
        given = side_arguments(learner, int(view), o, trains=True)
    else:
        given = _learner_arguments(learner, view, o)
    prepare = (
        Job("benchmarks.ours.classify:draw_batch", {**given, "images": images(learner, o)}),
        Job("benchmarks.peers.classify:draw_weights", given, needs(learner)),
    )
    return given, prepare


def _learner_arguments(learner: str, view: str, o: Options) -> Fields:
    fields = learner_fields(learner, o, trains=True)
    if o.quick:
        # torchvision's Inception trains at no less than 299 px, because of its auxiliary head.
        side = 299 if learner == "inception_v3" and view == "whole" else 64
        fields |= {"data.image_size": side + 16, "patches.size": side}
    file = LEARNERS[learner] if view == "whole" else f"patched_{LEARNERS[learner]}"
    return {"config": file, "fields": fields}
