"""A command starts and ends well without standard streams, and from its first moment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# What is opened next must not become standard error, which others print to.
PROGRAM = """
import os
from jaxcxr.cli import command_line
command_line._open_closed_streams()
with open({file!r}, "wb") as file:
    number = file.fileno()
    os.write(2, b"a log line of a library")
    print("a progress bar", file=__import__("sys").stderr)
    file.write(b"data %d" % number)
"""


def test_files_are_not_taken_for_closed_standard_streams(tmp_path):
    file = tmp_path / "file"
    code = PROGRAM.format(file=str(file))
    words = ["sh", "-c", f'exec "{sys.executable}" -c "$0" <&- >&- 2>&-', code]
    subprocess.run(words, cwd=ROOT, check=True, timeout=60)
    text, number = file.read_text().split()
    assert text == "data" and int(number) > 2


def test_ctrl_c_in_the_first_moments_ends_without_a_traceback():
    """Imports begin under a handler that the interpreter does not turn into an exception."""
    code = (
        "import os, signal, sys\n"
        "from jaxcxr import __main__\n"
        "class Finder:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'jaxcxr.cli.command_line': os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Finder())\n"
        "__main__.main()\n"
    )
    started = time.monotonic()
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, timeout=60)
    assert ended.returncode == -signal.SIGINT and not ended.stderr
    assert time.monotonic() - started < 30


@pytest.mark.parametrize(
    "words",
    [
        ["main.py", "--help"],
        ["-m", "jaxcxr", "--config=patched_densenet", "--help"],
        ["main.py", "--version"],
        ["-m", "jaxcxr.weights", "list"],
        ["-m", "jaxcxr.weights", "--help"],
        ["-m", "jaxcxr.weights", "info", "densenet121.chexnet"],
        ["-m", "benchmarks", "--list"],
    ],
    ids=" ".join,
)
def test_a_command_whose_output_nobody_reads_ends_without_a_word(words):
    """As `python -m jaxcxr.weights list | head -12` ends after twelve lines."""
    reader, writer = os.pipe()
    os.close(reader)
    ended = subprocess.run(
        [sys.executable, *words], cwd=ROOT, stdout=writer, stderr=subprocess.PIPE, timeout=120
    )
    os.close(writer)
    assert ended.stderr == b""
    assert ended.returncode in (0, 1)  # argparse itself passes over it
