"""What a program needs besides its arguments and results."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcxr import models
from jaxcxr.errors import InputError
from jaxcxr.models.fc_densenet import FCDenseNet
from jaxcxr.tasks import classify, segment
from tests import tiny
from tests.models.variables import filled, quick_jit


def segmenter(**fields: Any) -> Any:
    """FC-DenseNet of three blocks of four layers."""
    c = tiny.change(tiny.shrink(tiny.load("fc_densenet103")), **fields)
    c.model.name, c.model.width, c.model.depth = "three_blocks", 1.0, 1.0
    with pytest.MonkeyPatch.context() as patch:
        network = functools.partial(FCDenseNet, stem=8, growth=8, down=(4,), bottleneck=4)
        patch.setitem(models.MODELS, c.model.name, network)
        return segment.Segment(c, axis_name=None)


def test_recomputing_the_dense_blocks_keeps_a_third_of_the_memory_and_gives_the_same_gradients():
    """What is kept for the backward pass is counted in the program: XLA's CPU compiler undoes
    recomputation.
    """
    rng = np.random.default_rng(0)
    images = {
        "image": rng.integers(0, 256, (2, 32, 32), dtype=np.uint8),
        "mask": rng.integers(0, 3, (2, 32, 32), dtype=np.uint8),
    }
    found, kept = {}, {}
    for remat in (False, True):
        task = segmenter(model__remat=remat, data__image_size=32)
        variables = filled(task.init(None))

        def mean_loss(params: Any, task: Any = task, variables: Any = variables) -> jax.Array:
            state = {"batch_stats": variables["batch_stats"]}
            on_device = functools.partial(task.loss, axis_name="data")
            one = jax.vmap(
                lambda rows: on_device(params, state, rows, jax.random.key(0))[0], axis_name="data"
            )
            return one(jax.tree.map(lambda a: a[None], images)).mean()

        backward = jax.eval_shape(
            lambda params, f=mean_loss: jax.vjp(f, params)[1], variables["params"]
        )
        kept[remat] = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(backward))
        found[remat] = quick_jit(jax.value_and_grad(mean_loss))(variables["params"])
    assert kept[True] < kept[False] / 3
    (loss, gradients), (same_loss, same_gradients) = found[False], found[True]
    np.testing.assert_allclose(same_loss, loss, rtol=1e-5)
    assert jax.tree.structure(same_gradients) == jax.tree.structure(gradients)
    whole, same = (
        np.concatenate([np.ravel(g) for g in jax.tree.leaves(t)])
        for t in (gradients, same_gradients)
    )
    assert np.linalg.norm(same - whole) < 1e-4 * np.linalg.norm(whole)


def test_a_network_that_cannot_recompute_says_so():
    c = tiny.shrink(tiny.load("lung_unet"))
    segment.Segment(c, axis_name=None)
    with pytest.raises(InputError, match=f"{c.model.name} has no option remat"):
        segment.Segment(tiny.change(c, model__remat=True), axis_name=None)


def test_evaluation_of_many_patches_takes_the_memory_of_a_chunk():
    """Four times as many patches add their own pixels and no map of the network."""
    side = 32

    def task(chunk: int) -> Any:
        c = tiny.learner(patches__chunk=chunk, patches__size=side, model__width=1.0)
        with pytest.MonkeyPatch.context() as patch:
            tiny.add_networks(patch)
            return classify.Classify(c, axis_name=None, class_weights=np.ones(4, np.float32))

    images = {
        "image": jax.ShapeDtypeStruct((1, 48, 48), jnp.uint8),
        "mask": jax.ShapeDtypeStruct((1, 48, 48), jnp.uint8),
        "label": jax.ShapeDtypeStruct((1,), jnp.int32),
        "index": jax.ShapeDtypeStruct((1,), jnp.int32),
    }

    def temporaries(count: int, *, chunk: int) -> int:
        predict = quick_jit(functools.partial(task(chunk).predict, count=count))
        program = predict.lower(task(chunk).init(None), images, jax.random.key(0)).compile()
        return program.memory_analysis().temp_size_in_bytes

    pixels = (64 - 16) * side * side * 4
    assert temporaries(64, chunk=8) - temporaries(16, chunk=8) < 4 * pixels
    # All at once their maps would be added, too.
    assert temporaries(64, chunk=64) - temporaries(16, chunk=16) > 16 * pixels
