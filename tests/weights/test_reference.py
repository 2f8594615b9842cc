"""Narrow networks give what torchvision's own gave, from the same numbers, without torch
(tests/reference/make.py).
"""

from __future__ import annotations

import json
from pathlib import Path

import jax
import jax.experimental
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcxr import models
from jaxcxr.models import layers
from jaxcxr.models.initialise import initialise
from jaxcxr.weights.merge import merge
from jaxcxr.weights.rules import FAMILIES, rename
from tests.models.variables import quick_jit
from tests.reference.numbers import draw, head_weight, image

FOLDER = Path(__file__).parents[1] / "reference"
ARCHS = {
    "densenet": "densenet161", "resnet": "resnet18", "resnext": "resnext101_32x8d", "vgg": "vgg16",
    "vgg_bn": "vgg19_bn", "inception": "inception_v3", "efficientnet": "efficientnet_b4",
}  # fmt: skip
OPTIONS = {
    "efficientnet": {"dropout": 0.0, "stochastic_depth": 0.0, "depth": 0.2},
    **{family: {"dropout": 0.0} for family in ("vgg", "vgg_bn", "inception")},
}
SIDES = {"inception": 299}
# Trained in float64. In float32 Inception's inputs of ReLUs and pools lie within rounding of places
# where a gradient jumps: noise of 1e-7 in the pixels moves the first kernel's by 2e-5, of 1e-6 by
# up to 1.5e-2 (in float64), so which of them flip is the machine's choice. The other families are
# at 1.5e-5.
DOUBLE = ("inception",)
# The first is JAX 0.8's; before it there was only the second.
enable_x64 = jax.enable_x64 if hasattr(jax, "enable_x64") else jax.experimental.enable_x64
CLASSES, BATCH = 5, 2


def close(found, expected, tolerance=1e-4):
    """To a share of the largest value: 1e-4 relative of an array."""
    expected = np.asarray(expected)
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * np.abs(expected).max())


@pytest.mark.parametrize(
    "family",
    [pytest.param(name, marks=[pytest.mark.smoke] * (name == "inception")) for name in ARCHS],
)
def test_what_torchvision_gave(family):
    """67 px are odd: a pool cropped there once had no gradient, as a fused program rounded its
    input anew.
    """
    with np.load(FOLDER / f"{family}.npz") as file:
        reference = {name: file[name] for name in file.files}
    about = json.loads(str(reference.pop("about")))
    state = {name: draw(name, tuple(shape)) for name, shape in about["shapes"].items()}
    arch = ARCHS[family]
    options = {"depth": 0.01, **OPTIONS.get(family, {})}
    module = models.build(arch, num_classes=CLASSES, width=0.125, **options)
    x, weight = image(BATCH, SIDES.get(family, 67)), head_weight(BATCH, CLASSES)
    shape = jax.ShapeDtypeStruct(x.shape, jnp.float32)
    variables = merge(
        rename(state, FAMILIES["torchvision"]), initialise(module, None, shape)
    ).variables
    wanted = about["map"].split(".")

    @quick_jit
    def evaluate(variables):
        (logits, _), kept = module.apply(
            variables,
            x,
            train=False,
            mutable=["intermediates"],
            capture_intermediates=lambda m, _: isinstance(m, layers.Conv | layers.BatchNorm),
        )
        node = kept["intermediates"]
        for name in wanted:
            node = node[name]
        return logits, node["__call__"][0]

    logits, last_map = evaluate(variables)
    close(logits, reference["logits"])
    close(last_map.transpose(0, 3, 1, 2), reference["map"])

    dtype, tolerance = (np.float64, 1e-6) if family in DOUBLE else (np.float32, 1e-4)
    with enable_x64(dtype is np.float64):
        module = models.build(arch, num_classes=CLASSES, width=0.125, dtype=dtype, **options)

        @quick_jit
        def train(params, stats):
            def total(params):
                (logits, out), after = module.apply(
                    {"params": params, **stats},
                    x.astype(dtype),
                    train=True,
                    mutable=["batch_stats"],
                    rngs={"dropout": jax.random.key(0)},
                )
                value = (logits * weight.astype(dtype)).sum()
                if "aux_logits" in out:
                    value += (out["aux_logits"] * weight.astype(dtype)).sum()
                return value, (logits, out.get("aux_logits"), after)

            return jax.grad(total, has_aux=True)(params)

        variables = jax.tree.map(lambda leaf: np.asarray(leaf, dtype), variables)
        stats = {name: value for name, value in variables.items() if name != "params"}
        gradients, (logits, aux_logits, after) = jax.device_get(train(variables["params"], stats))
    close(logits, reference["train_logits"], tolerance)
    if aux_logits is not None:
        close(aux_logits, reference["aux_logits"], tolerance)
    theirs = {
        n.removeprefix("gradient/"): v for n, v in reference.items() if n.startswith("gradient/")
    }
    assert len(theirs) >= 2
    for name, value in rename(theirs, FAMILIES["torchvision"]).arrays.items():
        close(leaf_of(gradients, name), value, tolerance)
    theirs = {n.removeprefix("after/"): v for n, v in reference.items() if n.startswith("after/")}
    assert bool(theirs) == (family != "vgg")
    for name, value in rename(theirs, FAMILIES["torchvision"]).arrays.items():
        close(leaf_of(after["batch_stats"], name), value, tolerance)


def leaf_of(tree, name: str):
    for part in name.split("/"):
        tree = tree[part]
    return tree
