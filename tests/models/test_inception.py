from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcxr import models
from jaxcxr.models import inception, layers
from tests.models.variables import filled, normal, quick_jit, shapes


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
    model = models.build("inception_v3", num_classes=3, in_channels=1, width=0.125, depth=0.01)
    _, evaluated, variables = shapes(model, 2, size, size, 1)
    _, trained, _ = shapes(model, 2, size, size, 1, train=True)
    assert "AuxLogits" in variables["params"]  # also from an init in evaluation mode
    assert "aux_logits" not in evaluated
    assert trained["aux_logits"].shape == (2, 3)


def test_auxiliary_gradient_reaches_its_parameters_and_the_map_of_any_size():
    norm = layers.batch_norm(train=False, axis_name=None, epsilon=1e-3)
    unit = functools.partial(inception.ConvUnit, width=0.125, norm=norm)
    head = inception.AuxiliaryHead(3, unit)
    x = normal(2, 3, 6, 4)
    variables = filled(jax.eval_shape(head.init, jax.random.key(0), x))

    def loss(params, x):
        return jnp.square(head.apply({**variables, "params": params}, x) - 1).sum()

    gradients = quick_jit(jax.grad(loss, (0, 1)))(variables["params"], x)
    assert all(np.abs(g).max() > 0 for g in jax.tree.leaves(gradients))


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
