"""One set of numbers for a small network, as each framework's files would hold it."""

from __future__ import annotations

import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcxr import models
from jaxcxr.models.initialise import initialise

SIDE = {
    "densenet121": 64, "inception_v3": 75, "resnet18": 64, "resnet50": 64, "vgg16": 64,
    "covid_cxnet": 64, "covid_cxnet_resnet50": 64, "qatar_vgg16": 64, "efficientnet_b4": 64,
    "efficientnet_lite0": 64, "efficientnet_lite2": 64, "lite_unet": 64,
}  # fmt: skip
DEPTH = {
    "densenet121": 0.3,
    "covid_cxnet": 0.3,
    "resnet50": 0.3,
    "covid_cxnet_resnet50": 0.3,
    "efficientnet_b4": 0.2,
}
KERAS_EPSILON = 1.001e-5  # of Keras Applications' DenseNet


def module(arch: str, classes: int = 10, channels: int = 3) -> Any:
    return models.build(
        arch, num_classes=classes, in_channels=channels, width=0.1, depth=DEPTH.get(arch, 1.0)
    )


def network(arch: str, classes: int = 10, channels: int = 3, seed: int = 0) -> dict[str, Any]:
    """Variables of a narrow network, no two of them alike."""
    shape = jax.ShapeDtypeStruct((1, SIDE[arch], SIDE[arch], channels), jnp.float32)
    variables = initialise(module(arch, classes, channels), None, shape)
    rng = np.random.default_rng([seed, classes])

    def draw(keys: Any, leaf: Any) -> np.ndarray:
        value = rng.normal(size=leaf.shape).astype(np.float32)
        return np.abs(value) + 0.5 if keys[-1].key == "var" else value

    return jax.tree_util.tree_map_with_path(draw, variables)


def _leaves(variables: dict[str, Any]) -> list[tuple[str, str, np.ndarray]]:
    """(module path, leaf name, array) of each."""
    found = jax.tree_util.tree_flatten_with_path(variables)[0]
    return [("/".join(key.key for key in keys[1:-1]), keys[-1].key, value) for keys, value in found]


def as_torch(variables: dict[str, Any]) -> dict[str, np.ndarray]:
    """torchvision's state dict."""
    names = {"kernel": "weight", "scale": "weight", "mean": "running_mean", "var": "running_var"}
    state = {}
    for path, leaf, value in _leaves(variables):
        dotted = path.replace("/", ".")
        turned = value.transpose(3, 2, 0, 1) if value.ndim == 4 else value.T
        state[f"{dotted}.{names.get(leaf, leaf)}"] = np.ascontiguousarray(turned)
        if leaf == "var":
            state[f"{dotted}.num_batches_tracked"] = np.array(7)
    return state


def as_chexnet_torch(variables: dict[str, Any]) -> dict[str, np.ndarray]:
    """arnoweng/CheXNet's: wrapped twice, the head in a Sequential, norms and convolutions with the
    old names' dot.
    """
    state = {
        re.sub(r"(denselayer\d+\.(?:norm|conv))([12])\.", r"\1.\2.", n): v
        for n, v in as_torch(variables).items()
    }
    return {
        f"module.densenet121.{n.replace('classifier.', 'classifier.0.')}": v
        for n, v in state.items()
    }


def as_timm_vgg16(variables: dict[str, Any]) -> dict[str, np.ndarray]:
    """timm's: linear layers are convolutions, under names of its own."""
    state = as_torch(variables)
    hidden = len(state["classifier.0.bias"])
    state["classifier.0.weight"] = state["classifier.0.weight"].reshape(hidden, -1, 7, 7)
    state["classifier.3.weight"] = state["classifier.3.weight"][:, :, None, None]
    for ours, theirs in (("0", "pre_logits.fc1"), ("3", "pre_logits.fc2"), ("6", "head.fc")):
        for leaf in ("weight", "bias"):
            state[f"{theirs}.{leaf}"] = state.pop(f"classifier.{ours}.{leaf}")
    return state


def as_timm_efficientnet(variables: dict[str, Any]) -> dict[str, np.ndarray]:
    """timm's: blocks count from 0, and their parts have names, which are others in the blocks that
    do not expand.
    """
    outside = {"features.0.0": "conv_stem", "features.0.1": "bn1", "features.8.0": "conv_head",
               "features.8.1": "bn2",
               "classifier.1": "classifier"}  # fmt: skip
    gates = {"fc1": "se.conv_reduce", "fc2": "se.conv_expand"}
    expanding = [("conv_pw", "bn1"), ("conv_dw", "bn2"), gates, ("conv_pwl", "bn3")]
    others = [("conv_dw", "bn1"), gates, ("conv_pw", "bn2")]
    state = {}
    for name, value in as_torch(variables).items():
        path, leaf = name.rsplit(".", 1)
        if path not in outside:
            _, stage, block, _, part, which = path.split(".")
            names = (others if stage == "1" else expanding)[int(part)]
            outside[path] = (
                f"blocks.{int(stage) - 1}.{block}.{names[int(which) if which.isdigit() else which]}"
            )
        state[f"{outside[path]}.{leaf}"] = value
    return state


def as_lite_port(variables: dict[str, Any]) -> dict[str, np.ndarray]:
    """efficientnet_lite_pytorch's: blocks of all stages count from 0."""
    names = {"features.0.0": "_conv_stem", "features.0.1": "_bn0", "features.8.0": "_conv_head",
             "features.8.1": "_bn1", "classifier.1": "_fc"}  # fmt: skip
    parts = [("_expand_conv", "_bn0"), ("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2")]
    state = as_torch(variables)
    paths = {name.rsplit(".", 1)[0] for name in state} - names.keys()
    places = sorted({tuple(map(int, path.split(".")[1:3])) for path in paths})
    for path in paths:
        _, stage, block, _, part, which = path.split(".")
        number = places.index((int(stage), int(block)))
        # The first stage does not expand.
        name = parts[int(part) + (stage == "1")][int(which)]
        names[path] = f"_blocks.{number}.{name}"
    return {
        f"{names[path]}.{leaf}": value
        for name, value in state.items()
        for path, leaf in [name.rsplit(".", 1)]
    }


def as_keras_vgg16(variables: dict[str, Any]) -> dict[str, np.ndarray]:
    """Keras Applications': blue first, and the last map flattened as [H, W, C]."""
    numbers = {1: (0, 2), 2: (5, 7), 3: (10, 12, 14), 4: (17, 19, 21), 5: (24, 26, 28)}
    layers = {
        f"features/{n}": f"block{b}_conv{i}"
        for b, ns in numbers.items()
        for i, n in enumerate(ns, start=1)
    }
    layers |= {"classifier/0": "fc1", "classifier/3": "fc2", "classifier/6": "predictions"}
    arrays = {f"{layers[path]}/{leaf}": value for path, leaf, value in _leaves(variables)}
    arrays["block1_conv1/kernel"] = arrays["block1_conv1/kernel"][:, :, ::-1]
    first = arrays["fc1/kernel"]
    arrays["fc1/kernel"] = (
        first.reshape(-1, 7, 7, first.shape[1]).transpose(1, 2, 0, 3).reshape(first.shape)
    )
    return arrays


def as_keras_densenet(variables: dict[str, Any]) -> dict[str, np.ndarray]:
    """Keras Applications', where the epsilon of its norms makes up for the variance; or
    COVID-CXNet's on top of it.
    """
    norm = {"scale": "gamma", "bias": "beta", "mean": "moving_mean", "var": "moving_variance"}
    parts = {
        "norm1": "0_bn",
        "conv1": "1_conv",
        "norm2": "1_bn",
        "conv2": "2_conv",
        "norm": "bn",
        "conv": "conv",
    }
    fixed = {"features/conv0": "conv1/conv", "features/norm0": "conv1/bn", "features/norm5": "bn"}
    whole = "hidden" in variables["params"]
    fixed |= {"hidden": "fc", "classifier": "pred"} if whole else {"classifier": "predictions"}
    arrays = {}
    for path, leaf, value in _leaves(variables):
        if path in fixed:
            layer = fixed[path]
        elif found := re.fullmatch(r"features/denseblock(\d)/denselayer(\d+)/(\w+)", path):
            layer = f"conv{int(found[1]) + 1}_block{found[2]}_{parts[found[3]]}"
        elif found := re.fullmatch(r"features/transition(\d)/(\w+)", path):
            layer = f"pool{int(found[1]) + 1}_{parts[found[2]]}"
        else:
            raise AssertionError(path)
        value = value + np.float32(1e-5 - KERAS_EPSILON) if leaf == "var" else value
        is_norm = "norm" in path.rpartition("/")[2]
        arrays[f"{layer}/{norm[leaf] if is_norm else leaf}"] = value
    return arrays
