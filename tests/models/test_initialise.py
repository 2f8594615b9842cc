"""First values: of the declared distribution, by seed and path alone, for every network."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcxr import models
from jaxcxr.models import MODELS
from jaxcxr.models.initialise import initialise
from tests.models import variables


def shrunk(name: str):
    """(module, its input) with a few channels and one layer a block."""
    if name == "neural_weight_module":
        return models.build(name, num_classes=4), jax.ShapeDtypeStruct((1, 5, 4), jnp.float32)
    module = models.build(name, num_classes=4, width=0.05, depth=0.05)
    side = {"inception_v3": 75, "covid_cxnet_base": 65}.get(name, 32)
    channels = 1 if name in ("fc_densenet103", "unet_cxnet", "unet") else 3
    return module, jax.ShapeDtypeStruct((1, side, side, channels), jnp.float32)


def flat(tree) -> dict[str, np.ndarray]:
    return {
        jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


@pytest.mark.parametrize("name", MODELS)
def test_every_parameter_of_every_network_gets_its_value(name):
    module, x = shrunk(name)
    ours = flat(initialise(module, 0, x))
    theirs = flat(variables.shapes(module, *x.shape, train=True)[2])
    assert {path: leaf.shape for path, leaf in ours.items()} == {
        path: leaf.shape for path, leaf in theirs.items()
    }
    assert all(isinstance(leaf, np.ndarray) and leaf.dtype == np.float32 for leaf in ours.values())
    assert all(np.isfinite(leaf).all() for leaf in ours.values())
    kernels = [leaf for path, leaf in ours.items() if path.endswith("['kernel']")]
    assert kernels and all(leaf.std() > 0 for leaf in kernels if leaf.size > 1)


@pytest.mark.parametrize("name", MODELS)
def test_without_a_seed_there_are_only_shapes(name):
    module, x = shrunk(name)
    shapes = initialise(module, None, x)
    described = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), initialise(module, 0, x)
    )
    assert shapes == described


def test_same_seed_same_values_other_seed_other_values():
    module, x = shrunk("resnet18")
    first, again, other = (flat(initialise(module, seed, x)) for seed in (3, 3, 4))
    for path, leaf in first.items():
        np.testing.assert_array_equal(leaf, again[path])
    kernels = [path for path in first if path.endswith("['kernel']")]
    assert len(kernels) > 5
    assert not any(np.array_equal(first[path], other[path]) for path in kernels)


def test_a_draw_depends_on_its_path_and_not_on_the_rest_of_the_network():
    """Two layers of equal shape differ; a deeper network starts with the same first layers."""
    shallow, deep = (
        models.build("densenet121", num_classes=4, width=0.1, depth=d) for d in (0.05, 0.2)
    )
    x = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    a, b = flat(initialise(shallow, 0, x)), flat(initialise(deep, 0, x))
    stem = next(path for path in a if path.endswith("['conv0']['kernel']"))
    np.testing.assert_array_equal(a[stem], b[stem])
    by_shape: dict[tuple, list[np.ndarray]] = {}
    for path, leaf in b.items():
        if path.endswith("['kernel']"):
            by_shape.setdefault(leaf.shape, []).append(leaf)
    pairs = [leaves[:2] for leaves in by_shape.values() if len(leaves) > 1]
    assert pairs and not any(np.array_equal(one, two) for one, two in pairs)


def test_statistics_are_those_that_torch_draws():
    """torchvision: ResNet convolutions N(0, 2 / fan_out), linear U(-1/sqrt(fan_in),
    1/sqrt(fan_in)).
    """
    module = models.build("resnet18", num_classes=64, width=0.5)
    values = flat(initialise(module, 0, jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)))
    checked = 0
    for path, leaf in values.items():
        if path.endswith("['kernel']") and leaf.ndim == 4 and leaf.size > 5000:
            height, width, _, out = leaf.shape
            expected = np.sqrt(2 / (height * width * out))
            np.testing.assert_allclose(leaf.std(), expected, rtol=0.05)
            assert abs(leaf.mean()) < 4 * expected / np.sqrt(leaf.size)
            checked += 1
    assert checked > 5
    fc = values["['params']['fc']['kernel']"]
    bound = 1 / np.sqrt(fc.shape[0])
    assert np.abs(fc).max() <= bound and np.abs(fc).max() > 0.99 * bound
    np.testing.assert_allclose(fc.std(), bound / np.sqrt(3), rtol=0.02)


@pytest.mark.parametrize(
    ("name", "last"), [("resnet18", "bn2"), ("resnet152", "bn3"), ("vgg19_bn", None)]
)
def test_norms_start_as_the_identity_and_residual_branches_at_zero(name, last):
    values = flat(initialise(*[shrunk(name)[0], 0, shrunk(name)[1]]))
    branches = 0
    for path, leaf in values.items():
        if path.endswith(f"['{last}']['scale']"):
            assert (leaf == 0).all()
            branches += 1
        elif path.endswith(("['scale']", "['var']")):
            assert (leaf == 1).all()
        elif path.endswith("['mean']"):
            assert (leaf == 0).all()
    assert (branches > 0) == (last is not None)


def test_neither_a_device_nor_jaxs_random_numbers_are_used(monkeypatch):
    """Pure numpy: the same values on any platform."""
    module, x = shrunk("neural_weight_module")
    before = flat(initialise(module, 7, x))

    def refuse(*args, **kwargs):
        raise AssertionError("a value was drawn by JAX")

    for name in ("normal", "uniform", "truncated_normal"):
        monkeypatch.setattr(jax.random, name, refuse)
    for path, leaf in flat(initialise(module, 7, x)).items():
        np.testing.assert_array_equal(leaf, before[path])
    # The first numbers, so that a change of numpy's generator or of the paths is noticed.
    np.testing.assert_allclose(before["['params']['fc']['bias']"][:2], [0, 0], atol=0.05)


def test_a_network_with_a_foreign_initialiser_is_refused_by_name():
    import flax.linen as nn

    class Foreign(nn.Module):
        @nn.compact
        def __call__(self, x, train):
            return nn.Dense(2)(x), {}

    with pytest.raises(ValueError, match=r"\['Dense_0'\]\['kernel'\] has no initialiser"):
        initialise(Foreign(), 0, jax.ShapeDtypeStruct((1, 3), jnp.float32))
