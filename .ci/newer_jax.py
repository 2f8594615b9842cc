"""Warns where a newer JAX exists than the one that pyproject.toml allows: python .ci/newer_jax.py.

A step of its own, not of .ci/run: a release elsewhere must not fail a change here.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"


def bound(text: str) -> tuple[int, int]:
    """(0, 13) of "jax>=0.7.2,<0.13" among the dependencies: the first minor that is not allowed."""
    dependencies = tomllib.loads(text)["project"]["dependencies"]
    [jax] = [name for name in dependencies if re.match(r"jax\b(?!-)", name)]
    major, minor = re.search(r"<(\d+)\.(\d+)", jax).groups()
    return int(major), int(minor)


def newest(answer: str) -> tuple[int, int]:
    """(0, 12) of pip's "jax (0.12.0.1)"."""
    major, minor = re.match(r"jax \((\d+)\.(\d+)", answer).groups()
    return int(major), int(minor)


def main() -> int:
    """Prints a line and returns 1 where the newest minor is not allowed."""
    answer = subprocess.run(
        [sys.executable, "-m", "pip", "index", "versions", "jax"],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=True,
    ).stdout
    allowed, there = bound(PROJECT.read_text(encoding="utf-8")), newest(answer)
    shown = [".".join(map(str, version)) for version in (there, allowed)]
    if there >= allowed:
        print(
            f"WARNING: JAX {shown[0]} is out, and pyproject.toml allows versions below {shown[1]}"
        )
        return 1
    print(f"JAX {shown[0]} is the newest for this Python, and allowed (below {shown[1]})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
