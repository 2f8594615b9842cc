"""Names and layouts of other frameworks' weights, as tables: one `Family` for each way of naming.

Every rule is a regular expression and what it becomes. The names they lead to are this project's
own (torchvision's module names with Flax's leaves): features/denseblock1/denselayer1/conv1/kernel.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping

import numpy as np

from jaxcxr.errors import InputError
from jaxcxr.models import MODELS

Rule = tuple[str, str]


@dataclasses.dataclass(frozen=True)
class Family:
    """Names and layout of the arrays of one source.

    Attributes:
        layout: "torch" (convolutions [O, I, H, W], dense [O, I]); "keras" and "flax" are Flax's
            own ([H, W, I, O], [I, O]).
        renames: applied in this order to every name, each wherever it matches.
        left_out: names (after renaming) that mean nothing here, such as batch counters.
        variance_offset: added to every running variance: the source's BatchNorm epsilon less ours,
            so that var + epsilon, all that evaluation sees of either, is the source's.
        flatten: names of kernels that are convolutions there and dense layers here.
        unflatten: name of a dense kernel whose input is a map flattened as [H, W, C] there and as
            [C, H, W] here -> the map's [H, W].
        bgr: name of the first kernel where the source takes blue, green, red; it is turned to red,
            green, blue.
    """

    layout: str
    renames: tuple[Rule, ...] = ()
    left_out: tuple[str, ...] = ()
    variance_offset: float = 0.0
    flatten: tuple[str, ...] = ()
    unflatten: Mapping[str, tuple[int, int]] = dataclasses.field(default_factory=dict)
    bgr: str = ""


_TORCH_LEAVES: tuple[Rule, ...] = (
    (r"\.running_mean$", ".mean"),
    (r"\.running_var$", ".var"),
    (r"\.", "/"),
)
_TORCH_LEFT_OUT = (r"/num_batches_tracked$",)

# torchvision's first DenseNet files, and all networks fine-tuned from them:
# denselayer1.norm.1.weight.
_OLD_DENSENET: Rule = (r"(denselayer\d+\.(?:norm|relu|conv))\.([12])\.", r"\1\2.")
# What nn.DataParallel and Lightning put before the names of a network that they hold.
_WRAPPERS: Rule = (r"^(?:module|model)\.", "")

_KERAS_LEAVES: tuple[Rule, ...] = (
    (r":0$", ""),
    (r"/gamma$", "/scale"),
    (r"/beta$", "/bias"),
    (r"/moving_mean$", "/mean"),
    (r"/moving_variance$", "/var"),
)
_KERAS_DENSENET: tuple[Rule, ...] = (
    (r"^conv1[/_]conv/", "features/conv0/"),
    (r"^conv1[/_]bn/", "features/norm0/"),
    *(
        (rf"^conv{i + 1}_block(\d+)_", rf"features/denseblock{i}/denselayer\1/")
        for i in range(1, 5)
    ),
    *((rf"^pool{i + 1}_(conv|bn)/", rf"features/transition{i}/\1/") for i in range(1, 4)),
    (r"(transition\d)/bn/", r"\1/norm/"),
    (r"(denselayer\d+)/0_bn/", r"\1/norm1/"),
    (r"(denselayer\d+)/1_conv/", r"\1/conv1/"),
    (r"(denselayer\d+)/1_bn/", r"\1/norm2/"),
    (r"(denselayer\d+)/2_conv/", r"\1/conv2/"),
    (r"^bn/", "features/norm5/"),
)
# Keras Applications and CheXNet-Keras; armiro/COVID-CXNet's copy of the latter; COVID-CXNet itself.
_KERAS_HEADS: tuple[Rule, ...] = (
    (r"^predictions/", "classifier/"),
    (r"^output_layer/", "classifier/"),
    (r"^fc/", "hidden/"),
    (r"^pred/", "classifier/"),
)


def _keras_vgg(convolutions: tuple[int, ...]) -> tuple[Rule, ...]:
    """block2_conv1 -> features/5: torch counts ReLUs and pools, too."""
    rules, number = [], 0
    for stage, count in enumerate(convolutions, start=1):
        for i in range(1, count + 1):
            rules.append((rf"^block{stage}_conv{i}/", f"features/{number}/"))
            number += 2
        number += 1
    return (
        *rules,
        (r"^fc1/", "classifier/0/"),
        (r"^fc2/", "classifier/3/"),
        (r"^predictions/", "classifier/6/"),
    )


def _timm_efficientnet() -> tuple[Rule, ...]:
    """blocks.1.0.conv_dw -> features.2.0.block.1.0: torchvision numbers what timm names."""
    parts = (("conv_pw", "0.0"), ("bn1", "0.1"), ("conv_dw", "1.0"), ("bn2", "1.1"),
             ("se.conv_reduce", "2.fc1"), ("se.conv_expand", "2.fc2"), ("conv_pwl", "3.0"),
             ("bn3", "3.1"))  # fmt: skip
    # The first stage does not expand, so that there conv_pw is the last convolution.
    first = (("conv_dw", "0.0"), ("bn1", "0.1"), ("se.conv_reduce", "1.fc1"),
             ("se.conv_expand", "1.fc2"),
             ("conv_pw", "2.0"), ("bn2", "2.1"))  # fmt: skip
    return (
        (r"^conv_stem\.", "features.0.0."),
        (r"^bn1\.", "features.0.1."),
        (r"^conv_head\.", "features.8.0."),
        (r"^bn2\.", "features.8.1."),
        (r"^classifier\.", "classifier.1."),
        *(
            (rf"^blocks\.0\.(\d+)\.{re.escape(a)}\.", rf"features.1.\1.block.{b}.")
            for a, b in first
        ),
        *(
            (rf"^blocks\.{stage - 1}\.(\d+)\.{re.escape(a)}\.", rf"features.{stage}.\1.block.{b}.")
            for stage in range(2, 8)
            for a, b in parts
        ),
    )


def _efficientnet_lite(blocks: tuple[int, ...]) -> tuple[Rule, ...]:
    """_blocks.3._depthwise_conv -> features.3.0.block.1.0: the port counts through all stages."""
    parts = (("_expand_conv", "0.0"), ("_bn0", "0.1"), ("_depthwise_conv", "1.0"), ("_bn1", "1.1"),
             ("_project_conv", "2.0"), ("_bn2", "2.1"))  # fmt: skip
    # The first stage does not expand.
    first = (("_depthwise_conv", "0.0"), ("_bn1", "0.1"), ("_project_conv", "1.0"),
             ("_bn2", "1.1"))  # fmt: skip
    places = [(stage, i) for stage, count in enumerate(blocks, start=1) for i in range(count)]
    return (
        (r"^_conv_stem\.", "features.0.0."),
        (r"^_bn0\.", "features.0.1."),
        (r"^_conv_head\.", "features.8.0."),
        (r"^_bn1\.", "features.8.1."),
        (r"^_fc\.", "classifier.1."),
        *(
            (rf"^_blocks\.{number}\.{a}\.", f"features.{stage}.{i}.block.{b}.")
            for number, (stage, i) in enumerate(places)
            for a, b in (first if stage == 1 else parts)
        ),
    )


def keras_name(layer: str, weight: str) -> str:
    """The common name for both of Keras 2's spellings.

    Layer `fc1`, weight `fc1_1/fc1_W_1:0` -> 'fc1/kernel'.
    """
    leaf = weight.removesuffix(":0").rpartition("/")[2]
    leaf = re.sub(rf"^{re.escape(layer.rpartition('/')[2])}_", "", leaf)
    leaf = re.sub(r"_\d+$", "", leaf)
    return (
        f"{layer}/"
        f"{ {'W': 'kernel', 'b': 'bias', 'running_std': 'moving_variance'}.get(leaf, leaf) }"
    )


FAMILIES: dict[str, Family] = {
    "jaxcxr": Family("flax"),  # what `convert` writes
    "torchvision": Family(
        "torch",
        (_WRAPPERS, _OLD_DENSENET, *_TORCH_LEAVES),
        (*_TORCH_LEFT_OUT, r"^op_threshs$"),
    ),
    "timm_vgg": Family(
        "torch",
        (
            _WRAPPERS,
            (r"^pre_logits\.fc1\.", "classifier.0."),
            (r"^pre_logits\.fc2\.", "classifier.3."),
            (r"^head\.fc\.", "classifier.6."),
            *_TORCH_LEAVES,
        ),
        _TORCH_LEFT_OUT,
        flatten=("classifier/0/kernel", "classifier/3/kernel"),
    ),
    "timm_efficientnet": Family(
        "torch", (_WRAPPERS, *_timm_efficientnet(), *_TORCH_LEAVES), _TORCH_LEFT_OUT
    ),
    **{
        name: Family(
            "torch",
            (_WRAPPERS, *_efficientnet_lite(row.keywords["blocks"]), *_TORCH_LEAVES),
            _TORCH_LEFT_OUT,
        )
        for name, row in MODELS.items()
        if name.startswith("efficientnet_lite")
    },
    "chexnet_torch": Family(
        "torch",
        (
            _WRAPPERS,
            (r"^densenet121\.", ""),
            (r"^classifier\.0\.", "classifier."),
            _OLD_DENSENET,
            *_TORCH_LEAVES,
        ),
        _TORCH_LEFT_OUT,
    ),
    "keras_densenet": Family(
        "keras",
        (*_KERAS_LEAVES, *_KERAS_DENSENET, *_KERAS_HEADS),
        variance_offset=1.001e-5 - 1e-5,
    ),
    "keras_vgg16": Family(
        "keras",
        (*_KERAS_LEAVES, *_keras_vgg((2, 2, 3, 3, 3))),
        unflatten={"classifier/0/kernel": (7, 7)},
        bgr="features/0/kernel",
    ),
    "covid_cxnet_base": Family("keras", _KERAS_LEAVES),
}


@dataclasses.dataclass(frozen=True)
class ConvertedWeights:
    """A file's arrays under our names, in our layout, as the file's network has them.

    Attributes:
        arrays: our name -> float32 array.
        sources: our name -> name in the file.
        unused: name in the file -> why it is not among them.
    """

    arrays: dict[str, np.ndarray]
    sources: dict[str, str]
    unused: dict[str, str]


def rename(arrays: Mapping[str, np.ndarray], family: Family) -> ConvertedWeights:
    """Gives every array of a file our name and layout; names that no rule knows keep theirs.

    Raises:
        InputError: two arrays get the same name, or one has not as many dimensions as it takes.
    """
    result = ConvertedWeights({}, {}, {})
    for source, value in arrays.items():
        name = source
        for pattern, replacement in family.renames:
            name = re.sub(pattern, replacement, name)
        if any(re.search(pattern, name) for pattern in family.left_out):
            result.unused[source] = "has no meaning here"
            continue
        if family.layout == "torch" and name.endswith("/weight"):
            name = name.removesuffix("weight") + ("scale" if value.ndim == 1 else "kernel")
        if name in result.arrays:
            raise InputError(f"both {result.sources[name]} and {source} are {name} here")
        try:
            result.arrays[name] = _laid_out(value, name, family)
        except (ValueError, TypeError, IndexError) as error:
            raise InputError(
                f"{source} {list(value.shape)} cannot be {name} here: {error}"
            ) from error
        result.sources[name] = source
    return result


def _laid_out(value: np.ndarray, name: str, family: Family) -> np.ndarray:
    if family.layout == "torch" and name.endswith("/kernel"):
        if name in family.flatten:
            value = value.reshape(len(value), -1)
        value = value.transpose(2, 3, 1, 0) if value.ndim == 4 else value.T
    if name in family.unflatten:
        height, width = family.unflatten[name]
        value = (
            value.reshape(height, width, -1, value.shape[-1])
            .transpose(2, 0, 1, 3)
            .reshape(value.shape)
        )
    if name == family.bgr:
        value = value[:, :, ::-1]
    if name.endswith("/var"):
        value = value + np.float32(family.variance_offset)
    with np.errstate(over="ignore"):  # infinite values are refused by name, where they are loaded
        return np.ascontiguousarray(value, np.float32)
