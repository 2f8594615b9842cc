"""PyTorch's training step as a side."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch._inductor.config
from ml_collections import ConfigDict
from torch import Tensor, nn

from benchmarks.peers import device
from benchmarks.protocol import Prepared

# The forms of PyTorch, from what a beginner writes to what its tuning guide ends with.
FORMS = ("plain", "channels_last", "compiled", "bf16", "bf16_compiled")


def on_device(network: nn.Module, form: str, where: str) -> nn.Module:
    """A network in one of FORMS on "cpu" or "cuda"."""
    if form not in FORMS:
        raise ValueError(f"form={form!r}; known: {', '.join(FORMS)}")
    torch.backends.cudnn.benchmark = (
        True  # as PyTorch's tuning guide has it for inputs of one shape
    )
    network = network.to(where)
    if form != "plain":
        network = network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    if not form.endswith("compiled"):
        return network
    # Weights that do not change become constants of the program, where no gradient is asked for.
    torch._inductor.config.freezing = not network.training
    return torch.compile(network)  # pyright: ignore[reportReturnType]


def laid_out(x: Tensor, form: str, where: str) -> Tensor:
    """A batch [N, C, H, W] as the form wants it, on the device."""
    return x.to(where) if form == "plain" else x.to(where, memory_format=torch.channels_last)


def precision(form: str, where: str) -> contextlib.AbstractContextManager[Any]:
    """Automatic mixed precision for the bf16 forms."""
    return (
        torch.autocast(where, torch.bfloat16)
        if form.startswith("bf16")
        else contextlib.nullcontext()
    )


def adam(config: ConfigDict, network: nn.Module, form: str) -> torch.optim.Adam:
    """Coupled L2, as the papers have it; all but the plain form take PyTorch's fused kernel."""
    o = config.optim
    fused = True if form != "plain" else None
    return torch.optim.Adam(
        network.parameters(), lr=o.learning_rate, weight_decay=o.weight_decay, fused=fused
    )


def step(
    config: ConfigDict,
    network: nn.Module,
    mean_loss: Callable[[Any], Tensor],
    x: Tensor,
    *,
    form: str,
    where: str,
) -> Prepared:
    """A step on one batch [B, C, H, W] again and again; `mean_loss` takes the network's output.

    The outputs are those of the first step: its loss, and the norm of the gradient that Adam saw.
    """
    network = on_device(network.train(), form, where)
    optimizer, x = adam(config, network, form), laid_out(x, form, where)
    first: dict[str, np.ndarray] = {}

    def run() -> None:
        optimizer.zero_grad(set_to_none=True)
        with precision(form, where):
            loss = mean_loss(network(x))
        loss.backward()
        optimizer.step()
        device.wait(where)
        if not first:
            first["loss"] = loss.detach().cpu().numpy()
            moments = [state["exp_avg"].norm() for state in optimizer.state.values()]
            # Of Adam's first step.
            first["gradient"] = torch.stack(moments).norm().cpu().numpy() / (1 - 0.9)

    return Prepared(run, lambda: first, lambda: device.measures(where))
