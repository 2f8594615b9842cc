"""Commands that are killed: a server that forks a process for each, disturbed at a named moment.

`python -m tests.faults.victims` reads one JSON request per line and answers with the exit status.
It imports everything once and opens no JAX backend, whose threads would not survive a fork.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jaxcxr.cli import interrupts
from tests.faults import scenarios

ROOT = Path(__file__).parents[2]


class Server:
    """The parent's end: starts processes and waits for them."""

    def __init__(self, cache: Path):
        """Starts the server; cache: folder of compiled programs, shared by all its processes."""
        environment = {
            **os.environ,
            "JAX_PLATFORMS": "cpu",
            "XLA_FLAGS": "",
            "JAX_COMPILATION_CACHE_DIR": str(cache),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.victims"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment,
        )  # fmt: skip

    def run(self, scenario: str, folder: Path, *, kill: Kill | None = None) -> Ended:
        """Runs a scenario's command in `folder`, to its end or to the kill."""
        request = {"scenario": scenario, "folder": str(folder), "kill": kill}
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError("the server of victims has ended")
        events = folder / "events.txt"
        return {
            "status": json.loads(answer),
            "said": (folder / "said.txt").read_text(errors="replace"),
            "events": events.read_text().splitlines() if events.exists() else [],
        }

    def close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


Kill = dict[str, Any]  # {"event": name, "number": n, "signal": 9}: the n-th event of that name
Ended = dict[str, Any]  # {"status": exit status, "said": its output, "events": names in order}


def serve() -> None:
    """Answers requests until the input ends."""
    scenarios.imports()
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if not child:
            _become(request)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(json.dumps(status), flush=True)


def _become(request: dict[str, Any]) -> None:
    """The child: the command, as main.py would run it, with its output in a file."""
    folder = Path(request["folder"])
    folder.mkdir(parents=True, exist_ok=True)
    said = os.open(folder / "said.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(said, 1)
    os.dup2(said, 2)
    (folder / "events.txt").unlink(missing_ok=True)
    status = 0
    try:
        with _events(folder / "events.txt", request["kill"]):
            scenarios.SCENARIOS[request["scenario"]].command(folder)
    except SystemExit as left:
        status = left.code if isinstance(left.code, int) else 1
        if not isinstance(left.code, int):
            print(left.code, flush=True)
    except BaseException:  # what a user would meet as a traceback
        traceback.print_exc()
        status = 99
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


@contextlib.contextmanager
def _events(log: Path, kill: Kill | None) -> Iterator[None]:
    """Names every moment at which something is written or computed; kills at the one asked for."""
    counts: dict[str, int] = {}
    file = log.open("a")

    def event(name: str) -> None:
        counts[name] = counts.get(name, -1) + 1
        file.write(name + "\n")
        file.flush()
        if kill and name == kill["event"] and counts[name] == kill["number"]:
            os.kill(os.getpid(), kill["signal"])

    with pytest.MonkeyPatch.context() as patch:
        scenarios.prepare(patch)

        def around(owner: Any, function: str, name: Callable[..., str]) -> None:
            original = getattr(owner, function)

            def wrapped(*args: Any, **kwargs: Any) -> Any:
                text = name(*args, **kwargs)
                if text:
                    event(f"before {text}")
                result = original(*args, **kwargs)
                if text:
                    event(f"after {text}")
                return result

            patch.setattr(owner, function, wrapped)

        around(os, "replace", lambda source, target: f"renaming {_kind(target)}")
        around(os, "rename", lambda source, target, **_: f"renaming {_kind(target)}")
        around(shutil, "rmtree", lambda path, *_, **__: f"deleting {_kind(path)}")
        for owner, function, text in scenarios.moments():
            around(owner, function, lambda *_, text=text, **__: text)
        yield
    file.close()


def _kind(path: Any) -> str:
    """A file's name without what differs between files of a kind: '12.png' -> 'masks/N.png'."""
    path = Path(path)
    name = re.sub(r"[0-9a-f]{16,}|\d+", "N", path.name)
    return f"{re.sub(r'[0-9a-f]{16,}|[0-9]+', 'N', path.parent.name)}/{name}"


if __name__ == "__main__":
    interrupts.install()  # as the command line does
    serve()
