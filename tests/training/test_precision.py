"""`model.dtype = "bfloat16"`: the networks compute in it, and what is learned and compared stays
float32.
"""

from __future__ import annotations

import functools
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.export import deserialize

from jaxcxr.commands import export
from jaxcxr.state import create
from jaxcxr.tasks import classify, segment
from jaxcxr.training import steps
from tests import tiny
from tests.models.variables import filled, quick_jit

IMAGES = 8
# Configs of a DenseNet, ResNeXt, VGG, FC-DenseNet and U-Net.
NAMES = (
    "patched_densenet",
    "patched_resnext",
    "patched_vgg",
    "fc_densenet103",
    "lung_unet",
)
# Those whose 1x1 and grouped convolutions are matrix products on CPUs.
WITH_PRODUCTS = ("patched_densenet", "patched_resnext", "fc_densenet103")


def shrunk(name: str, dtype: str) -> Any:
    """A twentieth of the network, which trains on what `batch` holds; no dropout nor random
    patches.
    """
    c = tiny.shrink(tiny.load(name))
    c.model.dtype = dtype
    return c


@functools.cache
def batch(task: str, structures: int) -> dict[str, np.ndarray]:
    """Images with a bright square somewhere, which is what there is to learn."""
    rng, side = np.random.default_rng(0), 32 if task == "segment" else 48
    images = rng.integers(0, 128, (IMAGES, side, side), dtype=np.uint8)
    masks = np.zeros((IMAGES, side, side), np.uint8)
    for row in range(IMAGES):
        top = row * (side - 12) // IMAGES
        images[row, top : top + 12, 8:20] += 96
        masks[row, top : top + 12, 8:20] = 1 + row % structures
    return {
        "image": images,
        "mask": masks if task == "segment" else np.ones_like(masks),
        "label": np.arange(IMAGES, dtype=np.int32) % 4,
        "index": np.arange(IMAGES, dtype=np.int32),
        "weight": np.ones(IMAGES, np.float32),
    }


class Case:
    """A task with variables and images, the same for both types."""

    def __init__(self, name: str, dtype: str):
        c = shrunk(name, dtype)
        if c.task == "segment":
            self.task = segment.Segment(c, axis_name=None)
        else:
            self.task = classify.Classify(c, axis_name=None, class_weights=np.ones(4, np.float32))
        images = batch(c.task, len(c.masks.structures))
        self.batch = {key: images[key] for key in (*self.task.inputs, "index")}
        self.variables = filled(self.task.init(None))

    def loss_and_gradients(self, variables: Any, images: Any) -> Any:
        """Of one device, whose axis the tasks ask for."""

        def loss(params: Any) -> jax.Array:
            state = {name: tree for name, tree in variables.items() if name != "params"}
            on_device = functools.partial(self.task.loss, axis_name="data")
            one = jax.vmap(
                lambda rows: on_device(params, state, rows, jax.random.key(0))[0], axis_name="data"
            )
            return one(jax.tree.map(lambda a: a[None], images)).mean()

        return jax.value_and_grad(loss)(variables["params"])


def types(jaxpr: str, operation: str) -> set[str]:
    """What the results of an operation on maps are in a printed program: {"bf16"}.

    Products of maps are of matrices [pixels, channels]; dense layers' and those of sums over pixels
    have few rows.
    """
    found = re.findall(rf":(\w+)\[([\d,]*)\] = {operation}\b", jaxpr)
    return {
        dtype
        for dtype, shape in found
        if shape.count(",") > 2 or any(int(n) > 64 for n in shape.split(",")[:-1])
    }


@pytest.mark.parametrize("name", NAMES)
def test_convolutions_compute_in_bfloat16_and_everything_kept_is_float32(name):
    for dtype, short in (("float32", "f32"), ("bfloat16", "bf16")):
        case = Case(name, dtype)
        program = str(jax.make_jaxpr(case.loss_and_gradients)(case.variables, case.batch))
        assert types(program, "conv_general_dilated") == {short}
        if name in WITH_PRODUCTS:
            assert short in types(program, "dot_general")
    loss, gradients = jax.eval_shape(case.loss_and_gradients, case.variables, case.batch)
    assert {leaf.dtype for leaf in jax.tree.leaves((loss, gradients))} == {jnp.dtype("float32")}


@pytest.mark.parametrize("name", NAMES)
def test_a_step_in_bfloat16_keeps_float32_parameters_and_statistics_and_predicts_float32(name):
    c = shrunk(name, "bfloat16")
    extras = {} if c.task == "segment" else {"class_weights": np.ones(4, np.float32)}
    compiled = steps.compile_for(c, **extras)
    images = batch(c.task, len(c.masks.structures))
    names = (*compiled.task.inputs, "index", "weight")
    rows = {key: images[key].reshape(4, 2, *images[key].shape[1:]) for key in names}
    before = create(filled(compiled.task.init(None)), compiled.optimizer)
    after, metrics = jax.eval_shape(compiled.train_step, before, rows, jax.random.key(0))
    for tree in (after.params, after.model_state, metrics):
        assert {leaf.dtype for leaf in jax.tree.leaves(tree)} <= {jnp.dtype("float32")}
    count = 0 if c.task == "segment" else 2
    found = jax.eval_shape(compiled.predict(count), before.variables, rows, jax.random.key(0))
    for key in ("probabilities", "mean_softmax", "log_odds", "loss"):
        assert key not in found or found[key].dtype == jnp.float32


@pytest.mark.parametrize("name", [name for name in NAMES if name != "patched_resnext"])
def test_gradients_in_bfloat16_are_as_near_as_those_of_parameters_that_are_a_little_off(name):
    """Small random networks with batch statistics of a few maps are that sensitive: 8 bits of
    mantissa are 2^-8.
    """
    exact, half = Case(name, "float32"), Case(name, "bfloat16")
    program = quick_jit(exact.loss_and_gradients)
    loss, gradients = program(exact.variables, exact.batch)
    rng = np.random.default_rng(0)

    def off(leaf: np.ndarray) -> np.ndarray:
        return (leaf * (1 + rng.uniform(-(2**-7), 2**-7, leaf.shape))).astype(np.float32)

    angles = []
    for _ in range(4):
        near = {**exact.variables, "params": jax.tree.map(off, exact.variables["params"])}
        angles.append(angle(program(near, exact.batch)[1], gradients))
    rounded_loss, rounded = quick_jit(half.loss_and_gradients)(half.variables, half.batch)
    assert float(rounded_loss) == pytest.approx(float(loss), rel=0.05)
    assert angle(rounded, gradients) < 2 * max(angles)


def angle(one: Any, other: Any) -> float:
    """1 - cosine of two trees."""
    a, b = (np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(t)]) for t in (one, other))
    return float(1 - a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_an_export_takes_float32_weights_and_computes_in_bfloat16():
    c = tiny.learner(patched=False, model__dtype="bfloat16", export__platforms=("cpu",))
    task = classify.Classify(c, axis_name=None, class_weights=np.ones(4, np.float32))
    variables = filled(task.init(None))
    names = export._names(variables)
    weights = dict(
        zip(jax.tree.leaves(names), map(np.asarray, jax.tree.leaves(variables)), strict=True)
    )
    program = deserialize(
        bytearray(export._serialized(c, export._program(c, task, names), weights))
    )
    assert "bf16" in program.mlir_module()
    assert {str(aval.dtype) for aval in program.in_avals} == {"float32", "uint8"}
    images = batch("classify", 1)
    found = program.call(weights, images["image"])
    expected = quick_jit(functools.partial(task.predict, count=1))(
        variables, images, jax.random.key(0)
    )
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, expected["probabilities"], atol=0.01)
