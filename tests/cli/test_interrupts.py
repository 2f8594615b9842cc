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


# What takes long in one instruction of Python's, as compiling does.
HELD_UP = """
import hashlib, os, threading, time
from jaxcxr.cli import interrupts
from jaxcxr.training.stop_request import StopRequest
interrupts.install()
def send(times):
    for _ in range(times):
        time.sleep(1.5)
        os.kill(os.getpid(), {number})
threading.Thread(target=send, args=({times},), daemon=True).start()
def long():
    hashlib.pbkdf2_hmac("sha256", b"a", b"b", {long})
if {trains}:
    with StopRequest(ends_at_once={nothing_to_save}) as request:
        long()
    print("saved", request.signal)
else:
    long()
    print("went on")
"""
ENDLESS, SECONDS = 400_000_000, 16_000_000


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


def held_up(number, *, times=1, long=ENDLESS, trains=True, nothing_to_save=False):
    program = HELD_UP.format(
        number=int(number), times=times, long=long, trains=trains, nothing_to_save=nothing_to_save
    )
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("options", [{"trains": False}, {"nothing_to_save": True}], ids=str)
def test_a_signal_amid_compiling_ends_what_has_nothing_to_save(number, options):
    ended = held_up(number, **options)
    assert ended.returncode == 128 + number
    assert ended.stderr.strip() == f"interrupted by {number.name}; {RERUN}" and not ended.stdout


def test_a_signal_amid_a_step_is_said_and_then_saved():
    ended = held_up(signal.SIGINT, long=SECONDS)
    assert ended.returncode == 0 and ended.stdout == f"saved {int(signal.SIGINT)}\n"
    assert ended.stderr.strip().startswith("SIGINT: this ends with a checkpoint when")


def test_the_second_signal_amid_a_step_leaves_at_once():
    ended = held_up(signal.SIGINT, times=2)
    assert ended.returncode == 130 and not ended.stdout
    assert ended.stderr.strip().endswith(f"interrupted by SIGINT; {RERUN}")
