"""The device seam: the only file that names pmap, axis names, devices and process counts.

A per-device function is written as `(state, batch, key, *, axis_name)` and never sees how many
devices there are. The state has no device axis: `in_axes=None` replicates it, `out_axes=None` hands
back one copy, which is the form that pmap's maintainers recommend since pmap became
`jit(shard_map)` (JAX 0.8). Batches carry a leading device axis that `shard` adds. A batch is always
described globally: with P processes each one feeds its own slice of it.
"""

from __future__ import annotations

import functools
import os
import re
import socket
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from absl import logging

from jaxcxr.errors import InputError

AXIS = "data"

# XLA:CPU of JAX 0.8 to 0.10 fuses convolutions through YNNPACK, which makes DenseNet-161 slower
# (docs/PERFORMANCE.md). JAX 0.7 aborts on the unknown flag, 0.11 and later need no help.
_YNN_VERSIONS = ((0, 10), (0, 11))

_BIND_ADDRESS = "JAX_COORDINATOR_BIND_ADDRESS"  # JAX's own variable


def initialize(
    *, compilation_cache: str, coordinator: str, process_id: int, num_processes: int
) -> None:
    """Sets up JAX for this process; call it before anything touches a device.

    Args:
        compilation_cache: folder of the persistent compilation cache; '' turns it off.
        coordinator: "host:port" of process 0 for several processes without a cluster manager; ''
            for one process, 'auto' where the environment (Cloud TPU pods, SLURM) tells JAX
            everything.
        process_id: number of this process, used with an explicit coordinator.
        num_processes: how many processes there are, used with an explicit coordinator.

    Raises:
        InputError: the coordinator is no HOST:PORT, process 0 does not run there, or there is no
            such process.
    """
    _set_xla_flags()
    if compilation_cache:
        folder = os.path.expanduser(compilation_cache)
        if folder.startswith("~"):
            raise InputError(
                f"parallel.compilation_cache={compilation_cache}: this user has no home folder "
                "($HOME is not set): name another, or '' to compile again at every start"
            )
        jax.config.update("jax_compilation_cache_dir", folder)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 1.0)
    if coordinator == "auto":
        jax.distributed.initialize()
    elif coordinator:
        # CPU processes talk through gloo; accelerators ignore the setting.
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        if not 0 <= process_id < num_processes:
            raise InputError(
                f"parallel.process_id={process_id} is not one of "
                f"parallel.num_processes={num_processes} processes, which are counted from 0"
            )
        jax.distributed.initialize(
            coordinator,
            num_processes=num_processes,
            process_id=process_id,
            coordinator_bind_address=_bind_address(coordinator, listens=process_id == 0),
        )


def _bind_address(coordinator: str, *, listens: bool) -> str | None:
    """Address at which the coordinator listens: its own.

    JAX would take every address of the machine.

    None, for JAX to decide, where the user says it with JAX_COORDINATOR_BIND_ADDRESS, as behind an
    address translation.
    """
    match = re.fullmatch(r"(\[.+\]|[^:]+):(\d{1,5})", coordinator)
    if not match or not 0 < int(match[2]) < 1 << 16:
        raise InputError(
            f"parallel.coordinator={coordinator!r} is not HOST:PORT, such as 192.168.0.7:1234"
        )
    if os.environ.get(_BIND_ADDRESS):
        return None
    if listens:  # gRPC would print its own lines and JAX a traceback
        host, port = match[1].strip("[]"), int(match[2])
        try:
            family, kind, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
            with socket.socket(family, kind) as trial:
                trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                trial.bind(address)
            if str(address[0]).startswith("127.") and host not in ("localhost", address[0]):
                # Debian's installer gives a machine's own name the address 127.0.1.1.
                logging.warning(
                    (
                        "parallel.coordinator=%r: %s is %s on this machine, where no other "
                        "machine can reach it; give its address in numbers if the processes are "
                        "on several machines"
                    ),
                    coordinator,
                    host,
                    address[0],
                )
        except OSError as error:
            raise InputError(
                f"parallel.coordinator={coordinator!r}: process 0 cannot listen there "
                f"({error.strerror}); give a free port of an address of its machine, or set "
                f"{_BIND_ADDRESS} where others reach it by another address"
            ) from error
    return coordinator


def _set_xla_flags() -> None:
    """Adds the measured CPU flag for this JAX version unless XLA_FLAGS already names it."""
    version = tuple(int(part) for part in jax.__version__.split(".")[:2])
    flags = os.environ.get("XLA_FLAGS", "")
    low, high = _YNN_VERSIONS
    if low <= version < high and "xla_cpu_experimental_ynn_fusion_type" not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} --xla_cpu_experimental_ynn_fusion_type=".strip()


def process_index() -> int:
    """Number of this process; process 0 writes the run folder."""
    return jax.process_index()


def process_count() -> int:
    """Number of processes that take part."""
    return jax.process_count()


def is_main() -> bool:
    """Returns whether this process writes files and prints."""
    return jax.process_index() == 0


def device_count() -> int:
    """Devices of all processes together."""
    return jax.device_count()


def platform() -> str:
    """cpu, gpu or tpu."""
    return jax.default_backend()


def describe() -> dict[str, Any]:
    """Platform, devices, processes and XLA flags of the run, for the manifest."""
    return {
        "platform": platform(),
        "device_kind": jax.devices()[0].device_kind,
        "devices": jax.device_count(),
        "processes": jax.process_count(),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
    }


def free_memory() -> int | None:
    """Free bytes on the fullest of this process's devices; None where unknown, as on CPUs.

    Of a GPU it is the rest of the fraction that JAX reserves (XLA_PYTHON_CLIENT_MEM_FRACTION, .75
    by default).
    """
    free = []
    for device in jax.local_devices():
        # JAX 0.7.2 to 0.12: None on CPUs, -1 for what a platform does not know
        stats = device.memory_stats() or {}
        limit, used = stats.get("bytes_limit", -1), stats.get("bytes_in_use", -1)
        if limit < 0 or used < 0:
            return None
        free.append(limit - used)
    return min(free)


def barrier(name: str) -> None:
    """Waits until every process is here (a no-op for one process)."""
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(name)


def agree(flag: bool) -> bool:
    """True on every process if it is true on any (a signal may reach only one of them)."""
    if jax.process_count() == 1:
        return flag
    from jax.experimental import multihost_utils

    return bool(np.any(multihost_utils.process_allgather(np.asarray(flag))))


def check_batch_size(batch_size: int, *, field: str) -> None:
    """Raises InputError when a global batch does not divide evenly over the devices."""
    if batch_size % jax.device_count():
        raise InputError(
            f"{field}={batch_size} does not divide over {jax.device_count()} devices; "
            f"take a multiple of {jax.device_count()}"
        )


def shard(batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """This process's slice of a batch `[b, ...]` -> `[local devices, b / local devices, ...]`."""
    count = jax.local_device_count()
    return {name: value.reshape(count, -1, *value.shape[1:]) for name, value in batch.items()}


def sync_axis() -> str | None:
    """The axis over which BatchNorm averages its statistics.

    None on a single device, see `sum_over_devices`.
    """
    return AXIS if jax.device_count() > 1 else None


def sum_over_devices(tree: Any, axis_name: str) -> Any:
    """Sums each leaf over the devices, inside a per-device function.

    A single device's sums are left out: XLA keeps an all-reduce over one device as a copy of every
    gradient.
    """
    return tree if jax.lax.psum(1, axis_name) == 1 else jax.lax.psum(tree, axis_name)


def spmd_step(step: Callable[..., tuple[Any, Any]]) -> Callable[..., tuple[Any, Any]]:
    """Compiles `(state, batch, key, *, axis_name) -> (state, metrics)` for all devices.

    The old state is donated.

    The batch is `shard`ed. Every device gets the whole of the state and of `key`, which may be any
    pytree.
    """
    # With several processes pmap (JAX 0.8 to 0.12) first makes a global view of the host's arrays
    # and then finds its own view deleted by the donation, so the state is copied there instead.
    donate = (0,) if jax.process_count() == 1 else ()
    return jax.pmap(
        functools.partial(step, axis_name=AXIS),
        axis_name=AXIS,
        in_axes=(None, 0, None),
        out_axes=None,
        donate_argnums=donate,
    )


def spmd_predict(predict: Callable[..., Any]) -> Callable[..., Any]:
    """Compiles `(variables, batch, key) -> pytree of [b, ...]` for all devices.

    As `spmd_step` does.

    Every process gets the whole batch's result `[B, ...]` in the batch's order, whichever device
    computed it.
    """

    def gathered(variables: Any, batch: Any, key: jax.Array) -> Any:
        return jax.lax.all_gather(predict(variables, batch, key), AXIS, tiled=True)

    return jax.pmap(gathered, axis_name=AXIS, in_axes=(None, 0, None), out_axes=None)


def place(tree: Any) -> Any:
    """Puts what every device reads (a state, resident arrays) on all of them.

    In the layout that `spmd_step` and `spmd_predict` want, so that their calls copy nothing.
    """
    if jax.process_count() > 1:
        return tree
    mesh = jax.sharding.Mesh(np.asarray(jax.local_devices()), (AXIS,))
    return jax.device_put(tree, jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec()))


def to_host(tree: Any) -> Any:
    """Replicated device arrays -> numpy arrays."""
    return jax.tree.map(np.asarray, jax.device_get(tree))
