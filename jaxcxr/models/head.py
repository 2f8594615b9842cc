"""Classifier heads, from averaged features to logits.

One dense layer, or two as in COVID-CXNet and `qatar_vgg16`.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax

from jaxcxr.models import layers
from jaxcxr.models.initialise import glorot_uniform


def classifier(
    x: jax.Array,
    num_classes: int,
    *,
    hidden: int,
    dropout: float,
    train: bool,
    name: str,
    **options: Any,
) -> jax.Array:
    """Logits of features, for use inside a module's compact `__call__`.

    The submodules become that module's.

    Args:
        x: [B, C].
        num_classes: outputs.
        hidden: units of a dense layer "hidden" and a ReLU before the logits; then both layers start
            as in Keras, Glorot uniform with bias 0. 0: none, and the logits start as
            `torch.nn.Linear`.
        dropout: rate before the logits, in training.
        train: whether to drop.
        name: of the module that makes the logits.
        **options: of `layers.linear`, where there is no hidden layer.

    Returns:
        [B, num_classes].
    """
    if hidden:
        glorot = glorot_uniform()
        x = nn.relu(nn.Dense(hidden, kernel_init=glorot, name="hidden")(x))
        options = {"kernel_init": glorot, "bias_init": nn.initializers.zeros}
    x = nn.Dropout(dropout, deterministic=not train)(x)
    return layers.linear(num_classes, fan_in=x.shape[-1], name=name, **options)(x)
