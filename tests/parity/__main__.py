"""`python -m tests.parity`: the table of docs/WEIGHTS.md."""

import importlib.metadata
import platform

from tests.parity.compare import compare, rounding
from tests.parity.test_torchvision import CASES

print(
    "Python", platform.python_version(),
    *(f"{name} {importlib.metadata.version(name)}" for name in ("jax", "flax", "torch", "torchvision")),
)  # fmt: skip
print(
    "| network | input | maps | logits | features | logits, train | (theirs) | statistics | (theirs) | gradients | "
    "(theirs) | cosine | all, float64 |"
)
print("| --- | --- | " + "--: | " * 10 + "--: |")
for arch, side, batch in CASES:
    e = compare(arch, side=side, batch=batch)
    theirs = rounding(arch, side=side, batch=batch)
    double = compare(arch, side=side, batch=batch, double=True)
    errors = (
        *(e.logits, e.features, e.train_logits, theirs.train_logits, e.statistics, theirs.statistics),
        *(e.gradients, theirs.gradients),
    )
    numbers = " | ".join(f"{value:.1e}" for value in errors)
    print(f"| {arch} | {batch} x {side} px | {e.maps} | {numbers} | {e.cosine:.6f} | {double.worst:.1e} |", flush=True)
