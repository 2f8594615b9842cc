"""Huge pages for the host's memory, which programs of XLA:CPU ask for anew at every call.

glibc gives a large array's memory back to the system as soon as it is freed, and Linux hands it out again page by page
of 4 KiB, zeroed: half a million page faults in a training step of DenseNet-161 on eight images, a fifth of its time.
With `glibc.malloc.hugetlb=1` malloc asks for pages of 2 MiB. The C library reads that once, as a program starts.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

_VARIABLE, _VALUE = "GLIBC_TUNABLES", "glibc.malloc.hugetlb=1"
_KERNEL = Path("/sys/kernel/mm/transparent_hugepage/enabled")  # always, on demand ([madvise]) or never; Linux only


def environment() -> dict[str, str]:
    """What has a program that is yet to start use huge pages, GLIBC_TUNABLES; nothing where the user has set that, or
    where the kernel gives them to all programs or to none."""
    try:
        on_demand = "[madvise]" in _KERNEL.read_text()
    except OSError:
        return {}
    return {_VARIABLE: _VALUE} if on_demand and _VARIABLE not in os.environ else {}


def restart_with() -> None:
    """Starts this program again in its place with that `environment`; process, arguments and open files stay the same.

    Returns where there is nothing to set, as after the restart, and where the process is not this program's own (a
    notebook's).
    """
    own = sys.orig_argv[-len(sys.argv) :] == sys.argv
    if (added := environment()) and own and sys.executable:
        sys.stdout.flush()
        sys.stderr.flush()
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, **added})
