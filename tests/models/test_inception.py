from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcxr import models
from jaxcxr.models import inception, layers
from tests.models.variables import random_variables, shapes

SMALL = {"num_classes": 3, "in_channels": 1, "width": 0.125, "depth": 0.01}


def test_published_maps_at_299_pixels():
    model = models.build("inception_v3", num_classes=4)
    _, out, variables = shapes(model, 1, 299, 299, 3, train=True)
    assert {name: value.shape[1:] for name, value in out.items()} == {
        "stage1": (35, 35, 288),
        "stage2": (17, 17, 768),
        "stage3": (8, 8, 2048),
        "features": (8, 8, 2048),
        "aux_logits": (4,),
    }
    assert variables["params"]["AuxLogits"]["conv1"]["conv"]["kernel"].shape == (5, 5, 128, 768)


@pytest.mark.parametrize("size", [27, 32, 75, 96])
def test_auxiliary_head_works_on_any_size_in_training_only(size):
    model = models.build("inception_v3", **SMALL)
    _, evaluated, variables = shapes(model, 2, size, size, 1)
    _, trained, _ = shapes(model, 2, size, size, 1, train=True)
    assert "AuxLogits" in variables["params"]  # also from an init in evaluation mode
    assert "aux_logits" not in evaluated
    assert trained["aux_logits"].shape == (2, 3)


def test_auxiliary_loss_reaches_its_head_and_the_trunk_below_it():
    model = models.build("inception_v3", **SMALL)
    x = jax.random.normal(jax.random.key(1), (4, 64, 64, 1))

    variables = random_variables(model, *x.shape)

    @jax.jit
    def gradients(variables, x, key):
        def loss(params):
            (_, out), _ = model.apply(
                {**variables, "params": params},
                x,
                True,
                rngs={"dropout": key},
                mutable=["batch_stats"],
            )
            return jnp.square(out["aux_logits"] - 1).sum()

        return jax.grad(loss)(variables["params"])

    sizes = jax.tree.map(
        lambda g: float(jnp.abs(g).max()), gradients(variables, x, jax.random.key(2))
    )
    assert all(size > 0 for size in jax.tree.leaves(sizes["AuxLogits"]))
    assert all(size > 0 for size in jax.tree.leaves(sizes["Conv2d_1a_3x3"]))
    assert all(size == 0 for size in jax.tree.leaves([sizes["Mixed_7a"], sizes["fc"]]))


def test_batch_norm_epsilon_is_a_thousandth():
    """A unit on a constant image of variance 0 divides by sqrt(1e-3) only."""
    norm = layers.batch_norm(train=False, axis_name=None, epsilon=1e-3)
    unit = inception.ConvUnit(1, 1, norm=norm)
    variables = {
        "params": {
            "conv": {"kernel": jnp.ones((1, 1, 1, 1))},
            "bn": {"scale": jnp.ones(1), "bias": jnp.zeros(1)},
        },
        "batch_stats": {"bn": {"mean": jnp.zeros(1), "var": jnp.zeros(1)}},
    }
    y = unit.apply(variables, jnp.ones((1, 2, 2, 1)))
    np.testing.assert_allclose(y, 1e-3**-0.5, rtol=1e-5)
