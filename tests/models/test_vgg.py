from __future__ import annotations

import jax
import numpy as np
import pytest

from jaxcxr import models
from tests.models.variables import dropout_rates, normal, quick_jit, random_variables, shapes


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


@pytest.mark.parametrize(
    ("window", "side", "places"),
    [(0, 97, None), (2, 97, 1), (2, 128, 2), (4, 64, None), (3, 200, 2)],
    ids=["whole map", "3x3 cut to 2x2", "4x4 by 2x2", "smaller than the window", "6x6 by 3x3"],
)
def test_the_qatar_head_averages_windows_and_flattens_rows_first(window, side, places):
    """Dense 128, ReLU and dense C on the averages of whole windows, as [H, W, C]; None: of the
    whole map.
    """
    model = models.build(
        "qatar_vgg16", num_classes=3, in_channels=1, width=1 / 64, depth=0.01, head_pool=window
    )
    x = normal(2, side, side, 1)
    variables = random_variables(model, *x.shape)
    logits, out = quick_jit(lambda variables, x: model.apply(variables, x, False))(variables, x)
    y = np.asarray(out["features"])
    if places is None:
        y = y.mean((1, 2))
    else:
        y = (
            y[:, : places * window, : places * window]
            .reshape(2, places, window, places, window, -1)
            .mean((2, 4))
        )
    hidden, last = (
        jax.tree.map(np.asarray, variables["params"][part]) for part in ("hidden", "classifier")
    )
    assert hidden["kernel"].shape == (8 * (places or 1) ** 2, 128)
    y = np.maximum(y.reshape(2, -1) @ hidden["kernel"] + hidden["bias"][None], 0)
    np.testing.assert_allclose(
        logits, y @ last["kernel"] + last["bias"][None], rtol=1e-4, atol=1e-5
    )


def test_dropout_rates_of_both_heads():
    def rates(name, **options):
        return dropout_rates(
            models.build(name, num_classes=3, width=1 / 64, depth=0.01, **options), 1, 32, 32, 3
        )

    assert rates("vgg16") == [0.5, 0.5]
    assert rates("vgg16", dropout=0.25) == [0.25, 0.25]
    assert rates("qatar_vgg16") == [0.5]
    assert rates("qatar_vgg16", dropout=0.25) == [0.25]
