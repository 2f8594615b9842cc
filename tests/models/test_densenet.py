from __future__ import annotations

import jax
import numpy as np

from jaxcxr import models
from tests.models.variables import normal, quick_jit, random_variables, shapes


def test_published_maps_and_names_at_224_pixels():
    model = models.build("densenet161", num_classes=4)
    _, out, variables = shapes(model, 1, 224, 224, 3)
    assert {name: feature_map.shape[1:] for name, feature_map in out.items()} == {
        "stage1": (56, 56, 384),
        "stage2": (28, 28, 768),
        "stage3": (14, 14, 2112),
        "stage4": (7, 7, 2208),
        "features": (7, 7, 2208),
        "pooled": (2208,),
    }
    features = variables["params"]["features"]
    assert features["conv0"]["kernel"].shape == (7, 7, 3, 96)
    assert features["denseblock3"]["denselayer36"]["conv1"]["kernel"].shape == (1, 1, 2064, 192)
    assert features["transition1"]["conv"]["kernel"].shape == (1, 1, 384, 192)
    assert variables["params"]["classifier"]["kernel"].shape == (2208, 4)


def test_logits_are_the_classifier_on_the_mean_of_the_feature_map():
    """What class activation maps rely on."""
    model = models.build("densenet121", num_classes=3, in_channels=1, width=0.125, depth=0.01)
    x = normal(2, 40, 33, 1)
    variables = random_variables(model, *x.shape)
    logits, out = quick_jit(lambda variables, x: model.apply(variables, x, False))(variables, x)
    head = jax.tree.map(np.asarray, variables["params"]["classifier"])
    pooled = np.asarray(out["features"]).mean((1, 2))
    np.testing.assert_allclose(logits, pooled @ head["kernel"] + head["bias"], rtol=1e-4, atol=1e-5)
    assert np.asarray(out["features"]).min() >= 0
