"""First convolutions that patches share: the same where there is nothing to share, another thing where there is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import shared
from jaxcxr.runs import steps
from tests import tiny
from tfds_builders.phantom_cxr import drawing

LAYER = "features/transition1"


def example(image_size: int, size: int):
    config = tiny.shrink(tiny.load("patched_densenet"))
    config = tiny.change(config, data__image_size=image_size, patches__size=size, model__width=0.25)
    task = steps.compile_for(config, class_weights=np.ones(4, np.float32)).task
    phantom = drawing.draw(seed=0, patient=1, image=0, size=image_size)
    return config, task, phantom.image, phantom.masks["lung"].astype(np.uint8)


def run(config, task, image, mask, count):
    key = jax.random.key(3)
    exact, together, _ = shared.programs(config, layer=LAYER, count=count)
    variables = task.init(0)
    return [np.asarray(program(variables, image, mask, jax.random.fold_in(key, 0))) for program in (exact, together)]


def test_exact_is_what_a_run_predicts():
    config, task, image, mask = example(64, 32)
    exact, _ = run(config, task, image, mask, 5)
    assert np.ptp(exact, axis=0).min() > 1e-3  # no dead network
    batch = {"image": image[None], "mask": mask[None], "index": jnp.zeros(1, jnp.int32)}
    predicted = task.predict(task.init(0), batch, jax.random.key(3), count=5)
    np.testing.assert_allclose(jax.nn.softmax(exact).mean(0), predicted["mean_softmax"][0], rtol=1e-5)


def test_a_patch_that_is_the_whole_image_shares_everything():
    exact, together = run(*example(64, 64), 1)
    np.testing.assert_allclose(together, exact, rtol=1e-4, atol=1e-5)


def test_a_patch_with_neighbours_sees_them():
    exact, together = run(*example(64, 32), 5)
    assert exact.shape == together.shape == (5, 4)
    assert np.abs(exact - together).max() > 1e-3


def test_a_map_that_does_not_divide_its_patch_is_refused():
    config, *_ = example(64, 44)
    with pytest.raises(ValueError, match="features/transition1 has 5 places on a patch of 44 px"):
        shared.programs(config, layer=LAYER, count=2)
