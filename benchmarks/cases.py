"""Every case, with its sides. This file imports neither framework; the functions it names do, in their processes."""

from __future__ import annotations

import dataclasses
from typing import Any

from benchmarks.harness import Case, Side
from benchmarks.protocol import Job

# Learner -> its config file; `patched_<file>` is the one on lung patches.
LEARNERS = {
    "densenet161": "densenet",
    "inception_v3": "inception",
    "resnet152": "resnet",
    "resnext101_32x8d": "resnext",
    "vgg19_bn": "vgg",
}
SEGMENTERS = {"fc_densenet103": "fc_densenet103", "unet": "v7_unet", "unet_cxnet": "lung_unet"}
_SEGMENTED = 2  # images a batch, as configs/fc_densenet103.py:paper

_BF16 = 0.1  # tolerance of automatic mixed precision: 8 bits of mantissa through a hundred layers
_TORCH, _TORCHVISION = ("torch",), ("torch", "torchvision")
_GPU = ("a GPU",)

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


def all_cases(options: Options) -> list[Case]:
    """In the order in which they run; names do not depend on the options."""
    cases = [*_peaks(options), *(_patched(name, options) for name in LEARNERS)]
    cases += [_step(name, view, options) for name in LEARNERS for view in ("whole", "patched")]
    cases += [
        _segmenter(name, what, options) for name in SEGMENTERS for what in ("train", "predict")
    ]
    cases += [*_tables(options), *_input(options), *_startup(options), *_scaling(options)]
    return cases


def _peaks(o: Options) -> list[Case]:
    side = 256 if o.quick else 8192 if o.gpu else 2048
    numbers = 2**20 if o.quick else 2**28 if o.gpu else 2**26
    sizes: dict[str, Fields] = {"matmul": {"side": side}, "copy": {"numbers": numbers}}
    return [
        Case(
            f"peak/{name}",
            (
                Side(
                    "PyTorch",
                    Job(f"benchmarks.peers.peak:{name}", {**size, "where": o.where}, _TORCH),
                ),
                Side("jaxcxr", Job(f"benchmarks.ours.peak:{name}", size)),
            ),
            tolerance=1e-2,  # TF32 on GPUs
        )
        for name, size in sizes.items()
    ]


def _forms(
    function: str, arguments: Fields, o: Options, *, needs: tuple[str, ...], prefix: str
) -> list[Side]:
    """The forms of PyTorch beyond its defaults, the best of which is the peer."""
    names = {
        "channels_last": "channels_last",
        "bf16": "AMP bf16",
        "bf16_compiled": "AMP bf16, compiled",
    }
    return [
        Side(
            f"{prefix}, {name}",
            Job(
                function,
                {**arguments, "form": form, "where": o.where},
                needs if form == "channels_last" else needs + _GPU,
            ),
            tolerance=None if form == "channels_last" else _BF16,
        )
        for form, name in names.items()
    ]


def _ours(function: str, arguments: Fields) -> list[Side]:
    """jaxcxr as the config has it, and on a GPU also in bfloat16, as AMP."""
    half = {**arguments, "fields": {**arguments["fields"], "model.dtype": "bfloat16"}}
    return [
        Side("jaxcxr", Job(function, arguments)),
        Side("jaxcxr, bf16", Job(function, half, _GPU), tolerance=_BF16),
    ]


def _learner_fields(learner: str, o: Options, *, trains: bool) -> Fields:
    """Changes to a learner's config: none that changes the work, unless quick."""
    fields: Fields = {"evaluate.batch_size": 1}
    if trains:
        fields["optim.l1"] = 0.0  # torch's Adam has no such term
    if o.quick and learner != "inception_v3":
        fields["model.depth"] = 0.01
    return fields


def _patched(learner: str, o: Options) -> Case:
    """Patched prediction of one image, from the image and its mask on the host to votes."""
    fields = _learner_fields(learner, o, trains=False)
    if o.quick:
        fields |= {"data.image_size": 160, "patches.size": 64, "patches.chunk": 3}
        if learner == "inception_v3":
            fields["model.input_size"] = 96
    given: Fields = {"config": f"patched_{LEARNERS[learner]}", "fields": fields}
    predict = "benchmarks.peers.classify:predict"
    batched = {**given, "one_by_one": False}
    published = {**given, "one_by_one": True, "form": "plain", "where": o.where}
    return Case(
        f"patched/{learner}",
        (
            Side("PyTorch, one patch at a time", Job(predict, published, _TORCHVISION)),
            *_forms(predict, batched, o, needs=_TORCHVISION, prefix="PyTorch, batched"),
            *_ours("benchmarks.ours.classify:predict", {**given, "count": o.patches}),
        ),
        prepare=(
            Job("benchmarks.ours.classify:draw_inputs", {**given, "images": 1, "count": o.patches}),
            Job("benchmarks.peers.classify:draw_weights", given, _TORCHVISION),
        ),
    )


def _step_arguments(learner: str, view: str, o: Options) -> tuple[Fields, tuple[Job, ...]]:
    """(config and fields of a training step, the jobs that draw its inputs)."""
    fields = _learner_fields(learner, o, trains=True)
    if o.quick:
        # torchvision's Inception trains at no less than 299 px, because of its auxiliary head.
        side = 299 if learner == "inception_v3" and view == "whole" else 64
        fields |= {"data.image_size": side + 16, "patches.size": side}
    file = LEARNERS[learner] if view == "whole" else f"patched_{LEARNERS[learner]}"
    given: Fields = {"config": file, "fields": fields}
    prepare = (
        Job("benchmarks.ours.classify:draw_batch", {**given, "images": o.batch}),
        Job("benchmarks.peers.classify:draw_weights", given, _TORCHVISION),
    )
    return given, prepare


def _step(learner: str, view: str, o: Options) -> Case:
    """A training step: forward, loss, backward, Adam with coupled L2."""
    given, prepare = _step_arguments(learner, view, o)
    train = "benchmarks.peers.classify:train"
    return Case(
        f"step/{learner}/{view}",
        (
            Side("PyTorch", Job(train, {**given, "form": "plain", "where": o.where}, _TORCHVISION)),
            *_forms(train, given, o, needs=_TORCHVISION, prefix="PyTorch"),
            *_ours("benchmarks.ours.classify:train", given),
        ),
        prepare=prepare,
    )


def _segmenter(name: str, what: str, o: Options) -> Case:
    """A batch of two images: a training step, or masks and losses."""
    fields: Fields = {}
    if o.quick:
        fields = {"data.image_size": 32, "model.width": 0.25, "model.depth": 0.25}
    given: Fields = {"config": SEGMENTERS[name], "fields": fields}
    peer = f"benchmarks.peers.segment:{what}"
    return Case(
        f"{name}/{what}",
        (
            Side("PyTorch", Job(peer, {**given, "form": "plain", "where": o.where}, _TORCH)),
            *_forms(peer, given, o, needs=_TORCH, prefix="PyTorch"),
            *_ours(f"benchmarks.ours.segment:{what}", given),
        ),
        prepare=(Job("benchmarks.ours.segment:draw_inputs", {**given, "images": _SEGMENTED}),),
    )


def _tables(o: Options) -> list[Case]:
    """Ensemble, metrics, bootstrap; their table has about as many rows as the papers' data have images."""
    rows = 200 if o.quick else 6400
    draw = (Job("benchmarks.predictions:draw", {"rows": rows}),)
    given: Fields = {"config": "flannel.ensemble", "fields": {}}
    draws: Fields = {"draws": 20 if o.quick else 500}
    return [
        Case(
            "ensemble/train",
            (
                Side(
                    "PyTorch",
                    Job("benchmarks.peers.tables:ensemble", {**given, "where": o.where}, _TORCH),
                ),
                Side("jaxcxr", Job("benchmarks.ours.tables:ensemble", given)),
            ),
            prepare=draw,
        ),
        Case(
            "metrics/macro_f1",
            (
                Side("scikit-learn", Job("benchmarks.peers.tables:macro_f1")),
                Side("jaxcxr", Job("benchmarks.ours.tables:macro_f1")),
            ),
            prepare=draw,
            tolerance=1e-6,
        ),
        Case(
            "metrics/bootstrap",
            (
                Side("NumPy, a loop", Job("benchmarks.peers.tables:bootstrap", draws)),
                Side("jaxcxr", Job("benchmarks.ours.tables:bootstrap", draws)),
            ),
            prepare=draw,
            tolerance=1e-6,
        ),
    ]


def _input(o: Options) -> list[Case]:
    """Images from their files to the store, from there to the device, and what of that a training step waits for."""
    side, rows = (160, 8 * o.batch) if o.quick else (1024, 16 * o.batch)
    phantoms: Fields = {
        "data.builders": ["tfds_builders.phantom_cxr"],
        "data.classes": ["normal", "consolidation", "interstitial", "ground_glass"],
        "data.relabel": [],
        "data.options.phantom_cxr.size": side,
        "data.options.phantom_cxr.patients": 4 if o.quick else 16,
        "masks.source": "dataset",
    }
    trains = {
        **_learner_fields("densenet161", o, trains=True),
        "data.image_size": side,
        "train.batch_size": o.batch,
        "train.log_every": 4,
    }
    if o.quick:
        trains["patches.size"] = 64
    given: Fields = {"config": "patched_densenet", "fields": trains}
    files: Fields = {"config": "patched_densenet", "fields": {**phantoms, "data.image_size": side}}
    draw = (Job("benchmarks.ours.inputs:draw_rows", {**given, "rows": rows}),)

    def steps(
        name: str,
        *,
        still: bool = False,
        placement: str = "host",
        needs: tuple[str, ...] = (),
    ) -> Side:
        fields = {**trains, "train.placement": placement}
        arguments = {**given, "fields": fields, "still": still}
        return Side(name, Job("benchmarks.ours.inputs:train", arguments, needs))

    return [
        Case(
            "input/prepare",
            (Side("jaxcxr", Job("benchmarks.ours.inputs:prepare", files)),),
            prepare=(Job("benchmarks.ours.inputs:draw_files", files),),
            warmups=1,
        ),
        Case(
            "input/epoch",
            (
                Side(
                    "PyTorch, DataLoader",
                    Job("benchmarks.peers.inputs:epoch", {**given, "where": o.where}, _TORCH),
                ),
                Side("jaxcxr", Job("benchmarks.ours.inputs:epoch", given)),
            ),
            prepare=draw,
        ),
        Case(
            "input/train",
            (
                steps("images with the host"),
                # Training steps in a loop take XLA:CPU six times as long for a small network.
                steps("images on the device", placement="device", needs=_GPU),
                steps("the steps alone", still=True),
            ),
            prepare=draw,
            reference="the steps alone",
        ),
    ]


def _startup(o: Options) -> list[Case]:
    """A fresh process: its imports, and the time to the end of its first training step."""
    fresh = "benchmarks.startup:first_step"
    given, prepare = _step_arguments("densenet161", "patched", o)
    peer: Fields = {
        "function": "benchmarks.peers.classify:train",
        "arguments": {**given, "form": "channels_last", "where": o.where},
    }
    ours: Fields = {"function": "benchmarks.ours.classify:train", "arguments": given}

    def first_step(name: str, *, keep: bool, warmups: int, at_most: int) -> Case:
        cached: Fields = {"job": ours, "number": 11, "cache": "compiled", "keep": keep}
        return Case(
            f"startup/first_step_{name}",
            (
                Side(
                    "PyTorch, channels_last", Job(fresh, {"job": peer, "number": 10}, _TORCHVISION)
                ),
                Side("jaxcxr", Job(fresh, cached)),
            ),
            prepare=prepare,
            warmups=warmups,
            at_most=at_most,
        )

    imports = {"PyTorch": ("torch", _TORCH), "jaxcxr": ("jaxcxr.runs", ())}
    return [
        Case(
            "startup/import",
            tuple(
                Side(name, Job("benchmarks.startup:imports", {"modules": modules}, needs))
                for name, (modules, needs) in imports.items()
            ),
            warmups=1,
        ),
        first_step("cold", keep=False, warmups=0, at_most=1),
        first_step("cached", keep=True, warmups=1, at_most=3),
    ]


def _scaling(o: Options) -> list[Case]:
    """Time of patched predictions against their number of images and patches, and the images' side."""
    fields = _learner_fields("densenet161", o, trains=False)
    side = 128 if o.quick else 1024
    fields |= {"data.image_size": side}
    if o.quick:
        fields["patches.size"] = 64
    given: Fields = {"config": "patched_densenet", "fields": fields}

    def curve(
        name: str, sizes: tuple[int, ...], unit: str, exponent: float, points: list[Fields]
    ) -> Case:
        drawn = {str(point["inputs"]): point for point in points}  # the last point is the largest
        return Case(
            f"scaling/{name}",
            tuple(
                Side(f"{size} {unit}", Job("benchmarks.ours.classify:predict", point), size=size)
                for size, point in zip(sizes, points, strict=True)
            ),
            prepare=tuple(
                Job("benchmarks.ours.classify:draw_inputs", _drawn(point))
                for point in drawn.values()
            ),
            exponent=exponent,
        )

    images, patches, sides = (1, 2, 4, 8), (8, 16, 32, 64), (side // 2, side, 2 * side)
    few: Fields = {**given, "inputs": "inputs.npz"}
    return [
        curve("images", images, "images", 1.0, [{**few, "images": n, "count": 8} for n in images]),
        curve(
            "patches",
            patches,
            "patches",
            1.0,
            [{**few, "images": 1, "count": k, "compared": False} for k in patches],
        ),
        curve(
            "side",
            sides,
            "pixels",
            0.0,
            [
                {
                    **given,
                    "fields": {**fields, "data.image_size": s},
                    "inputs": f"{s}.npz",
                    "images": 1,
                    "count": 16,
                    "compared": False,
                }
                for s in sides
            ],
        ),
    ]


def _drawn(point: Fields) -> Fields:
    return {name: value for name, value in point.items() if name != "compared"}
