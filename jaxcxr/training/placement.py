"""Where the arrays of a run live: with the host, or whole on every device.

The host sends each batch; a device is told row numbers alone and goes on by itself from one
boundary of the loop to the next.
"""

from __future__ import annotations

import dataclasses

from jaxcxr import parallel
from jaxcxr.errors import InputError

# Of the free device memory that the arrays may take; parameters and activations need the rest.
SHARE = 0.5


@dataclasses.dataclass(frozen=True)
class Placement:
    """Where the arrays live, "device" or "host", and why."""

    where: str
    why: str

    def __str__(self) -> str:
        return f"images stay in {self.where} memory ({self.why})"


def check(requested: str, *, processes: int) -> None:
    """Raises InputError for a `train.placement` that is impossible with `processes`."""
    if requested == "device" and processes > 1:
        raise InputError(
            f"train.placement='device' is for one process, and there are {processes}, each of "
            "which reads its own part of a batch: set it to 'auto' or 'host'"
        )


def choose(
    requested: str, *, needed: int, free: int | None, platform: str, processes: int
) -> Placement:
    """Where the arrays of a run go; the numbers it computes are the same but for rounding.

    Args:
        requested: `train.placement`.
        needed: bytes of the arrays.
        free: bytes that are free on every device, `parallel.free_memory`; None: not known.
        platform: cpu, gpu or tpu.
        processes: how many take part.

    Raises:
        InputError: `check`'s, and arrays that are to be on the devices and do not fit.
    """
    check(requested, processes=processes)
    size = f"they take {_gb(needed)}"
    if requested == "host":
        return Placement("host", "train.placement says so")
    if requested == "device":
        if free is not None and needed > free:
            raise InputError(
                f"train.placement='device', and the images do not fit: {size}, and {_gb(free)} of "
                "a device's memory is free. Set it to 'auto' or 'host', lower data.image_size, or "
                "let JAX have more of the device (XLA_PYTHON_CLIENT_MEM_FRACTION)"
            )
        return Placement("device", "train.placement says so")
    if processes > 1:
        return Placement("host", f"each of the {processes} processes reads its own part of a batch")
    if platform == "cpu":
        return Placement("host", "the backend is a CPU")
    if free is None:
        return Placement("host", f"{size}, and this platform does not say how much memory is free")
    if needed > SHARE * free:
        return Placement(
            "host", f"{size}, more than {SHARE:.0%} of what is free on a device ({_gb(free)})"
        )
    return Placement("device", f"{size}, and {_gb(free)} of a device's memory is free")


def decide(requested: str, *, needed: int) -> Placement:
    """`choose` for the devices that there are."""
    return choose(
        requested,
        needed=needed,
        free=parallel.free_memory(),
        platform=parallel.platform(),
        processes=parallel.process_count(),
    )


def _gb(count: int) -> str:
    return f"{count / 1e9:.3g} GB"
