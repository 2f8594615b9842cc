"""`python -m tests.parity`: the tables of docs/WEIGHTS.md; `python -m tests.parity layers`: only
the second.
"""

import importlib.metadata
import platform
import sys

from tests.parity.compare import compare, rounding
from tests.parity.layerwise import compare_layers
from tests.parity.test_torchvision import CASES, LAYER_CASES

print(
    "Python",
    platform.python_version(),
    *(
        f"{name} {importlib.metadata.version(name)}"
        for name in ("jax", "flax", "torch", "torchvision")
    ),
)


def networks() -> None:
    """Whole networks, in evaluation and training."""
    print(
        "| network | input | maps | logits | features | logits, train | (theirs) | statistics | "
        "(theirs) | gradients | (theirs) | cosine | all, float64 |"
    )
    print("| --- | --- | " + "--: | " * 10 + "--: |")
    for arch, side, batch in CASES:
        e = compare(arch, side=side, batch=batch)
        theirs = rounding(arch, side=side, batch=batch)
        double = compare(arch, side=side, batch=batch, double=True)
        errors = (
            *(
                e.logits,
                e.features,
                e.train_logits,
                theirs.train_logits,
                e.statistics,
                theirs.statistics,
            ),
            *(e.gradients, theirs.gradients),
        )
        numbers = " | ".join(f"{value:.1e}" for value in errors)
        last = f"{e.cosine:.6f} | {double.worst:.1e}"
        print(f"| {arch} | {batch} x {side} px | {e.maps} | {numbers} | {last} |", flush=True)


def layers() -> None:
    """Each layer of a training step by itself."""
    print(
        "| network | input | layers | outputs | gradients by inputs | by parameters | statistics |"
    )
    print("| --- | --- | " + "--: | " * 4 + "--: |")
    for arch, side, batch in LAYER_CASES:
        e = compare_layers(arch, side=side, batch=batch)
        numbers = " | ".join(
            f"{v:.1e}" for v in (e.outputs, e.of_inputs, e.of_parameters, e.statistics)
        )
        print(f"| {arch} | {batch} x {side} px | {e.layers} | {numbers} |", flush=True)


if sys.argv[1:] != ["layers"]:
    networks()
    print()
layers()
