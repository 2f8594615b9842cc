from __future__ import annotations

import jax
import numpy as np

from jaxcxr import models
from tests.models.variables import normal, quick_jit, random_variables, shapes


def test_modules_are_numbered_as_in_torchvision():
    def params(name):
        model = models.build(name, num_classes=4)
        return shapes(model, 1, 32, 32, 3)[2]["params"]

    plain, normed = params("vgg16"), params("vgg19_bn")
    convolutions = [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]
    assert sorted(map(int, plain["features"])) == convolutions
    assert set(normed["features"]["49"]) == {"kernel", "bias"}
    assert set(normed["features"]["50"]) == {"scale", "bias"}
    assert normed["classifier"]["0"]["kernel"].shape == (512 * 7 * 7, 4096)
    assert set(normed["classifier"]) == {"0", "3", "6"}


def test_classifier_reads_the_pooled_map_in_torch_order():
    """Channel first: [C, 7, 7] flattened, here of a 1x1 map repeated 49 times."""
    model = models.build(
        "vgg16", num_classes=3, in_channels=1, width=1 / 64, depth=0.01, dropout=0.0
    )
    x = normal(2, 33, 40, 1)
    variables = random_variables(model, *x.shape)
    logits, out = quick_jit(lambda variables, x: model.apply(variables, x, False))(variables, x)
    assert out["features"].shape == (2, 1, 1, 8)
    y = np.repeat(np.asarray(out["features"]).reshape(2, 8), 49, axis=1)
    for name in ("0", "3", "6"):
        layer = jax.tree.map(np.asarray, variables["params"]["classifier"][name])
        y = y @ layer["kernel"] + layer["bias"]
        y = y if name == "6" else np.maximum(y, 0)
    np.testing.assert_allclose(logits, y, rtol=1e-4, atol=1e-5)
