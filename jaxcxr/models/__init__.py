"""The networks: base learners, segmentation, ensemble. `build(name, ...)` makes one.

Every module is called as `module.apply(variables, x, train)` and returns `(logits, out)`; `out`
holds named intermediates, so that explanations need no hooks.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from jaxcxr.errors import InputError
from jaxcxr.models.covid_cxnet import CovidCXNetBase
from jaxcxr.models.covid_net import CovidNet
from jaxcxr.models.densenet import DenseNet
from jaxcxr.models.efficientnet import EfficientNet
from jaxcxr.models.fc_densenet import FCDenseNet
from jaxcxr.models.inception import InceptionV3
from jaxcxr.models.layers import AS_PUBLISHED, NormTuning
from jaxcxr.models.lite_unet import LiteUNet
from jaxcxr.models.neural_weight import NeuralWeightModule
from jaxcxr.models.resnet import BasicBlock, Bottleneck, ResNet
from jaxcxr.models.small_cnn import SmallCNN
from jaxcxr.models.unet import UNet
from jaxcxr.models.vgg import VGG

Row = functools.partial[nn.Module]

_DENSENET121: Row = functools.partial(DenseNet, stem=64, growth=32, blocks=(6, 12, 24, 16))
_RESNET50: Row = functools.partial(ResNet, block=Bottleneck, blocks=(3, 4, 6, 3))
_VGG16: Row = functools.partial(VGG, convolutions=(2, 2, 3, 3, 3), batch_norm=False)
_lite = functools.partial(functools.partial, EfficientNet, stem=32, last=1280, lite=True)
_LITE0: Row = _lite(
    channels=(16, 24, 40, 80, 112, 192, 320), blocks=(1, 2, 2, 3, 3, 4, 1), rate=0.2
)
_COVID_CXNET_HEAD: dict[str, Any] = dict(head_hidden=10, head_dropout=0.2)

# name -> module class with the published sizes. FLANNEL's five base learners come first, in the
# order of its ensemble.
MODELS: dict[str, Row] = {
    "densenet161": functools.partial(DenseNet, stem=96, growth=48, blocks=(6, 12, 36, 24)),
    "inception_v3": functools.partial(InceptionV3),
    "resnet152": functools.partial(ResNet, block=Bottleneck, blocks=(3, 8, 36, 3)),
    "resnext101_32x8d": functools.partial(
        ResNet, block=Bottleneck, blocks=(3, 4, 23, 3), groups=32, group_width=8
    ),
    "vgg19_bn": functools.partial(VGG, convolutions=(2, 2, 4, 4, 4), batch_norm=True),
    "densenet121": _DENSENET121,
    "resnet18": functools.partial(ResNet, block=BasicBlock, blocks=(2, 2, 2, 2)),
    "resnet50": _RESNET50,
    "vgg16": _VGG16,
    "efficientnet_b4": functools.partial(
        EfficientNet,
        stem=48,
        channels=(24, 32, 56, 112, 160, 272, 448),
        last=1792,
        blocks=(2, 4, 4, 6, 6, 8, 2),
        rate=0.4,
    ),
    "efficientnet_lite0": _LITE0,
    "efficientnet_lite1": _lite(
        channels=(16, 24, 40, 80, 112, 192, 320), blocks=(1, 3, 3, 4, 4, 5, 1), rate=0.2
    ),
    "efficientnet_lite2": _lite(
        channels=(16, 24, 48, 88, 120, 208, 352), blocks=(1, 3, 3, 4, 4, 5, 1), rate=0.3
    ),
    "covid_cxnet_base": functools.partial(CovidCXNetBase),
    "covid_cxnet": functools.partial(_DENSENET121, **_COVID_CXNET_HEAD),
    "covid_cxnet_resnet50": functools.partial(_RESNET50, **_COVID_CXNET_HEAD),
    "covid_net": functools.partial(CovidNet, projection=1 / 8, expansion=1 / 4),
    "covid_net_large": functools.partial(CovidNet, projection=1 / 2, expansion=3 / 4),
    "qatar_cnn": functools.partial(SmallCNN, channels=(32, 16, 16), hidden=(512, 256), rate=0.2),
    "qatar_vgg16": functools.partial(_VGG16, head_hidden=128, head_dropout=0.5),
    "qatar_lite": functools.partial(_LITE0, head_hidden=128, head_dropout=0.5),
    "v7_diagnosis": functools.partial(SmallCNN, channels=(32, 64), hidden=(64,)),
    "fc_densenet103": functools.partial(FCDenseNet),
    "unet_cxnet": functools.partial(UNet, channels=(32, 64, 128, 256, 512)),
    "unet": functools.partial(
        UNet,
        channels=(64, 128, 256, 512, 1024),
        up="repeat",
        relu_init="he",
        deep_dropout=0.5,
        narrow=2,
    ),
    "lite_unet": functools.partial(LiteUNet),
    "neural_weight_module": functools.partial(NeuralWeightModule),
}


def build(
    name: str,
    *,
    num_classes: int,
    in_channels: int | None = None,
    axis_name: str | None = None,
    width: float = 1.0,
    depth: float = 1.0,
    dtype: Any = jnp.float32,
    dropout: float | None = None,
    norm_tuning: NormTuning = AS_PUBLISHED,
    **options: Any,
) -> nn.Module:
    """The network `name`, called with x [B, H, W, in_channels] float32.

    Args:
        name: a key of `MODELS`.
        num_classes: outputs of the head.
        in_channels: None is the published number: 3 for classifiers, 1 for segmenters.
        axis_name: device axis over which BatchNorm averages its statistics while training.
        width: factor on channel counts; 1.0 is the published network.
        depth: factor on the repeats in each block; 1.0 is the published network.
        dtype: of the computation; parameters and logits stay float32.
        dropout: None is the published rate.
        norm_tuning: of the batch norms.
        **options: fields of one model, e.g. `activation` of neural_weight_module, `remat` of
            fc_densenet103, `narrow` of unet.

    Raises:
        InputError: for an unknown name, an option that the model does not have, or `norm_tuning` of
            one without batch norms.
    """
    if name not in MODELS:
        raise InputError(f"Unknown model {name!r}. Known models: {', '.join(MODELS)}.")
    factory = MODELS[name]
    fields = {f.name for f in dataclasses.fields(factory.func)} - {"parent", "name"}  # pyright: ignore
    fields_set = {"num_classes": num_classes, "dtype": dtype, **options}
    # Only what was set is passed on: a model without, say, channels has no such field.
    if in_channels is not None:
        fields_set["in_channels"] = in_channels
    # Without BatchNorm there is nothing to sync.
    if axis_name is not None and "axis_name" in fields:
        fields_set["axis_name"] = axis_name
    if width != 1.0:
        fields_set["width"] = width
    if depth != 1.0:
        fields_set["depth"] = depth
    if dropout is not None:
        fields_set["dropout"] = dropout
    if norm_tuning != AS_PUBLISHED:
        if "norm_tuning" not in fields or factory.keywords.get("batch_norm") is False:  # VGG
            raise InputError(
                f"{name} has no batch norms: leave model.norm_momentum at 0 and "
                "model.norm_statistics at batch"
            )
        fields_set["norm_tuning"] = norm_tuning
    if unknown := sorted(fields_set.keys() - fields):
        raise InputError(
            f"{name} has no option {', '.join(unknown)}. Known: {', '.join(sorted(fields))}."
        )
    return factory(**fields_set)


def backbone(name: str) -> str:
    """The row of `MODELS` whose features the network `name` has.

    covid_cxnet is densenet121 with another head.

    A row that differs from an earlier one in fields `head_...` alone has that one's features; any
    other its own.
    """
    row = MODELS[name]
    if row.func is LiteUNet:  # its encoder is the beginning of that network
        return "efficientnet_lite0"
    plain = {field: value for field, value in row.keywords.items() if not field.startswith("head_")}
    return next(
        n
        for n, other in MODELS.items()
        if n == name or (other.func is row.func and other.keywords == plain)
    )
