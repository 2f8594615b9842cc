"""`python -m benchmarks.study [RESULTS]`: what the whole Patched FLANNEL costs, from its parts.

Nobody runs five learners x five folds x 200 epochs to learn how long they take. The work of every
part is counted: its examples, from the config and the number of images, times the floating-point
operations of one, as XLA counts them in the programs that runs compile. Over a rate that makes
hours: over those that `python -m benchmarks --out RESULTS` measured with these programs and with
PyTorch's, or over an assumed one.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from benchmarks.__main__ import at_least_1
from benchmarks.ours import device, shapes
from configs import patched_flannel
from jaxcxr import schema
from jaxcxr.tasks.network import Network
from jaxcxr.training import steps

IMAGES, LUNGS = 6410, 247  # of CCX and KCX as Patched FLANNEL has them; of JSRT
PEAK = 989.0  # TFLOP/s of one H100 or H200 in bfloat16, as its maker gives it
SHARE = 0.5
NEEDED = ["patched/*", "step/*/patched", "fc_densenet103/*"]
WAYS = ("jaxcxr", "PyTorch's best", "PyTorch as published")


@dataclasses.dataclass(frozen=True)
class Part:
    """A kind of work of the study.

    Attributes:
        name: network and what it does.
        case: of `python -m benchmarks`, which measures the same program.
        examples: patches or images, over all folds and epochs.
        flops: floating-point operations of one.
    """

    name: str
    case: str
    examples: int
    flops: float

    @property
    def total(self) -> float:
        """Floating-point operations."""
        return self.examples * self.flops


def parts(*, images: int = IMAGES, lungs: int = LUNGS) -> Iterator[Part]:
    """The parts of configs/patched_flannel.py:paper, all epochs of it: stopping early makes them
    fewer.

    Left out, being small beside them: the ensembles (a table of probabilities), files, reports,
    compiling.
    """
    study = patched_flannel.get_config("paper")
    yield from segmenter_parts(study.segment, images, lungs)
    for learner in study.study.learners:
        yield from learner_parts(study.learners[learner], images, folds=study.study.folds)


def segmenter_parts(config: ConfigDict, images: int, lungs: int) -> Iterator[Part]:
    """One training on one fold, then masks of all images."""
    split, name = _sizes(config.split, lungs, folds=config.split.folds), config.model.name
    compiled = steps.compile_for(config)
    batch = shapes.batch(config, config.evaluate.batch_size)
    forward = device.flops(compiled.predict(0), compiled.task.init(None), batch, jax.random.key(0))  # pyright: ignore
    forward /= config.evaluate.batch_size
    evaluations = config.train.epochs / config.train.eval_every
    yield Part(
        f"{name}, training",
        f"{name}/train",
        round(config.train.epochs * split["train"]),
        _training_flops(config, compiled),
    )
    yield Part(
        f"{name}, evaluations while training",
        f"{name}/predict",
        round(evaluations * split["valid"]),
        forward,
    )
    yield Part(
        f"{name}, prediction and masks", f"{name}/predict", round(split["oof"] + images), forward
    )


def learner_parts(config: ConfigDict, images: int, *, folds: int) -> Iterator[Part]:
    """A training and its predictions in every fold."""
    split, name, count = (
        _sizes(config.split, images, folds=folds),
        config.model.name,
        config.patches,
    )
    compiled = steps.compile_for(
        config, class_weights=np.ones(len(config.data.classes), np.float32)
    )
    network = Network(config, axis_name=None)
    patch = jax.ShapeDtypeStruct((1, *network.shape[:2]), jnp.float32)
    forward = device.flops(jax.jit(network.logits), network.init(None), patch)
    evaluations = folds * config.train.epochs / config.train.eval_every
    predicted = sum(split[part] for part in config.predict.splits)
    yield Part(
        f"{name}, training",
        f"step/{name}/patched",
        round(folds * config.train.epochs * split["train"] * count.train_count),
        _training_flops(config, compiled) / count.train_count,
    )
    yield Part(
        f"{name}, evaluations while training",
        f"patched/{name}",
        round(evaluations * split["valid"] * count.valid_count),
        forward,
    )
    yield Part(
        f"{name}, prediction",
        f"patched/{name}",
        round(folds * predicted * count.eval_count),
        forward,
    )


def _sizes(split: ConfigDict, images: int, *, folds: int) -> dict[str, float]:
    """Images of one fold's parts, as `data.splits` divides them but for whole patients."""
    test = images * split.test_fraction
    held_out = (images - test) / folds
    valid = (images - test - held_out) * split.valid_fraction
    return {
        "test": test,
        "oof": held_out,
        "valid": valid,
        "train": images - test - held_out - valid,
    }


def _training_flops(config: ConfigDict, compiled: steps.Compiled) -> float:
    """Of a training step, for an image of its batch."""
    batch = shapes.batch(config, config.train.batch_size)
    return (
        device.flops(compiled.train_step, shapes.state(compiled), batch, jax.random.key(0))
        / config.train.batch_size
    )


def rates(results: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Case -> way -> floating-point operations a second, from a results.json of
    `python -m benchmarks`.

    jaxcxr and PyTorch's best are the fastest sides of theirs, the published way is the first of
    PyTorch's: one patch at a time, float32, in the default layout.

    Raises:
        ValueError: of a quick run, which measures nothing, or of another file.
    """
    if not isinstance(results, dict) or not {"measures_nothing", "cases"} <= results.keys():
        raise ValueError("it is no results.json of `python -m benchmarks`")
    if results["measures_nothing"]:
        raise ValueError("it is of a quick run, which measures nothing")
    found: dict[str, dict[str, float]] = {}
    for case in results["cases"]:
        sides = {
            s["name"]: s["flops"] / s["median"] for s in case["sides"] if s["median"] and s["flops"]
        }
        ours = [rate for name, rate in sides.items() if name.startswith("jaxcxr")]
        peers = [rate for name, rate in sides.items() if name.startswith("PyTorch")]
        if ours:
            found[case["name"]] = {WAYS[0]: max(ours)}
            if peers:
                found[case["name"]] |= {WAYS[1]: max(peers), WAYS[2]: peers[0]}
    return found


def table(costs: Sequence[Part], hours: Mapping[str, Sequence[float]]) -> str:
    """The parts with hours in each way, and their sum; Markdown."""
    share = sum(part.total for part in costs) / 100
    lines = [["part", "examples", "GFLOP each", "PFLOP", "%", *(f"{way}, hours" for way in hours)]]
    lines += [["---", *["--:"] * (len(lines[0]) - 1)]]
    for n, part in enumerate(costs):
        row = [
            part.name,
            f"{part.examples:,}",
            f"{part.flops / 1e9:.1f}",
            f"{part.total / 1e15:,.1f}",
        ]
        lines += [[*row, f"{part.total / share:.1f}", *(_hours(of[n]) for of in hours.values())]]
    total = f"{share / 1e13:,.1f}"
    lines += [
        ["**all**", "", "", total, "100", *(f"**{_hours(sum(of))}**" for of in hours.values())]
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _hours(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 100 else f"{hours:.3g}"


def _positive(text: str) -> float:
    """A type of argparse."""
    value = float(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"{value:g} is not above 0")
    return value


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status; argparse's 2 for results that do not do."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.study", description=__doc__)
    parser.add_argument(
        "results",
        nargs="?",
        type=Path,
        metavar="RESULTS",
        help=f"what `python -m benchmarks {' '.join(map(repr, NEEDED))} --out RESULTS` wrote",
    )
    parser.add_argument(
        "--images", type=at_least_1, default=IMAGES, help=f"of the study (default {IMAGES:,})"
    )
    parser.add_argument(
        "--lungs", type=at_least_1, default=LUNGS, help=f"of the segmenter (default {LUNGS})"
    )
    parser.add_argument(
        "--tflops",
        type=_positive,
        default=PEAK,
        help=f"without RESULTS: the peak (default {PEAK:g})",
    )
    parser.add_argument(
        "--share", type=_positive, default=SHARE, help=f"and its share reached (default {SHARE:g})"
    )
    flags = parser.parse_args(arguments)
    measured: dict[str, dict[str, float]] = {}
    if flags.results:
        file = flags.results / "results.json" if flags.results.is_dir() else flags.results
        try:
            measured = rates(json.loads(file.read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            parser.error(f"{file}: {error}")
    device.start(schema.config("classify"))
    costs = list(parts(images=flags.images, lungs=flags.lungs))
    hours: dict[str, list[float]] = {}
    if flags.results:
        if missing := sorted({part.case for part in costs} - measured.keys()):
            parser.error(f"{file}: it has no {', '.join(missing)} with a side of jaxcxr")
        for way in WAYS:
            if all(way in measured[part.case] for part in costs):
                hours[way] = [part.total / measured[part.case][way] / 3600 for part in costs]
    else:
        name = f"{flags.share:.0%} of {flags.tflops:g} TFLOP/s"
        hours[name] = [part.total / (flags.share * flags.tflops * 1e12) / 3600 for part in costs]
    print(table(costs, hours))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
