"""Input, start-up, cost against size: the cases around the networks.

Neither framework is imported here.
"""

from __future__ import annotations

from benchmarks.harness import Case, Side
from benchmarks.protocol import Job
from benchmarks.settings import (
    CPU,
    GPU,
    TORCH,
    TORCHVISION,
    Fields,
    Options,
    learner_fields,
    step_arguments,
)


def all_cases(options: Options) -> list[Case]:
    """In the order in which they run."""
    return [*_input(options), *_startup(options), *_scaling(options)]


def _input(o: Options) -> list[Case]:
    """Images from their files to the store, from there to the device, and what of that a training
    step waits for.
    """
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
        **learner_fields("densenet161", o, trains=True),
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
                    Job("benchmarks.peers.inputs:epoch", {**given, "where": o.where}, TORCH),
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
                steps("images on the device", placement="device", needs=GPU),
                steps("the steps alone", still=True),
            ),
            prepare=draw,
            reference="the steps alone",
        ),
    ]


def _startup(o: Options) -> list[Case]:
    """A fresh process: its imports, and the time to the end of its first training step."""
    fresh = "benchmarks.startup:first_step"
    given, prepare = step_arguments("densenet161", "patched", o)
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
                    "PyTorch, channels_last", Job(fresh, {"job": peer, "number": 10}, TORCHVISION)
                ),
                Side("jaxcxr", Job(fresh, cached)),
            ),
            prepare=prepare,
            warmups=warmups,
            at_most=at_most,
        )

    imports = {"PyTorch": ("torch", TORCH), "jaxcxr": ("jaxcxr.cli.dispatch", ())}
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
    """Time of patched predictions against their number of images and patches, the images' side, the
    devices.
    """
    fields = learner_fields("densenet161", o, trains=False)
    side = 128 if o.quick else 1024
    fields |= {"data.image_size": side}
    if o.quick:
        fields["patches.size"] = 64
    given: Fields = {"config": "patched_densenet", "fields": fields}

    def curve(
        name: str,
        sizes: tuple[int, ...],
        unit: str,
        exponent: float,
        points: list[Fields],
        needs: tuple[str, ...] = (),
    ) -> Case:
        drawn = {str(point["inputs"]): point for point in points}  # the last point is the largest
        return Case(
            f"scaling/{name}",
            tuple(
                Side(
                    f"{size} {unit}",
                    Job("benchmarks.ours.classify:predict", point, needs),
                    size=size,
                )
                for size, point in zip(sizes, points, strict=True)
            ),
            prepare=tuple(
                Job("benchmarks.ours.classify:draw_inputs", _drawn(point))
                for point in drawn.values()
            ),
            exponent=exponent,
        )

    images, patches, sides = (1, 2, 4, 8), (8, 16, 32, 64), (side // 2, side, 2 * side)
    devices, four_at_once = (1, 2, 4), {**fields, "evaluate.batch_size": 4}
    few: Fields = {**given, "inputs": "inputs.npz"}
    return [
        curve("images", images, "images", 1.0, [{**few, "images": n, "count": 8} for n in images]),
        curve(
            "patches",
            patches,
            "patches",
            1.0,
            [{**few, "images": 1, "count": k, "compared": 0} for k in patches],
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
                    "compared": 0,
                }
                for s in sides
            ],
        ),
        # Devices that JAX simulates share one CPU's cores: more of them make nothing faster, and
        # should cost nothing.
        curve(
            "devices",
            devices,
            "devices",
            0.0,
            [
                {**few, "fields": four_at_once, "images": 4, "count": 8, "devices": d}
                for d in devices
            ],
            CPU,
        ),
    ]


def _drawn(point: Fields) -> Fields:
    return {name: value for name, value in point.items() if name not in ("compared", "devices")}
