"""The task: pure functions that define what is learned, independent of how it is run."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax

from jaxcxr.state import Variables

Batch = Mapping[str, Any]
Prediction = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Task:
    """Pure functions of one learning task.

    A batch is a dict of arrays with a leading example axis: "index" int32 (row of the data set, the
    seed of all draws for that example), "weight" float32 (0 for padding), "label" int32, and the
    task's inputs.

    Attributes:
        init: seed -> variables {"params": ..., "batch_stats": ...} as host arrays; None -> their
            shapes.
        loss: (params, model_state, batch, key, *, axis_name) -> (losses [B], model_state), in
            training mode.
        predict: (variables, batch, key) -> dict of per-example arrays [B, ...], in evaluation mode;
            classification also takes `count`, the number of patches per image.
        metrics: (batch, prediction) -> pytree of sums with `merge` and `compute`, on the host.
        explain: (variables, batch, key, *, count, of, layer, form) -> {"heat" [B, H, W],
            "explained" [B] class, "probabilities" [B, C], and for patches "votes" [B, H, W], the
            fraction of a pixel's patches that chose the class, NaN where there is none}; `of` is
            "predicted" or "true". None: the task has no classes to explain.
        find_layer: name of a feature map, '' for the default -> (name, (height, width, channels))
            of the one that `explain` takes; needs no variables. None: as `explain`.
        inputs: names of the per-example arrays that a batch of this task carries.
        monitor: name of the metric that early stopping and the best checkpoint follow.
        mode: "max" or "min".
    """

    init: Callable[[int | None], Variables]
    loss: Callable[..., tuple[jax.Array, Variables]]
    predict: Callable[..., Prediction]
    metrics: Callable[[Batch, Prediction], Any]
    inputs: tuple[str, ...]
    monitor: str
    mode: str
    explain: Callable[..., Prediction] | None = None
    find_layer: Callable[[str], tuple[str, tuple[int, ...]]] | None = None
