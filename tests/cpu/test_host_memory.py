"""What is freed stays with the process: the arrays of a call lie where those of an earlier one
lay.
"""

import os
import platform
import resource
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from jaxcxr.cpu import host_memory

ROOT = Path(__file__).parent.parent.parent
CALLS, BYTES = 40, 16 << 20

with_glibc = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc",
    reason="only glibc's malloc can be told to keep what is freed",
)


def printed_by(script: str) -> list[str]:
    """The words that a new process prints whose user has set nothing of malloc."""
    unset = {
        n: v for n, v in os.environ.items() if n != "GLIBC_TUNABLES" and not n.startswith("MALLOC_")
    }
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        cwd=ROOT,
        env={**unset, "JAX_PLATFORMS": "cpu"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout.split()


@with_glibc
def test_later_calls_use_the_memory_of_earlier_ones_and_it_can_be_given_back():
    faults, kept, given_back = printed_by(
        f"""
        import resource
        from pathlib import Path
        from jaxcxr.cpu import host_memory
        assert host_memory.keep_freed()
        import jax
        import numpy as np

        def resident():
            return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

        program = jax.jit(lambda x: x + 1)
        x = jax.device_put(np.ones({BYTES // 4}, np.float32))
        for call in range({2 * CALLS}):
            if call == {CALLS}:  # aligned arrays find room once there is more than they need
                before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            program(x).block_until_ready()
        print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
        kept = resident()
        host_memory.give_back()
        print(kept, resident())
        """
    )
    assert int(faults) < 0.25 * CALLS * BYTES / resource.getpagesize()
    assert int(given_back) < int(kept) - BYTES / 2


def test_main_asks_for_it_before_numpy_starts_threads():
    numpy_is_there = printed_by(
        """
        import os, sys
        from jaxcxr.cpu import host_memory

        def keep_freed():
            print("numpy" in sys.modules, flush=True)
            os._exit(0)

        host_memory.keep_freed = keep_freed
        sys.argv = ["main.py", "--config=configs/patched_densenet.py"]
        from jaxcxr.cli import command_line
        command_line.start()
        """
    )
    assert numpy_is_there == ["False"]


@pytest.mark.parametrize(
    "name", ["MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"]
)
def test_the_users_own_setting_stays(monkeypatch, name):
    monkeypatch.setenv(
        name, "glibc.malloc.trim_threshold=131072" if name == "GLIBC_TUNABLES" else "131072"
    )
    assert not host_memory.keep_freed()


@pytest.mark.parametrize("error", [AttributeError, OSError, TypeError])
def test_other_c_libraries_are_left_alone(monkeypatch, error):
    def without(name):
        raise error

    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    monkeypatch.setattr(host_memory.ctypes, "CDLL", without)
    assert not host_memory.keep_freed()
    host_memory.give_back()
