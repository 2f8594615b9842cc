"""What the numbers were measured on, and what is not there."""

from __future__ import annotations

import datetime
import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import harness
from benchmarks.protocol import Job

PACKAGES = (
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "numpy",
    "scipy",
    "scikit-learn",
    "torch",
    "torchvision",
    "efficientnet_lite_pytorch",
)


def describe() -> tuple[dict[str, Any], dict[str, str]]:
    """(the machine, for the report; what it lacks of `Job.needs` -> why).

    Each framework is asked in a process of its own, for what it sees and how many threads it takes.
    """
    missing = {
        name: f"{name} is not installed: requirements-benchmarks.txt has it"
        for name in ("torch", "torchvision", "efficientnet_lite_pytorch")
        if importlib.util.find_spec(name) is None
    }
    if shutil.which("g++") is None:
        missing["a C++ compiler"] = "there is no g++, which torch.compile needs on CPUs"
    found: dict[str, Any] = {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
        "commit": _git("rev-parse", "HEAD"),
        "changed_files": len(_git("status", "--porcelain").splitlines()),
        "environment": {
            name: value
            for name, value in sorted(os.environ.items())
            if re.match(
                r"(GLIBC_TUNABLES|MALLOC_|OMP|MKL|KMP|JAX|XLA|TORCH|PYTORCH|CUDA_VISIBLE)", name
            )
        },
    }
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as folder:
        found["jax"] = harness.call(Job("benchmarks.ours.device:describe"), Path(folder))
        if "torch" not in missing:
            found["torch"] = harness.call(Job("benchmarks.peers.device:describe"), Path(folder))
            if not found["torch"]["gpu"]:
                missing["a GPU"] = "PyTorch sees no GPU"
        if found["jax"]["platform"] != "gpu":
            missing["a GPU"] = "JAX runs on no GPU here"
        if found["jax"]["platform"] != "cpu":
            missing["simulated devices"] = "JAX simulates devices on CPUs only"
    return found, missing


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _cpu() -> str:
    path = Path("/proc/cpuinfo")
    if path.is_file():
        match = re.search(
            r"model name\s*: (.+)", path.read_text(encoding="utf-8", errors="replace")
        )
        if match:
            return match[1]
    return platform.processor() or platform.machine()


def _git(*command: str) -> str:
    """'' outside a repository, or without git."""
    try:
        done = subprocess.run(
            ["git", *command],
            cwd=harness.ROOT,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
        )
    except OSError:
        return ""
    return done.stdout.strip()
