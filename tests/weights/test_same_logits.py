"""The same numbers in torchvision's, timm's and Keras's form give the same logits."""

import numpy as np
import pytest
from safetensors.numpy import save_file

from jaxcxr import weights
from tests.models.variables import quick_jit
from tests.weights.forms import (
    SIDE,
    as_chexnet_torch,
    as_keras_densenet,
    as_keras_vgg16,
    as_lite_port,
    as_timm_efficientnet,
    as_timm_vgg16,
    as_torch,
    module,
    network,
)

FORMS = {
    "vgg16": {"torchvision": as_torch, "timm": as_timm_vgg16, "keras": as_keras_vgg16},
    "densenet121": {
        "torchvision and timm": as_torch,
        "chexnet": as_chexnet_torch,
        "keras": as_keras_densenet,
    },
    "covid_cxnet": {"torch": as_torch, "keras": as_keras_densenet},
    "efficientnet_b4": {"torchvision": as_torch, "timm": as_timm_efficientnet},
    "efficientnet_lite0": {"torchvision": as_torch, "port": as_lite_port},
    "efficientnet_lite2": {"port": as_lite_port},
}


@pytest.mark.parametrize("arch", FORMS)
def test_each_form_gives_the_logits_of_the_numbers_in_it(tmp_path, arch):
    variables, other = network(arch), network(arch, seed=1)
    x = np.random.default_rng(0).normal(size=(2, SIDE[arch], SIDE[arch], 3)).astype(np.float32)
    run = quick_jit(lambda v, x: module(arch).apply(v, x, train=False)[0])
    expected = np.asarray(run(variables, x))
    assert expected.std() > 0
    for form, write in FORMS[arch].items():
        path = tmp_path / f"{form}.safetensors"
        save_file(
            {name: np.ascontiguousarray(value) for name, value in write(variables).items()}, path
        )
        merged = weights.load(weights.find(str(path)), other, arch=arch, new_head=False)
        assert not merged.newly_initialized
        np.testing.assert_allclose(run(merged.variables, x), expected, rtol=1e-5, err_msg=form)
