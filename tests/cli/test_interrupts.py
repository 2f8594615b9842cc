"""Signals outside training end a command at once, wherever they meet it."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

# A callback of the garbage collector loses what is raised in it.
PROGRAM = """
import gc, os, time
from jaxcxr.cli import interrupts
interrupts.install()
interrupts.running("{mode}")
def callback(*_):
    if armed:
        os.kill(os.getpid(), {number})
        time.sleep(0.1)
armed = False
gc.callbacks.append(callback)
armed = {amid_collection}
gc.collect()
os.kill(os.getpid(), {number})
time.sleep(10)
print("went on")
"""


RERUN = "rerun the same command"


@pytest.mark.parametrize("amid_collection", [True, False])
@pytest.mark.parametrize(
    ("mode", "then"),
    [
        ("", RERUN),
        ("train", f"{RERUN} to go on from what is finished"),
        ("explain", f"{RERUN}; explain starts again from the beginning"),
    ],
)
@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)]
)
def test_a_signal_ends_a_command_with_one_line(number, status, amid_collection, mode, then):
    program = PROGRAM.format(number=int(number), amid_collection=amid_collection, mode=mode)
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == status
    assert ended.stderr.strip() == f"interrupted by {number.name}; {then}" and not ended.stdout
