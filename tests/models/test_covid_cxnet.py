from __future__ import annotations

import jax
import pytest

from jaxcxr import models
from jaxcxr.errors import InputError
from tests.models.variables import normal, quick_jit, random_variables, shapes


@pytest.mark.parametrize(
    ("side", "channels", "count"),
    [(300, 3, 60_035), (320, 3, 60_035), (400, 1, 76_675), (400, 3, 78_275)],
)
def test_parameters_of_the_published_sizes(side, channels, count):
    module = models.build("covid_cxnet_base", num_classes=1, in_channels=channels)
    logits, out, variables = shapes(module, 2, side, side, channels)
    assert sum(leaf.size for leaf in jax.tree.leaves(variables)) == count
    assert logits.shape == (2, 1)
    assert set(out) == {"stage1", "stage2", "stage3", "stage4", "stage5", "features"}


def test_the_smallest_image_leaves_one_pixel():
    module = models.build("covid_cxnet_base", num_classes=3)
    variables = random_variables(module, 1, 65, 65, 3)
    logits, out = quick_jit(lambda v, x: module.apply(v, x, False))(variables, normal(2, 65, 65, 3))
    assert out["features"].shape == (2, 1, 1, 32)
    assert logits.shape == (2, 3)
    with pytest.raises(InputError, match="at least 65 x 65 pixels"):
        shapes(module, 1, 64, 65, 3)
