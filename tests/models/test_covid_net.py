"""COVID-Net as in figure 2 of its paper."""

from __future__ import annotations

import flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcxr import models
from jaxcxr.errors import InputError
from jaxcxr.models import layers
from jaxcxr.models.covid_net import Stage
from tests.models.variables import shapes


@pytest.mark.parametrize("name", ["covid_net", "covid_net_large"])
def test_the_figures_maps_at_224_pixels(name):
    _, out, _ = shapes(models.build(name, num_classes=3), 1, 224, 224, 3)
    assert {name: value.shape[1:] for name, value in out.items()} == {
        "stage1": (56, 56, 256),
        "stage2": (28, 28, 512),
        "stage3": (14, 14, 1024),
        "stage4": (7, 7, 2048),
        "features": (7, 7, 2048),
    }


def test_the_published_size_of_later_networks():
    logits, out, _ = shapes(models.build("covid_net", num_classes=3), 1, 480, 480, 3)
    assert logits.shape == (1, 3)
    assert out["features"].shape == (1, 15, 15, 2048)


def test_layers_of_the_figure():
    params = shapes(models.build("covid_net", num_classes=3, flatten=True), 1, 224, 224, 3)[2][
        "params"
    ]
    flat = flax.traverse_util.flatten_dict(params, sep="/")
    found = {name: leaf.shape for name, leaf in flat.items() if name.endswith("kernel")}
    modules = {
        f"{stage}/{part}"
        for stage, part, *_ in (name.split("/") for name in found if "pepx" in name)
    }
    counts = {1: 3, 2: 4, 3: 6, 4: 3}
    assert modules == {f"stage{s}/pepx{i}" for s, n in counts.items() for i in range(1, n + 1)}
    assert len(found) == 1 + 4 + 5 * 16 + 3
    expected = {
        "stem/conv/kernel": (7, 7, 3, 64),
        "stage3/long_range/conv/kernel": (1, 1, 512, 1024),
        "stage3/pepx1/projection1/conv/kernel": (1, 1, 512, 128),
        "stage3/pepx1/expansion/conv/kernel": (1, 1, 128, 256),
        "stage3/pepx1/depthwise/conv/kernel": (3, 3, 1, 256),
        "stage3/pepx1/projection2/conv/kernel": (1, 1, 256, 128),
        "stage3/pepx1/extension/conv/kernel": (1, 1, 128, 1024),
        "stage3/pepx6/projection1/conv/kernel": (1, 1, 1024, 128),
        "dense1/kernel": (100_352, 1024),
        "dense2/kernel": (1024, 1024),
        "classifier/kernel": (1024, 3),
    }
    assert {name: found[name] for name in expected} == expected


def test_connections_of_the_figure():
    """Every module sees the stage's 1x1 convolution and all modules before it; the first one what
    comes in.
    """
    seen = {}

    class Known(flax.linen.Module):
        """Notes its input, and gives a number of its own everywhere."""

        features: int

        def __call__(self, x):
            seen[self.name] = float(x[0, 0, 0, 0])
            return jnp.full((*x.shape[:3], self.features), 10.0 ** int(self.name[-1]))

    def unit(features, window, *, linear, name):
        assert (features, window, linear, name) == (5, 1, True, "long_range")
        return lambda x: jnp.full((*x.shape[:3], features), 1000.0)

    x = jnp.asarray([[1.0, 2.0], [7.0, 3.0]]).reshape(1, 2, 2, 1)
    stream = Stage(3, 5, Known, unit).apply({}, x)
    assert seen == {"pepx1": 7.0, "pepx2": 1000 + 10, "pepx3": 1000 + 10 + 100}
    np.testing.assert_array_equal(stream, np.full((1, 1, 1, 5), 1000 + 10 + 100 + 1000))


def test_with_an_average_any_size_goes_and_flattened_one():
    small = dict(num_classes=3, width=0.05, depth=0.1)
    average, flat = (
        models.build("covid_net", **small),
        models.build("covid_net", **small, flatten=True),
    )
    for model, same in ((average, True), (flat, False)):
        variables = shapes(model, 1, 64, 64, 3)[2]
        other = shapes(model, 1, 96, 80, 3)[2]
        equal = jax.tree.map(lambda leaf: leaf.shape, variables) == jax.tree.map(
            lambda leaf: leaf.shape, other
        )
        assert equal is same
    with pytest.raises(InputError, match="at least 31 x 31"):
        shapes(average, 1, 30, 31, 3)
    assert shapes(average, 1, 31, 31, 3)[1]["features"].shape == (
        1,
        1,
        1,
        layers.scaled(2048, 0.05),
    )


def test_the_large_network_has_wider_modules():
    def inner(name):
        params = shapes(models.build(name, num_classes=3), 1, 32, 32, 3)[2]["params"]
        module = params["stage4"]["pepx2"]
        return module["projection1"]["conv"]["kernel"].shape[-1], module["depthwise"]["conv"][
            "kernel"
        ].shape[-1]

    assert inner("covid_net") == (256, 512)
    assert inner("covid_net_large") == (1024, 1536)


def test_parameters_stated_in_the_docstring():
    """Millions with 3 classes, averaged and flattened at 224 px: the flattened first dense layer
    has 49 x the rows.
    """
    for name, averaged, flattened in (
        ("covid_net", 11.96, 112.62),
        ("covid_net_large", 39.95, 140.62),
    ):
        params = shapes(models.build(name, num_classes=3), 1, 32, 32, 3)[2]["params"]
        count = sum(leaf.size for leaf in jax.tree.leaves(params))
        assert round(count / 1e6, 2) == averaged
        assert round((count + 48 * 2048 * 1024) / 1e6, 2) == flattened
        assert f"{averaged:.2f}, flattened at 224 px {flattened:.2f}" in models.covid_net.__doc__
