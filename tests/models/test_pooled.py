"""A network called with what its last layers read gives the logits of the image."""

from __future__ import annotations

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcxr import models
from tests.models.test_models import IMAGE_ROWS, shrunk
from tests.models.variables import normal, quick_jit, random_variables

# Networks that fine-tuning with frozen features is made for.
POOLED = sorted(
    name
    for name in IMAGE_ROWS
    if "pooled" in inspect.signature(models.MODELS[name].func.__call__).parameters
)


def test_they_are_those_with_published_features():
    starts = ("densenet", "resne", "vgg", "efficientnet", "covid_cxnet", "qatar_vgg", "qatar_lite")
    assert POOLED == sorted(
        name for name in IMAGE_ROWS if name.startswith(starts) and name != "covid_cxnet_base"
    )


# Shrunk, the others are these, too.
@pytest.mark.parametrize(
    "name",
    [
        "densenet121", "resnet18", "vgg19_bn", "efficientnet_b4", "efficientnet_lite0",
        "covid_cxnet", "covid_cxnet_resnet50", "qatar_vgg16", "qatar_lite",
    ],
)  # fmt: skip
def test_the_logits_are_those_of_the_image(name):
    network, x = shrunk(name, in_channels=1), normal(2, 64, 64, 1)
    variables = random_variables(network, *x.shape)
    logits, out = quick_jit(lambda v: network.apply(v, x, False))(variables)
    assert out["pooled"].ndim == 2 and out["pooled"].dtype == jnp.float32
    # The last layers' parameters are all that it needs, and all that it makes.
    made = jax.eval_shape(
        lambda: network.init(jax.random.key(0), None, False, pooled=out["pooled"])
    )
    assert set(made) == {"params"} and set(made["params"]) < set(variables["params"])
    last = {"params": {part: variables["params"][part] for part in made["params"]}}
    again, maps = network.apply(last, None, False, pooled=out["pooled"])
    np.testing.assert_allclose(again, logits, rtol=1e-5, atol=1e-6)
    assert set(maps) == {"pooled"}
