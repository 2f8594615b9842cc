"""main.py starts itself again with huge pages, and nobody notices but the clock."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from jaxcxr import huge_pages

ROOT = Path(__file__).parent.parent
BYTES = 64 << 20
# What it prints: how often it was started, its arguments, its process, and the page faults of a new array.
PROGRAM = f"""
    import os, resource, sys
    from pathlib import Path
    if {{pretend}}:
        from jaxcxr import huge_pages
        huge_pages._KERNEL = Path(sys.argv[1])
        print("started", flush=True)
        huge_pages.restart_with()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    b"1" * {BYTES}  # NumPy's larger arrays ask for huge pages themselves
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    print(os.getpid(), sys.flags.utf8_mode, sys.argv[2:])
"""


@pytest.fixture
def start(tmp_path):
    """(its lines, its process) of a program that calls `restart_with` under a kernel that says `enabled`."""

    def start(enabled: str, *arguments: str, restarts: bool = True, **environment: str) -> tuple[list[str], int]:
        program, kernel = tmp_path / "program.py", tmp_path / "enabled"
        program.write_text(textwrap.dedent(PROGRAM.format(pretend=restarts)))
        kernel.write_text(enabled)
        unset = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"}
        process = subprocess.Popen(
            [sys.executable, "-X", "utf8", program, kernel, *arguments],
            env={**unset, "PYTHONPATH": str(ROOT), **environment},
            stdout=subprocess.PIPE,
            text=True,
        )
        lines, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        return lines.splitlines(), process.pid

    return start


def test_the_program_is_the_same_process_with_the_same_arguments(start):
    arguments = ["--config=a b.py", "", "--config.x=('c', \"d\")"]
    lines, process = start("always [madvise] never\n", *arguments)
    assert lines[:2] == ["started", "started"]
    assert lines[-1] == f"{process} 1 {arguments}"


def test_a_new_array_takes_a_tenth_of_the_page_faults(start):
    if "[madvise]" not in (huge_pages._KERNEL.read_text() if huge_pages._KERNEL.exists() else ""):
        pytest.skip("this kernel does not give huge pages on demand")
    (*_, few, _), _ = start("always [madvise] never\n")
    (*_, many, _), _ = start("", restarts=False)
    assert int(few) < int(many) / 10


@pytest.mark.parametrize("enabled", ["[always] madvise never\n", "always madvise [never]\n"])
def test_nothing_restarts_where_the_kernel_asks_nobody(start, enabled):
    assert start(enabled)[0].count("started") == 1


def test_the_users_own_setting_stays(start):
    lines, _ = start("always [madvise] never\n", GLIBC_TUNABLES="glibc.malloc.hugetlb=0")
    assert lines.count("started") == 1


def test_a_notebooks_process_is_left_alone(monkeypatch, tmp_path):
    def execve(*arguments):
        raise AssertionError(arguments)

    kernel = tmp_path / "enabled"
    kernel.write_text("always [madvise] never\n")
    monkeypatch.setattr(huge_pages, "_KERNEL", kernel)
    monkeypatch.setattr(huge_pages.os, "execve", execve)
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    monkeypatch.setattr(sys, "orig_argv", ["python", "-m", "ipykernel_launcher", "-f", "kernel.json"])
    monkeypatch.setattr(sys, "argv", ["main.py", "--config=configs/patched_densenet.py"])
    huge_pages.restart_with()  # as `%run main.py --config=...` would
    monkeypatch.setattr(sys, "orig_argv", ["python", *sys.argv])
    with pytest.raises(AssertionError, match="GLIBC_TUNABLES"):
        huge_pages.restart_with()


def test_other_systems_have_no_such_file(monkeypatch, tmp_path):
    monkeypatch.setattr(huge_pages, "_KERNEL", tmp_path / "missing")
    huge_pages.restart_with()
